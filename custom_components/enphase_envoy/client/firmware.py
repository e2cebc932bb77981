"""Who a gateway is: found out by asking `/info`, which everybody may see, or known from an earlier life."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
import inspect
from typing import Final, Self

import aiohttp
from awesomeversion import AwesomeVersion, AwesomeVersionStrategy
from awesomeversion.exceptions import AwesomeVersionException
from pyenphase.const import LEGACY_ENVOY_VERSION
from pyenphase.exceptions import EnvoyFirmwareCheckError, EnvoyFirmwareFatalCheckError
from pyenphase.firmware import EnvoyFirmware

from .errors import GatewayError, Reason

#: Seconds to find out what answers at an address: HTTPS first (10 s to connect), then the plain HTTP of old firmware.
IDENTIFY_TIMEOUT: Final = 14


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """Who a gateway said it is."""

    serial: str
    #: Such as `8.2.4345`.
    firmware: str
    part_number: str | None
    #: Whether it is of the kind that has meters.
    metered: bool
    #: Whether it was asked over HTTPS.
    secure: bool

    @classmethod
    def read(cls, saved: Mapping[str, object]) -> Self:
        """Return what was written. Raises LookupError, TypeError or ValueError."""
        serial, firmware, part_number = saved["serial"], saved["firmware"], saved["part_number"]
        if not (isinstance(serial, str) and isinstance(firmware, str) and isinstance(part_number, str | None)):
            raise TypeError
        if AwesomeVersion(firmware).strategy is AwesomeVersionStrategy.UNKNOWN:
            raise ValueError(firmware)
        return cls(serial, firmware, part_number, saved["metered"] is True, saved["secure"] is True)


class Firmware(EnvoyFirmware):
    """pyenphase's look at `/info`, once: whoever calls decides about the next attempt."""

    __slots__ = ()
    _get_info = inspect.unwrap(EnvoyFirmware._get_info)  # noqa: SLF001

    @property
    def identity(self) -> GatewayInfo:
        """All that was found out. Raises GatewayError where that is no gateway that could be read."""
        if not (self.serial and isinstance(self.version, AwesomeVersion)):
            raise GatewayError(Reason.NOT_A_GATEWAY, "/info names no serial number or no firmware")
        if self.version < LEGACY_ENVOY_VERSION:
            raise GatewayError(Reason.FIRMWARE_TOO_OLD, str(self.version))
        secure = self._url.startswith("https://")
        return GatewayInfo(self.serial, str(self.version), self.part_number, self.is_metered, secure)

    async def look(self) -> GatewayInfo:
        """Ask who is there. Raises GatewayError: nothing, or no gateway that could be read."""
        try:
            async with asyncio.timeout(IDENTIFY_TIMEOUT):
                await self.setup()
            identity = self.identity
        except (EnvoyFirmwareFatalCheckError, TimeoutError) as err:
            raise GatewayError(Reason.CANNOT_CONNECT, type(err).__name__) from err
        except EnvoyFirmwareCheckError as err:
            if isinstance(err.__cause__, aiohttp.ServerFingerprintMismatch):
                raise GatewayError(Reason.CERTIFICATE_CHANGED) from err
            busy = err.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            reason = Reason.CANNOT_CONNECT if busy else Reason.NOT_A_GATEWAY
            raise GatewayError(reason, f"/info: HTTP {err.status_code}") from err
        except (SyntaxError, ValueError, TypeError, AwesomeVersionException) as err:
            # SyntaxError: how lxml says that something is not XML.
            raise GatewayError(Reason.NOT_A_GATEWAY, type(err).__name__) from err
        return identity

    def recall(self, identity: GatewayInfo) -> None:
        """Know again what was found out in an earlier life."""
        self._firmware_version = AwesomeVersion(identity.firmware)
        self._serial_number = identity.serial
        self._part_number = identity.part_number
        self._metered = identity.metered
        self._url = f"{'https' if identity.secure else 'http'}://{self._host}/info"

"""What is to be done now and then beside polling: tokens, firmware, the MAC address. All of it ends with the entry."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
import time
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_time_change

from . import devices, issues
from .client.auth import token_validity
from .client.errors import GatewayError
from .const import CONF_USE_MANUAL_TOKEN, LOGGER
from .coordinator import EnvoyConfigEntry

#: Seconds after set-up at which the gateway is asked for its MAC address, which some answer slowly.
_MAC_DELAY: Final = 30
#: Seconds between looks at the firmware.
_FIRMWARE_PERIOD: Final = 4 * 3600
#: Seconds until a token is asked for again when the cloud did not give one; the pause doubles each time.
_FIRST_PAUSE: Final = 300
_LONGEST_PAUSE: Final = 86400
#: No timer is set for longer than this: clocks are moved, and tokens exchanged.
_LONGEST_WAIT: Final = 86400


@callback
def async_start(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Begin, until the entry is unloaded."""
    _PeriodicTask(hass, entry, _MAC_DELAY, lambda: _connect_mac(hass, entry))
    _PeriodicTask(hass, entry, _FIRMWARE_PERIOD, lambda: _check_firmware(entry))
    entry.async_on_unload(async_track_time_change(hass, partial(_begin_day, entry), 0, 0, 0))
    if entry.runtime_data.gateway.uses_tokens:
        keeper = _TokenRenewal(hass, entry)
        _PeriodicTask(hass, entry, 0, keeper.keep)


@callback
def _begin_day(entry: EnvoyConfigEntry, _now: datetime) -> None:
    """Begin the day's counts anew, whether the gateway says so or not."""
    entry.runtime_data.publish()


class _PeriodicTask:
    """Something that is done, and says in how many seconds to do it again; None for never."""

    def __init__(
        self, hass: HomeAssistant, entry: EnvoyConfigEntry, delay: float, work: Callable[[], Awaitable[float | None]]
    ) -> None:
        self._hass = hass
        self._entry = entry
        self._work = work
        self._cancel: CALLBACK_TYPE | None = None
        entry.async_on_unload(self._stop)
        self._wait(delay)

    @callback
    def _wait(self, delay: float) -> None:
        self._cancel = async_call_later(self._hass, delay, self._begin)

    @callback
    def _begin(self, _now: datetime) -> None:
        self._cancel = None
        self._entry.async_create_background_task(self._hass, self._run(), f"{self._entry.title} upkeep")

    async def _run(self) -> None:
        if (delay := await self._work()) is not None:
            self._wait(delay)

    @callback
    def _stop(self) -> None:
        if self._cancel:
            self._cancel()


async def _connect_mac(hass: HomeAssistant, entry: EnvoyConfigEntry) -> float | None:
    """Add the MAC address of the gateway to its device, once the gateway can be asked."""
    if entry.runtime_data.gateway.auth is None:
        return _FIRST_PAUSE
    if mac := await entry.runtime_data.gateway.mac_address():
        devices.async_add_mac(hass, entry, mac)
    return None


async def _check_firmware(entry: EnvoyConfigEntry) -> float:
    """Notice new firmware, which may offer more and wants to be probed again."""
    coordinator = entry.runtime_data
    try:
        await coordinator.async_identify()
    except GatewayError as err:
        LOGGER.debug("%s: no look at the firmware: %s", coordinator.name, err)
    return _FIRMWARE_PERIOD


class _TokenRenewal:
    """Renews tokens in time, and tells the owner of a pasted one that it ends."""

    def __init__(self, hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
        self._hass = hass
        self._entry = entry
        self._pause: float = _FIRST_PAUSE

    async def keep(self) -> float:
        """Do what is due, and return when to look again."""
        gateway = self._entry.runtime_data.gateway
        if (token := gateway.token) is None:
            # Nobody has let us in since the start; logging in looks after the token.
            return _FIRST_PAUSE
        life = token_validity(token, gateway.serial)
        wait = life.renew_from - time.time()
        if wait > 0:
            issues.async_clear(self._hass, self._entry, issues.TOKEN_ENDS)
            return min(wait, _LONGEST_WAIT)
        if self._entry.data.get(CONF_USE_MANUAL_TOKEN):
            issues.async_report_token_ends(self._hass, self._entry, life.ends)
            return _LONGEST_WAIT
        return await self._renew(life.ends)

    async def _renew(self, ends: float) -> float:
        """Fetch a new token; the old one serves until its end."""
        coordinator = self._entry.runtime_data
        pause = self._pause
        try:
            await coordinator.async_renew_token()
        except GatewayError as err:
            if pause == _FIRST_PAUSE:
                LOGGER.warning("%s: no new token (%s); the old one is used until its end", coordinator.name, err.reason)
        else:
            life = token_validity(coordinator.gateway.token or "", coordinator.gateway.serial)
            if life.renew_from > time.time():
                self._pause = _FIRST_PAUSE
                return min(life.renew_from - time.time(), _LONGEST_WAIT)
            # A cloud that hands out the old token again, or a clock that is ahead: asking at once would never end.
            ends = life.ends
        self._pause = min(2 * pause, _LONGEST_PAUSE, max(_FIRST_PAUSE, (ends - time.time()) / 4))
        return pause

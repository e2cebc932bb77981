"""Periodic tasks beside polling: tokens, firmware, the MAC address. All are cancelled when the entry is unloaded."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
import time
from typing import Final

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.helpers.event import async_call_later, async_track_time_change

from . import devices, issues
from .address import async_is_gateway, async_return
from .battery_control import READ_PERIOD, BatteryControl
from .client.auth import token_validity
from .client.backoff import Backoff
from .client.errors import GatewayBusyError, GatewayError
from .client.paths import URL_INFO
from .const import CONF_FINGERPRINT, CONF_USE_MANUAL_TOKEN, LOGGER, OPTION_PIN_CERTIFICATE
from .coordinator import EnvoyConfigEntry
from .session import async_fingerprint, store_fingerprint

#: Seconds after set-up at which the MAC address is requested; some gateways take long to answer.
_MAC_DELAY: Final = 30
#: Seconds after set-up at which the certificate is read.
_CERTIFICATE_DELAY: Final = 15
#: Seconds between checks of the firmware, and of the certificate.
_FIRMWARE_PERIOD: Final = 4 * 3600
#: Seconds until a token is requested again after a failure; doubled after each.
_FIRST_PAUSE: Final = 300
_LONGEST_PAUSE: Final = 86400
#: Maximum seconds of a timer: the clock may be set and the token replaced meanwhile.
_LONGEST_WAIT: Final = 86400


@callback
def async_start(hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
    """Start all tasks until the entry is unloaded."""
    _PeriodicTask(hass, entry, _MAC_DELAY, lambda: _add_mac(hass, entry))
    _PeriodicTask(hass, entry, _FIRMWARE_PERIOD, lambda: _check_firmware(entry))
    entry.async_on_unload(async_track_time_change(hass, partial(_publish_at_midnight, entry), 0, 0, 0))
    _PeriodicTask(hass, entry, _FIRST_PAUSE, lambda: _return_to_address(hass, entry))
    if control := entry.runtime_data.battery_control:
        _PeriodicTask(hass, entry, 0, lambda: _read_cloud(entry, control))
    if entry.runtime_data.gateway.uses_tokens:
        _PeriodicTask(hass, entry, _CERTIFICATE_DELAY, lambda: _store_certificate(hass, entry))
        _PeriodicTask(hass, entry, 0, _TokenRenewal(hass, entry).async_check)


@callback
def _publish_at_midnight(entry: EnvoyConfigEntry, _now: datetime) -> None:
    """Publish the figures of the new day, also where no poll succeeds."""
    entry.runtime_data.publish()


class _PeriodicTask:
    """A task that returns the seconds until its next run; None ends it."""

    def __init__(
        self, hass: HomeAssistant, entry: EnvoyConfigEntry, delay: float, task: Callable[[], Awaitable[float | None]]
    ) -> None:
        self._hass = hass
        self._entry = entry
        self._task = task
        self._cancel: CALLBACK_TYPE | None = None
        self._is_stopped = False
        entry.async_on_unload(self._stop)
        self._schedule(delay)

    @callback
    def _schedule(self, delay: float) -> None:
        self._cancel = async_call_later(self._hass, delay, self._start)

    @callback
    def _start(self, _now: datetime) -> None:
        self._cancel = None
        if self._entry.runtime_data.is_closed:
            # Nothing stops the task of an entry that could not be unloaded and was removed.
            return
        self._entry.async_create_background_task(self._hass, self._run(), f"{self._entry.title} maintenance")

    async def _run(self) -> None:
        if (delay := await self._task()) is not None and not self._is_stopped:
            self._schedule(delay)

    @callback
    def _stop(self) -> None:
        self._is_stopped = True
        if self._cancel:
            self._cancel()


async def _add_mac(hass: HomeAssistant, entry: EnvoyConfigEntry) -> float | None:
    """Add the MAC address of the gateway to its device when it is logged in."""
    if not entry.runtime_data.gateway.is_authenticated:
        return _FIRST_PAUSE
    if mac := await entry.runtime_data.gateway.mac_address():
        devices.async_add_mac(hass, entry, mac)
    return None


async def _read_cloud(entry: EnvoyConfigEntry, control: BatteryControl) -> float:
    """Read the battery settings in the cloud."""
    await control.async_read()
    entry.runtime_data.publish()
    return READ_PERIOD


async def _check_firmware(entry: EnvoyConfigEntry) -> float:
    """Detect new firmware, of which the endpoints must be probed again."""
    coordinator = entry.runtime_data
    try:
        await coordinator.authentication.async_identify()
    except GatewayError as err:
        LOGGER.debug("%s: could not check the firmware: %s", coordinator.name, err)
    return _FIRMWARE_PERIOD


async def _store_certificate(hass: HomeAssistant, entry: EnvoyConfigEntry) -> float | None:
    """Store the certificate of a gateway that works, by which it is recognised at another address.

    Without the option to pin it, a gateway may renew its certificate at any time.
    """
    coordinator, host = entry.runtime_data, entry.runtime_data.gateway.host
    if entry.options.get(OPTION_PIN_CERTIFICATE):
        return None
    if not coordinator.last_update_success or not coordinator.gateway.uses_tokens:
        return _FIRST_PAUSE
    try:
        fingerprint = await async_fingerprint(hass, host)
        if entry.data.get(CONF_FINGERPRINT) == fingerprint:
            return _FIRMWARE_PERIOD
        async with coordinator.gateway.envoy.slot(URL_INFO):
            # Another device may have the address since the last poll.
            is_gateway = await async_is_gateway(hass, entry, host, fingerprint)
    except (GatewayError, GatewayBusyError) as err:
        LOGGER.debug("%s: could not read the certificate: %s", coordinator.name, err)
        return _FIRST_PAUSE
    if not is_gateway or not coordinator.last_update_success:
        return _FIRST_PAUSE
    store_fingerprint(hass, entry, fingerprint)
    return _FIRMWARE_PERIOD


async def _return_to_address(hass: HomeAssistant, entry: EnvoyConfigEntry) -> float:
    """Use the previous address again if the gateway does not answer at the current one, but there."""
    if entry.runtime_data.last_update_success:
        issues.async_clear(hass, entry, issues.ADDRESS_CHANGED)
    elif await async_return(hass, entry):
        hass.config_entries.async_schedule_reload(entry.entry_id)
    return _FIRST_PAUSE


class _TokenRenewal:
    """Renews tokens before they expire; creates an issue for a pasted token, which only the user can replace."""

    def __init__(self, hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
        self._hass = hass
        self._entry = entry
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    async def async_check(self) -> float:
        """Renew the token if it is due; return the seconds until the next check."""
        gateway = self._entry.runtime_data.gateway
        if (token := gateway.token) is None:
            # Not logged in since the start: logging in renews the token if necessary.
            return _FIRST_PAUSE
        validity = token_validity(token, gateway.serial)
        wait = validity.renew_from - time.time()
        if wait > 0:
            issues.async_clear(self._hass, self._entry, issues.TOKEN_ENDS)
            return min(wait, _LONGEST_WAIT)
        if self._entry.data.get(CONF_USE_MANUAL_TOKEN):
            issues.async_report_token_ends(self._hass, self._entry, validity.ends)
            return _LONGEST_WAIT
        return await self._renew(validity.ends)

    async def _renew(self, ends: float) -> float:
        """Fetch a new token; the old one is used until it expires."""
        coordinator = self._entry.runtime_data
        try:
            await coordinator.authentication.async_renew_token()
        except GatewayError as err:
            if not self._backoff.failures:
                LOGGER.warning(
                    "%s: could not renew the token (%s); the old one is used until it expires",
                    coordinator.name,
                    err.reason,
                )
        else:
            validity = token_validity(coordinator.gateway.token or "", coordinator.gateway.serial)
            if validity.renew_from > time.time():
                self._backoff.reset()
                return min(validity.renew_from - time.time(), _LONGEST_WAIT)
            # The cloud returned the old token again, or the clock is ahead: an immediate retry would repeat forever.
            ends = validity.ends
        return min(self._backoff.fail(), max(_FIRST_PAUSE, (ends - time.time()) / 4))

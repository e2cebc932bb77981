"""Battery settings through the cloud: carried out there, confirmed by the gateway.

From firmware 8.2.4225 on a gateway accepts battery settings and does not keep them. Where the user chose it, they are
changed through Enphase's cloud; the gateway follows within 10 to 20 seconds as a rule, which its own documents show.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, Final, NamedTuple

import aiohttp
from awesomeversion import AwesomeVersion
from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_PASSWORD, CONF_USERNAME
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.util import dt as dt_util
from homeassistant.util.hass_dict import HassKey
from homeassistant.util.ssl import get_default_context
from pyenphase.models.encharge import EnvoyEnchargeAggregate
from pyenphase.models.tariff import EnvoyStorageMode, EnvoyStorageSettings

from . import issues
from .client.models import BatteryController, BatteryScheduler
from .cloud import client as cloud_client
from .cloud.battery import BatteryCloud
from .cloud.client import CloudClient
from .cloud.errors import CloudError, CloudReason
from .cloud.models import Profile, Setting
from .const import CONF_USE_MANUAL_TOKEN, DOMAIN, LOGGER, OPTION_CLOUD_CODE, OPTION_CLOUD_SITE
from .model.json_data import is_deep
from .model.snapshot import Address, Freshness, Snapshot, TimedValue
from .session import closer, own_session

#: Where the snapshot has the cloud's settings, and an address whose listeners are updated when changes are confirmed.
CLOUD_BATTERY: Final[Address] = ("cloud_battery",)
PENDING: Final[Address] = ("cloud_pending",)
#: Seconds between reads of the cloud, and within which the gateway has to confirm a change.
READ_PERIOD: Final = 900
CONFIRM_WITHIN: Final = 300
#: Firmware from which on the gateway does not keep what is written to it.
_CLOUD_OWNS_FROM: Final = AwesomeVersion("8.2.4225")
#: Settings that older firmware keeps when they are written to it.
_LOCAL: Final = frozenset({Setting.MODE, Setting.RESERVE, Setting.CHARGE_FROM_GRID})

PROFILES: Final[Mapping[EnvoyStorageMode, Profile]] = {
    EnvoyStorageMode.SELF_CONSUMPTION: Profile.SELF_CONSUMPTION,
    EnvoyStorageMode.SAVINGS: Profile.SAVINGS,
    EnvoyStorageMode.LEGACY_SAVINGS: Profile.SAVINGS,
    EnvoyStorageMode.BACKUP: Profile.BACKUP,
}


class _Session(NamedTuple):
    """A session of an account, and what ends it."""

    client: CloudClient
    end: CALLBACK_TYPE


#: Sessions of accounts, which survive a reload of their entry: a multi-factor account needs the user for a new one.
_CLIENTS: HassKey[dict[tuple[str, str], _Session]] = HassKey(f"{DOMAIN}_cloud_clients")
#: The sites of all entries: a site is read every five minutes at most, also where its entry is reloaded.
_SITES: HassKey[dict[tuple[CloudClient, str], BatteryCloud]] = HassKey(f"{DOMAIN}_cloud_sites")


@callback
def async_client(hass: HomeAssistant, entry: ConfigEntry[Any], clock: Callable[[], float]) -> CloudClient:
    """Return the session of an entry's account with the cloud; no request is made."""
    clients = hass.data.setdefault(_CLIENTS, {})
    account = _account(entry)
    if account not in clients:
        # The client keeps the cookies itself.
        http = own_session(hass, get_default_context(), cookie_jar=aiohttp.DummyCookieJar())
        client = CloudClient(http, *account, clock, cloud_client.BASE_URL)
        close = closer(hass, http)

        @callback
        def end() -> None:
            client.close()
            hass.async_create_task(close(), "close the session with the cloud")

        clients[account] = _Session(client, end)
    return clients[account].client


@callback
def async_end_unused(hass: HomeAssistant, removed: ConfigEntry[Any] | None = None) -> None:
    """End the sessions of accounts that no entry has any more: one was removed, or has another password."""
    entries = [entry for entry in hass.config_entries.async_entries(DOMAIN) if entry is not removed]
    used = {_account(entry) for entry in entries if has_account(entry)}
    clients, sites = hass.data.get(_CLIENTS, {}), hass.data.get(_SITES, {})
    for account in clients.keys() - used:
        session = clients.pop(account)
        session.end()
        for key in [key for key in sites if key[0] is session.client]:
            del sites[key]


def _account(entry: ConfigEntry[Any]) -> tuple[str, str]:
    return entry.data[CONF_USERNAME], entry.data[CONF_PASSWORD]


def has_account(entry: ConfigEntry[Any]) -> bool:
    """Return whether the password of an Enlighten account is known."""
    data = entry.data
    username = data.get(CONF_USERNAME) or ""
    return bool("@" in username and data.get(CONF_PASSWORD) and not data.get(CONF_USE_MANUAL_TOKEN))


def is_enabled(entry: ConfigEntry[Any]) -> bool:
    """Return whether the user chose to change battery settings through the cloud."""
    return bool(entry.options.get(OPTION_CLOUD_SITE)) and has_account(entry)


@callback
def async_create(hass: HomeAssistant, entry: ConfigEntry[Any], clock: Callable[[], float]) -> BatteryControl | None:
    """Return the control of an entry, None where the user did not choose it; no request is made."""
    async_end_unused(hass)
    if not is_enabled(entry):
        issues.async_clear_cloud(hass, entry)
        return None
    issues.async_clear(hass, entry, issues.CLOUD_OFFER)
    client, site = async_client(hass, entry, clock), entry.options[OPTION_CLOUD_SITE]
    client.needs_code |= entry.options.get(OPTION_CLOUD_CODE, False)
    sites, cloud = hass.data.setdefault(_SITES, {}), BatteryCloud(client, site, clock)
    if before := sites.get((client, site)):
        cloud.continue_from(before)
    sites[client, site] = cloud
    return BatteryControl(hass, entry, cloud, clock)


@dataclass(slots=True)
class _Pending:
    """A change that the cloud accepted, and the gateway has to confirm."""

    entity_id: str
    wanted: object
    at: float


@dataclass
class BatteryControl:
    """Changes battery settings through the cloud for one entry."""

    hass: HomeAssistant
    entry: ConfigEntry[Any]
    cloud: BatteryCloud
    clock: Callable[[], float]
    #: Changes that the gateway did not confirm yet.
    _pending: dict[Setting, _Pending] = field(default_factory=dict, init=False)
    _freshness: Freshness | None = field(default=None, init=False)
    _is_failing: bool = field(default=False, init=False)
    #: The cloud was read since the last check: what it offers may have changed.
    _was_read: bool = field(default=False, init=False)
    is_closed: bool = field(default=False, init=False)
    #: The time zones of the site and its schedules by their names.
    _zones: dict[str, tzinfo] = field(default_factory=dict, init=False)

    def add_to(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the cloud's settings, once they were read."""
        if (battery := self.cloud.latest) is None or self._freshness is None:
            return snapshot
        if not self._is_failing:
            self._freshness.updated_at = self.clock()
        # The cloud has a new level at once, the gateway later or never.
        level, _ = _reported(Setting.SHUTDOWN_LEVEL, snapshot)
        if isinstance(level, int | float) and level != battery.settings.shutdown_level:
            battery = replace(battery, settings=replace(battery.settings, shutdown_level=level))
        return replace(snapshot, objects={**snapshot.objects, CLOUD_BATTERY: TimedValue(battery, self._freshness)})

    def carries_out(self, setting: Setting | None, snapshot: Snapshot) -> bool:
        """Return whether a setting is changed through the cloud, and not by the gateway itself."""
        if setting is None:
            return False
        return setting not in _LOCAL or AwesomeVersion(snapshot.firmware) >= _CLOUD_OWNS_FROM

    def wanted(self, setting: Setting | None) -> object:
        """Return the value that the gateway has to confirm, None when there is none."""
        pending = self._pending.get(setting) if setting else None
        return pending.wanted if pending else None

    @property
    def report(self) -> dict[str, object]:
        """What diagnostics contain: the types of the cloud's values, and none of them."""
        answers = self.cloud.answers.items()
        return {
            "session": self.cloud.client.is_logged_in,
            "needs_code": self.cloud.client.needs_code,
            "failing": self._is_failing,
            "pending": [str(setting) for setting in self._pending],
            "answers": {name: "too deep" if is_deep(answer) else _types(answer) for name, answer in answers},
        }

    async def async_read(self) -> None:
        """Read the cloud's settings, and log one line when that fails and one when it succeeds again."""
        try:
            await self.cloud.read()
        except CloudError as err:
            self._failed(err)
            return
        await self.async_load_zones()
        if self.is_closed:
            return
        if self._is_failing:
            LOGGER.info("%s: the battery settings in the cloud can be read again", self.entry.title)
        self._is_failing, self._was_read = False, True
        self._freshness = Freshness(self.clock())
        for subject in (issues.CLOUD_CODE, issues.CLOUD_ACCOUNT):
            issues.async_clear(self.hass, self.entry, subject)

    async def async_load_zones(self) -> None:
        """Load the time zones that the cloud names: they are in files."""
        if battery := self.cloud.latest:
            names = {battery.site.timezone, *(schedule.timezone for schedule in battery.schedules)}
            for name in names - self._zones.keys():
                # A name that is a path is a ValueError, or a directory.
                with suppress(ValueError, OSError):
                    if name and (zone := await dt_util.async_get_time_zone(name)):
                        self._zones[name] = zone

    def zone(self, *names: str | None) -> tzinfo:
        """Return the first known time zone of some names; that of Home Assistant where there is none."""
        known = (zone for name in names if name and (zone := self._zones.get(name)))
        return next(known, dt_util.get_default_time_zone())

    def _failed(self, err: CloudError) -> None:
        if self.is_closed:
            return
        if not self._is_failing:
            LOGGER.warning("%s: the battery settings in the cloud can't be read (%s)", self.entry.title, err)
        self._is_failing = True
        if err.is_permanent:
            is_code = err.reason is CloudReason.CODE_REQUIRED
            issues.async_report_cloud(self.hass, self.entry, issues.CLOUD_CODE if is_code else issues.CLOUD_ACCOUNT)

    async def async_change(self, setting: Setting, value: object, entity_id: str) -> None:
        """Change a setting. Raises CloudError when the cloud does not accept it; it is not repeated then."""
        try:
            await self.cloud.change(setting, value)
        except CloudError as err:
            if err.is_permanent:
                self._failed(err)
            raise
        self._pending.pop(setting, None)
        if setting is Setting.MODE:
            # The new mode has a reserve of its own.
            self._pending.pop(Setting.RESERVE, None)
        # A gateway does not report these, nor which optimisation is in use.
        if setting in (Setting.DISCHARGE_TO_GRID, Setting.RESTRICT_DISCHARGE) or value is Profile.AI_OPTIMIZATION:
            return
        self._pending[setting] = _Pending(entity_id, value, self.clock())

    def check(self, snapshot: Snapshot) -> bool:
        """Compare what is pending with what the gateway reports; return whether the controls have to be updated."""
        changed, self._was_read = self._was_read, False
        for setting, pending in list(self._pending.items()):
            actual, updated_at = _reported(setting, snapshot)
            is_confirmed = actual == pending.wanted and updated_at >= pending.at
            if not is_confirmed and self.clock() - pending.at < CONFIRM_WITHIN:
                continue
            del self._pending[setting]
            changed = True
            texts = (pending.entity_id, pending.wanted, actual)
            if is_confirmed:
                LOGGER.debug("%s: %s became %s, as the gateway confirms", self.entry.title, setting, actual)
            else:
                LOGGER.warning(
                    "%s: the cloud accepted %s for %s, and the gateway still reports %s after five minutes",
                    *(self.entry.title, pending.wanted, setting, actual),
                )
            issues.async_report_unconfirmed(self.hass, self.entry, setting, None if is_confirmed else texts)
        return changed

    def close(self) -> None:
        """End all of this; the session with the cloud stays for the next set-up."""
        self.is_closed = self.cloud.is_closed = True
        self._pending.clear()


def _types(value: object) -> object:
    """Return the shape of a document: its keys, except those that are identifiers, and the types of its values."""
    if isinstance(value, Mapping):
        return {key if key.replace("-", "_").isidentifier() else "…": _types(item) for key, item in value.items()}
    return [_types(item) for item in value[:1]] if isinstance(value, list) else type(value).__name__


def _reported(setting: Setting, snapshot: Snapshot) -> tuple[object, float]:
    """Return what the gateway reports of a setting, and when that was read, on the polls' clock."""
    for address, read in _REPORTS[setting]:
        if (timed := snapshot.objects.get(address)) and (value := read(timed.value)) is not None:
            return value, timed.updated_at
    return None, float("-inf")


def _settings(read: Callable[[EnvoyStorageSettings], object]) -> tuple[Address, Callable[[object], object]]:
    return ("storage_settings",), lambda value: read(value) if isinstance(value, EnvoyStorageSettings) else None


def _mode(settings: EnvoyStorageSettings) -> Profile | None:
    return PROFILES.get(settings.mode) if settings.mode else None


#: Where the gateway reports each setting: what the controller does, else what is stored.
_REPORTS: Final[Mapping[Setting, tuple[tuple[Address, Callable[[object], object]], ...]]] = {
    Setting.RESERVE: (
        (
            ("encharge_aggregate",),
            lambda value: (
                value.configured_reserve_state_of_charge if isinstance(value, EnvoyEnchargeAggregate) else None
            ),
        ),
        _settings(lambda settings: settings.reserved_soc),
    ),
    Setting.MODE: (_settings(_mode),),
    Setting.CHARGE_FROM_GRID: (
        (
            ("battery_scheduler",),
            lambda value: value.charge_from_grid_allowed if isinstance(value, BatteryScheduler) else None,
        ),
        _settings(lambda settings: settings.charge_from_grid),
    ),
    Setting.SHUTDOWN_LEVEL: (
        (
            ("battery_controller",),
            lambda value: value.shutdown_level if isinstance(value, BatteryController) else None,
        ),
    ),
}

"""One poll a cycle, and who is told what came of it."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, override

from homeassistant.config_entries import SOURCE_REAUTH, ConfigEntry
from homeassistant.const import CONF_NAME, CONF_PASSWORD, CONF_TOKEN, CONF_USERNAME
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed
from homeassistant.helpers.event import async_call_later
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed
from pyenphase.models.encharge import EnvoyEnchargeAggregate
from pyenphase.models.tariff import EnvoyStorageSettings

from .client.auth import Credentials
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .const import CONF_USE_MANUAL_TOKEN, DEFAULT_POLL_INTERVAL, DOMAIN, LOGGER, OPTION_POLL_INTERVAL
from .energy.settings_monitor import RECHECK_DELAYS, SettingsMonitor
from .energy_manager import EnergyManager
from .issues import async_report_certificate, async_report_setting
from .model.snapshot import Address, Snapshot, TimedValue
from .storage import DOCUMENTS, EntryStore

type EnvoyConfigEntry = ConfigEntry[EnvoyCoordinator]

#: Seconds that a value is shown after the gateway last gave it, if three polls are not longer: power and states, and
#: lasting values, which are counters and settings.
_HOLD_STATE: Final = 210.0
_HOLD_LASTING: Final = 900.0
#: Seconds after a change at which to look at it again.
_SETTLING: Final = (3, 10, 30)

#: Seconds between two logins to the cloud because of a refusal: who logs in too often is locked out.
_FETCH_PAUSE: Final = 3600.0
#: Seconds until the cloud is asked again after it did not answer; the pause doubles each time.
_CLOUD_PAUSE: Final = 120.0
#: Refusals after which the owner is asked.
_PATIENT_REFUSALS: Final = 3

#: Seconds within which is saved what the gateway says, and what it was just found to offer.
_SAVED_WITHIN: Final = 900
_SAVED_SOON: Final = 10
#: Who is there is not the gateway that is remembered.
_ANOTHER: Final = frozenset({Reason.NOT_A_GATEWAY, Reason.OTHER_GATEWAY, Reason.CERTIFICATE_CHANGED})

_STORAGE_SETTINGS: Final = ("storage_settings",)

#: An object, and how many of the holds it has outlived: none, that of states, or that of lasting values as well.
type Published = tuple[object, int]
#: What is told of an object that is not there.
MISSING: Final[Published] = (None, 2)


class EnvoyCoordinator(DataUpdateCoordinator[Snapshot]):
    """Polls a gateway and wakes the entities whose source changed.

    Availability is not the poll's: a value expires by its own age, so one poll that fails makes nothing unavailable,
    and a gateway that is gone makes everything so, in time.
    """

    config_entry: EnvoyConfigEntry

    def __init__(
        self, hass: HomeAssistant, entry: EnvoyConfigEntry, gateway: Gateway, energy_manager: EnergyManager
    ) -> None:
        """Prepare to poll `gateway`, on the same clock as it, and to have `bookkeeper` look at what it says."""
        interval = entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL)
        super().__init__(
            hass,
            LOGGER,
            config_entry=entry,
            name=entry.data.get(CONF_NAME, entry.title),
            update_interval=timedelta(seconds=interval),
        )
        self.gateway = gateway
        gateway.on_late = self.publish
        gateway.poll_interval = interval
        entry.async_on_unload(gateway.stop)
        self._holds = (max(3 * interval, _HOLD_STATE), max(3 * interval, _HOLD_LASTING))
        self._clock = gateway.clock
        #: What the entities were last told, and where there is anything: another set only when it is another.
        self.published: dict[Address, Published] = {}
        self.addresses: frozenset[Address] = frozenset()
        #: Who listens to which object.
        self._interested: dict[Address, list[CALLBACK_TYPE]] = {}
        self.energy_manager = energy_manager
        self._watch = SettingsMonitor()
        #: From when on a token may be fetched because the gateway refused the old one, and why none came the last time.
        self._fetch_at = float("-inf")
        self._fetch_failure: tuple[Reason, str] | None = None
        self._cloud_pause = _CLOUD_PAUSE
        self._memory = EntryStore(hass, entry, DOCUMENTS)
        #: What is remembered is shown, since the gateway could not be read at set-up.
        self._bridging = False
        #: Probes that were saved.
        self._probes = 0
        #: Polls in a row in which the gateway did not let us in.
        self._refusals = 0
        self._cancel_expiry: CALLBACK_TYPE | None = None
        #: Looks at settings that were just changed, still to come.
        self._looks: dict[str, list[CALLBACK_TYPE]] = {}
        entry.async_on_unload(self._stop_expiry)
        entry.async_on_unload(self._stop_looking)

    @override
    async def _async_setup(self) -> None:
        if saved := await self._memory.async_load():
            self.gateway.recall(saved, self.config_entry.unique_id)

    @override
    async def async_config_entry_first_refresh(self) -> None:
        """Poll for the first time. A gateway that does not answer now is shown as it was, if that is remembered."""
        await super().async_config_entry_first_refresh()
        # So the end of it is told, and no second beginning.
        self.last_update_success = not self._bridging

    @override
    async def _async_update_data(self) -> Snapshot:
        try:
            snapshot = await self._translated(self._poll)
        except UpdateFailed as err:
            if self.data is not None or not (restored := await self._restored(err.__cause__)):
                raise
            snapshot = restored
        else:
            self._has_access()
            self._remember()
        await self.energy_manager.async_load(snapshot)
        return self._watched(self.energy_manager.process(snapshot))

    async def _translated[T](self, action: Callable[[], Awaitable[T]]) -> T:
        """Run an action, turning what is wrong with the gateway into Home Assistant's errors."""
        try:
            return await action()
        except GatewayError as err:
            LOGGER.debug("%s: %s", self.name, err)
            if err.reason is Reason.CERTIFICATE_CHANGED:
                async_report_certificate(self.hass, self.config_entry, self.gateway.host)
            passes = err.passes or self._waits_for_access(err)
            raise (UpdateFailed if passes else ConfigEntryAuthFailed)(
                translation_domain=DOMAIN,
                translation_key=err.reason,
                translation_placeholders={"host": self.gateway.host, "name": self.name},
            ) from err

    async def _restored(self, err: BaseException | None) -> Snapshot | None:
        """Return what is remembered of a gateway that can't be read at set-up; None where that would not help.

        Raises UpdateFailed or ConfigEntryAuthFailed where nothing is, and nothing can be read all the same.
        """
        if not isinstance(err, GatewayError) or err.reason in _ANOTHER or not self.gateway.remembers:
            return None
        try:
            snapshot = await self.gateway.restore()
        except GatewayError:
            LOGGER.debug("%s: nothing can be made of what is remembered; it may be what stands in the way", self.name)
            self.gateway.forget()
            return await self._translated(self._poll)
        self._bridging = True
        LOGGER.warning("%s can't be read (%s); what is remembered of it is shown meanwhile", self.name, err)
        return snapshot

    @callback
    def _remember(self) -> None:
        """Save in a while what the gateway said, and soon what it was found to offer."""
        self._bridging = False
        within = _SAVED_WITHIN if self.gateway.probes == self._probes else _SAVED_SOON
        self._probes = self.gateway.probes
        self._memory.keep(self.gateway.remember, within)

    async def async_close(self) -> None:
        """Save what the gateway said, for the last time."""
        if self.gateway.remembers:
            await self._memory.async_save_now(self.gateway.remember())

    def _credentials(self) -> Credentials:
        """Return what the entry holds; with a pasted token no account is used."""
        data = self.config_entry.data
        if data.get(CONF_USE_MANUAL_TOKEN):
            return Credentials(token=data.get(CONF_TOKEN))
        return Credentials(data.get(CONF_USERNAME), data.get(CONF_PASSWORD), data.get(CONF_TOKEN))

    async def async_identify(self) -> None:
        """Look who is there, and probe again what it offers if its firmware changed. Raises GatewayError."""
        await self.gateway.identify(self.config_entry.unique_id)
        if self.config_entry.unique_id is None:
            # Entries of the first years have none.
            self.hass.config_entries.async_update_entry(self.config_entry, unique_id=self.gateway.serial)

    async def async_log_in(self) -> None:
        """Identify the gateway and show it what the entry holds. Raises GatewayError."""
        await self.async_identify()
        given = self._credentials()
        try:
            # An account alone would be shown to the cloud at every attempt.
            await self.gateway.log_in(
                replace(given, username=None, password=None) if self.gateway.uses_tokens else given
            )
        except GatewayError as err:
            # A token that ended or was revoked is no reason to bother the owner while the account can give a new one.
            if err.passes or not (given.account and self.gateway.uses_tokens):
                raise
            await self._log_in_anew(err)
        self._keep_token()

    async def _log_in_anew(self, refusal: GatewayError) -> None:
        """Log in with a new token, unless one was asked for just now. Raises GatewayError: the refusal, or another."""
        if self._clock() < self._fetch_at:
            raise GatewayError(*self._fetch_failure) if self._fetch_failure else refusal
        self._fetch_at, self._fetch_failure = self._clock() + _FETCH_PAUSE, None
        try:
            await self.gateway.log_in(replace(self._credentials(), token=None))
        except GatewayError as err:
            self._fetch_failure = err.reason, err.detail
            if err.passes:
                self._fetch_at = self._clock() + self._cloud_pause
                self._cloud_pause = min(2 * self._cloud_pause, _FETCH_PAUSE)
            raise
        self._cloud_pause = _CLOUD_PAUSE

    async def async_renew_token(self) -> None:
        """Fetch a new token with the account. Raises GatewayError; the old one is then still in use."""
        await self.gateway.log_in(replace(self._credentials(), token=None))
        self._keep_token()

    @callback
    def _keep_token(self) -> None:
        """Store a new token, which reloads nothing."""
        token, data = self.gateway.token, self.config_entry.data
        if token and token != data.get(CONF_TOKEN):
            self.hass.config_entries.async_update_entry(self.config_entry, data={**data, CONF_TOKEN: token})

    async def _poll(self) -> Snapshot:
        if self.gateway.auth is None:
            await self.async_log_in()
        try:
            return await self.gateway.poll()
        except GatewayError as err:
            # Firmware before 7 is reached by plain HTTP, which newer firmware no longer answers: look who is there.
            if err.passes and self.gateway.uses_tokens:
                raise
        # The gateway forgets its sessions when it restarts, and tokens end: in once more, then it is the owner's turn.
        await self.async_log_in()
        return await self.gateway.poll()

    @callback
    def _waits_for_access(self, err: GatewayError) -> bool:
        """Ask the owner for new credentials, and return whether to go on polling meanwhile.

        A gateway that restarts refuses everybody for a minute or two, and who gave up would not notice that it is over.
        """
        may_pass = err.reason in (Reason.TOKEN_REJECTED, Reason.INVALID_AUTH)
        if self.data is None and not (may_pass and self.gateway.remembers):
            return False
        self._refusals += 1
        if self._refusals >= _PATIENT_REFUSALS or not may_pass:
            self.config_entry.async_start_reauth(self.hass)
        return True

    @callback
    def _has_access(self) -> None:
        """Take back what the owner was asked for, now that it is not needed."""
        if self._refusals:
            self._refusals = 0
            for flow in self.config_entry.async_get_active_flows(self.hass, {SOURCE_REAUTH}):
                self.hass.config_entries.flow.async_abort(flow["flow_id"])

    # Changes

    async def async_write(self, asker: str, field: str, change: Callable[[], Awaitable[object]]) -> None:
        """Change a setting, then show what the gateway says of it. Raises what `Gateway.write` raises."""
        self._look_again(field)
        before, wanted = await self.gateway.write(field, change)
        settings = [data.tariff and data.tariff.storage_settings for data in (before, wanted)]
        if field == "storage_settings" and settings[0] and settings[1]:
            self._watch.ask(settings[0], settings[1], asker, self._clock())
        self.publish()

    @callback
    def _look_again(self, field: str) -> None:
        """Read a field again in a while: relays take seconds to move, and replies get lost."""
        for cancel in self._looks.pop(field, ()):
            cancel()
        delays = (*_SETTLING, *(RECHECK_DELAYS if field == "storage_settings" else ()))
        self._looks[field] = [async_call_later(self.hass, delay, partial(self._look, field)) for delay in delays]

    @callback
    def _look(self, field: str, _now: datetime) -> None:
        async def look() -> None:
            await self.gateway.reread(field)
            self.publish()

        self.config_entry.async_create_background_task(self.hass, look(), f"{self.name} look at {field}")

    @callback
    def _stop_looking(self) -> None:
        for cancels in self._looks.values():
            for cancel in cancels:
                cancel()
        self._looks.clear()

    @callback
    def publish(self) -> None:
        """Show what is known now; the next poll comes when it would have."""
        if self._shutdown_requested or self.data is None:
            return
        self.data = self._watched(self.energy_manager.process(self.gateway.snapshot()))
        self.async_update_listeners()

    def _watched(self, snapshot: Snapshot) -> Snapshot:
        """Look what became of battery settings, and correct what is shown where the controller does otherwise."""
        settings = snapshot.get(EnvoyStorageSettings, _STORAGE_SETTINGS)
        if settings is None:
            return snapshot
        batteries = snapshot.get(EnvoyEnchargeAggregate, ("encharge_aggregate",))
        reserve = batteries.configured_reserve_state_of_charge if batteries else None
        just_read = self.gateway.just_read(_STORAGE_SETTINGS[0])
        controller = None if reserve is None else (reserve, snapshot.objects["encharge_aggregate",].updated_at)
        for finding in self._watch.judge(settings, controller, self._clock(), just_read=just_read):
            async_report_setting(self.hass, self.config_entry, snapshot.firmware, finding)
        if (real := self._watch.real_reserve(reserve)) is None:
            return snapshot
        timed = TimedValue(replace(settings, reserved_soc=real), snapshot.objects[_STORAGE_SETTINGS].freshness)
        return replace(snapshot, objects={**snapshot.objects, _STORAGE_SETTINGS: timed})

    # Who is told

    def expired(self, seen: float, *, lasting: bool) -> bool:
        """Return whether a value of this age must no longer be shown."""
        if self.config_entry.pref_disable_polling:
            # Whoever polls by an automation decides how old a value may be.
            return not self.last_update_success and bool(self._clock() - seen >= self._holds[lasting])
        return bool(self._clock() - seen >= self._holds[lasting])

    @override
    @callback
    def async_add_listener(self, update_callback: CALLBACK_TYPE, context: Any = None) -> Callable[[], None]:
        """Listen to the object at an address, or without one to everything."""
        if context is None:
            return super().async_add_listener(update_callback)
        listeners = self._interested.setdefault(context, [])
        listeners.append(update_callback)
        return partial(listeners.remove, update_callback)

    @override
    @callback
    def async_update_listeners(self) -> None:
        """Wake the entities whose source changed, went or came, and those who listen to everything."""
        if (snapshot := self.data) is None:
            return
        outlived: dict[int, int] = {}
        now: dict[Address, Published] = {}
        for address, timed in snapshot.objects.items():
            # Hundreds of objects share a dozen documents: how old those are is worked out once.
            if (level := outlived.get(key := id(timed.freshness))) is None:
                level = outlived[key] = sum(
                    self.expired(timed.updated_at, lasting=lasting) for lasting in (False, True)
                )
            now[address] = (timed.value, level)
        changed = {address for address, state in now.items() if self.published.get(address) != state}
        if now.keys() != self.addresses:
            changed |= self.addresses - now.keys()
            self.addresses = frozenset(now)
        self.published = now
        for update in self._to_wake(changed):
            try:
                update()
            except Exception:  # noqa: BLE001  (as the framework's own loop does)
                # One entity that can't be shown must not keep the news from the others.
                LOGGER.exception("%s: %s could not be updated", self.name, update)
        self._schedule_expiry()

    def _to_wake(self, changed: Iterable[Address]) -> Iterator[CALLBACK_TYPE]:
        """Yield who is to be told: who listens to everything, which may bring and remove entities, comes first."""
        yield from [update for update, _ in self._listeners.values()]
        for address in changed:
            yield from list(self._interested.get(address, ()))

    @callback
    def _schedule_expiry(self) -> None:
        """Come back when the next value outlives its hold, should no poll come first."""
        self._stop_expiry()
        if self._shutdown_requested:
            return
        now = self._clock()
        seen = {timed.updated_at for timed in self.data.objects.values()}
        ends = (since + hold for since in seen for hold in self._holds)
        if (nearest := min((end for end in ends if end > now), default=None)) is not None:
            self._cancel_expiry = async_call_later(self.hass, nearest - now, self._expire)

    @callback
    def _expire(self, _now: datetime) -> None:
        self._cancel_expiry = None
        self.async_update_listeners()

    @callback
    def _stop_expiry(self) -> None:
        if self._cancel_expiry:
            self._cancel_expiry()
            self._cancel_expiry = None

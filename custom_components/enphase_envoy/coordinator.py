"""One poll per cycle: reads the gateway, and updates the entities whose objects changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, override

from homeassistant.config_entries import ConfigEntry
from homeassistant.const import CONF_NAME
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed
from homeassistant.helpers.event import async_call_later, async_track_time_interval
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .authentication import Authentication
from .availability import PublishedObjects
from .battery_control import PENDING, BatteryControl
from .client.errors import GatewayError, Reason
from .client.gateway import Gateway
from .client.writing import Edit
from .cloud.models import Setting
from .const import DEFAULT_POLL_INTERVAL, DOMAIN, LOGGER, OPTION_LIVE_POWER, OPTION_POLL_INTERVAL
from .energy.relays import ENPOWER, GRID_RECHECK_DELAY, RELAY_RECHECK_DELAYS, RELAY_SETTINGS, RELAY_STATUS
from .energy.settings_monitor import RECHECK_DELAYS, STORAGE_SETTINGS
from .energy_manager import EnergyManager
from .issues import async_report_certificate
from .model.snapshot import Address, Snapshot, changed_addresses
from .roof_manager import RoofManager
from .storage import DOCUMENTS, EntryStore

type EnvoyConfigEntry = ConfigEntry[EnvoyCoordinator]

#: Seconds after a write at which to read its result again: relays take seconds to move, and answers get lost.
_SETTLING_DELAYS: Final = (3, 10, 30)
#: The same where a change is made in the cloud, which the gateway follows within 10 to 20 seconds as a rule.
_FOLLOWING_DELAYS: Final = (10, 15, 20, 30)
#: Further ones, by field.
_FURTHER_DELAYS: Final[Mapping[str, tuple[float, ...]]] = {
    STORAGE_SETTINGS[0]: RECHECK_DELAYS,
    RELAY_STATUS: RELAY_RECHECK_DELAYS,
    ENPOWER: (GRID_RECHECK_DELAY,),
}
#: Seconds within which the documents are stored, and within which the result of a probe is.
_SAVE_DELAY: Final = 900
_SAVE_DELAY_AFTER_PROBE: Final = 10
#: The device that responds is not the gateway whose documents are stored.
_ANOTHER_DEVICE: Final = frozenset(
    {
        Reason.NOT_A_GATEWAY,
        Reason.OTHER_GATEWAY,
        Reason.ALREADY_SET_UP,
        Reason.CERTIFICATE_CHANGED,
        Reason.FIRMWARE_BEFORE_TOKENS,
    }
)


class EnvoyCoordinator(DataUpdateCoordinator[Snapshot]):
    """Polls a gateway and publishes its snapshots.

    Availability does not depend on the poll: each value expires by its own age. One poll that fails makes nothing
    unavailable, and a gateway that does not answer makes all values so, in time.
    """

    config_entry: EnvoyConfigEntry

    def __init__(
        self, hass: HomeAssistant, entry: EnvoyConfigEntry, gateway: Gateway, energy_manager: EnergyManager
    ) -> None:
        """Prepare to poll `gateway`, and to have `energy_manager` process its snapshots, all on the same clock."""
        interval = entry.options.get(OPTION_POLL_INTERVAL, DEFAULT_POLL_INTERVAL)
        super().__init__(
            hass,
            LOGGER,
            config_entry=entry,
            name=entry.data.get(CONF_NAME, entry.title),
            update_interval=timedelta(seconds=interval),
        )
        self.gateway = gateway
        gateway.poll_interval = interval
        gateway.add_listener(self.publish)
        gateway.live.interval = entry.options.get(OPTION_LIVE_POWER, 0)
        self._reading_live: asyncio.Task[None] | None = None
        #: The entry was unloaded or removed: nothing is polled, published, written or saved any more.
        self.is_closed = False
        entry.async_on_unload(self.async_close)
        self.energy_manager = energy_manager
        self.roof = RoofManager(hass, entry, gateway.wall)
        self.authentication = Authentication(hass, entry, gateway, gateway.clock)
        self.published = PublishedObjects(interval, gateway.clock)
        #: Changes battery settings through the cloud, where the user chose that.
        self.battery_control: BatteryControl | None = None
        #: Listeners to the object at an address.
        self._address_listeners: dict[Address, list[CALLBACK_TYPE]] = {}
        self._store = EntryStore(hass, entry, DOCUMENTS)
        #: The gateway could not be read at set-up: its stored documents are shown.
        self._shows_stored = False
        #: Probes whose result was stored.
        self._stored_probes = 0
        self._cancel_expiry: CALLBACK_TYPE | None = None
        #: When that updates the entities, in seconds of the polls' clock.
        self._expires_at = 0.0
        #: Reads after a write that are still to come, by field.
        self._rechecks: dict[str, list[CALLBACK_TYPE]] = {}

    # The poll

    @override
    async def _async_setup(self) -> None:
        if stored := await self._store.async_load():
            self.gateway.load(stored, self.config_entry.unique_id)

    @override
    async def async_config_entry_first_refresh(self) -> None:
        """Poll for the first time. While the gateway can't be read, its stored documents are shown."""
        await super().async_config_entry_first_refresh()
        # The log then has a line when that ends, and none that it begins a second time.
        self.last_update_success = not self._shows_stored

    @override
    async def _async_update_data(self) -> Snapshot:
        try:
            snapshot = await self._translated(self._poll)
        except UpdateFailed as err:
            if self.is_closed and self.data is not None and self.last_update_success:
                # The entry was unloaded during this poll: that is no failure to report.
                return self.data
            if self.data is not None or not (restored := await self._restored(err.__cause__)):
                raise
            snapshot = restored
        else:
            if self.is_closed:
                return snapshot
            self.authentication.succeeded()
            self._shows_stored = False
            self._schedule_save()
        await self.energy_manager.async_load(snapshot)
        await self.roof.async_load()
        if self.is_closed:
            return snapshot
        return self.roof.process(self.energy_manager.process(self._with_cloud(snapshot)))

    def _with_cloud(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the settings of the cloud."""
        return self.battery_control.add_to(snapshot) if self.battery_control else snapshot

    async def _poll(self) -> Snapshot:
        if not self.gateway.is_authenticated:
            await self.authentication.async_log_in()
        try:
            return await self.gateway.poll()
        except GatewayError as err:
            # Firmware before 7 is read over plain HTTP, which newer firmware no longer answers: identify it again.
            if self.is_closed:
                raise
            if err.is_temporary and self.gateway.uses_tokens:
                raise
        # A restart of the gateway ends its sessions, and tokens end: log in once more before reauthentication.
        await self.authentication.async_log_in()
        return await self.gateway.poll()

    @property
    def texts(self) -> dict[str, str]:
        """The placeholders of the texts for a GatewayError."""
        serial = self.config_entry.unique_id or self.gateway.serial
        return {"host": self.gateway.host, "serial": serial, "name": self.name}

    async def _translated[T](self, action: Callable[[], Awaitable[T]]) -> T:
        """Run an action, and turn a GatewayError into Home Assistant's exceptions."""
        try:
            return await action()
        except GatewayError as err:
            LOGGER.debug("%s: %s", self.name, err)
            if self.is_closed:
                raise UpdateFailed(str(err)) from err
            if err.reason is Reason.CERTIFICATE_CHANGED:
                async_report_certificate(self.hass, self.config_entry, self.gateway.host)
            retry = err.is_temporary or self.authentication.refused(err, has_data=self.data is not None)
            raise (UpdateFailed if retry else ConfigEntryAuthFailed)(
                translation_domain=DOMAIN,
                translation_key=err.reason,
                translation_placeholders=self.texts,
            ) from err

    async def _restored(self, err: BaseException | None) -> Snapshot | None:
        """Return a snapshot of the stored documents while the gateway can't be read; None where they don't apply.

        Raises UpdateFailed or ConfigEntryAuthFailed where they are unusable and the gateway can't be read.
        """
        if not isinstance(err, GatewayError) or err.reason in _ANOTHER_DEVICE or not self.gateway.has_documents:
            return None
        try:
            snapshot = await self.gateway.restore()
        except GatewayError:
            LOGGER.debug("%s: the stored documents are unusable, and may be the cause", self.name)
            self.gateway.discard()
            return await self._translated(self._poll)
        self._shows_stored = True
        LOGGER.warning("%s can't be read (%s); stored values are shown meanwhile", self.name, err)
        return snapshot

    @callback
    def _schedule_save(self) -> None:
        """Store the documents in some minutes, and the result of a probe soon."""
        delay = _SAVE_DELAY if self.gateway.probe_count == self._stored_probes else _SAVE_DELAY_AFTER_PROBE
        self._stored_probes = self.gateway.probe_count
        self._store.keep(self.gateway.dump, delay)

    async def async_close(self) -> None:
        """Stop everything that is under way, then store documents and counters for the last time."""
        if self.is_closed:
            return
        self.is_closed = True
        self.gateway.close()
        if self.battery_control:
            self.battery_control.close()
        self._stop_expiry()
        self._stop_rechecks()
        await self.async_shutdown()
        await self.energy_manager.async_close()
        await self.roof.async_close()
        has_documents = self.data is not None and self.gateway.has_documents
        await self._store.async_close(self.gateway.dump() if has_documents else None)

    # Live power

    @callback
    def async_start_live(self) -> None:
        """Read live power at the interval of the option, if it is not off, until the entry is unloaded."""
        if seconds := self.gateway.live.interval:
            interval = timedelta(seconds=seconds)
            cancel = async_track_time_interval(self.hass, self._read_live, interval, name=f"{self.name} live power")
            self.config_entry.async_on_unload(cancel)

    @callback
    def _read_live(self, _now: datetime) -> None:
        if self.is_closed or (self._reading_live and not self._reading_live.done()):
            return
        self._reading_live = self.config_entry.async_create_background_task(
            self.hass, self._async_read_live(), f"{self.name} live power"
        )

    async def _async_read_live(self) -> None:
        live = self.gateway.live
        await self.gateway.read_live()
        if live.source is None and live.is_denied and not self.is_closed:
            # The session or the token ended: a poll logs in again, once for each time.
            live.is_denied = False
            await self.async_request_refresh()

    # Writing

    @asynccontextmanager
    async def editing(self, entity_id: str, address: Address) -> AsyncIterator[Edit]:
        """Let an entity write a change of the object at an address; what is reported before and after it is published.

        Raises what `Gateway.editing` raises.
        """
        if not self.gateway.is_authenticated:
            # After a restart without the gateway, what it stored is shown: the login fails for the actual reason.
            await self.authentication.async_log_in()
        self._schedule_rechecks(field := address[0])
        with ExitStack() as stack:
            async with self.gateway.editing(field) as edit:
                self.publish()
                if field == RELAY_SETTINGS:
                    self._schedule_rechecks(RELAY_STATUS)
                    self.energy_manager.relays.hold(self.data.objects, self.gateway.clock())
                self.energy_manager.relays.release(address)
                stack.enter_context(self.energy_manager.writing_settings())
                yield edit
        if edit.before and edit.wanted and edit.wanted is not edit.before and not self.is_closed:
            self.energy_manager.watch_settings(edit.before, edit.wanted, entity_id)
        self.publish()

    async def async_change_in_cloud(
        self, control: BatteryControl, setting: Setting, value: object, entity_id: str
    ) -> None:
        """Change a battery setting through the cloud, and read soon whether the gateway follows. Raises CloudError."""
        await control.async_change(setting, value, entity_id)
        for field in ("storage_settings", "battery_controller", "battery_scheduler"):
            self._schedule_rechecks(field, _FOLLOWING_DELAYS)
        self.publish()

    @callback
    def _schedule_rechecks(self, field: str, delays: Iterable[float] = _SETTLING_DELAYS) -> None:
        """Read a field again in some seconds, and some for longer."""
        if self.is_closed:
            return
        for cancel in self._rechecks.pop(field, ()):
            cancel()
        delays = (*delays, *_FURTHER_DELAYS.get(field, ()))
        self._rechecks[field] = [async_call_later(self.hass, delay, partial(self._recheck, field)) for delay in delays]

    @callback
    def _recheck(self, field: str, _now: datetime) -> None:
        async def refresh() -> None:
            with suppress(GatewayError):
                await self.gateway.refresh(field)
            self.publish()

        self.config_entry.async_create_background_task(self.hass, refresh(), f"{self.name} refresh of {field}")

    @callback
    def _stop_rechecks(self) -> None:
        for cancels in self._rechecks.values():
            for cancel in cancels:
                cancel()
        self._rechecks.clear()

    # Publishing

    @callback
    def publish(self, addresses: Collection[Address] | None = None) -> None:
        """Show the present objects, or those at some addresses; the next poll is not moved by this."""
        if self.is_closed or self.data is None:
            return
        snapshot = self._with_cloud(self.gateway.snapshot())
        self.data = self.roof.process(self.energy_manager.process(snapshot, addresses), addresses)
        if addresses is None:
            self.async_update_listeners()
            return
        # What the energy manager adds or replaces may depend on any of the addresses.
        objects, before = self.data.objects, self.published.addresses
        evaluated = {*addresses, *changed_addresses(objects, snapshot.objects)}
        changed = self.published.update(self.data, evaluated, hold_all=self._holds_all)
        # Where live power alone changed, the hardware is the same.
        is_live = self.published.addresses is before and all(objects[each].field_freshness for each in changed)
        self._update(changed, every=not is_live)
        self._schedule_expiry(of_all=False)

    @property
    def _holds_all(self) -> bool:
        """Whether no value expires: with polls by automations alone, their author decides about the age of values."""
        return self.config_entry.pref_disable_polling and self.last_update_success

    @override
    @callback
    def async_add_listener(self, update_callback: CALLBACK_TYPE, context: Any = None) -> Callable[[], None]:
        """Listen to the object at an address, or without one to every update."""
        if context is None:
            return super().async_add_listener(update_callback)
        listeners = self._address_listeners.setdefault(context, [])
        listeners.append(update_callback)
        return partial(listeners.remove, update_callback)

    @override
    @callback
    def async_update_listeners(self) -> None:
        """Update the entities whose object changed, was removed or added, and the listeners to every update."""
        if self.is_closed or self.data is None:
            return
        self._update(self.published.update(self.data, hold_all=self._holds_all))
        self._schedule_expiry()

    @callback
    def _update(self, changed: Iterable[Address], *, every: bool = True) -> None:
        if self.battery_control and self.battery_control.check(self.data):
            changed = [*changed, PENDING]
        self._call(self._listeners_to(changed, every=every))

    def _call(self, updates: Iterable[CALLBACK_TYPE]) -> None:
        for update in updates:
            try:
                update()
            except Exception:  # noqa: BLE001  (as the framework's own loop does)
                # One entity that can't be updated must not stop the updates of the others.
                LOGGER.exception("%s: %s could not be updated", self.name, update)

    @callback
    def async_update_all(self) -> None:
        """Update all entities: the controller that they belong to was exchanged."""
        self._call([update for listeners in self._address_listeners.values() for update in listeners])

    def _listeners_to(self, changed: Iterable[Address], *, every: bool) -> Iterator[CALLBACK_TYPE]:
        """Yield the listeners to every update first, which may add and remove entities."""
        if every:
            yield from [update for update, _ in self._listeners.values()]
        for address in changed:
            yield from list(self._address_listeners.get(address, ()))

    @callback
    def _schedule_expiry(self, *, of_all: bool = True) -> None:
        """Update the entities when the next value expires, should no poll come first.

        Where some objects alone were renewed, a time that is scheduled stays unless one of these expires before it.
        """
        seconds = self.published.seconds_to_next_expiry()
        expires_at = float("inf") if seconds is None else self.gateway.clock() + seconds
        if not of_all and self._cancel_expiry and self._expires_at <= expires_at:
            return
        self._stop_expiry()
        if seconds is not None:
            self._expires_at = expires_at
            self._cancel_expiry = async_call_later(self.hass, seconds, self._expire)

    @callback
    def _expire(self, _now: datetime) -> None:
        self._cancel_expiry = None
        self.async_update_listeners()

    @callback
    def _stop_expiry(self) -> None:
        if self._cancel_expiry:
            self._cancel_expiry()
            self._cancel_expiry = None

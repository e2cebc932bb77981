"""Days of an installation in minutes, with a fault every half an hour that a seed determines.

The clocks of the simulator and of Home Assistant's event loop are moved together, so that timers fire as in real time.
A `SoakError` describes the failed check, the simulated time and the incident.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
import gc
import logging
from pathlib import Path
from random import Random
import resource
import time
import tracemalloc
from typing import Final, cast, override
from unittest.mock import Mock, patch

from freezegun.api import FrozenDateTimeFactory, StepTickTimeFactory, TickingDateTimeFactory
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import EVENT_HOMEASSISTANT_FINAL_WRITE, STATE_UNAVAILABLE
from homeassistant.core import State, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er, issue_registry as ir
from homeassistant.helpers.entity_component import async_update_entity
from homeassistant.helpers.event import async_track_state_change_event
from homeassistant.helpers.storage import Store
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.enphase_envoy.client.live import LivePower
from custom_components.enphase_envoy.client.paths import PERIODS
from custom_components.enphase_envoy.const import DOMAIN, OPTION_DISABLE_KEEP_ALIVE
from custom_components.enphase_envoy.energy.counter import CHECKPOINTS
from custom_components.enphase_envoy.issues import COUNTER_STEP
from custom_components.enphase_envoy.statistics.recorder import ROW, Correction, PendingCorrections
from tests.helpers.integration import Installation
from tests.simulator import (
    Body,
    Drop,
    EmptyList,
    EmptyObject,
    Html,
    Missing,
    NightlyRestart,
    Null,
    Silent,
    Slow,
    Status,
    Step,
    TodayPlus32Bits,
    Truncated,
    Zeros,
)
from tests.simulator.faults import Fault
from tests.simulator.house import House
from tests.worlds.recorder import RecordedCounter

#: Seconds by which the clock is advanced; a poll is due every 60 to 75.
STEP: Final = 15
#: Seconds by which it is advanced while an answer is awaited: a poll waits for 8.
WAIT: Final = 9
#: Seconds between two polls at most.
POLL: Final = 75
#: Seconds for which power stays available after its last update, and until it must be unavailable.
AVAILABLE: Final = 210
UNAVAILABLE: Final = AVAILABLE + 2 * STEP
#: Seconds after which endpoints that failed slowly, or are polled rarely, were polled again.
RARE: Final = 720
#: kWh by which a counter may be too high: rounding, and readings that were plausible and still wrong.
TOLERANCE: Final = 1.0
#: Seconds for which a wrong value that moves is held back at least: a quarter of an hour, without the last poll.
HELD: Final = 840
#: The same for a value that goes on from one which was shown before, and by what part these may differ.
HELD_AGAIN: Final = 240
SAME: Final = 0.05
#: Seconds after the end of wrong values within which they are taken back: 4 minutes of right ones, and the polls.
TAKEN_BACK: Final = 480
#: Seconds for which another value is held back at most: a quarter of an hour, or an hour if it stands still; and polls.
HELD_MOVING: Final = 900 + 300
HELD_STANDING: Final = 3600 + 300
#: Seconds after which a poll requests also what live power covers, and every small change of that was written.
LIVE_POLL: Final = 91
#: Wh by which a new meter differs at least: three CTs can carry 432 kWh in the two hours by which a meter may be late,
#: and less than that counts as late energy.
NEW_METER: Final = 500_000.0
#: Seconds within which a step takes back another one that it undoes but for what the CTs can carry.
TAKEN_BACK_WITHIN: Final = 2 * 3600
#: kWh that can flow in a row of statistics, if it contains the energy of an hour without readings.
LARGEST_ROW: Final = 40.0

FAULTS: Final[tuple[Callable[[], Fault], ...]] = (
    *(lambda: Status(500), lambda: Status(503), Drop, lambda: Drop(0.5), Truncated, Html, Null, EmptyObject),
    *(EmptyList, lambda: Body("5"), Silent, lambda: Slow(20), lambda: Slow(0.5)),
)
#: Lists, and a record to remove from each.
RECORDS: Final = (
    ("/api/v1/production/inverters", "0"),
    ("/ivp/ensemble/inventory", "0.devices.0"),
    ("/ivp/ensemble/power", "devices:.0"),
    ("/ivp/ensemble/dry_contacts", "dry_contacts.0"),
    ("/inventory.json", "0.devices.0"),
)
COUNTER_FAULTS: Final[tuple[Callable[[], Fault], ...]] = (Zeros, TodayPlus32Bits, lambda: Step(5e7), lambda: Step(-2e6))
COUNTER_PATHS: Final = ("/production.json", "/api/v1/production", "/production")
#: Endings of entity ids, and their expected values in W, % and Wh.
EXPECTED: Final[Mapping[str, Callable[[House], float]]] = {
    "current_power_production": lambda house: house.power("production"),
    "current_net_power_consumption": lambda house: house.power("imported") - house.power("exported"),
    "current_battery_discharge": lambda house: house.power("discharged") - house.power("charged"),
    "lifetime_balanced_net_energy_consumption": lambda house: house.total("imported") - house.total("exported"),
    "lifetime_energy_consumption": lambda house: (
        house.total("production") + house.total("imported") - house.total("exported")
    ),
    "lifetime_energy_production": lambda house: house.total("production"),
    "lifetime_net_energy_consumption": lambda house: house.total("imported"),
    "lifetime_net_energy_production": lambda house: house.total("exported"),
    "lifetime_battery_energy_charged": lambda house: house.total("charged"),
    "lifetime_battery_energy_discharged": lambda house: house.total("discharged"),
    "battery": lambda house: house.soc,
}
UNITS: Final = {"W": 1, "kW": 1e3, "MW": 1e6, "Wh": 1, "kWh": 1e3, "MWh": 1e6, "%": 1}


type Freezer = FrozenDateTimeFactory | StepTickTimeFactory | TickingDateTimeFactory


#: Objects of which each one of another class has a limited number, for days after the last one was added.
LIMITED: Final = {
    "custom_components.enphase_envoy.energy.counter.Checkpoint": (
        "custom_components.enphase_envoy.energy.counter.Counter",
        CHECKPOINTS,
    )
}


class SoakError(AssertionError):
    """A check of the soak failed."""


@dataclass(frozen=True)
class Incident:
    """Faults that last for some minutes."""

    name: str
    faults: tuple[tuple[str, Fault], ...]
    minutes: float
    #: All endpoints fail; records are missing for good; seconds to wait after the end.
    whole: bool = False
    missing: bool = False
    wait: float = 0
    #: Wh by which counters are wrong.
    step: float = 0
    #: Another meter of the grid, with other counters.
    new_meter: bool = False

    def __str__(self) -> str:
        """Describe the faults."""
        faults = ", ".join(f"{path}: {fault}" for path, fault in self.faults[:3])
        return f"{self.name} ({faults}) for {self.minutes:.0f} min"


@dataclass
class Size:
    """Numbers of tasks, timers, listeners and objects, and sizes of memory that could leak."""

    tasks: int
    timers: int
    listeners: int
    objects: Counter[str]
    all_objects: int
    #: Bytes allocated by each line of the component and the library, and bytes of the process.
    lines: Counter[str]
    resident: int

    @property
    def traced(self) -> int:
        """Bytes allocated by the component and the library."""
        return self.lines.total()

    def grown(self, before: Size) -> list[str]:
        """Return the lines with the largest growth of allocations, and the types of objects that increased most."""
        lines = [f"{line}: {more} bytes" for line, more in (self.lines - before.lines).most_common(5)]
        return lines + [f"{kind}: {more}" for kind, more in (self.objects - before.objects).most_common(5)]


@dataclass
class Report:
    """Numbers of a soak."""

    seconds: float = 0
    polls: int = 0
    changes: int = 0
    reloads: int = 0
    #: Updates of an entity on request, by how the entry was unloaded meanwhile.
    disturbances: Counter[str] = field(default_factory=Counter)
    #: Steps in which live power was read from each source.
    sources: Counter[str | None] = field(default_factory=Counter)
    incidents: Counter[str] = field(default_factory=Counter)
    #: Incidents in which a wrong value was shown, and corrections of statistics.
    shown: int = 0
    corrections: int = 0
    #: Messages about a new meter.
    messages: int = 0
    first: Size | None = None
    last: Size | None = None
    #: Seconds between the two sizes.
    between: float = 0


class _LogMonitor(logging.Handler):
    """Collects errors and tracebacks, which the log must not contain."""

    def __init__(self, is_failing: Callable[[], bool]) -> None:
        """Collect from now on, except errors of polls while the gateway is expected to fail."""
        super().__init__(logging.INFO)
        self.found: list[str] = []
        self._is_failing = is_failing

    @override
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # pytest keeps all records: they must not refer to exceptions, because a traceback refers to all objects.
        record.msg, record.args = message, None
        expected = message.startswith("Error fetching ") and self._is_failing()
        if record.exc_info or (record.levelno >= logging.ERROR and not expected):
            self.found.append(f"{record.name}: {message}")


class Soak:
    """An installation that is simulated for days."""

    def __init__(self, installation: Installation, freezer: Freezer, storage: Mapping[str, object], seed: int) -> None:
        """Use an installation that was just set up without faults; `freezer` controls a ticking clock.

        `storage` are the files that Home Assistant keeps.
        """
        self.installation = installation
        self.report = Report()
        self._freezer = freezer
        self._storage = storage
        self._seed = seed
        self._random = Random(seed)
        self._incident: Incident | None = None
        self._incident_begin = 0.0
        #: Whether its faults are active.
        self._is_failing = False
        #: Entities that showed a wrong value in this incident.
        self._wrong: set[str] = set()
        #: Seconds for which the wrong values are held back at least, and steps that were shown, in Wh.
        self._held_for: float = HELD
        self._shown_steps: list[float] = []
        #: When the meter was replaced last.
        self._replaced_at = float("-inf")
        #: Corrections that are due, and those that were applied: entity, time and Wh.
        self._corrections: list[Correction] = []
        self._applied: list[tuple[str, int, int]] = []
        #: Times of the last poll that succeeded, or of an older answer that live power covers, and of the
        #: last poll that may have succeeded: the gateway restarts at night.
        self._last_success = self._last_possible_success = installation.gateway.clock.now
        self._begin = self._last_success
        self._names = installation.states().keys()
        self._paths: list[str] = []
        self._highest: dict[str, float] = {}
        self._expected = dict(self._find_expected())
        #: The statistics of the counters with an expected value, which Home Assistant keeps when an entry is removed.
        self._recorded = {
            name: RecordedCounter(is_total="balanced" in name) for name in self._expected if "lifetime" in name
        }
        self._begun = {name: self._expected[name](installation.gateway.house) for name in self._recorded}
        for name in self._recorded:
            self._record(installation.hass.states.get(name), name)
        #: Listeners without the entry, from its first removal on.
        self._other_listeners: int | None = None
        self._log_monitor = _LogMonitor(self._may_fail)

    async def run(self, days: float, log: Callable[[str], None] = lambda _text: None) -> Report:
        """Simulate some days. Raises SoakError when a check fails."""
        end, warm = self._begin + days * 86400, self._begin + min(days / 4, 0.5) * 86400
        self.installation.gateway.faults.add("*", NightlyRestart())
        today = 0
        self._require(bool(self._expected), "no entity has an expected value")
        hass = self.installation.hass
        async_track_state_change_event(
            hass, self._recorded, lambda event: self._record(event.data["new_state"], event.data["entity_id"])
        )
        with self._monitored():
            await self._find_paths()
            while (now := self._now) < end:
                if self.report.first is None and now >= warm:
                    # Objects allocated before memory was traced must be counted as well.
                    await self._reload()
                    self.report.first, measured = await self._measure(), now
                await self._pass_time(self._random.uniform(60, 1800))
                await self._run_incident(self._draw())
                if (day := int((now - self._begin) / 86400)) != today:
                    today = day
                    log(f"day {day}: {self.report.polls} polls, {self.report.incidents.total()} incidents")
            self.report.last = await self._measure()
            self._check_recorded()
            self.report.between = self._now - measured
            self.report.seconds = self._now - self._begin
        self._compare()
        return self.report

    @contextmanager
    def _monitored(self) -> Iterator[None]:
        """Monitor the log and trace memory within the block."""
        logging.getLogger().addHandler(self._log_monitor)
        tracemalloc.start()
        soak = self

        def add(pending: PendingCorrections, *corrections: Correction) -> None:
            """Correct what is recorded here, as there is no recorder."""
            for correction in corrections:
                soak.report.corrections += 1
                soak._corrections.append(correction)
                # The energy manager notes what to report only after it.
                start = replace(correction, at=correction.at - correction.at % ROW)
                soak.installation.hass.loop.call_soon(pending._on_done, start, False)

        try:
            with patch.object(PendingCorrections, "async_add", add):
                yield
        finally:
            tracemalloc.stop()
            logging.getLogger().removeHandler(self._log_monitor)

    # Time

    @property
    def _now(self) -> float:
        return self.installation.gateway.clock.now

    @property
    def _night(self) -> bool:
        """Whether the gateway restarts, or has just done so."""
        local = self.installation.gateway.clock.local(self.installation.gateway.house.zone)
        return local.hour == 23 and local.minute < 7

    def _may_fail(self) -> bool:
        """Whether a whole poll may fail: all endpoints that are due may be those with a fault."""
        return self._night or (self._incident is not None and len(self._incident.faults) + self._incident.whole > 1)

    async def _pass_time(self, seconds: float) -> None:
        """Let time pass, with an occasional change of a setting or reload of the entry."""
        end = self._now + seconds
        while self._now < end:
            await self._step()
            if (dice := self._random.random()) < 0.004:
                await self._reload()
            elif dice < 0.012:
                await self._change()
            elif dice < 0.02:
                await self._disturb()

    def _move(self, seconds: float) -> None:
        """Advance all clocks."""
        clock = self.installation.gateway.clock
        self._freezer.move_to(self._freezer() + timedelta(seconds=seconds))
        clock.set(max(clock.now, time.time()))

    @asynccontextmanager
    async def _skipping_waits(self) -> AsyncIterator[None]:
        """Advance the clocks while requests wait for a late or missing answer."""

        async def skip() -> None:
            while True:
                await asyncio.sleep(0.2)
                self._move(WAIT)

        slow = any(isinstance(active.fault, (Slow, Silent)) for active in self.installation.gateway.faults.active)
        task = asyncio.create_task(skip()) if slow else None
        try:
            yield
        finally:
            if task:
                task.cancel()

    async def _step(self) -> None:
        """Advance the clocks by one step, and check."""
        before = self._now
        self._move(STEP)
        # One iteration of the loop finds the timers that are due, the next runs them.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with self._skipping_waits():
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)
        polls = [
            r for r in self.installation.gateway.requests if r.path.partition("?")[0] == self._pulse and r.at > before
        ]
        self.report.polls += len(polls)
        live = self.installation.coordinator.gateway.live
        if live.interval:
            self.report.sources[live.source] += 1
        if polls and not self._incident:
            self._record_poll()
        self._apply_corrections()
        self._check_states()

    def _record_poll(self) -> None:
        """Record a poll outside of an incident."""
        self._last_possible_success = self._now
        if self._night:
            return
        gateway = self.installation.coordinator.gateway
        # Of endpoints that live power covers, polls request every second time what it does not contain.
        covered = gateway.live.covered(self.installation.coordinator.data.objects) & gateway._parser.paths
        requested = [gateway._scheduler.endpoints[path].requested_at for path in covered]
        self._last_success = min([self._now, *requested])
        age = self._now - self._last_success
        self._require(age <= 2 * POLL, f"{covered} were requested {age:.0f} s ago")

    async def _find_paths(self) -> None:
        """Find the requested paths, and one that is requested in every poll."""
        requests = self.installation.gateway.requests
        self._pulse = ""
        await self.installation.poll_all()
        self._paths = sorted({r.path.partition("?")[0] for r in requests} - {"/info", "/auth/check_jwt", "/home"})
        every = set(self._paths)
        if self.installation.coordinator.gateway.live.interval:
            self._paths = sorted({*self._paths, *LivePower.sources})
        for _ in range(2):
            requests.clear()
            await self.installation.poll()
            every &= {request.path.partition("?")[0] for request in requests}
        # Live power requests its sources at other times than the polls.
        self._pulse = max(every - set(LivePower.sources))
        self._last_success = self._now

    # Incidents

    def _draw(self) -> Incident:
        """Return the next incident."""
        draw, minutes = self._random, self._random.choice((1, 2, 4, 8, 12))
        kinds = ("one", "one", "one", "some", "whole", "unauthorized", "counter", "counter", "record", "meter")
        # A second new meter may seem to be the end of a first one that was wrong.
        again = self._now - self._replaced_at >= TAKEN_BACK_WITHIN
        kind = draw.choice(kinds if again else kinds[:-1])
        if kind in {"one", "some"}:
            fault = draw.choice(FAULTS)()
            paths = draw.sample(self._paths, min(len(self._paths), 1 if kind == "one" else 3))
            return Incident(kind, tuple((path, fault) for path in paths), minutes, wait=RARE)
        if kind == "whole":
            return Incident(kind, (("*", draw.choice((Status(503), Drop(), Silent()))),), 2 * minutes, True, wait=RARE)
        if kind == "unauthorized":
            rejections = tuple((path, Status(401)) for path in (*self._paths, "/auth/check_jwt"))
            return Incident(kind, rejections, minutes, whole=True, wait=RARE)
        if kind == "counter":
            path = draw.choice([path for path in COUNTER_PATHS if path in self._paths] or self._paths)
            fault = draw.choice(COUNTER_FAULTS)()
            step = fault.watt_hours if isinstance(fault, Step) else 0.0
            return Incident(kind, ((path, fault),), draw.choice((minutes, 2 * minutes)), step=step)
        if kind == "meter":
            return Incident(kind, (), 0, new_meter=True)
        path, record = draw.choice([row for row in RECORDS if row[0] in self._paths])
        # After a reload meanwhile there is no object without the next answer.
        wait = max([RARE, *(period + 2 * POLL for url, period in PERIODS.items() if url.partition("?")[0] == path)])
        return Incident(kind, ((path, Missing(record)),), 5 * minutes, missing=True, wait=wait)

    async def _run_incident(self, incident: Incident) -> None:
        """Run an incident, and check that the installation recovers."""
        _release_calls()
        await self.installation.poll()
        self._record_poll()
        faults = self.installation.gateway.faults
        self._incident, self._incident_begin = incident, self._now
        self._wrong = set()
        again = any(abs(incident.step - step) <= SAME * abs(step) for step in self._shown_steps)
        self._held_for = HELD_AGAIN if again else HELD
        self.report.incidents[incident.name] += 1
        if incident.new_meter:
            await self._replace_meter()
        active = [faults.add(path, fault) for path, fault in incident.faults]
        self._is_failing = True
        await self._pass_time(incident.minutes * 60)
        for each in active:
            each.remove()
        # If that was at night, the gateway may answer before the night is over.
        self._is_failing = False
        while self._night:
            await self._step()
        await self._wait_for(incident)
        if self._may_show_step(incident):
            await self._pass_time(TAKEN_BACK)
            while self._night:
                await self._step()
        if self._wrong:
            self.report.shown += 1
            self._shown_steps.append(incident.step)
        await self._check()
        self._check_recorded()
        self._incident = None

    async def _replace_meter(self) -> None:
        """Replace the meter of the grid by one with another import, and wait until that is shown."""
        house, names = self.installation.gateway.house, {name for name in self._recorded if "consumption" in name}
        self._replaced_at = self._now
        # More than may count as late energy, and never as much as before: that would take it back.
        total, sign = house.total("imported"), self._random.choice((1, -1))
        more = max(self._random.uniform(0.2, 0.5) * total, self._random.uniform(1, 2) * NEW_METER)
        if sign < 0 and total > 2 * more:
            more = -more
        snapshots = (house.counters, *(snapshot.counters for snapshot in (*house.midnights, *house.log)))
        for counters in snapshots:
            counters["imported"][0] += more
        self._shown_steps += [more, -more]
        for name in names:
            self._begun[name] += more
        reported = {name: self._expected[name](house) for name in names}
        moved_after: dict[str, float] = {}
        while held := [each for each in sorted(names) if not self._shows(each)]:
            passed = self._now - self._incident_begin
            for name in held:
                # The computed consumption stands still while a battery covers it.
                if (
                    name.endswith("lifetime_energy_consumption")
                    and abs(self._expected[name](house) - reported[name]) > 1
                ):
                    moved_after.setdefault(name, passed)
            limits = {
                name: min(max(HELD_MOVING, moved_after.get(name, HELD_STANDING) + 300), HELD_STANDING) for name in held
            }
            late = [name for name in held if passed >= limits[name]]
            self._require(not late or self._night, f"{late} not shown after {passed:.0f} s")
            await self._step()
        for name in names:
            # The poll before a new meter counts with the mean of those after it.
            error = self._error(name)
            self._require(
                abs(error) <= 1000 * TOLERANCE,
                f"{name}: {error:.0f} Wh too much recorded after a new meter; {self._corrected(name)}",
            )
            self._begun[name] -= error

    def _shows(self, name: str) -> bool:
        state = self.installation.hass.states.get(name)
        value = _value(state) if state else None
        return value is not None and abs(value - self._expected[name](self.installation.gateway.house)) < 1000

    async def _wait_for(self, incident: Incident) -> None:
        """Wait until all endpoints that failed are due."""
        if self._is_due(incident):
            return
        self._last_success = float("-inf")
        await self._pass_time(incident.wait)
        while self._night:
            await self._step()

    def _is_due(self, incident: Incident) -> bool:
        """Return whether the next poll requests all endpoints that failed: those that failed slowly are paused."""
        slow = any(isinstance(fault, (Slow, Silent)) for _, fault in incident.faults)
        return not (slow or incident.missing)

    async def _reload(self) -> None:
        """Reload the entry, also during an incident."""
        self.report.reloads += 1
        async with self._skipping_waits():
            await self.installation.hass.config_entries.async_reload(self.installation.entry.entry_id)
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)
        self._require(
            self.installation.entry.state is ConfigEntryState.LOADED, f"after a reload: {self._entry_state()}"
        )

    def _entry_state(self) -> str:
        return f"{self.installation.entry.state.name} ({self.installation.entry.reason})"

    async def _change(self) -> None:
        """Change a setting, as a user does. During an incident it may fail."""
        choices = {
            "number.*_reserve_battery_level": ("number", "set_value", {"value": self._random.randrange(10, 60, 5)}),
            "switch.*_charge_from_grid": ("switch", self._random.choice(("turn_on", "turn_off")), {}),
            "switch.pool_pump": ("switch", self._random.choice(("turn_on", "turn_off")), {}),
        }
        found = [(name, row) for name in sorted(self._names) for pattern, row in choices.items() if _is(name, pattern)]
        if not found:
            return
        name, (domain, service, data) = self._random.choice(found)
        self.report.changes += 1
        may_fail = suppress(HomeAssistantError) if self._incident or self._night else nullcontext()
        async with self._skipping_waits():
            with may_fail:
                await self.installation.hass.services.async_call(
                    domain, service, {"entity_id": name, **data}, blocking=True
                )
            # A poll that was due meanwhile waited for it.
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)

    async def _disturb(self) -> None:
        """Unload the entry in one of several ways while an entity is updated on request, in any phase of the poll."""
        hass, entry = self.installation.hass, self.installation.entry
        requests, phase = self.installation.gateway.requests, self._random.randrange(9)
        kind = self._random.choice(("none", "reload", "options", "remove"))
        # An entry that is new needs a gateway that responds.
        if kind == "remove" and (self._incident or self._night):
            kind = "reload"
        self.report.disturbances[kind] += 1
        async with self._skipping_waits():
            before = len(requests)
            power = next(name for name in self._names if name.endswith("current_power_production"))
            update = hass.async_create_task(async_update_entity(hass, power))
            while not update.done() and len(requests) < before + phase:  # noqa: ASYNC110  (the simulator has no event)
                await asyncio.sleep(0)
            if kind == "remove":
                await self._replace_entry()
            elif kind != "none":
                if kind == "options":
                    other = not entry.options.get(OPTION_DISABLE_KEEP_ALIVE, False)
                    options = {**entry.options, OPTION_DISABLE_KEEP_ALIVE: other}
                    hass.config_entries.async_update_entry(entry, options=options)
                await hass.config_entries.async_reload(entry.entry_id)
            await update
            await hass.async_block_till_done(wait_background_tasks=True)
        self._require(self.installation.entry.state is ConfigEntryState.LOADED, f"after {kind}: {self._entry_state()}")

    async def _replace_entry(self) -> None:
        """Remove the entry, and set up its gateway anew."""
        hass = self.installation.hass
        await self.remove()
        old = self.installation.entry
        self.installation.entry = MockConfigEntry(
            domain=old.domain, title=old.title, unique_id=old.unique_id, data=dict(old.data), options=dict(old.options)
        )
        self.installation.entry.add_to_hass(hass)
        await hass.config_entries.async_setup(self.installation.entry.entry_id)
        # Virtual meters begin at zero.
        self._highest.clear()

    async def remove(self) -> None:
        """Remove the entry, and check that nothing of it is left."""
        hass, entry_id = self.installation.hass, self.installation.entry.entry_id
        await hass.config_entries.async_remove(entry_id)
        await hass.async_block_till_done(wait_background_tasks=True)
        files = [key for key in self._storage if entry_id in key]
        self._require(not files, f"files after the removal: {files}")
        # Home Assistant's own files wait to be written, such as that of the messages.
        counts = hass.bus.async_listeners()
        listeners = sum(count for event, count in counts.items() if event != EVENT_HOMEASSISTANT_FINAL_WRITE)
        self._other_listeners = self._other_listeners or listeners
        self._require(listeners == self._other_listeners, f"{self._other_listeners} listeners became {listeners}")
        tasks = [repr(task) for task in asyncio.all_tasks() if "custom_components" in repr(task.get_coro())]
        self._require(not tasks, f"tasks after the removal: {tasks}")

    # Checks

    @callback
    def _record(self, state: State | None, name: str) -> None:
        """Record the state of a counter, as Home Assistant's recorder does."""
        self._recorded[name].write(self._now, _value(state) if state else None)

    def _apply_corrections(self) -> None:
        """Correct the rows in which the energy was recorded, as the recorder does: at the time or soon after it."""
        for correction in self._corrections:
            if recorded := self._recorded.get(correction.entity_id):
                starts = [correction.at + later for later in (0, ROW)]
                energy = [recorded.rows[start - start % ROW] / -correction.watt_hours for start in starts]
                recorded.correct(starts[energy[1] > energy[0]], correction.watt_hours)
            self._applied.append((correction.entity_id, round(correction.at), round(correction.watt_hours)))
        self._corrections.clear()

    def _corrected(self, name: str) -> str:
        """Return the last corrections of a counter, and the last large rows."""
        applied = [(at, watt_hours) for entity_id, at, watt_hours in self._applied if entity_id == name]
        rows = [(round(start), round(energy)) for start, energy in self._recorded[name].rows.items()]
        return f"corrections {applied[-3:]}, rows {rows[-15:]}"

    def _error(self, name: str) -> float:
        """Return the Wh of a counter that are recorded and did not flow."""
        self._apply_corrections()
        return self._recorded[name].energy + self._begun[name] - self._expected[name](self.installation.gateway.house)

    def _check_recorded(self) -> None:
        """Check that the recorded energy is what flowed, in each row what can have flowed, and the messages."""
        for name, recorded in self._recorded.items():
            error = self._error(name)
            self._require(
                abs(error) <= 1000 * TOLERANCE, f"{name}: {error:.0f} Wh too much recorded; {self._corrected(name)}"
            )
            largest = max(recorded.rows.values(), key=abs, default=0.0)
            self._require(abs(largest) <= 1000 * LARGEST_ROW, f"{name}: {largest:.0f} Wh in a row")
        issues = ir.async_get(self.installation.hass).issues
        steps = [issue for domain, issue in issues if domain == DOMAIN and COUNTER_STEP in issue]
        wrong = [issue for issue in steps if not self.report.incidents["meter"] or "consumption" not in issue]
        self._require(not wrong, f"messages without a new meter: {wrong}")
        self.report.messages = len(steps)

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            local_time = self.installation.gateway.clock.local(self.installation.gateway.house.zone).isoformat(
                timespec="seconds"
            )
            raise SoakError(f"seed {self._seed}, {local_time}, {self._incident or 'no incident'}: {message}")

    def _check_states(self) -> None:
        """Check the conditions that hold at any time."""
        self._require(not self._log_monitor.found, f"in the log: {self._log_monitor.found}")
        age, states = self._now - self._last_success, self.installation.hass.states
        unavailable = [state.entity_id for state in states.async_all() if state.state == STATE_UNAVAILABLE]
        missing = self._incident is not None and self._incident.missing
        self._require(age >= AVAILABLE or not unavailable or missing, f"unavailable after {age:.0f} s: {unavailable}")
        since = self._now - self._last_possible_success
        # The gateway may answer between two restarts.
        is_lost = (
            self._is_failing and self._incident and self._incident.whole and age != float("inf") and not self._night
        )
        if is_lost and since >= UNAVAILABLE:
            power = next(name for name in self._names if name.endswith("current_power_production"))
            self._require(power in unavailable, f"{power} is available after {since:.0f} s")
        for state in states.async_all("sensor"):
            self._check_counter(state)

    def _check_counter(self, state: State) -> None:
        """Check that a counter never decreases, and never exceeds its expected value."""
        if "lifetime" not in state.entity_id or state.attributes.get("state_class") != "total_increasing":
            return
        if (value := _value(state)) is None:
            return
        if self._incident and self._incident.new_meter and "consumption" in state.entity_id:
            # Its phases may follow later.
            self._highest.pop(state.entity_id, None)
            return
        if self._is_shown_step(state.entity_id, value):
            return
        before = self._highest.get(state.entity_id, 0.0)
        self._require(value >= before, f"{state.entity_id} fell from {before} to {value} Wh")
        self._highest[state.entity_id] = value
        if expected := self._expected.get(state.entity_id):
            limit = expected(self.installation.gateway.house)
            self._require(value <= limit + 1000 * TOLERANCE, f"{state.entity_id} is {value}, expected {limit} Wh")

    def _may_show_step(self, incident: Incident) -> bool:
        """Return whether wrong values last for long enough to be shown."""
        return bool(incident.step) and 60 * incident.minutes >= self._held_for

    def _is_shown_step(self, name: str, value: float) -> bool:
        """Return whether a counter shows the wrong value of an incident, for which it lasts for long enough.

        What moves on is held back for a quarter of an hour, and shown then. At the end of the incident it is right.
        """
        incident, expected = self._incident, self._expected.get(name)
        if incident is None or not self._may_show_step(incident):
            return False
        is_wrong = (
            expected is None
            or abs(value - incident.step - expected(self.installation.gateway.house)) <= 1000 * TOLERANCE
        )
        if not is_wrong or self._now - self._incident_begin < self._held_for:
            return False
        self._wrong.add(name)
        self._highest.pop(name, None)
        return True

    async def _check(self) -> None:
        """Check that one poll updates all states."""
        if self.installation.coordinator.gateway.live.interval:
            # This poll requests also what live power covers, and what it changed by little was written.
            self._move(LIVE_POLL)
            while self._night:
                await self._step()
        await self.installation.poll()
        self._last_success = self._last_possible_success = self._now
        states = self.installation.states()
        self._require(states.keys() == self._names, f"other entities: {states.keys() ^ self._names}")
        self._check_states()
        unavailable = [name for name, state in states.items() if state == STATE_UNAVAILABLE]
        self._require(not unavailable, f"unavailable after it: {unavailable}")
        for name, expected in self._expected.items():
            state, target = self.installation.hass.states.get(name), expected(self.installation.gateway.house)
            value = _value(state) if state else None
            # The house may change between the last frame and the poll, by so little that the power is not written
            # within a minute. The limits are those of the sensor.
            live = self.installation.coordinator.gateway.live.interval and "lifetime" not in name
            slack = max(10.0, 0.01 * abs(target)) if live else 0.0
            agrees = value is not None and _agree(name, value, target, slack)
            self._require(agrees, f"{name} is {value}, expected {target}")

    def _find_expected(self) -> Iterator[tuple[str, Callable[[House], float]]]:
        """Yield the entities with an expected value: not each gateway measures the same."""
        registry = er.async_get(self.installation.hass)
        for state in self.installation.hass.states.async_all("sensor"):
            for ending, expected in EXPECTED.items():
                value = _value(state)
                if registry.async_get(state.entity_id) is None or value is None:
                    continue
                if not _is(state.entity_id, f"sensor.envoy_*_{ending}"):
                    continue
                if _agree(state.entity_id, value, expected(self.installation.gateway.house)):
                    yield state.entity_id, expected

    # Leaks

    async def _measure(self) -> Size:
        """Measure while no incident and no confirmation of a change is in progress."""
        end = self._now + 2 * RARE
        while self._now < end or self._night:
            await self._step()
        await self._check()
        _release_calls()
        for _ in range(3):
            gc.collect()
        loop, hass = asyncio.get_running_loop(), self.installation.hass
        allocations = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, f"*/{part}/*") for part in ("enphase_envoy", "pyenphase")]
        )
        objects = gc.get_objects()
        modules = ((type(each).__module__ or "", type(each).__qualname__) for each in objects)
        parts = ("custom_components.enphase_envoy", "pyenphase")
        return Size(
            # Not those of the simulator's server.
            tasks=sum("RequestHandler" not in repr(task.get_coro()) for task in asyncio.all_tasks(loop)),
            timers=sum(_is_counted(timer) for timer in loop._scheduled),  # type: ignore[attr-defined]
            listeners=sum(hass.bus.async_listeners().values()),
            objects=Counter(f"{module}.{name}" for module, name in modules if str(module).startswith(parts)),
            all_objects=len(objects),
            lines=Counter({str(line.traceback): line.size for line in allocations.statistics("lineno")}),
            resident=_resident(),
        )

    def _compare(self) -> None:
        """Check that nothing leaked between the two sizes."""
        first, last = self.report.first, self.report.last
        assert first
        assert last
        for name in ("tasks", "timers", "listeners"):
            before, after = getattr(first, name), getattr(last, name)
            self._require(after <= before + 3, f"{before} {name} became {after}")
        for name in ("coordinator.EnvoyCoordinator", "client.gateway.Gateway"):
            alive = last.objects[f"custom_components.enphase_envoy.{name}"]
            self._require(alive == 1, f"{alive} {name} after {self.report.reloads} reloads: {_holders(name)}")
        for name, after in last.objects.items():
            before, (holder, count) = first.objects[name], LIMITED.get(name, ("", 0))
            most = max(2 * before + 30, count * last.objects[holder])
            self._require(after <= most, f"{before} objects {name} became {after}")
        grown = f"{first.traced} bytes became {last.traced}: {last.grown(first)}"
        self._require(last.traced <= first.traced + 300_000, grown)


def _is_counted(timer: asyncio.TimerHandle) -> bool:
    """Return whether a timer is active and no sensor's write of a small change, whose number depends on the powers."""
    return not timer.cancelled() and "EnvoySensor._write" not in repr(timer._args)


def _release_calls() -> None:
    """Release the arguments of all calls of the mocked storage, among them every document that was stored."""
    for mocked in (Store._async_load, Store._async_write_data):
        cast("Mock", mocked).reset_mock()


def _holders(name: str) -> list[str]:
    """Return the types of the objects that refer to the instances of a class of the component."""
    instances = [
        each for each in gc.get_objects() if f"{type(each).__module__}.{type(each).__qualname__}".endswith(name)
    ]
    return sorted({repr(each)[:200] for each in gc.get_referrers(*instances) if each is not instances})


def _resident() -> int:
    """Return the resident memory of the process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _is(name: str, pattern: str) -> bool:
    begin, _, end = pattern.partition("*")
    return name.startswith(begin) and name.endswith(end)


def _value(state: State) -> float | None:
    """Return a state in W, Wh or %, None where it is no number."""
    try:
        return float(state.state) * UNITS[state.attributes.get("unit_of_measurement", "")]
    except ValueError, KeyError:
        return None


def _agree(name: str, value: float, expected: float, slack: float = 0.0) -> bool:
    """Return whether a state is the expected value within its rounding: to watts, tens of Wh, or percent."""
    return abs(value - expected) <= (200 if "lifetime" in name else 3) + slack

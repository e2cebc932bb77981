"""Days of a house in minutes, with something going wrong every half an hour, drawn by a seed.

Time is moved for everybody: for the simulator, and for Home Assistant's event loop, whose timers then fire by
themselves as they would. A `BrokenError` says what should not have been, when, and under which trouble.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
import gc
import logging
from pathlib import Path
from random import Random
import resource
import time
import tracemalloc
from typing import Final, cast, override
from unittest.mock import Mock

from freezegun.api import FrozenDateTimeFactory, StepTickTimeFactory, TickingDateTimeFactory
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import State
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.storage import Store

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
from tests.simulator.house import House as Truth

#: Seconds by which time moves; polls come every 60 to 75.
STEP: Final = 15
#: Seconds by which it moves while nothing comes: a poll waits for 8.
WAIT: Final = 9
#: Seconds that power is shown after the gateway last gave it, and until it must be gone.
SHOWN: Final = 210
GONE: Final = SHOWN + 2 * STEP
#: Seconds after which what failed slowly, or is asked rarely, was asked again.
RARE: Final = 720
#: kWh that a counter may be ahead of the truth: rounding, and what is possible and still wrong.
AHEAD: Final = 1.0

FAULTS: Final[tuple[Callable[[], Fault], ...]] = (
    *(lambda: Status(500), lambda: Status(503), Drop, lambda: Drop(0.5), Truncated, Html, Null, EmptyObject),
    *(EmptyList, lambda: Body("5"), Silent, lambda: Slow(20), lambda: Slow(0.5)),
)
#: Where records are left out of lists.
RECORDS: Final = (
    ("/api/v1/production/inverters", "0"),
    ("/ivp/ensemble/inventory", "0.devices.0"),
    ("/ivp/ensemble/power", "devices:.0"),
    ("/ivp/ensemble/dry_contacts", "dry_contacts.0"),
    ("/inventory.json", "0.devices.0"),
)
LIES: Final[tuple[Callable[[], Fault], ...]] = (Zeros, TodayPlus32Bits, lambda: Step(5e7), lambda: Step(-2e6))
COUNTED: Final = ("/production.json", "/api/v1/production", "/production")
#: Ends of the names of entities, and what they should say, in W, % and Wh.
TRUE: Final[Mapping[str, Callable[[Truth], float]]] = {
    "current_power_production": lambda house: house.power("production"),
    "current_net_power_consumption": lambda house: house.power("imported") - house.power("exported"),
    "current_battery_discharge": lambda house: house.power("discharged") - house.power("charged"),
    "lifetime_energy_production": lambda house: house.total("production"),
    "lifetime_net_energy_consumption": lambda house: house.total("imported"),
    "lifetime_net_energy_production": lambda house: house.total("exported"),
    "lifetime_battery_energy_charged": lambda house: house.total("charged"),
    "lifetime_battery_energy_discharged": lambda house: house.total("discharged"),
    "battery": lambda house: house.soc,
}
UNITS: Final = {"W": 1, "kW": 1e3, "MW": 1e6, "Wh": 1, "kWh": 1e3, "MWh": 1e6, "%": 1}


type Freezer = FrozenDateTimeFactory | StepTickTimeFactory | TickingDateTimeFactory


class BrokenError(AssertionError):
    """Something is not as it has to be."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong for some minutes."""

    name: str
    faults: tuple[tuple[str, Fault], ...]
    minutes: float
    #: Nothing of the gateway can be read; what is missing is really missing; seconds to wait after the end.
    whole: bool = False
    missing: bool = False
    wait: float = 0

    def __str__(self) -> str:
        """Tell what it is."""
        what = ", ".join(f"{path}: {fault}" for path, fault in self.faults[:3])
        return f"{self.name} ({what}) for {self.minutes:.0f} min"


@dataclass
class Size:
    """How much there is of what could leak."""

    tasks: int
    timers: int
    listeners: int
    objects: Counter[str]
    all_objects: int
    #: Bytes that each line of the component and the library holds, and bytes of the process.
    lines: Counter[str]
    resident: int

    @property
    def traced(self) -> int:
        """Bytes that the component and the library hold."""
        return self.lines.total()

    def grown(self, before: Size) -> list[str]:
        """Return what grew most, lines by the bytes that they hold, and kinds of objects by their number."""
        lines = [f"{line}: {more} bytes" for line, more in (self.lines - before.lines).most_common(5)]
        return lines + [f"{kind}: {more}" for kind, more in (self.objects - before.objects).most_common(5)]


@dataclass
class Report:
    """What came of it."""

    seconds: float = 0
    polls: int = 0
    changes: int = 0
    reloads: int = 0
    troubles: Counter[str] = field(default_factory=Counter)
    first: Size | None = None
    last: Size | None = None
    #: Seconds between the two sizes.
    between: float = 0


class _Watcher(logging.Handler):
    """Keeps what the log must not hold: errors and tracebacks."""

    def __init__(self, is_silent: Callable[[], bool]) -> None:
        """Keep nothing yet; that a gateway which is silent can't be read is no error of ours."""
        super().__init__(logging.INFO)
        self.found: list[str] = []
        self._is_silent = is_silent

    @override
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # pytest keeps all records: not with errors in them, whose tracebacks hold everything.
        record.msg, record.args = message, None
        excused = message.startswith("Error fetching ") and self._is_silent()
        if record.exc_info or (record.levelno >= logging.ERROR and not excused):
            self.found.append(f"{record.name}: {message}")


class Soak:
    """A house that is lived in for days."""

    def __init__(self, installation: Installation, freezer: Freezer, seed: int) -> None:
        """Live in a house that was just set up and is well; `freezer` moves a time that goes on by itself."""
        self.installation = installation
        self.report = Report()
        self._freezer = freezer
        self._seed = seed
        self._random = Random(seed)
        self._trouble: Trouble | None = None
        #: When the last poll was that was surely good, and that may have been: the gateway restarts at night.
        self._good_at = self._maybe_good_at = installation.gateway.clock.now
        self._begin = self._good_at
        self._names = installation.states().keys()
        self._paths: list[str] = []
        self._highest: dict[str, float] = {}
        self._true = dict(self._find_truth())
        self._watcher = _Watcher(self._may_be_silent)

    async def run(self, days: float, say: Callable[[str], None] = lambda _text: None) -> Report:
        """Live for some days. Raises BrokenError."""
        end, warm = self._begin + days * 86400, self._begin + min(days / 4, 0.5) * 86400
        self.installation.gateway.faults.add("*", NightlyRestart())
        today = 0
        self._require(bool(self._true), "nothing of it is known to be true")
        with self._watched():
            await self._learn()
            while (now := self._now) < end:
                if self.report.first is None and now >= warm:
                    # What was there before memory was traced counts as well.
                    await self._reload()
                    self.report.first, measured = await self._measure(), now
                await self._live(self._random.uniform(60, 1800))
                await self._suffer(self._draw())
                if (day := int((now - self._begin) / 86400)) != today:
                    today = day
                    say(f"day {day}: {self.report.polls} polls, {self.report.troubles.total()} troubles, all is well")
            self.report.last = await self._measure()
            self.report.between = self._now - measured
            self.report.seconds = self._now - self._begin
        self._compare()
        return self.report

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Look at the log meanwhile."""
        logging.getLogger().addHandler(self._watcher)
        tracemalloc.start()
        try:
            yield
        finally:
            tracemalloc.stop()
            logging.getLogger().removeHandler(self._watcher)

    # Time

    @property
    def _now(self) -> float:
        return self.installation.gateway.clock.now

    @property
    def _night(self) -> bool:
        """Whether the gateway restarts, or has just done so."""
        local = self.installation.gateway.clock.local(self.installation.gateway.house.zone)
        return local.hour == 23 and local.minute < 7

    def _may_be_silent(self) -> bool:
        """Whether a poll may come to nothing: what it asks for may be just what fails."""
        return self._night or (self._trouble is not None and len(self._trouble.faults) + self._trouble.whole > 1)

    async def _live(self, seconds: float) -> None:
        """Let time pass, with a change or a restart of the entry now and then."""
        end = self._now + seconds
        while self._now < end:
            await self._step()
            if (dice := self._random.random()) < 0.004:
                await self._reload()
            elif dice < 0.012:
                await self._change()

    def _move(self, seconds: float) -> None:
        """Move the time of all."""
        clock = self.installation.gateway.clock
        self._freezer.move_to(self._freezer() + timedelta(seconds=seconds))
        clock.set(max(clock.now, time.time()))

    @asynccontextmanager
    async def _hurrying(self) -> AsyncIterator[None]:
        """Let the time fly in which all that happens is that somebody waits for an answer."""

        async def fly() -> None:
            while True:
                await asyncio.sleep(0.2)
                self._move(WAIT)

        slow = any(isinstance(active.fault, (Slow, Silent)) for active in self.installation.gateway.faults.active)
        task = asyncio.create_task(fly()) if slow else None
        try:
            yield
        finally:
            if task:
                task.cancel()

    async def _step(self) -> None:
        """Let a moment pass, and look."""
        before = self._now
        self._move(STEP)
        # One round of the loop finds the timers that are due, the next runs them.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with self._hurrying():
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)
        polls = [r for r in self.installation.gateway.requests if r.path == self._pulse and r.at > before]
        self.report.polls += len(polls)
        if polls and not self._trouble:
            self._note_poll()
        self._look()

    def _note_poll(self) -> None:
        """Note that there was a poll while nothing was wrong but the night."""
        self._maybe_good_at = self._now
        if not self._night:
            self._good_at = self._now

    async def _learn(self) -> None:
        """Find out what is asked, and what of it in every poll."""
        requests = self.installation.gateway.requests
        self._pulse = ""
        await self.installation.poll_all()
        self._paths = sorted({r.path.partition("?")[0] for r in requests} - {"/info", "/auth/check_jwt", "/home"})
        requests.clear()
        await self.installation.poll()
        self._pulse = requests[-1].path
        self._good_at = self._now

    # Trouble

    def _draw(self) -> Trouble:
        """Return what goes wrong next."""
        draw, minutes = self._random, self._random.choice((1, 2, 4, 8, 12))
        kind = draw.choice(("one", "one", "one", "some", "whole", "refused", "lie", "record"))
        if kind in {"one", "some"}:
            fault = draw.choice(FAULTS)()
            paths = draw.sample(self._paths, min(len(self._paths), 1 if kind == "one" else 3))
            return Trouble(kind, tuple((path, fault) for path in paths), minutes, wait=RARE)
        if kind == "whole":
            return Trouble(kind, (("*", draw.choice((Status(503), Drop(), Silent()))),), 2 * minutes, True, wait=RARE)
        if kind == "refused":
            refused = tuple((path, Status(401)) for path in (*self._paths, "/auth/check_jwt"))
            return Trouble(kind, refused, minutes, whole=True, wait=RARE)
        if kind == "lie":
            path = draw.choice([path for path in COUNTED if path in self._paths] or self._paths)
            return Trouble(kind, ((path, draw.choice(LIES)()),), 2 * minutes)
        path, record = draw.choice([row for row in RECORDS if row[0] in self._paths])
        return Trouble(kind, ((path, Missing(record)),), 5 * minutes, missing=True, wait=RARE)

    async def _suffer(self, trouble: Trouble) -> None:
        """Go through a trouble, and see that it leaves nothing behind."""
        for kept in (Store._async_load, Store._async_write_data):
            # The storage of tests keeps all that was ever written.
            cast("Mock", kept).reset_mock()
        await self.installation.poll()
        self._note_poll()
        faults = self.installation.gateway.faults
        self._trouble = trouble
        self.report.troubles[trouble.name] += 1
        active = [faults.add(path, fault) for path, fault in trouble.faults]
        await self._live(trouble.minutes * 60)
        for each in active:
            each.remove()
        while self._night:
            await self._step()
        await self._wait_for(trouble)
        await self._check()
        self._trouble = None

    async def _wait_for(self, trouble: Trouble) -> None:
        """Wait until all that failed is due."""
        if self._is_due(trouble):
            return
        self._good_at = float("-inf")
        await self._live(trouble.wait)
        while self._night:
            await self._step()

    def _is_due(self, trouble: Trouble) -> bool:
        """Return whether the next poll asks all that failed: what fails quickly is asked in each, the rest later."""
        slow = any(isinstance(fault, (Slow, Silent)) for _, fault in trouble.faults)
        return not (slow or trouble.missing)

    async def _reload(self) -> None:
        """Set the entry up anew, whatever goes wrong."""
        self.report.reloads += 1
        async with self._hurrying():
            await self.installation.hass.config_entries.async_reload(self.installation.entry.entry_id)
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)
        self._require(self.installation.entry.state is ConfigEntryState.LOADED, f"after a reload: {self._entry_says()}")

    def _entry_says(self) -> str:
        return f"{self.installation.entry.state.name} ({self.installation.entry.reason})"

    async def _change(self) -> None:
        """Change a setting, as its owner does. While something is wrong it may be refused."""
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
        refusable = suppress(HomeAssistantError) if self._trouble or self._night else nullcontext()
        async with self._hurrying():
            with refusable:
                await self.installation.hass.services.async_call(
                    domain, service, {"entity_id": name, **data}, blocking=True
                )
            # A poll that came due meanwhile waited for it.
            await self.installation.hass.async_block_till_done(wait_background_tasks=True)

    # What has to be

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            moment = self.installation.gateway.clock.local(self.installation.gateway.house.zone).isoformat(
                timespec="seconds"
            )
            raise BrokenError(f"seed {self._seed}, {moment}, {self._trouble or 'no trouble'}: {what}")

    def _look(self) -> None:
        """Check what has to hold at any moment."""
        self._require(not self._watcher.found, f"in the log: {self._watcher.found}")
        age, states = self._now - self._good_at, self.installation.hass.states
        hidden = [state.entity_id for state in states.async_all() if state.state == STATE_UNAVAILABLE]
        missing = self._trouble is not None and self._trouble.missing
        self._require(age >= SHOWN or not hidden or missing, f"unavailable after {age:.0f} s: {hidden}")
        since = self._now - self._maybe_good_at
        if self._trouble and self._trouble.whole and age != float("inf") and since >= GONE:
            power = next(name for name in self._names if name.endswith("current_power_production"))
            self._require(power in hidden, f"{power} is shown after {since:.0f} s")
        for state in states.async_all("sensor"):
            self._look_at_counter(state)

    def _look_at_counter(self, state: State) -> None:
        """Check that a counter never falls, and is never ahead of the truth."""
        if "lifetime" not in state.entity_id or state.attributes.get("state_class") != "total_increasing":
            return
        if (value := _value(state)) is None:
            return
        before = self._highest.get(state.entity_id, 0.0)
        self._require(value >= before, f"{state.entity_id} fell from {before} to {value} Wh")
        self._highest[state.entity_id] = value
        if truth := self._true.get(state.entity_id):
            true = truth(self.installation.gateway.house)
            self._require(value <= true + 1000 * AHEAD, f"{state.entity_id} is {value}, really {true} Wh")

    async def _check(self) -> None:
        """Check that one poll makes everything right."""
        await self.installation.poll()
        self._good_at = self._maybe_good_at = self._now
        states = self.installation.states()
        self._require(states.keys() == self._names, f"other entities: {states.keys() ^ self._names}")
        self._look()
        hidden = [name for name, state in states.items() if state == STATE_UNAVAILABLE]
        self._require(not hidden, f"unavailable after it: {hidden}")
        for name, truth in self._true.items():
            state, true = self.installation.hass.states.get(name), truth(self.installation.gateway.house)
            value = _value(state) if state else None
            self._require(value is not None and _agree(name, value, true), f"{name} is {value}, really {true}")

    def _find_truth(self) -> Iterator[tuple[str, Callable[[Truth], float]]]:
        """Yield the entities whose truth the house knows: not each gateway measures the same."""
        registry = er.async_get(self.installation.hass)
        for state in self.installation.hass.states.async_all("sensor"):
            for ending, truth in TRUE.items():
                value = _value(state)
                if registry.async_get(state.entity_id) is None or value is None:
                    continue
                if not _is(state.entity_id, f"sensor.envoy_*_{ending}"):
                    continue
                if _agree(state.entity_id, value, truth(self.installation.gateway.house)):
                    yield state.entity_id, truth

    # Leaks

    async def _measure(self) -> Size:
        """Measure when nothing is under way: no trouble, no look at what was changed."""
        end = self._now + 2 * RARE
        while self._now < end or self._night:
            await self._step()
        await self._check()
        for _ in range(3):
            gc.collect()
        loop, hass = asyncio.get_running_loop(), self.installation.hass
        ours = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, f"*/{part}/*") for part in ("enphase_envoy", "pyenphase")]
        )
        objects = gc.get_objects()
        modules = ((type(each).__module__ or "", type(each).__qualname__) for each in objects)
        parts = ("custom_components.enphase_envoy", "pyenphase")
        return Size(
            # Not those of the simulator's server.
            tasks=sum("RequestHandler" not in repr(task.get_coro()) for task in asyncio.all_tasks(loop)),
            timers=sum(not timer.cancelled() for timer in loop._scheduled),  # type: ignore[attr-defined]
            listeners=sum(hass.bus.async_listeners().values()),
            objects=Counter(f"{module}.{name}" for module, name in modules if str(module).startswith(parts)),
            all_objects=len(objects),
            lines=Counter({str(line.traceback): line.size for line in ours.statistics("lineno")}),
            resident=_resident(),
        )

    def _compare(self) -> None:
        """Check that nothing leaked between the two sizes."""
        first, last = self.report.first, self.report.last
        assert first
        assert last
        for what in ("tasks", "timers", "listeners"):
            before, after = getattr(first, what), getattr(last, what)
            self._require(after <= before + 3, f"{before} {what} became {after}")
        for name in ("coordinator.EnvoyCoordinator", "client.gateway.Gateway"):
            alive = last.objects[f"custom_components.enphase_envoy.{name}"]
            self._require(alive == 1, f"{alive} {name} after {self.report.reloads} reloads")
        for name, after in last.objects.items():
            before = first.objects[name]
            self._require(after <= 2 * before + 30, f"{before} objects {name} became {after}")
        grown = f"{first.traced} bytes became {last.traced}: {last.grown(first)}"
        self._require(last.traced <= first.traced + 300_000, grown)


def _resident() -> int:
    """Return the bytes that the process holds."""
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


def _agree(name: str, value: float, true: float) -> bool:
    """Return whether a state is the truth as it is rounded: power to watts, energy to some tens of Wh, charge to %."""
    return abs(value - true) <= (200 if "lifetime" in name else 3)

"""The panels of a snapshot: which are part of the roof, their status, and whether they have a problem."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from pyenphase.models.inverter import EnvoyInverter

from ..model.json_data import Json
from ..model.live import LIVE_INVERTERS, LiveInverters
from ..model.panels import COUNTS, HEALTH, ROOF, STATUSES, PanelCounts, PanelHealth, PanelStatus, RoofState
from ..model.snapshot import Address, Objects, TimedValue
from ..model.validation import is_number
from .conditions import is_commanded
from .health import RoofHealth

#: Fields of the inverters and of AC batteries, and the power of these.
_INVERTERS: Final = "inverters"
_BATTERIES: Final = "acb_inventory"
_BATTERY_POWER: Final[Address] = ("acb_power",)
#: Seconds between two evaluations.
_PERIOD: Final = 900.0
#: Seconds of a quarter of an hour.
_QUARTER: Final = 900.0
#: Seconds that the report of a removed microinverter is older than the newest: one that the inventory does not list,
#: and any where there is no inventory. The gateway continues to list it with its last report.
_REMOVED_UNLISTED: Final = 86400.0
_REMOVED: Final = 30 * 86400.0


class Moment(NamedTuple):
    """When a snapshot is processed."""

    #: Seconds since the epoch.
    now: float
    zone: tzinfo
    #: Whether the sun is too low for panels to produce.
    is_dark: bool


class RoofMonitor:
    """Follows the reports of the panels of one gateway."""

    def __init__(self) -> None:
        """Start without any."""
        self.health = RoofHealth()
        #: The objects that this adds or replaces, and the addresses of removed panels.
        self._objects: dict[Address, TimedValue] = {}
        self._removed: frozenset[Address] = frozenset()
        #: Whether the removed panels were determined since the start.
        self._is_searched = False
        #: Serial numbers of AC batteries so far: what lists them may fail, also after a restart.
        self._batteries: set[str] = set()
        #: The reports and statuses as processed last.
        self._inverters: dict[str, TimedValue] = {}
        self._statuses: dict[str, TimedValue] = {}
        self._is_dark = False
        self._evaluated_at = 0.0
        #: The counts of panels with those of live power, as returned last.
        self._counts: TimedValue | None = None

    def process(self, objects: Objects, moment: Moment | None) -> Objects:
        """Return the objects with those of the panels, and without removed panels.

        Without a moment, no reports of panels have changed since the last call.
        """
        if moment:
            self._update(objects, moment)
        shown = {**objects, **self._objects, **self._live_counts(objects)}
        return {address: timed for address, timed in shown.items() if address not in self._removed}

    def _live_counts(self, objects: Objects) -> Objects:
        """Return the counts of panels with those of live power, which are newer than those of the inventory."""
        if not (live := objects.get(LIVE_INVERTERS)) or not isinstance(count := live.value, LiveInverters):
            return {}
        listed = self._objects.get(COUNTS)
        communicating = listed.value.communicating if listed and isinstance(listed.value, PanelCounts) else None
        counts, freshness = PanelCounts(count.total, count.running, communicating), (listed or live).freshness
        fields = dict.fromkeys(("total", "producing"), live.freshness)
        self._counts = (self._counts or TimedValue(counts, freshness)).renewed(counts, freshness, fields)
        return {COUNTS: self._counts}

    def _update(self, objects: Objects, moment: Moment) -> None:
        found: dict[str, dict[str, TimedValue]] = {_INVERTERS: {}, STATUSES: {}, _BATTERIES: {}}
        for address, timed in objects.items():
            if address[0] in found and len(address) > 1:
                found[address[0]][address[1]] = timed
        statuses = found[STATUSES]
        # Some gateways list AC batteries as inverters as well: only the inventory distinguishes them.
        self._batteries |= found[_BATTERIES].keys()
        others = found[_INVERTERS].keys() - statuses.keys() if _BATTERY_POWER in objects else self._batteries
        inverters = {serial: timed for serial, timed in found[_INVERTERS].items() if serial not in others}
        if _differ(statuses, self._statuses) or self._is_dark != moment.is_dark:
            self._statuses, self._is_dark = statuses, moment.is_dark
            self._show_statuses()
            self._inverters = {}
        if _differ(inverters, self._inverters):
            before, self._inverters = self._inverters, inverters
            self._add_reports(before, moment)
        if self.health.panels and abs(moment.now - self._evaluated_at) >= _PERIOD:
            self._evaluated_at = moment.now
            commanded = {serial for serial, timed in statuses.items() if is_commanded(_codes(timed))}
            self.health.evaluate(moment.now, commanded=commanded)
            self._show_health()

    def _show_statuses(self) -> None:
        """Add the darkness to the statuses, and count them."""
        producing = communicating = 0
        for serial, timed in self._statuses.items():
            address: Address = (STATUSES, serial)
            if isinstance(value := timed.value, PanelStatus):
                producing += bool(value.producing)
                communicating += bool(value.communicating)
                shown = replace(value, is_dark=self._is_dark) if self._is_dark else value
                self._objects[address] = self._objects.get(address, timed).renewed(shown, timed.freshness)
        for address in [each for each in self._objects if each[0] == STATUSES and each[1] not in self._statuses]:
            del self._objects[address]
        if self._statuses:
            counts = PanelCounts(len(self._statuses), producing, communicating)
            self._put(COUNTS, counts, next(iter(self._statuses.values())))

    def _add_reports(self, before: Mapping[str, TimedValue], moment: Moment) -> None:
        """Add new reports to the health of the panels that are part of the roof."""
        dated = {serial: at for serial, timed in self._inverters.items() if (at := _reported_at(timed))}
        reports = {serial: at for serial, at in dated.items() if at <= moment.now + _REMOVED_UNLISTED}
        # If most reports seem to be in the future, the clock is behind, or that of the gateway is ahead. Then reports
        # are compared only with each other, once after a start; after that, what is known of the panels stays.
        is_behind = 2 * len(reports) < len(dated)
        if dated and not (is_behind and self._is_searched):
            self._find_removed(dated if is_behind else reports)
        if reports and not is_behind:
            now = max(moment.now, *reports.values())
            self.health.check(now, datetime.fromtimestamp(now, moment.zone).toordinal())
        hours: dict[float, datetime] = {}
        for serial, at in reports.items():
            timed = self._inverters[serial]
            if (HEALTH, serial) in self._removed or before.get(serial) is timed:
                continue
            value = timed.value
            if isinstance(value, EnvoyInverter) and is_number(value.last_report_watts):
                # The offsets of time zones are multiples of a quarter of an hour, in which many panels report.
                if (local := hours.get(quarter := at // _QUARTER)) is None:
                    local = hours[quarter] = datetime.fromtimestamp(quarter * _QUARTER, moment.zone)
                full = value.max_report_watts if is_number(value.max_report_watts) else 0.0
                self.health.add(serial, local.toordinal(), local.hour, at, value.last_report_watts, full)
        if not is_behind:
            self.health.keep({serial for serial in self._inverters if (HEALTH, serial) not in self._removed})
        self._show_health()

    def _find_removed(self, reports: Mapping[str, float]) -> None:
        newest = max(reports.values(), default=0.0)
        oldest = dict.fromkeys(reports, _REMOVED)
        if self._statuses:
            oldest |= {serial: _REMOVED_UNLISTED for serial in reports if serial not in self._statuses}
            oldest |= dict.fromkeys(self._statuses, float("inf"))
        removed = [serial for serial, at in reports.items() if newest - at > oldest[serial]]
        if 2 * len(removed) > len(reports):
            # The clock of the gateway may have been set: the dates of most panels are no sign of anything.
            removed = []
        self._is_searched = True
        self._removed = frozenset((field, serial) for serial in removed for field in (_INVERTERS, HEALTH))

    def _show_health(self) -> None:
        problems = {}
        for serial, panel in self.health.panels.items():
            if timed := self._inverters.get(serial):
                self._put((HEALTH, serial), PanelHealth(panel.problem), timed)
                if panel.problem:
                    problems[serial] = str(panel.problem)
        for address in [each for each in self._objects if each[0] == HEALTH and each[1] not in self.health.panels]:
            del self._objects[address]
        if self.health.panels and (timed := next(iter(self._inverters.values()), None)):
            self._put(ROOF, RoofState(len(self.health.panels), problems), timed)

    def _put(self, address: Address, value: object, source: TimedValue) -> None:
        """Show an object that is as fresh as another."""
        shown = self._objects.get(address) or TimedValue(value, source.freshness)
        self._objects[address] = shown.renewed(value, source.freshness)

    def dump(self) -> dict[str, Json]:
        """Return the state to store."""
        return {**self.health.dump(), "batteries": [*sorted(self._batteries)]}

    def load(self, data: Mapping[str, object]) -> None:
        """Restore the state. The clock may not be right yet: times are compared with it at the first reports."""
        self.health.load(data)
        if isinstance(batteries := data.get("batteries"), list):
            self._batteries.update(serial for serial in batteries if isinstance(serial, str))


def _differ(new: Mapping[str, TimedValue], old: Mapping[str, TimedValue]) -> bool:
    """Return whether the objects changed, or come from another document."""
    if len(new) != len(old):
        return True
    return any(
        (before := old.get(key)) is not timed and (before is None or _is_other(timed, before))
        for key, timed in new.items()
    )


def _is_other(new: TimedValue, old: TimedValue) -> bool:
    return new.value is not old.value or new.freshness is not old.freshness


def _codes(timed: TimedValue) -> tuple[str, ...]:
    return (isinstance(timed.value, PanelStatus) and timed.value.codes) or ()


def _reported_at(timed: TimedValue) -> float:
    """Return when a microinverter reported last, in seconds since the epoch; 0 if never, or for an invalid time."""
    at = timed.value.last_report_date if isinstance(timed.value, EnvoyInverter) else 0
    return float(at) if is_number(at) and at > 0 else 0.0

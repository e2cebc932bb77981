"""Statistics of the time in which a development instance did not run, calculated by the simulated house.

The recorder adds up the increase of a counter: its sum is the counter's state minus the state at a fixed zero point.
The imported sums have the same zero point, so that they are continuous with the recorded ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from tests.simulator.counters import Flow, Snapshot
from tests.simulator.house import CHARGE_EFFICIENCY, DISCHARGE_EFFICIENCY, House

from .instance import DOMAIN, Instance, Json

type Weights = Mapping[Flow, int]

_GRID: Final[Weights] = {"imported": 1, "exported": -1}
_BATTERY: Final[Weights] = {"discharged": 1, "charged": -1}
#: Keys of counters, which are the end of their unique ids, with the flows that they count.
ENERGY: Final[Mapping[str, Weights]] = {
    "lifetime_production": {"production": 1},
    "lifetime_consumption": {"production": 1, **_GRID},
    "lifetime_house_consumption": {"load": 1},
    "lifetime_net_consumption": {"imported": 1},
    "lifetime_net_production": {"exported": 1},
    "lifetime_grid_import": {"imported": 1},
    "lifetime_grid_export": {"exported": 1},
    "lifetime_battery_discharged": {"discharged": 1},
    "lifetime_battery_charged": {"charged": 1},
    "lifetime_battery_energy_discharged": {"discharged": 1},
    "lifetime_battery_energy_charged": {"charged": 1},
}
#: The same for power.
POWER: Final[Mapping[str, Weights]] = {
    "production": {"production": 1},
    "consumption": {"production": 1, **_GRID},
    "net_consumption": _GRID,
    "grid_power": _GRID,
    "battery_discharge": _BATTERY,
    "battery_power": _BATTERY,
}
#: Keys of states of charge.
CHARGE: Final = ("aggregated_soc", "battery_level", "acb_soc")
KEYS: Final = frozenset((*ENERGY, *POWER, *CHARGE))
#: Seconds.
STEP: Final = 300
DAY: Final = 86400
PERIODS: Final[Mapping[str, int]] = {"hour": 3600, "5minute": STEP}
#: Seconds with rows of five minutes: the dashboard shows power with them, and the recorder continues from the last.
SHORT_TERM: Final = 2 * DAY
#: Smallest energy in Wh that is distributed.
LEAST: Final = 0.1
#: The recorder writes the period that has just ended within a few seconds; that one is not imported.
WRITTEN_WITHIN: Final = 60
_FACTORS: Final = {"W": 1, "kW": 1000, "Wh": 1, "kWh": 1000, "MWh": 1_000_000, "%": 1}


@dataclass(frozen=True, slots=True)
class Point:
    """A sum in Wh at epoch seconds."""

    at: float
    sum: float


class History:
    """The history of a house, calculated by its simulation."""

    def __init__(self, house: House, now: float, *, days: float, polled_until: float | None = None) -> None:
        """Use a house that is simulated up to now, and the time until which an instance polled it, None for a new one.

        Times are epoch seconds of the instance's clock; that of the house may show another date.
        """
        self.polled_until = polled_until
        self.now = now
        self._house = house
        self._ahead = house.now - now
        begin = (now - days * DAY) // 3600 * 3600
        steps = house.history(begin + self._ahead, house.now, STEP)
        self._snapshots = {begin + STEP * number: snapshot for number, snapshot in enumerate(steps)}
        self.begin = begin

    def at(self, time: float) -> Snapshot:
        """Return the counters at a time before now."""
        return self._snapshots.get(time) or next(self._house.history(time + self._ahead, time + self._ahead))

    def counted(self, weights: Weights, time: float) -> float:
        """Return the energy in Wh of weighted flows up to a time."""
        snapshot = self.at(time)
        return sum(weight * snapshot.total(flow) for flow, weight in weights.items())

    def energy(self, weights: Weights, start: Point | None, end: Point, times: Sequence[float]) -> Iterator[Point]:
        """Yield the sums of a counter at times, given its sum `end` at one time.

        With a sum `start` at an earlier time, the increase between both is distributed in proportion to the house's:
        also that of a counter that missed a part of it.
        """
        last = self.counted(weights, end.at)
        part = 1.0
        if start:
            increase = last - self.counted(weights, start.at)
            part = (end.sum - start.sum) / increase if abs(increase) > LEAST else 0.0
        for time in times:
            yield Point(time, end.sum - part * (last - self.counted(weights, min(time, end.at))))

    def power(self, weights: Weights, start: float, seconds: int) -> list[float]:
        """Return the mean powers in W of the steps of a period."""
        counted = [self.counted(weights, start + passed) for passed in range(0, seconds + 1, STEP)]
        return [(after - before) * 3600 / STEP for before, after in pairwise(counted)]

    def charge(self, start: float, seconds: int) -> list[float]:
        """Return the states of charge in percent at the start of each step of a period."""
        return [self._charge(self.at(start + passed)) for passed in range(0, seconds, STEP)]

    def _charge(self, then: Snapshot) -> float:
        house = self._house
        now = house.snapshot()
        gained = now.since(then, "charged") * CHARGE_EFFICIENCY - now.since(then, "discharged") / DISCHARGE_EFFICIENCY
        return min(100.0, max(0.0, 100.0 * (house.stored - gained) / house.capacity)) if house.capacity else 0.0


async def import_history(home_assistant: Instance, serial: str, history: History) -> int:
    """Import missing statistics of a gateway's sensors into Home Assistant, and return the number of sensors.

    A sensor without a value is left out. Raises InstanceError when Home Assistant rejects a command.
    """
    keys: dict[str, str] = {}
    for entity in await home_assistant.rows("config/entity_registry/list"):
        key = entity["unique_id"].removeprefix(f"{serial}_")
        if entity["platform"] == DOMAIN and key in KEYS:
            keys[entity["entity_id"]] = key
    states = {state["entity_id"]: state for state in await home_assistant.rows("get_states")}
    listed = {row["statistic_id"]: row for row in await home_assistant.rows("recorder/list_statistic_ids")}
    imported = [name for name in keys if name in listed and _is_number(states.get(name))]
    if not imported:
        return 0
    recorded = {period: await _recorded(home_assistant, history, imported, period) for period in PERIODS}
    for name in imported:
        written = {period: rows.get(name, []) for period, rows in recorded.items()}
        sums = _value(states[name]) - _zero(states[name], written)
        updated = datetime.fromisoformat(states[name]["last_updated"]).timestamp()
        for period, seconds in PERIODS.items():
            before = _last_before(history, written[period])
            times = _missing(history, before, period)
            rows = list(_rows(history, keys[name], before, Point(min(updated, history.now), sums), times, seconds))
            await _write(home_assistant, listed[name], period, rows, zero=_value(states[name]) - sums)
    return len(imported)


async def _recorded(home_assistant: Instance, history: History, names: list[str], period: str) -> dict[str, list[Json]]:
    """Return recorded rows in Wh; those of five minutes only from shortly before the end of the last polls."""
    since = history.begin if period == "hour" else max(history.begin, (history.polled_until or history.now) - 3600)
    rows = await home_assistant.command(
        "recorder/statistics_during_period",
        start_time=datetime.fromtimestamp(since, UTC).isoformat(),
        statistic_ids=names,
        period=period,
        types=["sum", "state"],
        units={"energy": "Wh"},
    )
    assert isinstance(rows, dict)  # noqa: S101
    return rows


def _is_number(state: Json | None) -> bool:
    try:
        return state is not None and float(state["state"]) is not None
    except ValueError:
        return False


def _value(state: Json) -> float:
    """Return a state in W, Wh or percent."""
    return float(state["state"]) * _FACTORS[state["attributes"]["unit_of_measurement"]]


def _zero(state: Json, written: Mapping[str, list[Json]]) -> float:
    """Return the state at which the recorder's sum of a counter is 0; without a sum the current state."""
    for rows in (written["5minute"], written["hour"]):
        for row in reversed(rows):
            if row.get("sum") is not None and row.get("state") is not None:
                zero: float = row["state"] - row["sum"]
                return zero
    return _value(state)


def _last_before(history: History, rows: list[Json]) -> Point | None:
    """Return the end of the last period that was polled completely."""
    ends = [Point(row["end"] / 1000, row.get("sum") or 0.0) for row in rows]
    return max(
        (end for end in ends if history.polled_until and end.at <= history.polled_until),
        key=lambda end: end.at,
        default=None,
    )


def _missing(history: History, before: Point | None, period: str) -> list[float]:
    """Return the starts of the periods that were not polled to their end."""
    seconds = PERIODS[period]
    start = before.at if before else history.now - SHORT_TERM if period == "5minute" else history.begin
    start = max(start, history.begin) // seconds * seconds
    return [
        start + passed for passed in range(0, int(history.now - WRITTEN_WITHIN - start) // seconds * seconds, seconds)
    ]


def _rows(
    history: History, key: str, before: Point | None, last: Point, times: Sequence[float], seconds: int
) -> Iterator[Json]:
    """Yield rows of a statistic, in Wh, W or percent."""
    if weights := ENERGY.get(key):
        ends = history.energy(weights, before, last, [time + seconds for time in times])
        yield from ({"start": end.at - seconds, "sum": end.sum} for end in ends)
        return
    for time in times:
        values = history.power(POWER[key], time, seconds) if key in POWER else history.charge(time, seconds)
        yield {"start": time, "mean": sum(values) / len(values), "min": min(values), "max": max(values)}


async def _write(home_assistant: Instance, listed: Json, period: str, rows: list[Json], *, zero: float) -> None:
    """Write rows of a statistic in its unit."""
    if not rows:
        return
    unit = listed["statistics_unit_of_measurement"]
    for row in rows:
        if "sum" in row:
            row["state"] = row["sum"] + zero
        row.update({name: value / _FACTORS[unit] for name, value in row.items() if name != "start"})
    metadata = {
        "has_sum": listed["has_sum"],
        "mean_type": listed["mean_type"],
        "name": None,
        "source": "recorder",
        "statistic_id": listed["statistic_id"],
        "unit_class": listed["unit_class"],
        "unit_of_measurement": unit,
    }
    await home_assistant.command("statistics_import/import", metadata=metadata, period=period, rows=rows)

"""A year of three simulated roofs: which panels have a problem, when it is found, and false alarms."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
import json
import math
import random
from typing import Any, Final

from homeassistant.util.json import json_loads
from hypothesis import given
import pytest

from custom_components.enphase_envoy.roof.health import Problem, RoofHealth
from tests.helpers.mutants import EDITED
from tests.simulator import Simulator
from tests.simulator.mutations import Mutation

FULL: Final = 300.0
GATEWAY: Final = Simulator().gateway
STEP: Final = 900


@dataclass
class Year:
    """A year of reports every 15 minutes; `factor` changes the power of a panel on a day at an hour."""

    panels: int
    seed: int
    factor: Callable[[int, int, float], float | None] = lambda _panel, _day, _hour: 1.0
    commanded: frozenset[str] = frozenset()
    snow: frozenset[int] = frozenset(range(20, 24))
    health: RoofHealth = field(default_factory=RoofHealth)
    found: dict[int, tuple[int, Problem]] = field(default_factory=dict)
    sunny: set[int] = field(default_factory=set)

    def run(self, days: int = 365) -> dict[int, tuple[int, Problem]]:
        """Return the first problem of each panel, and the day on which it was found."""
        chance = random.Random(self.seed)
        clear_at = [24 + chance.random() * 2 for _ in range(self.panels)]
        for day in range(1, days + 1):
            sky = chance.choice((1.0, 1.0, 0.9, 0.6, 0.4, 0.15))
            if sky >= 0.9 and day not in self.snow:
                self.sunny.add(day)
            for quarter in range(96):
                hour, at = quarter / 4, float(day * 86400 + quarter * STEP)
                cloud = sky * chance.uniform(0.8, 1.0)
                for panel in range(self.panels):
                    covered = self.snow and min(self.snow) <= day and day + hour / 24 < clear_at[panel]
                    factor = self.factor(panel, day, hour)
                    if factor is not None:
                        watts = 0.0 if covered else self._watts(panel, day, hour) * cloud * factor
                        self.health.add(str(panel), day, hour, at, watts * chance.uniform(0.95, 1.05), FULL)
                if quarter % 4 == 0:
                    self.health.evaluate(at, commanded=self.commanded)
            for serial, state in self.health.panels.items():
                if state.problem:
                    self.found.setdefault(int(serial), (day, state.problem))
        return self.found

    def _watts(self, panel: int, day: int, hour: float) -> float:
        """Return the power under a clear sky.

        A third of the panels faces east, a third west; every tenth is in the shade in the afternoon, every eighth
        faces north.
        """
        season = math.cos(2 * math.pi * (day + 10) / 365)
        length, height = 12 - 4 * season, 0.65 - 0.35 * season
        x = (hour - 12 - 1.5 * (-1, 0, 1)[panel * 3 // self.panels]) / (length / 2)
        north = 0.3 + 0.5 * height if panel % 8 == 3 else 1.0
        shade = height if panel % 10 == 4 and hour > 13 else 1.0
        return FULL * height * max(0.0, 1 - x * x) * north * shade


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "seed"), [(6, 1), (24, 2), (60, 3)])
def test_good_year_has_no_alarm(panels: int, seed: int) -> None:
    found = Year(panels, seed).run()
    assert len(found) / panels < 0.05
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 108))
def test_snow_of_one_night_is_no_problem(seed: int) -> None:
    for panels in (6, 24):
        assert not Year(panels, seed, snow=frozenset({24})).run(35)


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "seed"), [(6, 4), (24, 5), (60, 6)])
def test_curtailment_outage_and_commanded_off_are_no_problem(panels: int, seed: int) -> None:
    def factor(_panel: int, day: int, hour: float) -> float:
        return (0.4 if day % 3 == 0 and hour > 10 else 1.0) * (0.0 if day % 7 == 0 and 9 < hour < 15 else 1.0)

    assert not Year(panels, seed, factor).run(200)


def test_panel_that_is_commanded_off_is_no_problem() -> None:
    def year(commanded: frozenset[str]) -> Year:
        return Year(6, 17, lambda panel, day, _hour: 0.0 if panel == 2 and day >= 20 else 1.0, commanded, frozenset())

    assert not year(frozenset("2")).run(30)
    assert year(frozenset()).run(30).keys() == {2}


def test_panels_that_stop_together_are_found_after_five_sunny_days() -> None:
    year = Year(24, 18, lambda panel, day, _hour: 0.0 if panel < 3 and day >= 20 else 1.0, snow=frozenset())
    found = year.run(40)
    assert found.keys() == {0, 1, 2}
    assert all(sum(20 <= day < found[panel][0] for day in year.sunny) >= 4 for panel in found)


def test_interval_of_the_reports_is_found_in_daylight() -> None:
    year = Year(6, 19)
    year.run(3)
    assert year.health.report_interval == STEP


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "seed"), [(6, 7), (24, 8), (60, 9)])
@pytest.mark.parametrize(("value", "problem"), [(0.0, Problem.NOT_PRODUCING), (None, Problem.NO_REPORTS)])
def test_broken_panel_is_found_within_one_sunny_day(
    panels: int, seed: int, value: float | None, problem: Problem
) -> None:
    year = Year(panels, seed, lambda panel, day, _hour: value if panel == 2 and day >= 150 else 1.0)
    found = year.run(170)
    assert found.keys() == {2}
    assert found[2][0] <= min(day for day in year.sunny if day >= 150)
    assert found[2][1] is problem


@pytest.mark.slow
@pytest.mark.parametrize(("panels", "seed"), [(6, 10), (24, 11), (60, 12)])
def test_degraded_panel_is_found_within_two_weeks(panels: int, seed: int) -> None:
    found = Year(panels, seed, lambda panel, day, _hour: 0.8 if panel == 2 and day >= 150 else 1.0).run(170)
    assert found.keys() == {2}
    day, problem = found[2]
    assert problem is Problem.DEGRADED
    assert day <= 164


def test_state_survives_storage() -> None:
    year = Year(6, 13, snow=frozenset())
    year.run(40)
    restored = RoofHealth()
    stored = json.loads(json.dumps(year.health.dump()))
    restored.load(stored)
    restored.check(41 * 86400.0, 41)
    assert json.loads(json.dumps(restored.dump())) == stored
    assert len(json.dumps(stored)) < 700 * len(restored.panels)
    restored.load({"day": 1, "totals": [], "panels": {"x": [1, 2], "y": None}})
    assert restored.panels.keys() == year.health.panels.keys()


@pytest.fixture(scope="module")
def stored() -> Any:
    """Return the stored state of three panels after two weeks."""
    year = Year(3, 13, snow=frozenset())
    year.run(14)
    return year.health.dump()


def test_restart_in_the_evening_leaves_the_interval_of_reports(stored: Any) -> None:
    health = RoofHealth()
    health.load(stored)
    health.check(14.9 * 86400.0, 14)
    for serial in range(3):
        health.add(str(serial), 15, 0.0, 15.0 * 86400.0, 0.0, FULL)
    assert (health.day, health.report_interval) == (15, STEP)


@given(mutation=EDITED)
def test_any_stored_state_is_restored_as_far_as_it_is_valid(stored: Any, mutation: Mutation) -> None:
    try:
        mutated: Any = json_loads(json.dumps(mutation.edit("", deepcopy(stored), GATEWAY)))
    except ValueError:
        return
    health = RoofHealth()
    health.load(mutated if isinstance(mutated, dict) else {})
    health.check(14 * 86400.0, 14)
    assert all(panel.reported_at <= 14 * 86400.0 and panel.since <= 14 for panel in health.panels.values())
    for serial in range(3):
        health.add(str(serial), 15, 12.0, 15.5 * 86400.0, 100.0, FULL)
    health.evaluate(15.6 * 86400.0)
    health.end_day()
    assert json_loads(json.dumps(health.dump()))
    assert health.day == 15

"""Battery settings that a gateway accepts and does not keep."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC

from pyenphase.models.encharge import EnvoyEnchargeAggregate
from pyenphase.models.tariff import EnvoyStorageMode, EnvoyStorageSettings
import pytest

from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.energy.settings_monitor import (
    STORAGE_SETTINGS,
    WATCH_TIME,
    SettingOutcome,
    SettingResult,
    SettingsMonitor,
)
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

BEFORE = EnvoyStorageSettings(
    mode=EnvoyStorageMode.SELF_CONSUMPTION,
    operation_mode_sub_type="",
    reserved_soc=20.0,
    very_low_soc=5,
    charge_from_grid=False,
    date=None,
    opt_schedules=False,
)
WANTED = replace(BEFORE, reserved_soc=50.0)
CONTROLLER: Address = ("encharge_aggregate",)
#: What is added to the polls' clock to get epoch seconds.
OFFSET = 1_782_000_000.0


def aggregate(reserve: int) -> EnvoyEnchargeAggregate:
    """Return a report of the controller."""
    return EnvoyEnchargeAggregate(
        available_energy=5000,
        backup_reserve=2000,
        state_of_charge=50,
        reserve_state_of_charge=reserve,
        configured_reserve_state_of_charge=reserve,
        max_available_capacity=10000,
    )


@dataclass
class Bench:
    """A monitor that processes settings, and the controller's report, at given times."""

    monitor: SettingsMonitor = field(default_factory=SettingsMonitor)
    objects: dict[Address, TimedValue] = field(default_factory=dict)
    shown: EnvoyStorageSettings | None = None
    shown_entry: TimedValue | None = None

    def process(
        self, now: float, settings: EnvoyStorageSettings | None, reserve: int | None
    ) -> Sequence[SettingResult]:
        """Process what was read at a time, and return the results; None: it was not read then."""
        if settings is not None:
            self.objects[STORAGE_SETTINGS] = TimedValue(settings, Freshness(now))
        if reserve is not None:
            self.objects[CONTROLLER] = TimedValue(aggregate(reserve), Freshness(now))
        context = ProcessingContext(now + OFFSET, OFFSET, UTC)
        entries = {**self.objects, **self.monitor.process(self.objects, self.objects, context)}
        self.shown_entry = entries[STORAGE_SETTINGS]
        assert isinstance(self.shown_entry.value, EnvoyStorageSettings)
        self.shown = self.shown_entry.value
        return self.monitor.results

    @property
    def reserve(self) -> float:
        """The reserve that is shown."""
        assert self.shown
        return self.shown.reserved_soc


@pytest.fixture
def bench() -> Bench:
    """A monitor of a reserve that was just changed from 20 to 50 percent."""
    bench = Bench()
    bench.monitor.watch(BEFORE, WANTED, "number.reserve", 0.0)
    return bench


def test_setting_that_stays_is_kept(bench: Bench) -> None:
    """That is certain after the whole time only, and reported once."""
    assert not bench.process(WATCH_TIME - 1, WANTED, 50)
    (result,) = bench.process(WATCH_TIME, WANTED, 50)
    assert (result.outcome, result.entity_id, result.wanted) == (SettingOutcome.KEPT, "number.reserve", 50.0)
    assert not bench.process(WATCH_TIME + 1, BEFORE, 20)


def test_setting_that_the_cloud_changes_back_is_overwritten(bench: Bench) -> None:
    """The stored value is the one in use: it is shown."""
    assert not bench.process(60, WANTED, 50)
    (result,) = bench.process(120, BEFORE, 20)
    assert (result.outcome, result.wanted, result.actual) == (SettingOutcome.OVERWRITTEN, 50.0, 20.0)
    assert bench.reserve == 20


def test_setting_that_the_controller_does_not_apply_is_ignored(bench: Bench) -> None:
    """After some time the controller's own reserve is shown, until the user writes another."""
    assert not bench.process(60, WANTED, 20)
    assert bench.reserve == 50
    (result,) = bench.process(100, WANTED, 20)
    assert (result.outcome, result.wanted, result.actual) == (SettingOutcome.IGNORED, 50.0, 20)
    assert bench.reserve == 20
    bench.process(160, None, 25)
    assert bench.reserve == 25
    bench.monitor.watch(WANTED, replace(WANTED, reserved_soc=30.0), "number.reserve", 200)
    bench.process(200, replace(WANTED, reserved_soc=30.0), 20)
    assert bench.reserve == 30


def test_reserve_of_the_controller_has_its_freshness(bench: Bench) -> None:
    """It is read every minute, the settings every five: it does not expire with them."""
    bench.process(100, WANTED, 20)
    bench.process(160, None, 20)
    assert bench.shown_entry
    assert bench.shown_entry.updated_at == 100
    assert bench.shown_entry.field_freshness["reserved_soc"].updated_at == 160


def test_setting_is_kept_without_a_report_of_a_controller(bench: Bench) -> None:
    """Systems with an Enpower but no IQ battery have none."""
    assert not bench.process(WATCH_TIME - 1, WANTED, None)
    assert [result.outcome for result in bench.process(WATCH_TIME, WANTED, None)] == [SettingOutcome.KEPT]


def test_nothing_is_evaluated_while_a_setting_is_written(bench: Bench) -> None:
    """A poll may read the new setting before the write is over: it is not an overwritten old one."""
    bench.monitor.writes = 1
    assert not bench.process(20, replace(WANTED, reserved_soc=40.0), 50)
    bench.monitor.writes = 0
    bench.monitor.watch(WANTED, replace(WANTED, reserved_soc=40.0), "number.reserve", 21)
    assert not bench.process(21, None, 50)
    (result,) = bench.process(21 + WATCH_TIME, replace(WANTED, reserved_soc=40.0), 40)
    assert (result.outcome, result.wanted) == (SettingOutcome.KEPT, 40.0)


def test_only_written_settings_are_monitored(bench: Bench) -> None:
    """The user may change another setting in the app meanwhile."""
    assert not bench.process(60, replace(WANTED, charge_from_grid=True), 50)


def test_settings_are_compared_when_they_were_read(bench: Bench) -> None:
    """The controller is read more often, and may already use what the cloud stored after the last read."""
    bench.process(10, WANTED, 50)
    assert not bench.process(100, None, 20)
    assert bench.process(101, WANTED, 20)

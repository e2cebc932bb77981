"""Battery settings that a gateway takes and does not keep."""

from dataclasses import replace

from pyenphase.models.tariff import EnvoyStorageMode, EnvoyStorageSettings
import pytest

from custom_components.enphase_envoy.energy.settings_monitor import WATCH_TIME, SettingOutcome, SettingsMonitor

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


@pytest.fixture
def watch() -> SettingsMonitor:
    """A watch on a reserve that was just changed from 20 to 50 percent."""
    watch = SettingsMonitor()
    watch.ask(BEFORE, WANTED, "number.reserve", 0.0)
    return watch


def test_a_setting_that_holds_is_kept(watch: SettingsMonitor) -> None:
    """It takes the whole time to be sure, and is reported once."""
    assert not list(watch.judge(WANTED, (50, WATCH_TIME - 1), WATCH_TIME - 1, just_read=True))
    (finding,) = watch.judge(WANTED, (50, WATCH_TIME), WATCH_TIME, just_read=True)
    assert (finding.outcome, finding.asker, finding.wanted) == (SettingOutcome.KEPT, "number.reserve", 50.0)
    assert not list(watch.judge(BEFORE, (20, WATCH_TIME + 1), WATCH_TIME + 1, just_read=True))


def test_a_setting_that_the_cloud_changes_back_is_overwritten(watch: SettingsMonitor) -> None:
    """The stored value is what is real: nothing needs correcting."""
    assert not list(watch.judge(WANTED, (50, 60), 60, just_read=True))
    (finding,) = watch.judge(BEFORE, (20, 120), 120, just_read=True)
    assert (finding.outcome, finding.wanted, finding.actual) == (SettingOutcome.OVERWRITTEN, 50.0, 20.0)
    assert watch.real_reserve(20) is None


def test_a_setting_that_the_controller_does_not_take_over_is_ignored(watch: SettingsMonitor) -> None:
    """The controller has a while; then its own reserve is the real one, until another is written."""
    assert not list(watch.judge(WANTED, (20, 60), 60, just_read=True))
    (finding,) = watch.judge(WANTED, (20, 100), 100, just_read=True)
    assert (finding.outcome, finding.wanted, finding.actual) == (SettingOutcome.IGNORED, 50.0, 20)
    assert watch.real_reserve(20) == 20
    assert watch.real_reserve(25) == 25
    watch.ask(WANTED, replace(WANTED, reserved_soc=30.0), "number.reserve", 200)
    assert watch.real_reserve(20) is None


def test_a_gateway_without_a_controllers_report_is_believed(watch: SettingsMonitor) -> None:
    """Systems with an Enpower but no IQ battery have none."""
    assert not list(watch.judge(WANTED, None, WATCH_TIME - 1, just_read=True))
    assert [finding.outcome for finding in watch.judge(WANTED, None, WATCH_TIME, just_read=True)] == [
        SettingOutcome.KEPT
    ]


def test_only_what_was_changed_is_watched(watch: SettingsMonitor) -> None:
    """The owner may change another setting in the app meanwhile: that is no finding."""
    assert not list(watch.judge(replace(WANTED, charge_from_grid=True), (50, 60), 60, just_read=True))


def test_what_was_not_just_read_says_nothing(watch: SettingsMonitor) -> None:
    """The controller is read more often than the settings: it may already use what the cloud just wrote."""
    assert not list(watch.judge(WANTED, (20, 100), 100, just_read=False))
    assert list(watch.judge(WANTED, (20, 100), 100, just_read=True))

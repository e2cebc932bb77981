"""All AC batteries together."""

from datetime import UTC
from typing import Any

from pyenphase.models.acb import ACBSleepState, EnvoyACB
import pytest

from custom_components.enphase_envoy.energy.ac_batteries import AcBatteries
from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.model.ac_batteries import SLEEP_BAND, AcbFleet, SleepBand
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

CONTEXT = ProcessingContext(0.0, 0.0, UTC)
ASLEEP = ["envoy.cond_flags.pcu_ctrl.sleep-mode"]


def battery(serial: str, **changes: Any) -> EnvoyACB:
    """Return an AC battery that is awake and would sleep between 25 and 30 percent."""
    return EnvoyACB.from_api({"serial_num": serial, "sleep_min_soc": 25, "sleep_max_soc": 30} | changes)


def fleet(*batteries: EnvoyACB) -> AcbFleet:
    """Return the fleet derived from batteries."""
    objects: dict[Address, TimedValue] = {
        ("acb_inventory", acb.serial_num): TimedValue(acb, Freshness(float(age))) for age, acb in enumerate(batteries)
    }
    ((address, timed),) = AcBatteries().process(objects, objects, CONTEXT).items()
    assert address == ("acb_fleet",)
    assert timed.updated_at == 0.0, "as old as the oldest"
    assert isinstance(timed.value, AcbFleet)
    return timed.value


def test_fleet_has_the_state_that_all_batteries_share() -> None:
    """State and band of the fleet are those of the batteries."""
    found = fleet(battery("1"), battery("2"))
    assert found == AcbFleet(("1", "2"), ACBSleepState.AWAKE, SleepBand(25, 30))


@pytest.mark.parametrize(
    ("other", "state", "band"),
    [
        ({"sleep_enabled": True, "device_status": ASLEEP}, None, (25, 30)),
        ({"sleep_min_soc": 50, "sleep_max_soc": 55}, ACBSleepState.AWAKE, None),
        ({"sleep_min_soc": None}, ACBSleepState.AWAKE, None),
    ],
    ids=["one asleep", "another band", "no band"],
)
def test_fleet_has_no_state_where_batteries_differ(
    other: dict[str, Any], state: ACBSleepState | None, band: tuple[int, int] | None
) -> None:
    """A state or a band that differs is None."""
    found = fleet(battery("1"), battery("2", **other))
    assert (found.sleep_state, found.sleep_band) == (state, band)


def test_no_fleet_without_ac_batteries() -> None:
    """Without objects none is derived."""
    assert not AcBatteries().process({}, (), CONTEXT)


def test_chosen_band_replaces_that_of_the_batteries_until_it_is_removed() -> None:
    processor = AcBatteries()
    objects: dict[Address, TimedValue] = {("acb_inventory", "1"): TimedValue(battery("1"), Freshness(0.0))}
    (before,) = processor.process(objects, objects, CONTEXT).values()
    chosen = objects | {SLEEP_BAND: TimedValue(SleepBand(40, 45), Freshness(1.0))}
    (during,) = processor.process(chosen, {SLEEP_BAND}, CONTEXT).values()
    assert isinstance(during.value, AcbFleet)
    assert during.value.sleep_band == SleepBand(40, 45)
    assert during.updated_at == 0.0
    (after,) = processor.process(objects, {SLEEP_BAND}, CONTEXT).values()
    assert after.value == before.value


def test_fleet_is_removed_with_its_last_battery() -> None:
    processor = AcBatteries()
    objects: dict[Address, TimedValue] = {("acb_inventory", "1"): TimedValue(battery("1"), Freshness(0.0))}
    assert processor.process(objects, objects, CONTEXT)
    assert not processor.process({}, {}, CONTEXT)


def test_unchanged_batteries_give_the_same_object() -> None:
    processor = AcBatteries()
    objects: dict[Address, TimedValue] = {("acb_inventory", "1"): TimedValue(battery("1"), Freshness(0.0))}
    (first,) = processor.process(objects, objects, CONTEXT).values()
    later: dict[Address, TimedValue] = {("acb_inventory", "1"): TimedValue(battery("1"), Freshness(60.0))}
    (second,) = processor.process(later, later, CONTEXT).values()
    assert second.value is first.value
    assert second.updated_at == 60.0

"""Objects that follow from several of the gateway's."""

from typing import Any

from pyenphase.models.acb import ACBSleepState, EnvoyACB
import pytest

from custom_components.enphase_envoy.model.derived import AcbFleet, derive
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

ASLEEP = ["envoy.cond_flags.pcu_ctrl.sleep-mode"]


def battery(serial: str, **changes: Any) -> EnvoyACB:
    """Return an AC battery that is awake and would sleep between 25 and 30 percent."""
    return EnvoyACB.from_api({"serial_num": serial, "sleep_min_soc": 25, "sleep_max_soc": 30} | changes)


def fleet(*batteries: EnvoyACB) -> AcbFleet:
    """Return what is derived from batteries."""
    objects: dict[Address, TimedValue] = {
        ("acb_inventory", acb.serial_num): TimedValue(acb, Freshness(float(age))) for age, acb in enumerate(batteries)
    }
    ((address, timed),) = derive(objects)
    assert address == ("acb_fleet",)
    assert timed.updated_at == 0.0, "as old as the oldest"
    assert isinstance(timed.value, AcbFleet)
    return timed.value


def test_batteries_that_agree() -> None:
    """What all share is the fleet's."""
    found = fleet(battery("1"), battery("2"))
    assert found == AcbFleet(("1", "2"), ACBSleepState.AWAKE, (25, 30))


@pytest.mark.parametrize(
    ("other", "state", "band"),
    [
        ({"sleep_enabled": True, "device_status": ASLEEP}, None, (25, 30)),
        ({"sleep_min_soc": 50, "sleep_max_soc": 55}, ACBSleepState.AWAKE, None),
        ({"sleep_min_soc": None}, ACBSleepState.AWAKE, None),
    ],
    ids=["one asleep", "another band", "no band"],
)
def test_batteries_that_differ(
    other: dict[str, Any], state: ACBSleepState | None, band: tuple[int, int] | None
) -> None:
    """Where they differ the fleet has nothing to say."""
    found = fleet(battery("1"), battery("2", **other))
    assert (found.sleep_state, found.sleep_band) == (state, band)


def test_without_ac_batteries_there_is_no_fleet() -> None:
    """Nothing is derived from nothing."""
    assert not list(derive({}))

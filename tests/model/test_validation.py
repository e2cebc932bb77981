"""Validation of objects that were parsed but hold invalid values."""

from dataclasses import replace
import math
from typing import Any

from hypothesis import given, strategies as st
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import CtType
import pytest

from custom_components.enphase_envoy.model.panels import PanelStatus
from custom_components.enphase_envoy.model.validation import is_identifier, validated

GOOD = EnvoyInverter("482213010021", 1_750_000_000, 250, 360, dc_voltage=32.1, temperature=None)
BATTERY = EnvoyEncharge(
    admin_state=6, admin_state_str="ENCHG_STATE_READY", bmu_firmware_version="2.1.38", comm_level_2_4_ghz=5,
    comm_level_sub_ghz=5, communicating=True, dc_switch_off=False, encharge_capacity=3500, encharge_revision=2,
    firmware_loaded_date=1, firmware_version="2.6", installed_date=1, last_report_date=1, led_status=17,
    max_cell_temp=30, operating=True, part_number="830", percent_full=50, serial_number="1", temperature=29,
    temperature_unit="C", zigbee_dongle_fw_version=None,
)  # fmt: skip

INVALID: list[Any] = ["250", None, math.nan, math.inf, 1e18, -1e18, True, [], {}]


def but(**changes: Any) -> EnvoyInverter:
    """Return the good inverter with fields changed to values that a gateway may report."""
    return replace(GOOD, **changes)


@pytest.mark.parametrize("value", INVALID, ids=repr)
def test_invalid_value_after_a_valid_one_costs_that_field_only(value: Any) -> None:
    new = but(last_report_watts=value, last_report_date=1_750_000_300)
    invalid = set() if value is None else {"last_report_watts"}
    assert validated(new, GOOD)[:3] == (but(last_report_date=1_750_000_300), {"last_report_watts"}, invalid)
    expired = {"last_report_watts"}
    assert validated(new, GOOD, expired)[:3] == (
        but(last_report_date=1_750_000_300, last_report_watts=None), set(), invalid
    )  # fmt: skip


@pytest.mark.parametrize("value", INVALID, ids=repr)
def test_invalid_value_of_a_new_object_becomes_none(value: Any) -> None:
    accepted, kept, *_ = validated(but(last_report_watts=value), None)
    assert accepted == but(last_report_watts=None)
    assert not kept


@pytest.mark.parametrize("value", [0, -5, 12.5, 2**32])
def test_plausible_numbers_are_accepted(value: float) -> None:
    assert validated(but(last_report_watts=value), GOOD)[0] == but(last_report_watts=value)


def test_none_may_stay_none_and_become_a_number() -> None:
    assert validated(but(temperature=None), GOOD)[:3] == (GOOD, set(), set())
    assert validated(but(temperature=30), GOOD)[0] == but(temperature=30)
    assert validated(but(temperature="hot"), GOOD)[:3] == (GOOD, set(), {"temperature"})


def test_flags_and_texts_must_have_their_type() -> None:
    wrong: dict[str, Any]
    for wrong in ({"communicating": None}, {"communicating": 1}, {"firmware_version": 7}):
        assert validated(replace(BATTERY, **wrong), BATTERY)[:2] == (BATTERY, set(wrong))
    assert validated(BATTERY, None)[0] == BATTERY
    # Some firmware reports null where others report whether the DC switch is off.
    without_switch: EnvoyEncharge = replace(BATTERY, dc_switch_off=None)  # type: ignore[arg-type]
    assert validated(without_switch, None)[0] == without_switch
    assert validated(without_switch, without_switch)[0] == without_switch


@pytest.mark.parametrize("value", [None, "low", 7, {}])
def test_list_that_is_invalid_keeps_its_last_items(value: Any) -> None:
    good = PanelStatus(("envoy.global.ok",), producing=True, communicating=True)
    invalid = set() if value is None else {"codes"}
    assert validated(replace(good, codes=value), good)[:3] == (good, {"codes"}, invalid)
    assert validated(replace(good, codes=()), good)[0].codes == ()


@given(st.integers(-(10**9), 10**9), st.integers(0, 2 * 10**9))
def test_valid_object_is_always_accepted(watts: int, date: int) -> None:
    new = but(last_report_watts=watts, last_report_date=date)
    assert validated(new, GOOD)[0] is new


@pytest.mark.parametrize("key", ["482213010021", "NC1", "L1", CtType.PRODUCTION])
def test_identifier_is_a_serial_number_or_a_constant_of_the_library(key: object) -> None:
    assert is_identifier(key)


@pytest.mark.parametrize("key", [None, True, 1e18, math.nan, "", "n/a", "NaN", "None", "1" * 17, "4822\x00", "½2", ()])
def test_other_keys_are_no_identifiers(key: object) -> None:
    assert not is_identifier(key)

"""Conditions of devices, and which of several is shown."""

import pytest

from custom_components.enphase_envoy.roof.conditions import AT_NIGHT, COMMANDED, CONDITIONS, condition_of, gravest

OK = "envoy.global.ok"
LOW = "envoy.cond_flags.pcu_ctrl.dc-pwr-low"
FAILURE = "envoy.cond_flags.obs_strs.failure"
BROKEN = "envoy.cond_flags.pcu_chan.hardwareError"


def test_each_condition_has_one_place() -> None:
    assert len(set(CONDITIONS)) == len(CONDITIONS)
    assert set(CONDITIONS) >= COMMANDED | AT_NIGHT


@pytest.mark.parametrize(
    ("codes", "is_dark", "expected"),
    [
        ([], False, None),
        ([OK], False, "ok"),
        ([LOW], False, "dc-pwr-low"),
        ([LOW, FAILURE], False, "failure"),
        ([LOW, FAILURE], True, "sleeping"),
        ([OK, LOW, BROKEN], True, "hardwareError"),
        (["envoy.cond_flags.pcu_ctrl.new", OK], False, "ok"),
        (["envoy.cond_flags.pcu_ctrl.new"], False, None),
    ],
)
def test_gravest_condition(codes: list[str], is_dark: bool, expected: str | None) -> None:
    assert gravest(codes, is_dark=is_dark) == expected


def test_other_text_is_no_condition() -> None:
    assert condition_of("ok") is None

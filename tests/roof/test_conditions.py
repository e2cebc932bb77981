"""Conditions of devices, and which of several is shown."""

import re

import pytest

from custom_components.enphase_envoy.roof.conditions import STATUSES, is_commanded, most_severe

OK = "envoy.global.ok"
LOW = "envoy.cond_flags.pcu_ctrl.dc-pwr-low"
FAILURE = "envoy.cond_flags.obs_strs.failure"
BROKEN = "envoy.cond_flags.pcu_chan.hardwareError"


def test_statuses_are_keys_of_translations() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", status) for status in STATUSES)


@pytest.mark.parametrize(
    ("codes", "is_dark", "expected"),
    [
        ([], False, None),
        ([OK], False, "normal"),
        ([LOW], False, "low_light"),
        ([LOW, FAILURE], False, "not_reporting"),
        ([LOW, FAILURE], True, "sleeping"),
        ([OK, LOW, BROKEN], True, "hardware_error"),
        (["envoy.cond_flags.pcu_ctrl.new", OK], False, "normal"),
        (["envoy.cond_flags.pcu_ctrl.new"], False, None),
        (["ok"], False, None),
    ],
)
def test_most_severe_status(codes: list[str], is_dark: bool, expected: str | None) -> None:
    assert most_severe(codes, is_dark=is_dark) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("envoy.cond_flags.pcu_ctrl.pwrgenoffbycmd", True),
        ("envoy.cond_flags.pcu_chan.agfpowerlimiting", True),
        (LOW, False),
    ],
)
def test_commanded(code: str, expected: bool) -> None:
    assert is_commanded([OK, code]) is expected

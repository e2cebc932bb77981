"""Growing pauses, and changes that are accepted after several reports in a row."""

import pytest

from custom_components.enphase_envoy.client.backoff import Backoff
from custom_components.enphase_envoy.client.confirmation import Confirmation


def test_pause_doubles_up_to_the_longest() -> None:
    backoff = Backoff(60, 300)
    assert backoff.pause == 0
    assert [backoff.fail() for _ in range(5)] == [60, 120, 240, 300, 300]
    backoff.reset()
    assert (backoff.pause, backoff.fail()) == (0, 60)


def test_pause_stays_finite_after_very_many_failures() -> None:
    backoff = Backoff(60, 300)
    backoff.failures = 100_000
    assert backoff.pause == 300


def test_pause_varies_by_its_jitter() -> None:
    backoff = Backoff(100, 100, jitter=0.1)
    pauses = [backoff.fail() for _ in range(50)]
    assert all(90 <= pause <= 110 for pause in pauses)
    assert len(set(pauses)) > 1


@pytest.mark.parametrize("needed", [1, 3])
def test_change_is_confirmed_after_enough_reports_in_a_row(needed: int) -> None:
    confirmation: Confirmation[str] = Confirmation(needed)
    for count in range(1, needed + 1):
        assert not confirmation.is_confirmed("a")
        assert confirmation.add("a") == count
    assert confirmation.is_confirmed("a")
    assert not confirmation.is_confirmed("b")
    confirmation.reset("a")
    assert "a" not in confirmation
    assert not confirmation.is_confirmed("a")


def test_several_keys_are_reset_together() -> None:
    confirmation: Confirmation[str] = Confirmation(1)
    for key in "abc":
        confirmation.add(key)
    confirmation.reset_all({"a", "b", "z"})
    assert [key for key in "abc" if confirmation.is_confirmed(key)] == ["c"]

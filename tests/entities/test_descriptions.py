"""Values that descriptions make of what a gateway reports."""

from datetime import UTC, datetime

import pytest

from custom_components.enphase_envoy.descriptions.base import reported_at


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(0, None), (None, None), (1_782_000_000, datetime(2026, 6, 21, 0, 0, tzinfo=UTC))],
)
def test_a_device_that_never_reported_has_no_time(timestamp: float | None, expected: datetime | None) -> None:
    assert reported_at(timestamp) == expected

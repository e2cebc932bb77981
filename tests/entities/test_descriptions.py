"""Values that descriptions make of what a gateway reports."""

from datetime import UTC, datetime

from homeassistant.components.number.const import DEVICE_CLASS_UNITS
import pytest

from custom_components.enphase_envoy.descriptions.base import reported_at
from custom_components.enphase_envoy.number import NUMBERS


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [(0, None), (None, None), (1_782_000_000, datetime(2026, 6, 21, 0, 0, tzinfo=UTC))],
)
def test_a_device_that_never_reported_has_no_time(timestamp: float | None, expected: datetime | None) -> None:
    assert reported_at(timestamp) == expected


def test_a_number_has_a_unit_of_its_device_class() -> None:
    """Home Assistant 2026.11 logs a warning about other units, and 2027.5 rejects them."""
    descriptions = [description for entity_set in NUMBERS for description in entity_set.descriptions]
    assert descriptions
    for description in descriptions:
        if description.device_class:
            units = DEVICE_CLASS_UNITS[description.device_class]
            assert description.native_unit_of_measurement in units, description.key

"""Salvage of documents: an invalid record in a list is left out, the others are read."""

from copy import deepcopy
import logging

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.client.salvage import salvaged
from tests.helpers.integration import SetUp
from tests.helpers.log import component_log
from tests.simulator import Change

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("type", "id", "sn", "devices", "x")), inner),
)
NAMES = st.lists(st.integers(1, 10**12).map(str), min_size=2, max_size=12, unique=True)
BAD: st.SearchStrategy[object] = st.sampled_from([None, "text", [], {}, True])


def device(name: str) -> dict[str, object]:
    """Return a record like those in a gateway's inventory."""
    return {"serial_num": name, "percentFull": 45, "communicating": True, "last": {"at": 1, "power": 2.5}}


def document(names: list[str]) -> list[dict[str, object]]:
    """Return groups of devices."""
    return [{"type": "ENCHARGE", "devices": [device(name) for name in names]}, {"type": "ENPOWER", "devices": []}]


def names(document: object) -> list[str]:
    """Return the serial numbers in the first group."""
    assert isinstance(document, list)
    return [device["serial_num"] for device in document[0]["devices"]]


@given(NAMES, st.data())
def test_invalid_record_is_left_out(listed: list[str], data: st.DataObject) -> None:
    good, new = document(listed), document(listed)
    bad = data.draw(st.integers(0, len(listed) - 1))
    record = new[0]["devices"][bad]  # type: ignore[index]
    field = data.draw(st.sampled_from(["percentFull", "last"]))
    worse = data.draw(BAD.filter(lambda value: not (field == "last" and value == {})))
    record[field] = worse
    rest = [name for name in listed if name != listed[bad]]
    assert names(salvaged(new, good)) == rest
    if len(listed) > 2:
        assert names(salvaged(new, None)) == rest, "without a last good document most records are a reference"
    del record[field]
    assert names(salvaged(new, good)) == rest


@given(JSON, JSON)
def test_salvaged_document_is_smaller(new: object, good: object) -> None:
    before = deepcopy((new, good))
    less = salvaged(new, good)
    assert (new, good) == before
    assert less is None or len(repr(less)) <= len(repr(new))


@given(NAMES)
def test_valid_document_stays_as_it_is(listed: list[str]) -> None:
    assert salvaged(document(listed), document(listed)) is None


def without_charge(groups: list[dict[str, list[dict[str, object]]]]) -> list[dict[str, list[dict[str, object]]]]:
    """Remove the state of charge of the first battery."""
    groups = deepcopy(groups)
    del groups[0]["devices"][0]["percentFull"]
    return groups


async def test_invalid_battery_record_affects_that_battery_only(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await set_up("full_battery")
    batteries = sorted(
        address for address in installation.coordinator.data.objects if address[0] == "encharge_inventory"
    )
    assert len(batteries) == 2
    installation.gateway.fault("/ivp/ensemble/inventory", Change(without_charge))
    caplog.clear()
    for _ in range(4):
        await installation.poll_all()
    now = installation.gateway.clock.now
    fresh = {address for address, timed in installation.coordinator.data.objects.items() if timed.updated_at == now}
    assert batteries[1] in fresh
    assert batteries[0] not in fresh
    assert ("enpower",) in fresh
    assert not component_log(caplog, logging.WARNING)


@pytest.mark.parametrize("levels", [300, 900])
def test_deeply_nested_document_is_not_salvaged(levels: int) -> None:
    """Serialising it would overflow the stack and end the process."""
    innermost: object = 1
    for _ in range(levels):
        innermost = [innermost]
    good = [{"serialNumber": str(number), "power": 1} for number in range(3)]
    invalid = [{"serialNumber": "0", "power": innermost}, *good[1:]]
    assert salvaged(invalid, good) is None
    assert salvaged([{"serialNumber": "0", "power": [1]}, *good[1:]], good) == good[1:]

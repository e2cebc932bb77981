"""One bad record costs that record, and no other."""

from copy import deepcopy
import logging

import aiohttp
from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.client.auth import Credentials
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.client.salvage import candidates
from tests.helpers.integration import SetUp, Simulate
from tests.simulator import Change

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("type", "id", "sn", "devices", "x")), inner),
)
NAMES = st.lists(st.integers(1, 10**12).map(str), min_size=2, max_size=12, unique=True)
BAD: st.SearchStrategy[object] = st.sampled_from([None, "text", [], {}, True])


def device(name: str) -> dict[str, object]:
    """Return a record such as gateways list."""
    return {"serial_num": name, "percentFull": 45, "communicating": True, "last": {"at": 1, "power": 2.5}}


def document(names: list[str]) -> list[dict[str, object]]:
    """Return groups of devices."""
    return [{"type": "ENCHARGE", "devices": [device(name) for name in names]}, {"type": "ENPOWER", "devices": []}]


def names(document: object) -> list[str]:
    """Return who is in the first group."""
    assert isinstance(document, list)
    return [device["serial_num"] for device in document[0]["devices"]]


@given(NAMES, st.data())
def test_only_the_bad_record_is_left_out(listed: list[str], data: st.DataObject) -> None:
    good, new = document(listed), document(listed)
    bad = data.draw(st.integers(0, len(listed) - 1))
    record = new[0]["devices"][bad]  # type: ignore[index]
    field = data.draw(st.sampled_from(["percentFull", "last"]))
    worse = data.draw(BAD.filter(lambda value: not (field == "last" and value == {})))
    record[field] = worse
    assert [names(mended) for mended in candidates(new, good)] == [[name for name in listed if name != listed[bad]]]
    del record[field]
    assert [names(mended) for mended in candidates(new, good)] == [[name for name in listed if name != listed[bad]]]
    rest = [name for name in listed if name != listed[bad]]
    assert rest in [names(mended) for mended in candidates(new, None)], "nor is anything known but the others"


@given(JSON, JSON)
def test_any_document_can_be_tried(new: object, good: object) -> None:
    before = deepcopy((new, good))
    tried = list(candidates(new, good))
    assert (new, good) == before
    assert len(tried) <= 21
    assert all(len(repr(less)) <= len(repr(new)) for less in tried)


@given(NAMES)
def test_what_makes_sense_is_left_alone(listed: list[str]) -> None:
    assert not list(candidates(document(listed), document(listed)))


def spoil(groups: list[dict[str, list[dict[str, object]]]]) -> list[dict[str, list[dict[str, object]]]]:
    """Have the first battery say nothing of its charge."""
    groups = deepcopy(groups)
    del groups[0]["devices"][0]["percentFull"]
    return groups


async def test_a_battery_that_makes_no_sense_costs_that_battery(
    set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    installation = await set_up("full_battery")
    batteries = sorted(
        address for address in installation.coordinator.data.objects if address[0] == "encharge_inventory"
    )
    assert len(batteries) == 2
    installation.gateway.fault("/ivp/ensemble/inventory", Change(spoil))
    caplog.clear()
    for _ in range(4):
        await installation.poll_all()
    now = installation.gateway.clock.now
    fresh = {address for address, timed in installation.coordinator.data.objects.items() if timed.updated_at == now}
    assert batteries[1] in fresh
    assert batteries[0] not in fresh
    assert ("enpower",) in fresh
    assert not [r for r in caplog.records if r.name.startswith("custom_components") and r.levelno >= logging.WARNING]


async def test_a_battery_that_made_no_sense_from_the_start_costs_that_battery(simulate: Simulate) -> None:
    simulator = await simulate("full_battery")
    simulator.fault("/ivp/ensemble/inventory", Change(spoil))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        gateway = Gateway(simulator.host, session)
        await gateway.identify()
        await gateway.log_in(Credentials(token=simulator.token()))
        snapshot = await gateway.poll()
    assert len(list(snapshot.members("encharge_inventory"))) == 1
    assert ("enpower",) in snapshot.objects


@pytest.mark.parametrize("levels", [300, 900])
def test_a_document_of_too_many_levels_is_left_alone(levels: int) -> None:
    """To write it would end the process."""
    inmost: object = 1
    for _ in range(levels):
        inmost = [inmost]
    good = [{"serialNumber": str(number), "power": 1} for number in range(3)]
    spoilt = [{"serialNumber": "0", "power": inmost}, *good[1:]]
    assert not list(candidates(spoilt, good))
    assert list(candidates([{"serialNumber": "0", "power": [1]}, *good[1:]], good)) == [good[1:]]

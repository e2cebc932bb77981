"""What is written down of a gateway, and read back with suspicion."""

from dataclasses import asdict
import json

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.client.endpoints import Document, Endpoint
from custom_components.enphase_envoy.client.firmware import GatewayInfo
from custom_components.enphase_envoy.client.persistence import ClockPair, dump, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
IDENTITY = GatewayInfo("122303027790", "8.2.4382", "800-00654-r08", metered=True, secure=True)
SOURCES = {"system_production": "EnvoyProductionJsonUpdater"}
THEN = ClockPair(polls=1000.0, wall=1_782_036_000.0)


def known() -> dict[str, Endpoint]:
    """Return an endpoint in use, one that was only looked at, and one that is not there."""
    used, looked_at, absent = Endpoint(), Endpoint(), Endpoint()
    used.good = used.latest = Document("/used", b'{"a": "\xc3\xa4"}')
    used.freshness.updated_at, used.took = 940.0, 7.5
    looked_at.latest, looked_at.asked = Document("/looked/at", b"[]"), 900.0
    absent.latest, absent.failure = Document("/absent", b"[1]"), "HTTP 404"
    return {"/used": used, "/looked/at": looked_at, "/absent": absent}


def saved() -> dict[str, object]:
    """Return what is in the file."""
    content: dict[str, object] = json.loads(json.dumps(dump(IDENTITY, SOURCES, known().items(), THEN)))
    return content


def test_what_was_written_is_known_again_as_old_as_it_is() -> None:
    now = ClockPair(polls=5.0, wall=THEN.wall + 300)
    found = load(saved(), now)
    assert found
    assert (found.identity, found.sources) == (IDENTITY, SOURCES)
    assert found.endpoints.keys() == {"/used", "/looked/at"}
    used, looked_at = found.endpoints["/used"], found.endpoints["/looked/at"]
    assert used.good is used.latest == known()["/used"].good
    assert now.polls - used.freshness.updated_at == pytest.approx(360)
    assert used.is_slow
    assert looked_at.good is None
    assert looked_at.latest == known()["/looked/at"].latest
    assert used.is_recalled
    assert looked_at.is_recalled


@given(JSON)
def test_a_file_that_anybody_wrote_is_read_or_not(content: object) -> None:
    if isinstance(content, dict):
        load(content, THEN)


@given(st.data())
def test_a_file_of_which_a_part_was_replaced_costs_no_more_than_it_says(data: st.DataObject) -> None:
    content = saved()
    part: dict[str, object] = content
    while True:
        key = data.draw(st.sampled_from(sorted(part)))
        inner = part[key]
        if not isinstance(inner, dict) or not inner or data.draw(st.booleans()):
            part[key] = data.draw(JSON)
            break
        part = inner
    found = load(content, THEN)
    if found:
        assert all(endpoint.freshness.updated_at <= THEN.polls for endpoint in found.endpoints.values())
        assert all(isinstance(name, str) for name in found.sources.values())


def test_firmware_that_no_version_can_be_compared_with_names_no_gateway() -> None:
    content = saved() | {"gateway": {**asdict(IDENTITY), "firmware": "n/a"}}
    assert load(content, THEN) is None


def test_only_what_the_library_reads_with_is_known_as_a_source() -> None:
    content = saved() | {"sources": {**SOURCES, "inverters": "NaN", "weather": "EnvoyMetersUpdater", "ctmeters": ["x"]}}
    found = load(content, THEN)
    assert found
    assert found.sources == SOURCES

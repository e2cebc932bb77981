"""Saving the cache of a gateway, and validation when it is loaded."""

from dataclasses import asdict
import json

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.client.endpoints import Document, Endpoint, Failure, FailureKind
from custom_components.enphase_envoy.client.firmware import GatewayInfo
from custom_components.enphase_envoy.client.persistence import ClockPair, dump, load

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
IDENTITY = GatewayInfo("122303027790", "8.2.4382", "800-00654-r08", metered=True, secure=True)
SOURCES = {"system_production": "EnvoyProductionJsonUpdater"}
THEN = ClockPair(polls=1000.0, wall=1_782_036_000.0)


def endpoints() -> dict[str, Endpoint]:
    """Return an endpoint in use, one that was only probed, and one that the gateway does not have."""
    used, probed, absent = Endpoint(), Endpoint(), Endpoint()
    used.good = used.latest = Document("/used", b'{"a": "\xc3\xa4"}')
    used.freshness.updated_at, used.duration = 940.0, 7.5
    probed.latest, probed.requested_at = Document("/probed", b"[]"), 900.0
    absent.latest, absent.failure = Document("/absent", b"[1]"), Failure(FailureKind.STATUS, status=404)
    return {"/used": used, "/probed": probed, "/absent": absent}


def saved() -> dict[str, object]:
    """Return the content of the file."""
    content: dict[str, object] = json.loads(json.dumps(dump(IDENTITY, SOURCES, endpoints(), THEN)))
    return content


def test_load_restores_endpoints_with_their_age() -> None:
    now = ClockPair(polls=5.0, wall=THEN.wall + 300)
    found = load(saved(), now)
    assert found
    assert (found.info, found.sources) == (IDENTITY, SOURCES)
    assert found.endpoints.keys() == {"/used", "/probed"}
    used, probed = found.endpoints["/used"], found.endpoints["/probed"]
    assert used.good is used.latest == endpoints()["/used"].good
    assert now.polls - used.freshness.updated_at == pytest.approx(360)
    assert used.is_slow
    assert probed.good is None
    assert probed.latest == endpoints()["/probed"].latest
    assert used.is_restored
    assert probed.is_restored


@given(JSON)
def test_load_accepts_any_json(content: object) -> None:
    if isinstance(content, dict):
        load(content, THEN)


@given(st.data())
def test_load_of_a_file_with_a_replaced_part_returns_valid_data(data: st.DataObject) -> None:
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


@pytest.mark.parametrize("firmware", ["n/a", "latest", "dev", "", "8.2.4382\n[x](y)", "8" * 100, "800-00654-r08"])
def test_load_rejects_firmware_that_is_not_a_version(firmware: str) -> None:
    content = saved() | {"gateway": {**asdict(IDENTITY), "firmware": firmware}}
    assert load(content, THEN) is None


@pytest.mark.parametrize("firmware", ["8.2.4382", "3.9.36", "7.6.175", "8.3.5433", "5.0.62", "8.2.4382-rc1", "8"])
def test_load_accepts_true_firmware(firmware: str) -> None:
    content = saved() | {"gateway": {**asdict(IDENTITY), "firmware": firmware}}
    assert load(content, THEN) is not None


def test_load_restores_only_updaters_of_the_library_as_sources() -> None:
    content = saved() | {"sources": {**SOURCES, "inverters": "NaN", "weather": "EnvoyMetersUpdater", "ctmeters": ["x"]}}
    found = load(content, THEN)
    assert found
    assert found.sources == SOURCES


@pytest.mark.parametrize("body", ['{"error": "busy"}', "[1]", "7", '"text"', "no JSON"])
def test_load_leaves_out_what_is_no_document_of_its_endpoint(body: str) -> None:
    content = saved()
    content["documents"] = {"/ivp/meters": {"body": body, "good": True, "seen": THEN.wall, "took": 0.1}}
    found = load(content, THEN)
    assert found
    assert not found.endpoints

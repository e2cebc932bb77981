"""A fresh start while endpoints fail or documents contain errors: only the values that come from them are lost."""

from collections.abc import AsyncIterator
import json
from typing import Final

import aiohttp
from pyenphase.const import (
    ENDPOINT_URL_METERS,
    URL_DEVICE_DATA,
    URL_ENSEMBLE_INVENTORY,
    URL_GEN_CONFIG,
    URL_GEN_MODE,
    URL_GEN_SCHEDULE,
    URL_GENERATOR,
    URL_PRODUCTION_INVERTERS,
    URL_PRODUCTION_V1,
)
from pyenphase.models.system_production import EnvoySystemProduction
import pytest

from custom_components.enphase_envoy.client.paths import FED_BY
from tests.helpers.documents import FreshStarts, Values
from tests.helpers.log import warnings
from tests.simulator import PROFILES

#: Ways in which an endpoint fails: a status or a body.
FAILURES: Final = {
    "not found": 404,
    "server error": 500,
    "busy": b'{"error": "busy"}',
    "page": b"<!DOCTYPE html><html></html>",
    "empty list": b"[]",
    "empty object": b"{}",
    "null": b"null",
    "text": b'"starting"',
    "list of numbers": b"[1, 2]",
    "other object": b'{"status": "starting"}',
}
_PRODUCTION: Final = {
    *("system_production", "system_production_phases", "system_consumption", "system_consumption_phases"),
    *("system_net_consumption", "system_net_consumption_phases"),
}
#: The fields that come from each endpoint, beside those that it feeds alone.
FIELDS: Final[dict[str, set[str]]] = {
    # The meters' types and phases, which the readings do not contain.
    ENDPOINT_URL_METERS: {"ctmeters", "ctmeters_phases", *_PRODUCTION},
    URL_PRODUCTION_V1: _PRODUCTION,
    "/production": {"acb_power", "acb_fleet", *_PRODUCTION},
    "/production.json": {"acb_power", "acb_fleet", *_PRODUCTION},
    "/production.json?details=1": {"acb_power", "acb_fleet", *_PRODUCTION},
    URL_DEVICE_DATA: {"inverters"},
    # The reports of AC batteries, too; the status of panels is read where there are inverters.
    URL_PRODUCTION_INVERTERS: {"inverters", "acb_inventory", "panels"},
}
#: Where an empty document means that the gateway has none of the kind; then nothing else of that kind is read.
NONE_IF_EMPTY: Final = {URL_ENSEMBLE_INVENTORY, URL_GEN_CONFIG}
EMPTY: Final = (b"[]", b"{}", b"null")


def fields_of(path: str) -> set[str]:
    """Return the fields that come from an endpoint."""
    return {field for field, fed_by in FED_BY.items() if fed_by == path} | FIELDS.get(path, set())


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session, which sends nothing."""
    async with aiohttp.ClientSession() as session:
        yield session


def without(values: Values, fields: set[str]) -> Values:
    """Return the values of other fields."""
    return {key: value for key, value in values.items() if key[0][0] not in fields}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("profile", PROFILES)
async def test_an_endpoint_that_fails_costs_its_own_values(
    session: aiohttp.ClientSession, profile: str, failure: bytes | int
) -> None:
    start = FreshStarts(profile, session)
    expected = await start.values()
    for path in sorted(start.requested):
        if path in NONE_IF_EMPTY and failure in EMPTY:
            continue
        values, fields = await start.values({path: failure}), fields_of(path)
        assert without(values, fields) == without(expected, fields), path


@pytest.mark.parametrize("is_stored", [False, True])
async def test_the_lifetime_does_not_change_its_source_while_a_meter_pauses_over_a_restart(
    session: aiohttp.ClientSession, is_stored: bool
) -> None:
    """Some firmware reports now and then that a meter does not count; the inverters count differently."""
    start, path = FreshStarts("full_battery", session), "/production.json?details=1"
    first = start.gateway()
    await first.poll()
    paused = json.loads(start.documents[path].body)
    paused["production"][1]["activeCount"] = 0
    second = start.gateway({path: json.dumps(paused).encode()})
    if is_stored:
        second.load({**first.dump(), "documents": {}}, None)
    lifetimes = [production.watt_hours_lifetime for production in (await second.poll()).all(EnvoySystemProduction)]
    assert lifetimes == ([] if is_stored else [paused["production"][0]["whLifetime"]])


@pytest.mark.parametrize("path", [URL_GENERATOR, URL_GEN_CONFIG, URL_GEN_MODE, URL_GEN_SCHEDULE])
@pytest.mark.parametrize("probes", [False, True])
async def test_a_document_without_any_value_is_a_failure_of_its_endpoint(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, path: str, *, probes: bool
) -> None:
    """Also in the first poll of new updaters, right after a probe."""
    start, answers = FreshStarts("full_battery", session), dict[str, bytes | int]()
    gateway = start.gateway(answers)
    await gateway.poll()
    caplog.clear()
    answers[path] = b'{"a": 1}'
    start.now += 901
    if probes:
        gateway.request_probe()
    await gateway.poll()
    (field,) = fields_of(path)
    assert warnings(caplog) == [f"127.0.0.1: {path} fails (no {field}); its last values are kept"]

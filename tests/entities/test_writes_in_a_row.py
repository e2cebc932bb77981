"""Several changes of the same document within seconds: each is based on the document as it is by then."""

import asyncio
from typing import Any

import aiohttp
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from pyenphase.exceptions import EnvoyCommunicationError
import pytest

from tests.helpers.integration import SetUp, entity_id
from tests.simulator import Drop
from tests.simulator.faults import Freeze

ENPOWER = "202226050419"
TARIFF = "/admin/lib/tariff"
#: Domain, unique id, service and data of two changes of one document.
PAIRS: list[tuple[tuple[str, str, str, dict[str, Any]], ...]] = [
    (
        ("number", f"{ENPOWER}_reserve_soc", "set_value", {"value": 45}),
        ("switch", f"{ENPOWER}_charge_from_grid", "toggle", {}),
    ),
    (
        ("number", f"{ENPOWER}_relay_NC1_soc_low", "set_value", {"value": 33}),
        ("number", f"{ENPOWER}_relay_NC1_soc_high", "set_value", {"value": 88}),
    ),
    (
        ("number", f"{ENPOWER}_relay_NC1_soc_low", "set_value", {"value": 33}),
        ("number", f"{ENPOWER}_relay_NC2_soc_low", "set_value", {"value": 34}),
    ),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("pair", PAIRS, ids=["tariff", "relay", "relays"])
async def test_a_second_change_does_not_undo_the_first(
    hass: HomeAssistant, set_up: SetUp, pair: tuple[tuple[str, str, str, dict[str, Any]], ...], together: bool
) -> None:
    house = await set_up("full_battery")
    entities = [entity_id(hass, domain, unique_id) for domain, unique_id, _, _ in pair]
    before = [house.states()[each] for each in entities]
    calls = [
        hass.services.async_call(domain, service, {**data, "entity_id": each}, blocking=True)
        for each, (domain, _, service, data) in zip(entities, pair, strict=True)
    ]
    if together:
        await asyncio.gather(*calls)
    else:
        for call in calls:
            await call
    await house.poll_all()
    states = [house.states()[each] for each in entities]
    assert not [state for state, old in zip(states, before, strict=True) if state == old]


@pytest.mark.parametrize(
    ("profile", "path", "method"),
    [
        ("full_battery", TARIFF, "PUT"),
        ("full_battery", "/ivp/ss/dry_contact_settings", "POST"),
        ("ac_batteries", "/admin/lib/acb_config", "PUT"),
        ("ac_batteries", "/admin/lib/acb_config", "DELETE"),
    ],
)
async def test_change_is_sent_once_when_the_connection_is_closed(
    set_up: SetUp, profile: str, path: str, method: str
) -> None:
    house = await set_up(profile)
    with house.gateway.fault(path, Drop()), pytest.raises((aiohttp.ClientConnectionError, EnvoyCommunicationError)):
        await house.coordinator.gateway.envoy.send(path, {"changed": True}, method)
    assert [write.method for write in house.gateway.writes] == [method]


@pytest.mark.parametrize("pair", PAIRS, ids=["tariff", "relay", "relays"])
async def test_a_second_change_does_not_undo_the_first_while_the_gateway_reports_the_old_document(
    hass: HomeAssistant, set_up: SetUp, pair: tuple[tuple[str, str, str, dict[str, Any]], ...]
) -> None:
    house = await set_up("full_battery")
    before = house.states()
    path = TARIFF if pair == PAIRS[0] else "/ivp/ss/dry_contact_settings"
    entities = [entity_id(hass, domain, unique_id) for domain, unique_id, _, _ in pair]
    with house.gateway.fault(path, Freeze()):
        for each, (domain, _, service, data) in zip(entities, pair, strict=True):
            await hass.services.async_call(domain, service, {**data, "entity_id": each}, blocking=True)
            await house.pass_time(4)
            assert not ir.async_get(hass).issues
    await house.pass_time(60)
    assert not [each for each in entities if house.states()[each] == before[each]]

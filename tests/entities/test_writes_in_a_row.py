"""Several changes of the same document within seconds: each is based on the document as it is by then."""

import asyncio
from typing import Any

from homeassistant.core import HomeAssistant
import pytest

from tests.helpers.integration import SetUp, entity_id

ENPOWER = "202226050419"
#: Domain, unique id, service and data of two changes of one document.
PAIRS: list[tuple[tuple[str, str, str, dict[str, Any]], ...]] = [
    (
        ("number", f"{ENPOWER}_reserve_soc", "set_value", {"value": 45}),
        ("switch", f"{ENPOWER}_charge_from_grid", "toggle", {}),
    ),
    (
        ("number", f"{ENPOWER}_relay_NC1_soc_low", "set_value", {"value": 33}),
        ("number", f"{ENPOWER}_relay_NC2_soc_low", "set_value", {"value": 34}),
    ),
]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("pair", PAIRS, ids=["tariff", "relays"])
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

"""What is done beside polling: tokens are renewed in time, new firmware is noticed."""

import time
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr, issue_registry as ir
from homeassistant.setup import async_setup_component
import jwt
import pytest

from custom_components.enphase_envoy.client.auth import RENEW_AHEAD, TokenValidity
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp, Simulate
from tests.simulator import Cloud

DAY = 86400.0
PROFILE = "metered_1phase"


def token(gateway_serial: str, days: float, life: float = 365) -> str:
    """Return a token that ends in some days of real time, which is what counts for tokens."""
    ends = time.time() + days * DAY
    claims = {"aud": gateway_serial, "exp": int(ends), "iat": int(ends - life * DAY), "enphaseUser": "owner"}
    return jwt.encode(claims, "k" * 32, "HS256")


async def with_token(set_up: SetUp, days: float, life: float = 365, **data: Any) -> Installation:
    """Set a gateway up with a token that ends in some days."""
    return await set_up(PROFILE, token=token(SERIAL, days, life), **data)


SERIAL = "122303027790"


@pytest.mark.parametrize(
    ("life", "ahead"), [(365 * DAY, RENEW_AHEAD), (DAY / 2, DAY / 8)], ids=["owner, a year", "installer, 12 hours"]
)
def test_when_a_token_is_renewed(life: float, ahead: float) -> None:
    assert TokenValidity(0, life).renew_from == life - ahead


async def test_a_token_that_lasts_asks_nothing_of_the_cloud(set_up: SetUp, cloud: Cloud) -> None:
    house = await with_token(set_up, 200)
    await house.pass_time(60)
    assert not cloud.requests
    assert house.coordinator.last_update_success


async def test_a_token_is_renewed_30_days_before_its_end_without_a_reload(set_up: SetUp, cloud: Cloud) -> None:
    house = await with_token(set_up, 29)
    coordinator = house.coordinator
    await house.pass_time(1)
    assert house.entry.data["token"] == cloud.tokens[0]
    assert cloud.requests == {"login": 1, "tokens": 1}
    assert house.coordinator is coordinator, "nothing was reloaded"
    await house.poll()
    assert coordinator.last_update_success


async def test_an_installers_token_is_renewed_in_time(set_up: SetUp, cloud: Cloud) -> None:
    cloud.user = "installer"
    house = await with_token(set_up, 0.1, life=0.5)
    await house.pass_time(1)
    assert house.entry.data["token"] == cloud.tokens[0]


async def test_while_the_cloud_is_down_the_old_token_serves_and_pauses_grow(
    set_up: SetUp, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    house = await with_token(set_up, 20)
    old = house.entry.data["token"]
    cloud.trouble = "error"
    asked = []
    for _ in range(120):
        await house.pass_time(60)
        asked.append(cloud.requests["login"])
    assert 3 <= asked[-1] <= 6, "in two hours"
    assert house.entry.data["token"] == old
    assert house.coordinator.last_update_success
    assert len([record for record in caplog.records if "no new token" in record.getMessage()]) == 1
    cloud.trouble = None
    for _ in range(12 * 60):
        await house.pass_time(60)
        if cloud.tokens:
            break
    assert house.entry.data["token"] == cloud.tokens[0]


async def test_a_restart_with_a_good_token_needs_no_cloud(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    house = await with_token(set_up, 200)
    cloud.trouble = "hang"
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()
    assert house.coordinator.last_update_success
    assert not cloud.requests


def token_issue(hass: HomeAssistant, house: Installation) -> ir.IssueEntry | None:
    """Return the message that a token ends."""
    return ir.async_get(hass).async_get_issue(DOMAIN, f"token_ends_{house.entry.entry_id}")


async def test_a_pasted_token_near_its_end_is_one_message_that_takes_the_new_one(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud, hass_client: Any
) -> None:
    house = await with_token(set_up, 20, use_manual_token=True, username="", password="")
    await house.pass_time(1)
    found = token_issue(hass, house)
    assert found
    assert found.is_fixable
    assert not cloud.requests
    ir.async_ignore_issue(hass, DOMAIN, found.issue_id, True)
    for _ in range(3):
        await house.pass_time(DAY)
    found = token_issue(hass, house)
    assert found
    assert found.dismissed_version, "who put it off is not asked every day"

    coordinator = house.coordinator
    assert await async_setup_component(hass, "repairs", {})
    client = await hass_client()
    opened = await client.post("/api/repairs/issues/fix", json={"handler": DOMAIN, "issue_id": found.issue_id})
    flow = await opened.json()
    assert flow["type"] == FlowResultType.FORM
    wrong = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={"token": token("999999999999", 300)})
    assert (await wrong.json())["errors"] == {"token": "token_other_gateway"}
    fresh = token(SERIAL, 365)
    done = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={"token": fresh})
    assert (await done.json())["type"] == FlowResultType.CREATE_ENTRY
    assert house.entry.data["token"] == fresh
    assert house.entry.data["use_manual_token"] is True
    assert house.coordinator is coordinator
    assert token_issue(hass, house) is None
    await house.poll()
    assert coordinator.last_update_success


async def test_new_firmware_is_noticed_and_probed(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up(PROFILE)
    await house.gateway.upgrade("D8.3.5433")
    await house.poll()
    assert house.coordinator.data.firmware == "8.2.4264"
    await house.pass_time(4 * 3600 + 1)
    await house.poll()
    assert house.coordinator.data.firmware == "8.3.5433"
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, SERIAL), house.entry.entry_id)
    assert device
    assert device.sw_version == "8.3.5433"


async def test_firmware_7_instead_of_5_leads_to_the_owner_with_an_explanation(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    house = await set_up("legacy_5")
    # The simulated gateway has one port for both: that it hears HTTP where it expects TLS is no failure of a test.
    hass.loop.set_exception_handler(lambda _loop, _context: None)
    await house.gateway.upgrade("D7.6.175")
    await house.poll()
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["source"] == "reauth"
    result = await hass.config_entries.flow.async_configure(flow["flow_id"])
    assert result["errors"] == {"base": "credentials_missing"}
    result = await hass.config_entries.flow.async_configure(
        flow["flow_id"], {"host": house.gateway.host, "token": token(house.gateway.serial, 300)}
    )
    assert result["reason"] == "reauth_successful"
    await hass.async_block_till_done()
    assert house.coordinator.last_update_success


async def test_another_gateway_at_the_address_is_not_taken_for_this_one(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    other = await simulate("three_phase")
    hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "host": other.host})
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state.name == "SETUP_RETRY"
    assert house.entry.reason is not None
    assert "another gateway" in house.entry.reason
    assert not [request for request in other.requests if request.path != "/info"]

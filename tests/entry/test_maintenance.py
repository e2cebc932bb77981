"""Periodic tasks: tokens are renewed in time, new firmware is detected."""

from http import HTTPStatus
import time
from typing import Any
from unittest.mock import patch

from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import device_registry as dr, issue_registry as ir
import jwt
import pytest

from custom_components.enphase_envoy.client.auth import RENEW_AHEAD, TokenValidity
from custom_components.enphase_envoy.client.errors import GatewayError, Reason
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.flows import fill_in, repair_dialog
from tests.helpers.integration import Installation, SetUp, Simulate
from tests.simulator import Cloud

DAY = 86400.0
PROFILE = "metered_1phase"


def token(gateway_serial: str, days: float, validity: float = 365) -> str:
    """Return a token that expires in some days of real time, which applies to tokens."""
    ends = time.time() + days * DAY
    claims = {"aud": gateway_serial, "exp": int(ends), "iat": int(ends - validity * DAY), "enphaseUser": "owner"}
    return jwt.encode(claims, "k" * 32, "HS256")


async def with_token(set_up: SetUp, days: float, validity: float = 365, **data: Any) -> Installation:
    """Set up a gateway with a token that expires in some days."""
    return await set_up(PROFILE, token=token(SERIAL, days, validity), **data)


SERIAL = "122303027790"


@pytest.mark.parametrize(
    ("validity", "ahead"), [(365 * DAY, RENEW_AHEAD), (DAY / 2, DAY / 8)], ids=["owner, a year", "installer, 12 hours"]
)
def test_when_a_token_is_renewed(validity: float, ahead: float) -> None:
    assert TokenValidity(0, validity).renew_from == validity - ahead


async def test_a_token_that_is_not_due_causes_no_request_to_the_cloud(set_up: SetUp, cloud: Cloud) -> None:
    house = await with_token(set_up, 200)
    await house.pass_time(60)
    assert not cloud.requests
    assert house.coordinator.last_update_success


async def test_a_token_is_renewed_30_days_before_it_expires_without_a_reload(set_up: SetUp, cloud: Cloud) -> None:
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
    house = await with_token(set_up, 0.1, validity=0.5)
    await house.pass_time(1)
    assert house.entry.data["token"] == cloud.tokens[0]


async def test_while_the_cloud_is_unreachable_the_old_token_is_used_and_renewals_back_off(
    set_up: SetUp, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    house = await with_token(set_up, 20)
    old = house.entry.data["token"]
    cloud.trouble = "error"
    requested = []
    for _ in range(120):
        await house.pass_time(60)
        requested.append(cloud.requests["login"])
    assert 3 <= requested[-1] <= 6, "in two hours"
    assert house.entry.data["token"] == old
    assert house.coordinator.last_update_success
    assert len([record for record in caplog.records if "could not renew the token" in record.getMessage()]) == 1
    cloud.trouble = None
    for _ in range(12 * 60):
        await house.pass_time(60)
        if cloud.tokens:
            break
    assert house.entry.data["token"] == cloud.tokens[0]


async def test_a_restart_with_a_valid_token_needs_no_cloud(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    house = await with_token(set_up, 200)
    cloud.trouble = "hang"
    await hass.config_entries.async_reload(house.entry.entry_id)
    await hass.async_block_till_done()
    assert house.coordinator.last_update_success
    assert not cloud.requests


def token_issue(hass: HomeAssistant, house: Installation) -> ir.IssueEntry | None:
    """Return the issue about an expiring token."""
    return ir.async_get(hass).async_get_issue(DOMAIN, f"token_ends_{house.entry.entry_id}")


async def test_a_pasted_token_about_to_expire_is_one_issue_that_accepts_a_new_one(
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
    assert found.dismissed_version, "an ignored issue is not created again every day"

    coordinator = house.coordinator
    client, flow = await repair_dialog(hass, hass_client, found.issue_id)
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


async def test_maintenance_ends_with_an_entry_that_could_not_be_unloaded(
    hass: HomeAssistant, set_up: SetUp, cloud: Cloud
) -> None:
    """Home Assistant removes it nevertheless, and does not end its timers."""
    house = await with_token(set_up, 20, use_manual_token=True)
    await house.pass_time(1)
    assert token_issue(hass, house)
    with patch.object(hass.config_entries, "async_unload_platforms", return_value=False):
        await hass.config_entries.async_remove(house.entry.entry_id)
    assert hass.config_entries.async_get_entry(house.entry.entry_id) is None
    assert not token_issue(hass, house)
    house.gateway.requests.clear()
    for _ in range(5):
        await house.pass_time(DAY)
    assert not token_issue(hass, house)
    assert not house.gateway.requests
    assert not cloud.requests
    # The timers that Home Assistant leaves.
    await house.entry._async_process_on_unload(hass)


async def test_an_entry_that_is_removed_while_its_new_token_is_tried_is_not_reloaded(
    hass: HomeAssistant, set_up: SetUp, hass_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await with_token(set_up, 20, use_manual_token=True, username="", password="")
    await house.pass_time(1)
    found = token_issue(hass, house)
    assert found

    async def remove_entry() -> None:
        await hass.config_entries.async_remove(house.entry.entry_id)
        raise GatewayError(Reason.CANNOT_CONNECT)

    monkeypatch.setattr(house.coordinator.authentication, "async_log_in", remove_entry)
    client, flow = await repair_dialog(hass, hass_client, found.issue_id)
    done = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={"token": token(SERIAL, 365)})
    assert done.status == HTTPStatus.OK


async def test_new_firmware_is_detected_and_probed(hass: HomeAssistant, set_up: SetUp) -> None:
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


async def test_firmware_7_instead_of_5_starts_reauthentication_with_an_error(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    house = await set_up("legacy_5")
    # The simulated gateway has one port for both: HTTP where it expects TLS is no failure of a test.
    hass.loop.set_exception_handler(lambda _loop, _context: None)
    await house.gateway.upgrade("D7.6.175")
    await house.poll()
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["source"] == "reauth"
    result = await hass.config_entries.flow.async_configure(flow["flow_id"])
    assert (result["step_id"], result["errors"]) == ("account", {"base": "credentials_missing"})
    result = await fill_in(hass, result, token=token(house.gateway.serial, 300))
    assert result["reason"] == "reauth_successful"
    await hass.async_block_till_done()
    assert house.coordinator.last_update_success


async def test_another_gateway_at_the_address_is_rejected(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    other = await simulate("three_phase")
    hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "host": other.host})
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state.name == "SETUP_RETRY"
    assert house.entry.reason is not None
    assert "is not the one that was set up" in house.entry.reason
    assert not [request for request in other.requests if request.path != "/info"]

"""Certificate pinning: nothing is sent to a host with another certificate."""

import asyncio
from socket import AddressFamily
from typing import Any, override
from unittest.mock import patch

from aiohttp.abc import AbstractResolver, ResolveResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir
import pytest

from custom_components.enphase_envoy import config_flow, issues, maintenance, session
from custom_components.enphase_envoy.client.errors import GatewayError, Reason
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.flows import fill_in, repair_dialog
from tests.helpers.integration import Installation, SetUp, Simulate
from tests.simulator import Simulator

PROFILE = "metered_1phase"


async def pin(hass: HomeAssistant, house: Installation) -> str:
    """Enable pinning in the options, and return the stored fingerprint."""
    flow = await hass.config_entries.options.async_init(house.entry.entry_id)
    result = await hass.config_entries.options.async_configure(
        flow["flow_id"],
        {
            "poll_interval": 60,
            "disable_keep_alive": False,
            "pin_certificate": True,
            "diagnostics_include_fixtures": False,
        },
    )
    assert result["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    fingerprint: str = house.entry.data["certificate_fingerprint"]
    assert len(fingerprint) == 64
    return fingerprint


def secrets_sent(gateway: Simulator) -> list[str]:
    """Return requests that carried a token or a password."""
    return [request.path for request in gateway.requests if request.path != "/info"]


async def test_the_option_stores_the_certificate(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up(PROFILE)
    assert "certificate_fingerprint" not in house.entry.data
    fingerprint = await pin(hass, house)
    await house.poll()
    assert house.coordinator.last_update_success
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.data["certificate_fingerprint"] == fingerprint


async def test_nothing_is_sent_to_another_certificate_until_the_user_trusts_it(
    hass: HomeAssistant, set_up: SetUp, hass_client: Any
) -> None:
    house = await set_up(PROFILE)
    old = await pin(hass, house)
    await house.gateway.upgrade("D8.3.5433")
    house.gateway.requests.clear()
    for _ in range(3):
        await house.poll()
    assert not house.coordinator.last_update_success
    assert not await hass.config_entries.async_reload(house.entry.entry_id)
    assert not secrets_sent(house.gateway)
    issue = ir.async_get(hass).async_get_issue(DOMAIN, f"certificate_changed_{house.entry.entry_id}")
    assert issue

    client, flow = await repair_dialog(hass, hass_client, issue.issue_id)
    shown = flow["description_placeholders"]
    assert shown["old"] == old
    assert shown["new"] != old
    assert (shown["serial"], shown["firmware"]) == (house.gateway.serial, "8.3.5433")
    done = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={})
    assert (await done.json())["type"] == FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.entry.data["certificate_fingerprint"] == shown["new"]
    assert not ir.async_get(hass).async_get_issue(DOMAIN, issue.issue_id)


@pytest.mark.parametrize("source", ["reconfigure", "reauth"])
async def test_another_certificate_can_be_trusted_in_the_dialog(
    hass: HomeAssistant, set_up: SetUp, source: str
) -> None:
    """Also at another address, about which there is no issue."""
    house = await set_up(PROFILE)
    old = await pin(hass, house)
    token = house.entry.data["token"]
    await house.gateway.upgrade("D8.3.5433")
    for _ in range(3):
        await house.poll()
    assert ir.async_get(hass).async_get_issue(DOMAIN, f"certificate_changed_{house.entry.entry_id}")
    house.gateway.requests.clear()
    if source == "reauth":
        form = await house.entry.start_reauth_flow(hass)
    else:
        form = await fill_in(hass, await house.entry.start_reconfigure_flow(hass), host=house.gateway.host)
    assert (form["type"], form["step_id"]) == (FlowResultType.FORM, "trust")
    shown = form["description_placeholders"]
    assert shown
    assert shown["old"] == old != shown["new"]
    assert shown["serial"] == shown["old_serial"] == house.gateway.serial
    assert not secrets_sent(house.gateway)
    assert house.entry.data["certificate_fingerprint"] == old
    result = await fill_in(hass, await hass.config_entries.flow.async_configure(form["flow_id"], {}))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, f"{source}_successful")
    await hass.async_block_till_done()
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.entry.data["certificate_fingerprint"] == shown["new"]
    assert house.entry.data["token"] == token
    assert not ir.async_get(hass).issues


async def test_the_issue_ends_when_the_old_certificate_is_back(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up(PROFILE)
    await pin(hass, house)
    house.coordinator.authentication.succeeded()
    issues.async_report_certificate(hass, house.entry, house.gateway.host)
    await house.poll()
    assert not ir.async_get(hass).issues


async def test_an_entry_that_is_removed_while_its_certificate_is_trusted_is_not_changed(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    house = await set_up(PROFILE)
    await pin(hass, house)
    await house.gateway.upgrade("D8.3.5433")
    form = await house.entry.start_reauth_flow(hass)
    assert form["step_id"] == "trust"
    validate = config_flow.validate

    async def removing(*arguments: Any) -> Any:
        result = await validate(*arguments)
        await hass.config_entries.async_remove(house.entry.entry_id)
        return result

    with patch.object(config_flow, "validate", removing):
        result = await hass.config_entries.flow.async_configure(form["flow_id"], {})
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")


async def test_the_dialog_trusts_no_device_without_a_certificate(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up(PROFILE)
    await pin(hass, house)
    await house.gateway.upgrade("D5.0.62")
    house.gateway.requests.clear()
    form = await fill_in(hass, await house.entry.start_reconfigure_flow(hass), host=house.gateway.host)
    assert (form["step_id"], form["errors"]) == ("user", {"host": "certificate_changed"})
    assert not secrets_sent(house.gateway)


@pytest.mark.parametrize("firmware", ["D5.0.62", "R3.9.36"])
async def test_pinning_rejects_plain_http_and_old_firmware(hass: HomeAssistant, set_up: SetUp, firmware: str) -> None:
    """An impostor that announces firmware 5 would be sent a user name and a password."""
    house = await set_up(PROFILE)
    await pin(hass, house)
    await house.gateway.upgrade(firmware)
    house.gateway.requests.clear()
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state is ConfigEntryState.SETUP_RETRY
    assert not secrets_sent(house.gateway)


async def test_without_the_option_the_fingerprint_is_kept(hass: HomeAssistant, set_up: SetUp) -> None:
    """By it the gateway is recognised at another address."""
    house = await set_up(PROFILE)
    fingerprint = await pin(hass, house)
    hass.config_entries.async_update_entry(house.entry, options={**house.entry.options, "pin_certificate": False})
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.entry.data["certificate_fingerprint"] == fingerprint


async def test_reauthentication_offers_no_device_with_another_serial_number(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up(PROFILE)
    await pin(hass, house)
    other = await simulate("three_phase")
    hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "host": other.host})
    form = await house.entry.start_reauth_flow(hass)
    assert (form["type"], form["step_id"]) == (FlowResultType.FORM, "user")
    assert form["errors"] == {"host": "other_gateway"}
    assert not secrets_sent(other)


async def test_the_certificate_of_another_device_is_not_stored(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    """It may have the address since the last poll."""
    house = await set_up(PROFILE)
    assert await maintenance._store_certificate(hass, house.entry)
    fingerprint = house.entry.data["certificate_fingerprint"]
    house.coordinator.gateway.host = (await simulate("three_phase")).host
    assert await maintenance._store_certificate(hass, house.entry)
    assert house.entry.data["certificate_fingerprint"] == fingerprint
    house.coordinator.gateway.host = house.gateway.host
    await house.gateway.upgrade("D8.3.5433")
    assert await maintenance._store_certificate(hass, house.entry)
    assert house.entry.data["certificate_fingerprint"] != fingerprint


async def test_a_certificate_is_trusted_where_there_is_one_only(
    hass: HomeAssistant, set_up: SetUp, hass_client: Any
) -> None:
    """An entry without a token, whose gateway was upgraded before it was logged in with one."""
    house = await set_up(PROFILE)
    fingerprint = await pin(hass, house)
    await house.gateway.upgrade("D8.3.5433")
    await house.poll()
    data = {key: value for key, value in house.entry.data.items() if "token" not in key}
    hass.config_entries.async_update_entry(house.entry, data=data)
    issue_id = f"certificate_changed_{house.entry.entry_id}"
    _, flow = await repair_dialog(hass, hass_client, issue_id)
    new = flow["description_placeholders"]["new"]
    assert len(new) == len(fingerprint)
    assert new != fingerprint
    await house.gateway.upgrade("D5.0.62")
    _, flow = await repair_dialog(hass, hass_client, issue_id)
    assert (flow["type"], flow["reason"]) == ("abort", "cannot_connect")
    assert house.entry.data["certificate_fingerprint"] == fingerprint


async def test_firmware_before_7_has_no_certificate_to_pin(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("legacy_5")
    flows = hass.config_entries.options
    flow = await flows.async_init(house.entry.entry_id)
    assert flow["data_schema"]
    assert "pin_certificate" not in flow["data_schema"].schema
    # Where it was chosen nevertheless it can be cleared.
    hass.config_entries.async_update_entry(house.entry, options={"pin_certificate": True})
    flow = await flows.async_init(house.entry.entry_id)
    assert flow["data_schema"]
    assert "pin_certificate" in flow["data_schema"].schema


class _Names(AbstractResolver):
    """A resolver that has several addresses for each name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.families: list[int] = []

    @override
    async def resolve(self, host: str, port: int = 0, family: int = AddressFamily.AF_INET) -> list[ResolveResult]:
        self.families.append(family)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    @override
    async def close(self) -> None:
        """Close nothing."""


@pytest.mark.parametrize(
    ("addresses", "is_read"),
    [(("127.0.0.1",), True), (("127.0.0.9", "127.0.0.1"), True), (("127.0.0.9",), False), ((), False)],
)
async def test_the_certificate_is_read_at_the_first_address_that_answers(
    hass: HomeAssistant, simulate: Simulate, addresses: tuple[str, ...], is_read: bool
) -> None:
    gateway = await simulate(PROFILE)
    expected = await session.async_fingerprint(hass, gateway.host)
    names, connect = _Names(*addresses), asyncio.open_connection

    def open_connection(address: str, *args: Any, **options: Any) -> Any:
        if address != "127.0.0.1":
            raise OSError(address)
        return connect(address, *args, **options)

    with (
        patch.object(session, "_resolver", return_value=names),
        patch.object(asyncio, "open_connection", open_connection),
    ):
        name = gateway.host.replace("127.0.0.1", "envoy.local")
        if is_read:
            assert await session.async_fingerprint(hass, name) == expected
        else:
            with pytest.raises(GatewayError) as caught:
                await session.async_fingerprint(hass, name)
            assert caught.value.reason is Reason.CANNOT_CONNECT
    assert names.families == [AddressFamily.AF_UNSPEC], "also those of IPv6"


async def test_the_dialog_offers_no_device_with_another_serial_number(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, hass_client: Any
) -> None:
    house = await set_up(PROFILE)
    await pin(hass, house)
    await house.gateway.upgrade("D8.3.5433")
    await house.poll()
    other = await simulate("three_phase")
    hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "host": other.host})
    _, flow = await repair_dialog(hass, hass_client, f"certificate_changed_{house.entry.entry_id}")
    assert (flow["type"], flow["reason"]) == ("abort", "other_gateway")

"""The entry follows its gateway to another address, and no other device that announces its serial number."""

from ipaddress import ip_address
from typing import Any, override

from aiohttp import web
from homeassistant.config_entries import SOURCE_ZEROCONF, ConfigEntryState, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.flows import repair_dialog
from tests.helpers.integration import Installation, SetUp, Simulate
from tests.simulator import Held, Simulator

PROFILE = "metered_1phase"
PINNED = pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "not pinned"])


class Announcement(ZeroconfServiceInfo):
    """An announcement with a port: several simulated gateways share an address."""

    at = ""

    @property
    @override
    def host(self) -> str:
        return self.at


async def discover(hass: HomeAssistant, gateway: Simulator, serial: str | None = None) -> ConfigFlowResult:
    """Let a gateway be discovered, and return the result of the flow."""
    address = ip_address("127.0.0.1")
    info = Announcement(
        ip_address=address,
        ip_addresses=[address],
        hostname="envoy.local.",
        name="Envoy._enphase-envoy._tcp.local.",
        port=80,
        type="_enphase-envoy._tcp.local.",
        properties={"serialnum": serial or gateway.serial},
    )
    info.at = gateway.host
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=info)


async def announce(hass: HomeAssistant, gateway: Simulator, serial: str | None = None) -> None:
    """Let a gateway that is set up be discovered."""
    result = await discover(hass, gateway, serial)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "already_configured")
    await hass.async_block_till_done()


async def away(hass: HomeAssistant, set_up: SetUp, *, pinned: bool) -> Installation:
    """Set up a gateway, and let it go away once its certificate is stored."""
    house = await set_up(PROFILE)
    if pinned:
        hass.config_entries.async_update_entry(house.entry, options={"pin_certificate": True})
        await hass.config_entries.async_reload(house.entry.entry_id)
    await house.pass_time(20)
    assert house.entry.data["certificate_fingerprint"]
    await house.gateway.go_away()
    await house.poll()
    assert not house.coordinator.last_update_success
    return house


async def same_gateway(simulate: Simulate, house: Installation) -> Simulator:
    """Return the gateway at another address."""
    other = await simulate(PROFILE)
    await other.go_away()
    other.certificate = house.gateway.certificate
    await other.come_back()
    return other


def secrets(gateway: Simulator) -> list[str]:
    """Return a list that collects the Authorization headers that a simulated gateway receives from now on."""
    headers: list[str] = []
    refuse = gateway._refuse

    def listen(request: web.Request) -> object:
        if header := request.headers.get("Authorization"):
            headers.append(header)
        return refuse(request)

    gateway._refuse = listen  # type: ignore[method-assign, assignment]
    return headers


def question(hass: HomeAssistant, house: Installation) -> ir.IssueEntry | None:
    """Return the issue that lets the user decide."""
    return ir.async_get(hass).async_get_issue(DOMAIN, f"address_changed_{house.entry.entry_id}")


@PINNED
async def test_the_entry_follows_the_gateway_and_returns_with_it(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, pinned: bool
) -> None:
    house = await away(hass, set_up, pinned=pinned)
    first = house.entry.data["host"]
    other = await same_gateway(simulate, house)
    await announce(hass, other)
    assert house.entry.data["host"] == other.host
    assert house.entry.state is ConfigEntryState.LOADED
    assert house.coordinator.last_update_success
    assert not question(hass, house)
    await other.go_away()
    await house.poll()
    assert not house.coordinator.last_update_success
    await house.pass_time(301)
    assert house.entry.data["host"] == other.host, "nothing answers at the previous address"
    await house.gateway.come_back()
    await house.pass_time(301)
    await hass.async_block_till_done()
    assert house.entry.data["host"] == first
    assert house.coordinator.last_update_success


@PINNED
async def test_a_device_with_another_certificate_is_sent_nothing_until_the_user_trusts_it(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, hass_client: Any, pinned: bool
) -> None:
    """It announces the serial number, and reports it in `/info`, which needs no authentication."""
    house = await away(hass, set_up, pinned=pinned)
    first, fingerprint = house.entry.data["host"], house.entry.data["certificate_fingerprint"]
    impostor = await simulate(PROFILE)
    headers = secrets(impostor)
    await announce(hass, impostor)
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.data["host"] == first
    assert not headers
    issue = question(hass, house)
    assert issue
    assert issue.translation_placeholders == {"name": house.entry.title, "old_host": first, "host": impostor.host}

    client, flow = await repair_dialog(hass, hass_client, issue.issue_id)
    shown = flow["description_placeholders"]
    assert (shown["old"], shown["serial"]) == (fingerprint, house.gateway.serial)
    assert shown["new"] != fingerprint
    assert not headers
    done = await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={})
    assert (await done.json())["type"] == FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    assert house.entry.data["host"] == impostor.host
    assert house.entry.data["certificate_fingerprint"] == shown["new"]
    assert house.coordinator.last_update_success
    assert not question(hass, house)


async def test_the_question_is_withdrawn_when_the_gateway_answers_again(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await away(hass, set_up, pinned=False)
    await announce(hass, await simulate(PROFILE))
    assert question(hass, house)
    await house.gateway.come_back()
    await house.pass_time(61)
    await house.poll()
    await house.pass_time(301)
    assert not question(hass, house)


async def test_another_gateway_that_announces_the_serial_number_is_ignored(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await away(hass, set_up, pinned=False)
    first, other = house.entry.data["host"], await simulate("three_phase")
    headers = secrets(other)
    await announce(hass, other, house.gateway.serial)
    assert house.entry.data["host"] == first
    assert not headers
    assert not question(hass, house)


@PINNED
async def test_an_announcement_moves_nothing_while_the_gateway_answers_at_its_address(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, pinned: bool
) -> None:
    """The last poll failed, and a device that forwards the answers of the gateway would have its certificate."""
    house = await away(hass, set_up, pinned=pinned)
    first = house.entry.data["host"]
    other = await same_gateway(simulate, house)
    await house.gateway.come_back()
    headers = secrets(other)
    await announce(hass, other)
    assert house.entry.data["host"] == first
    assert not headers
    assert not question(hass, house)


async def test_an_announced_address_where_nothing_answers_is_ignored(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await away(hass, set_up, pinned=False)
    first, other = house.entry.data["host"], await simulate(PROFILE)
    await other.go_away()
    await announce(hass, other)
    assert house.entry.data["host"] == first
    assert not question(hass, house)


async def test_firmware_without_certificates_moves_only_if_the_user_agrees(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, hass_client: Any
) -> None:
    house = await set_up("legacy_5")
    await house.gateway.go_away()
    await house.poll()
    other = await simulate("legacy_5")
    headers = secrets(other)
    await announce(hass, other)
    issue = question(hass, house)
    assert issue
    assert not headers
    client, flow = await repair_dialog(hass, hass_client, issue.issue_id)
    assert not headers
    await client.post(f"/api/repairs/issues/fix/{flow['flow_id']}", json={})
    await hass.async_block_till_done()
    assert house.entry.data["host"] == other.host


async def test_an_entry_that_cannot_be_set_up_returns_to_the_previous_address(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    """Another gateway got the address after the move."""
    house = await away(hass, set_up, pinned=False)
    first, other = house.entry.data["host"], await simulate("three_phase")
    data = {**house.entry.data, "host": other.host, "previous_host": first}
    hass.config_entries.async_update_entry(house.entry, data=data)
    await house.gateway.come_back()
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state is ConfigEntryState.SETUP_RETRY
    assert house.entry.data["host"] == first
    await hass.config_entries.async_reload(house.entry.entry_id)
    assert house.entry.state.name == "LOADED"


async def test_a_renewed_certificate_of_a_gateway_that_is_not_pinned_is_stored(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    house = await set_up(PROFILE)
    await house.pass_time(20)
    before = house.entry.data["certificate_fingerprint"]
    await house.gateway.upgrade("D8.3.5433")
    await house.poll()
    assert house.coordinator.last_update_success
    await house.pass_time(4 * 3600 + 60)
    assert house.entry.data["certificate_fingerprint"] != before
    assert not ir.async_get(hass).issues


@pytest.mark.parametrize("is_known", [True, False])
async def test_an_entry_that_is_removed_meanwhile_is_not_moved(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, *, is_known: bool
) -> None:
    house = await away(hass, set_up, pinned=False)
    if not is_known:
        hass.config_entries.async_update_entry(house.entry, data={**house.entry.data, "fingerprint": "00" * 32})
    host = await same_gateway(simulate, house)
    held = Held()
    host.fault("/info", held)
    announced = hass.async_create_task(discover(hass, host))
    await held.waiting.wait()
    await hass.config_entries.async_remove(house.entry.entry_id)
    held.release()
    assert (await announced)["type"] is FlowResultType.MENU
    assert question(hass, house) is None

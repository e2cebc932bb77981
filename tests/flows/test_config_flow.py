"""Config flow: its fields, errors and the data of the entry."""

from ipaddress import ip_address
import sys
from typing import Any, override

from homeassistant.config_entries import SOURCE_USER, SOURCE_ZEROCONF, ConfigEntryState, ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy import config_flow
from custom_components.enphase_envoy.client.timeouts import Timeouts
from custom_components.enphase_envoy.config_flow import host_of
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.flows import fill_in
from tests.helpers.integration import LONG, SetUp, Simulate, choose_live_power, entry_for
from tests.simulator import Cloud, Held, OtherServer, Silent, Simulator, Status, other_server

DEVICE = "<?xml version='1.0'?><envoy_info><device><sn>1</sn><software>{}</software></device></envoy_info>"


async def submit(hass: HomeAssistant, **form: Any) -> ConfigFlowResult:
    """Start a flow as the frontend does, and submit the form."""
    opened = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    assert opened["type"] is FlowResultType.FORM
    return await fill_in(hass, opened, **form)


def errors(result: ConfigFlowResult) -> dict[str, str]:
    """Return the errors of a form that is shown again."""
    assert result["type"] is FlowResultType.FORM, result
    return result["errors"] or {}


async def test_with_a_token_no_account_is_stored(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("full_battery")
    token = gateway.token(LONG)
    result = await submit(hass, host=gateway.host, token=f"  {token}\n")
    result = await choose_live_power(hass, result)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["title"] == f"Envoy {gateway.serial}"
    assert result["result"].unique_id == gateway.serial
    assert result["data"] == {
        "host": gateway.host,
        "name": f"Envoy {gateway.serial}",
        "username": "",
        "password": "",
        "token": token,
        "use_manual_token": True,
    }
    await hass.async_block_till_done()
    assert result["result"].state is ConfigEntryState.LOADED


async def test_an_account_fetches_the_token(hass: HomeAssistant, simulate: Simulate, cloud: Cloud) -> None:
    gateway = await simulate("metered_1phase")
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="sunshine")
    result = await choose_live_power(hass, result)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert result["data"]["username"] == "owner@example.com"
    assert result["data"]["token"]
    assert result["data"]["use_manual_token"] is False


async def test_firmware_before_7_uses_local_users(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("legacy_5")
    result = await submit(hass, host=gateway.host, username="installer", password="")
    result = await choose_live_power(hass, result)
    assert result["type"] is FlowResultType.CREATE_ENTRY
    assert "token" not in result["data"]
    await hass.async_block_till_done()
    assert result["result"].state is ConfigEntryState.LOADED


async def test_fields_depend_on_the_firmware_once_it_is_identified(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("legacy_5")
    result = await submit(hass, host=gateway.host, username="envoy", password="wrong")
    assert errors(result) == {"base": "password_rejected"}
    assert result["step_id"] == "local"


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ({"days": -LONG}, "token_expired"),
        ({"serial": "999999999999"}, "token_other_gateway"),
        ("nonsense", "token_malformed"),
    ],
)
async def test_an_invalid_token_is_an_error(
    hass: HomeAssistant, simulate: Simulate, token: dict[str, Any] | str, error: str
) -> None:
    gateway = await simulate("metered_1phase")
    text = token if isinstance(token, str) else gateway.token(**{"days": LONG} | token)
    assert errors(await submit(hass, host=gateway.host, token=text)) == {"token": error}


async def test_a_token_that_the_gateway_rejects(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    with gateway.fault("/auth/check_jwt", Status(401)):
        result = await submit(hass, host=gateway.host, token=gateway.token(LONG))
    assert errors(result) == {"token": "token_rejected"}
    # The same flow continues.
    result = await choose_live_power(hass, await fill_in(hass, result, token=gateway.token(LONG)))
    assert result["type"] is FlowResultType.CREATE_ENTRY


def suggested(result: ConfigFlowResult) -> dict[str, Any]:
    """Return the values that a form suggests."""
    assert result["data_schema"] is not None
    return {
        str(field): value
        for field in result["data_schema"].schema
        if (value := (field.description or {}).get("suggested_value"))
    }


async def test_the_field_that_was_wrong_is_empty(hass: HomeAssistant, simulate: Simulate, cloud: Cloud) -> None:
    gateway = await simulate("metered_1phase")
    result = await submit(hass, host=gateway.host, token=gateway.token(-LONG))
    assert suggested(result) == {}
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="rain")
    assert suggested(result) == {"username": "owner@example.com"}


async def test_passwords_and_tokens_are_marked_as_secret_where_home_assistant_can(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await simulate("metered_1phase")

    async def keys() -> dict[str, type]:
        result = await submit(hass, host=gateway.host, token=gateway.token(-LONG))
        assert result["data_schema"] is not None
        return {str(field): type(field.schema) for field in result["data_schema"].schema}

    secret = getattr(sys.modules.get("probatio"), "Secret", str)
    assert await keys() == {"token": secret, "username": str, "password": secret}
    monkeypatch.setattr(config_flow, "secret_key", str)
    assert await keys() == {"token": str, "username": str, "password": str}


async def test_credentials_are_kept_after_an_error_of_something_else(
    hass: HomeAssistant, simulate: Simulate, cloud: Cloud
) -> None:
    gateway = await simulate("metered_1phase")
    account = {"username": "owner@example.com", "password": "sunshine"}
    cloud.trouble = "error"
    result = await submit(hass, host=gateway.host, **account)
    assert errors(result) == {"base": "cloud_unreachable"}
    assert suggested(result) == account
    token = gateway.token(LONG)
    result = await submit(hass, host=gateway.host)
    result = await hass.config_entries.flow.async_configure(result["flow_id"], {"next_step_id": "token"})
    await gateway.go_away()
    result = await fill_in(hass, result, token=token)
    assert errors(result) == {"base": "cannot_connect"}
    assert suggested(result) == {"token": token}


async def test_no_stored_secret_is_shown(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    opened = await house.entry.start_reconfigure_flow(hass)
    assert suggested(opened) == {"host": house.gateway.host}
    menu = await hass.config_entries.flow.async_configure(opened["flow_id"], suggested(opened))
    form = await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": "account"})
    assert suggested(form) == {"username": house.entry.data["username"]}


@pytest.mark.parametrize("profile", ["metered_1phase", "legacy_5"])
async def test_the_address_alone_is_reconfigured(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate, cloud: Cloud, profile: str
) -> None:
    house = await set_up(profile)
    before = house.entry.data
    moved = await simulate(profile)
    result = await fill_in(hass, await house.entry.start_reconfigure_flow(hass), host=moved.host)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    await hass.async_block_till_done()
    after = {key: value for key, value in house.entry.data.items() if key in before}
    assert after == {**before, "host": moved.host}
    assert not cloud.requests


async def test_stored_credentials_are_offered_to_the_same_gateway_only(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up("metered_1phase")
    other = await simulate("three_phase")
    opened = await house.entry.start_reconfigure_flow(hass)
    result = await hass.config_entries.flow.async_configure(opened["flow_id"], {"host": other.host})
    assert result["menu_options"] == ["account", "token"]
    assert {request.path for request in other.requests} == {"/info"}


async def test_an_empty_field_is_as_before(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    house = await set_up("metered_1phase", username="owner@example.com", password="sunshine")
    opened = await house.entry.start_reconfigure_flow(hass)
    result = await fill_in(hass, opened, host=house.gateway.host, username="owner@example.com")
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    await hass.async_block_till_done()
    assert house.entry.data["password"] == "sunshine"


async def test_another_user_does_not_get_the_stored_password(hass: HomeAssistant, set_up: SetUp, cloud: Cloud) -> None:
    house = await set_up("metered_1phase", username="owner@example.com", password="sunshine")
    opened = await house.entry.start_reconfigure_flow(hass)
    result = await fill_in(hass, opened, host=house.gateway.host, username="other@example.com")
    assert errors(result) == {"base": "credentials_missing"}
    assert not cloud.requests


async def test_neither_account_nor_token(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    chosen = await submit(hass, host=gateway.host)
    assert (chosen["type"], chosen["menu_options"]) == (FlowResultType.MENU, ["account", "token"])
    form = await hass.config_entries.flow.async_configure(chosen["flow_id"], {"next_step_id": "account"})
    result = await hass.config_entries.flow.async_configure(form["flow_id"], {"username": "owner@example.com"})
    assert errors(result) == {"base": "credentials_missing"}


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("mfa", "multi_factor"),
        ("error", "cloud_unreachable"),
        ("html", "cloud_unreachable"),
        ("refused", "not_your_gateway"),
    ],
)
async def test_errors_of_the_cloud(
    hass: HomeAssistant, simulate: Simulate, cloud: Cloud, trouble: Any, error: str
) -> None:
    gateway = await simulate("metered_1phase")
    cloud.trouble = trouble
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="sunshine")
    assert errors(result) == {"base": error}
    # The other way to log in is offered from now on.
    result = await choose_live_power(hass, await fill_in(hass, result, token=gateway.token(LONG)))
    assert result["type"] is FlowResultType.CREATE_ENTRY


async def test_a_wrong_password(hass: HomeAssistant, simulate: Simulate, cloud: Cloud) -> None:
    gateway = await simulate("metered_1phase")
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="rain")
    assert errors(result) == {"base": "invalid_auth"}


async def test_an_unreachable_cloud(
    hass: HomeAssistant, simulate: Simulate, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", f"http://127.0.0.1:{unused_tcp_port}/login?")
    gateway = await simulate("metered_1phase")
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="sunshine")
    assert errors(result) == {"base": "cloud_unreachable"}


@pytest.mark.parametrize("service", ["login_trouble", "token_trouble"])
async def test_a_cloud_that_does_not_answer_times_out(
    hass: HomeAssistant, simulate: Simulate, cloud: Cloud, virtual_clock: None, service: str
) -> None:
    setattr(cloud, service, "hang")
    gateway = await simulate("metered_1phase")
    result = await submit(hass, host=gateway.host, username="owner@example.com", password="sunshine")
    assert errors(result) == {"base": "cloud_unreachable"}


async def test_a_gateway_that_does_not_answer_times_out(
    hass: HomeAssistant, simulate: Simulate, virtual_clock: None
) -> None:
    gateway = await simulate("metered_1phase")
    with gateway.fault("/info", Silent()):
        result = await submit(hass, host=gateway.host, token=gateway.token(LONG))
    assert errors(result) == {"host": "cannot_connect"}


def test_timeouts_are_within_15_seconds() -> None:
    assert Timeouts().identify + 1 <= 15
    assert Timeouts().cloud + 5 <= 15


async def test_an_unreachable_gateway(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    await gateway.go_away()
    assert errors(await submit(hass, host=gateway.host, token="x")) == {"host": "cannot_connect"}


@pytest.mark.parametrize("answer", sorted(other_server.ANSWERS))
async def test_another_server_is_not_a_gateway(hass: HomeAssistant, answer: str) -> None:
    async with OtherServer(answer) as server:
        assert errors(await submit(hass, host=server.host, token="x")) == {"host": "not_a_gateway"}
        assert not server.credentials


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<html><p>unclosed", "not_a_gateway"),
        ("\x00\xff\xfe", "not_a_gateway"),
        (DEVICE.format("R"), "not_a_gateway"),
        (DEVICE.format("R3.7.31"), "firmware_too_old"),
        (DEVICE.format("Dlatest"), "not_a_gateway"),
        (DEVICE.format("D8.2.4382 [x](http://x.example)"), "not_a_gateway"),
        (DEVICE.format("D8.2.4382").replace("<sn>1", "<sn>[x](http://x.example)1"), "not_a_gateway"),
        (DEVICE.format("D8.2.4382").replace("<sn>1", "<sn>" + "1" * 100), "not_a_gateway"),
    ],
    ids=["broken HTML", "not text", "no version", "firmware before 3.9", "latest", "Markdown", "serial", "long serial"],
)
async def test_an_incomplete_info_document_is_not_a_gateway(
    hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch, body: str, error: str
) -> None:
    monkeypatch.setitem(other_server.ANSWERS, "almost", (body, "text/xml"))
    async with OtherServer("almost") as server:
        assert errors(await submit(hass, host=server.host, token="x")) == {"host": error}


async def test_a_server_without_access_to_the_info_document(hass: HomeAssistant) -> None:
    async with OtherServer("html", status=403) as server:
        assert errors(await submit(hass, host=server.host, token="x")) == {"host": "not_a_gateway"}
    async with OtherServer("html", status=503) as server:
        assert errors(await submit(hass, host=server.host, token="x")) == {"host": "cannot_connect"}


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("192.168.1.5", "192.168.1.5"),
        (" envoy.local/ ", "envoy.local"),
        ("https://envoy.local/home", "envoy.local"),
        ("http://192.168.1.5:8080", "192.168.1.5:8080"),
        ("envoy.local:443", "envoy.local:443"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_a_host_may_be_a_url(typed: str, host: str) -> None:
    assert host_of(typed) == host


async def test_a_gateway_is_set_up_once(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    entry_for(gateway).add_to_hass(hass)
    result = await submit(hass, host=gateway.host, token=gateway.token(LONG))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "already_configured")


class Announcement(ZeroconfServiceInfo):
    """An announcement of a simulated gateway, whose port is not that of a real one."""

    at = ""

    @property
    @override
    def host(self) -> str:
        return self.at or super().host


def announcement(gateway: Simulator, address: str = "127.0.0.1", *, at: str | None = None) -> ZeroconfServiceInfo:
    """Return the mDNS announcement of a gateway."""
    found = ip_address(address)
    info = Announcement(
        ip_address=found,
        ip_addresses=[found],
        hostname="envoy.local.",
        name=f"Envoy {gateway.serial}._enphase-envoy._tcp.local.",
        port=80,
        type="_enphase-envoy._tcp.local.",
        properties={"serialnum": gateway.serial, "protovers": gateway.firmware},
    )
    info.at = gateway.host if at is None else at
    return info


async def discover(hass: HomeAssistant, info: ZeroconfServiceInfo) -> ConfigFlowResult:
    """Let a gateway be discovered."""
    return await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_ZEROCONF}, data=info)


async def test_a_discovered_gateway_can_be_added(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    result = await discover(hass, announcement(gateway))
    assert result["type"] is FlowResultType.MENU
    assert result["description_placeholders"] == {
        "host": gateway.host,
        "serial": gateway.serial,
        "firmware": gateway.firmware,
        "entrez": config_flow.ENTREZ,
    }
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["title_placeholders"] == {"name": f"Envoy {gateway.serial}", "host": gateway.host}
    result = await choose_live_power(hass, await fill_in(hass, result, token=gateway.token(LONG)))
    assert result["type"] is FlowResultType.CREATE_ENTRY


@pytest.mark.parametrize("serial", ["[x](http://x.example)", "1" * 100, "12\u202e34", " "])
async def test_a_serial_number_that_is_none_is_not_added(hass: HomeAssistant, simulate: Simulate, serial: str) -> None:
    info = announcement(await simulate("metered_1phase"))
    info.properties["serialnum"] = serial
    result = await discover(hass, info)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "not_a_gateway")


async def test_an_ipv6_address_is_not_added(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("metered_1phase")
    result = await discover(hass, announcement(gateway, "fe80::1"))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "not_ipv4")


async def test_discovery_keeps_a_working_address(hass: HomeAssistant, set_up: SetUp) -> None:
    """A gateway on Ethernet and Wi-Fi announces both addresses in turn."""
    house = await set_up("metered_1phase")
    before = house.entry.data["host"]
    result = await discover(hass, announcement(house.gateway, "127.0.0.2", at=""))
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "already_configured")
    assert house.entry.data["host"] == before


async def test_reauthentication(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("metered_1phase")
    result = await house.entry.start_reauth_flow(hass)
    assert not errors(result)
    (flow,) = hass.config_entries.flow.async_progress()
    assert flow["context"]["title_placeholders"] == {"name": house.entry.title, "host": house.gateway.host}
    token = house.gateway.token(LONG - 100)
    failed = await hass.config_entries.flow.async_configure(result["flow_id"], {})
    assert errors(failed) == {"base": "credentials_missing"}
    result = await fill_in(hass, failed, token=token)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reauth_successful")
    await hass.async_block_till_done()
    assert house.entry.data["token"] == token
    assert house.entry.state is ConfigEntryState.LOADED


async def test_reconfiguration_accepts_the_same_gateway_only(
    hass: HomeAssistant, set_up: SetUp, simulate: Simulate
) -> None:
    house = await set_up("metered_1phase")
    other = await simulate("three_phase")
    result = await house.entry.start_reconfigure_flow(hass)
    result = await fill_in(hass, result, host=other.host, token=other.token(LONG))
    assert errors(result) == {"host": "other_gateway"}
    token = house.gateway.token(LONG - 50)
    result = await fill_in(hass, result, host=house.gateway.host, token=token)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "reconfigure_successful")
    await hass.async_block_till_done()
    assert house.entry.data["token"] == token


@pytest.mark.parametrize("profile", ["full_battery", "metered_1phase"])
async def test_live_power_is_offered_where_there_is_a_source(
    hass: HomeAssistant, simulate: Simulate, profile: str
) -> None:
    gateway = await simulate(profile)
    offered = await submit(hass, host=gateway.host, token=gateway.token(LONG))
    assert offered["step_id"] == "live_power"
    assert offered["data_schema"]
    assert offered["data_schema"]({}) == {"live_power": True}
    # The user closed the dialog, and opens it again.
    offered = await hass.config_entries.flow.async_configure(offered["flow_id"])
    assert offered["step_id"] == "live_power"
    result = await choose_live_power(hass, offered, on=True)
    assert result["result"].options == {"live_power": 5}


async def test_live_power_that_is_not_selected_stays_off(hass: HomeAssistant, simulate: Simulate) -> None:
    gateway = await simulate("full_battery")
    offered = await submit(hass, host=gateway.host, token=gateway.token(LONG))
    result = await choose_live_power(hass, offered, on=False)
    assert result["result"].options == {}


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ("full_battery", "/ivp/livedata/status"),
        ("standard_7_6", "- (/ivp/livedata/status: HTTP 404; /ivp/meters/readings: HTTP 404; /stream/meter: HTTP 404)"),
    ],
)
async def test_options_show_the_source_of_live_power(
    hass: HomeAssistant, set_up: SetUp, profile: str, text: str
) -> None:
    installation = await set_up(profile)
    result = await hass.config_entries.options.async_init(installation.entry.entry_id)
    if result["type"] is FlowResultType.MENU:
        result = await hass.config_entries.options.async_configure(result["flow_id"], {"next_step_id": "options"})
    assert result["description_placeholders"] == {"live_source": text}


@pytest.mark.parametrize("step", ["user", "token"])
async def test_an_entry_that_is_removed_while_its_form_is_checked_is_not_changed(
    hass: HomeAssistant, set_up: SetUp, step: str
) -> None:
    house = await set_up("full_battery")
    opened = await house.entry.start_reconfigure_flow(hass)
    form = {"host": house.gateway.host}
    if step == "token":
        menu = await hass.config_entries.flow.async_configure(opened["flow_id"], form)
        opened = await hass.config_entries.flow.async_configure(menu["flow_id"], {"next_step_id": step})
        form = {"token": house.gateway.token(days=LONG)}
    held = Held()
    house.gateway.fault("/info", held)
    checking = hass.async_create_task(hass.config_entries.flow.async_configure(opened["flow_id"], form))
    await held.waiting.wait()
    await hass.config_entries.async_remove(house.entry.entry_id)
    held.release()
    assert (await checking)["reason"] == "removed"


async def test_options_of_a_removed_entry_are_not_saved(hass: HomeAssistant, set_up: SetUp) -> None:
    """It was removed while the dialog was open."""
    house = await set_up("metered_1phase")
    flows = hass.config_entries.options
    form = await flows.async_init(house.entry.entry_id)
    assert (form["type"], form["step_id"]) == (FlowResultType.FORM, "options")
    await hass.config_entries.async_remove(house.entry.entry_id)
    result = await flows.async_configure(form["flow_id"], form["data_schema"]({}))  # type: ignore[misc]
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")

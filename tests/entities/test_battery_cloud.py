"""Battery settings through the cloud: the states of the entities, and the requests."""

import asyncio
from collections.abc import Coroutine
from datetime import datetime, time, timedelta
import json
import logging
from typing import Any, cast
from zoneinfo import ZoneInfo

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.const import CONF_PASSWORD, EVENT_HOMEASSISTANT_CLOSE
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.exceptions import HomeAssistantError, ServiceValidationError
from homeassistant.helpers import entity_registry as er, issue_registry as ir
from homeassistant.helpers.translation import async_get_translations
from homeassistant.util import dt as dt_util
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator

from custom_components.enphase_envoy import battery_control, issues
from custom_components.enphase_envoy.battery_control import CONFIRM_WITHIN
from custom_components.enphase_envoy.calendar import _events as calendar_events
from custom_components.enphase_envoy.cloud.models import Schedule, ScheduleKind
from custom_components.enphase_envoy.const import DOMAIN, OPTION_CLOUD_CODE, OPTION_CLOUD_SITE
from custom_components.enphase_envoy.diagnostics import async_get_config_entry_diagnostics
from tests.helpers.flows import repair_dialog
from tests.helpers.integration import SetUp, entity_id
from tests.simulator.battery_service import SITE, ServiceTrouble

from .conftest import ENPOWER, House, StartHouse

#: An entity, an action with its data, the state before and after, and the pending value.
CONTROLS: list[Any] = [
    ("number", "reserve_soc", "set_value", {"value": 45}, "20.0", "45.0", 45.0),
    ("select", "storage_mode", "select_option", {"option": "backup"}, "self_consumption", "backup", "backup"),
    ("switch", "charge_from_grid", "turn_on", {}, "off", "on", True),
    ("number", "battery_shutdown_level", "set_value", {"value": 12}, "5", "12", 12.0),
]


async def enabled_in_options(house: House) -> ConfigFlowResult:
    """Enable the cloud in the options, and return the next step."""
    flows = house.hass.config_entries.options
    flow = await flows.async_init(house.installation.entry.entry_id)
    flow = await flows.async_configure(flow["flow_id"], {"next_step_id": "battery_cloud"})
    return await flows.async_configure(flow["flow_id"], {"enabled": True})


@pytest.mark.parametrize(("domain", "key", "action", "data", "before", "after", "pending"), CONTROLS)
async def test_change_is_pending_until_the_gateway_confirms_it(
    start: StartHouse,
    domain: str,
    key: str,
    action: str,
    data: dict[str, object],
    before: str,
    after: str,
    pending: object,
) -> None:
    house = await start()
    assert float(house.state(domain, key).state) == float(before) if before[0].isdigit() else before
    house.installation.gateway.requests.clear()
    await house.call(domain, key, action, **data)
    assert house.state(domain, key).attributes["pending"] == pending
    assert len([write for write in house.cloud.batteries.writes if "acceptDisclaimer" not in write.path]) == 1
    assert not [request for request in house.installation.gateway.requests if request.method in ("PUT", "POST")]
    for seconds in (4, 8, 20, 60):
        await house.installation.pass_time(seconds)
    state = house.state(domain, key)
    assert state.state == after or float(state.state) == float(after)
    assert "pending" not in state.attributes
    assert not house.issues()


@pytest.mark.parametrize(("domain", "key", "action", "data", "before", "after", "pending"), CONTROLS[:3])
async def test_change_that_the_gateway_never_confirms_ends_in_an_issue(
    start: StartHouse,
    domain: str,
    key: str,
    action: str,
    data: dict[str, object],
    before: str,
    after: str,
    pending: object,
) -> None:
    house = await start()
    house.cloud.batteries.delay = None
    await house.call(domain, key, action, **data)
    for _ in range(CONFIRM_WITHIN // 60):
        assert house.state(domain, key).attributes["pending"] == pending
        await house.installation.pass_time(61)
    state = house.state(domain, key)
    assert "pending" not in state.attributes
    assert state.state != after
    assert house.issues() == {"cloud_unconfirmed"}
    house.cloud.batteries.delay = 10
    await house.call(domain, key, action, **data)
    await house.installation.poll_all()
    assert not house.issues()


async def test_settings_that_only_the_cloud_has(start: StartHouse) -> None:
    house = await start()
    for key in ("discharge_to_grid", "restrict_battery_discharge"):
        assert house.state("switch", key).state == "off"
        await house.call("switch", key, "turn_on")
        assert house.state("switch", key).state == "on"
    level = house.state("number", "battery_shutdown_level")
    assert (level.attributes["min"], level.attributes["max"]) == (5, 25)


async def test_storage_modes_are_those_of_the_site(start: StartHouse) -> None:
    house = await start()
    mode = house.state("select", "storage_mode")
    assert mode.attributes["options"] == ["backup", "self_consumption", "savings", "ai_optimization"]
    await house.call("select", "storage_mode", "select_option", option="ai_optimization")
    assert house.cloud.batteries.settings["profile"] == "ai_optimisation"


async def test_older_firmware_is_changed_without_the_cloud(start: StartHouse) -> None:
    house = await start(firmware="D8.2.127")
    await house.call("number", "reserve_soc", "set_value", value=45)
    assert not house.cloud.batteries.writes
    assert float(house.state("number", "reserve_soc").state) == 45


async def test_without_the_option_nothing_is_requested_from_the_cloud(start: StartHouse) -> None:
    house = await start(enabled=False)
    for domain, key, action, data, *_ in CONTROLS[:3]:
        await house.call(domain, key, action, **data)
    for _ in range(20):
        await house.installation.pass_time(60)
    assert not house.cloud.requests
    assert not house.cloud.batteries.requests
    assert er.async_get(house.hass).async_get_entity_id("switch", DOMAIN, f"{ENPOWER}_discharge_to_grid") is None


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("refused", "refused the change"),
        ("error", "not responding"),
        ("html", "not responding"),
        ("forbidden", "not responding"),
        ("too_many", "not responding"),
    ],
)
async def test_change_that_the_cloud_does_not_accept_is_an_error(
    start: StartHouse, trouble: ServiceTrouble, message: str
) -> None:
    house = await start()
    house.cloud.batteries.write_trouble = trouble
    with pytest.raises(HomeAssistantError, match=message):
        await house.call("number", "reserve_soc", "set_value", value=45)
    state = house.state("number", "reserve_soc")
    assert float(state.state) == 20
    assert "pending" not in state.attributes
    house.cloud.batteries.write_trouble = None
    for _ in range(10):
        await house.installation.pass_time(60)
    assert float(house.state("number", "reserve_soc").state) == 20


async def test_missing_cloud_leaves_local_data_and_logs_once(
    start: StartHouse, caplog: pytest.LogCaptureFixture
) -> None:
    house = await start()
    house.cloud.batteries.trouble = "error"
    caplog.clear()
    for _ in range(70):
        await house.installation.pass_time(61)
    assert float(house.state("number", "reserve_soc").state) == 20
    assert house.state("switch", "discharge_to_grid").state == "unavailable"
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "enphase" in record.name
    ]
    assert len(warnings) == 1
    assert "can't be read" in warnings[0]
    house.cloud.batteries.trouble = None
    for _ in range(130):
        await house.installation.pass_time(61)
    assert house.state("switch", "discharge_to_grid").state == "off"
    assert "can be read again" in caplog.text


async def test_account_with_codes_is_not_sent_one_without_the_user(start: StartHouse) -> None:
    house = await start(needs_code=True)
    for _ in range(40):
        await house.installation.pass_time(60)
    assert not house.cloud.requests
    assert house.issues() == {"cloud_code"}
    with pytest.raises(HomeAssistantError, match="one-time code"):
        await house.call("number", "reserve_soc", "set_value", value=45)


async def test_issues_about_the_cloud_end_with_its_use(start: StartHouse) -> None:
    house = await start(needs_code=True)
    hass, entry = house.hass, house.installation.entry
    await house.installation.pass_time(60)
    issues.async_report_unconfirmed(hass, entry, "reserve", ("number.reserve", 45, 30))
    assert house.issues() == {"cloud_code", "cloud_unconfirmed"}
    hass.config_entries.async_update_entry(entry, options={})
    assert await hass.config_entries.async_reload(entry.entry_id)
    await hass.async_block_till_done(wait_background_tasks=True)
    assert not house.issues()


async def test_code_is_entered_in_the_repair_issue(start: StartHouse, hass_client: ClientSessionGenerator) -> None:
    house = await start(needs_code=True)
    house.cloud.login_trouble = "mfa"
    entry = house.installation.entry
    client, form = await repair_dialog(house.hass, hass_client, f"cloud_code_{entry.entry_id}")
    assert house.cloud.codes_sent == 0
    url = f"/api/repairs/issues/fix/{form['flow_id']}"
    assert (await (await client.post(url, json={})).json())["step_id"] == "cloud_code"
    assert house.cloud.codes_sent == 1
    data = await (await client.post(url, json={"code": house.cloud.code})).json()
    assert data["type"] == "create_entry"
    await house.hass.async_block_till_done(wait_background_tasks=True)
    await house.installation.pass_time(1)
    assert house.state("switch", "discharge_to_grid").state == "off"
    assert not house.issues()
    assert entry.options[OPTION_CLOUD_CODE] is True


async def test_code_is_not_sent_for_a_removed_entry(start: StartHouse, hass_client: ClientSessionGenerator) -> None:
    """The repair dialog is still open: neither a request nor a session of the account."""
    house = await start(needs_code=True)
    house.cloud.login_trouble = "mfa"
    hass, entry = house.hass, house.installation.entry
    client, form = await repair_dialog(hass, hass_client, f"cloud_code_{entry.entry_id}")
    url = f"/api/repairs/issues/fix/{form['flow_id']}"
    assert (await (await client.post(url, json={})).json())["step_id"] == "cloud_code"
    await hass.config_entries.async_remove(entry.entry_id)
    requests, listeners = house.cloud.requests.copy(), hass.bus.async_listeners()[EVENT_HOMEASSISTANT_CLOSE]
    result = await (await client.post(url, json={"code": house.cloud.code})).json()
    assert (result["type"], result["reason"]) == ("abort", "removed")
    assert house.cloud.requests == requests
    assert hass.bus.async_listeners()[EVENT_HOMEASSISTANT_CLOSE] == listeners
    assert not hass.data[battery_control._CLIENTS]


async def test_session_with_a_code_that_ends_is_an_issue(start: StartHouse) -> None:
    house = await start(enabled=False)
    house.cloud.login_trouble = "mfa"
    hass, flow = house.hass, await enabled_in_options(house)
    await hass.config_entries.options.async_configure(flow["flow_id"], {"code": house.cloud.code})
    await hass.async_block_till_done()
    await house.installation.pass_time(1)
    house.cloud.end_sessions()
    for _ in range(40):
        await house.installation.pass_time(60)
    assert house.issues() == {"cloud_code"}
    assert (house.cloud.requests["login"], house.cloud.codes_sent) == (1, 1)


async def test_entry_with_a_token_is_not_offered_the_cloud(
    hass: HomeAssistant, set_up: SetUp, start: StartHouse
) -> None:
    """The password of the account is not stored there."""
    installation = await set_up("collar", use_manual_token=True)
    flow = await hass.config_entries.options.async_init(installation.entry.entry_id)
    assert "battery_cloud" not in flow.get("menu_options", ())
    reserve = entity_id(hass, "number", f"{installation.gateway.serial}_reserve_soc")
    await hass.services.async_call("number", "set_value", {"entity_id": reserve, "value": 45}, blocking=True)
    for _ in range(6):
        await installation.poll_all()
    keys = {issue.translation_key for issue in ir.async_get(hass).issues.values() if issue.domain == DOMAIN}
    assert keys == {"setting_overwritten"}


async def test_session_and_settings_survive_a_reload(start: StartHouse, hass_storage: dict[str, Any]) -> None:
    """A reload makes no request, and neither cookies nor tokens are stored."""
    house = await start()
    service, entry = house.cloud.batteries, house.installation.entry
    requests = service.requests.total()
    for _ in range(3):
        assert await house.hass.config_entries.async_reload(entry.entry_id)
        await house.installation.pass_time(20)
    assert service.requests.total() == requests
    assert house.cloud.requests["login"] == 1
    assert house.state("switch", "discharge_to_grid").state == "off"
    client = entry.runtime_data.battery_control.cloud.client
    stored = json.dumps([hass_storage, dict(entry.data), dict(entry.options)], default=str)
    for secret in (client._manager_token, *client._cookies.values()):
        assert secret
        assert secret not in stored


async def test_gateway_that_follows_in_another_order_is_shown(start: StartHouse) -> None:
    house = await start()
    for value, delay in ((45, 20), (60, 8)):
        house.cloud.batteries.delay = delay
        await house.call("number", "reserve_soc", "set_value", value=value)
    await house.installation.pass_time(11)
    assert float(house.state("number", "reserve_soc").state) == 60
    assert "pending" not in house.state("number", "reserve_soc").attributes
    await house.installation.pass_time(20)
    assert float(house.state("number", "reserve_soc").state) == 45


@pytest.mark.parametrize("option", ["savings", "ai_optimization"])
async def test_change_of_the_mode_ends_what_is_pending(start: StartHouse, option: str) -> None:
    """Each mode has a reserve of its own: the gateway never reports the one of before."""
    house = await start()
    await house.call("number", "reserve_soc", "set_value", value=45)
    await house.call("select", "storage_mode", "select_option", option="backup")
    await house.call("select", "storage_mode", "select_option", option=option)
    for _ in range(8):
        await house.installation.pass_time(61)
    assert not house.issues()
    assert "pending" not in house.state("select", "storage_mode").attributes


async def test_diagnostics_contain_shapes_alone(start: StartHouse, caplog: pytest.LogCaptureFixture) -> None:
    house = await start()
    service, entry = house.cloud.batteries, house.installation.entry
    service.settings["ownerNote"] = "private text"
    service.schedules["one"] = {"scheduleType": "CFG", "scheduleId": "one", "createdBy": "owner@example.com"}
    await house.installation.pass_time(901)
    report = await async_get_config_entry_diagnostics(house.hass, entry)
    properties: Any = report["envoy_properties"]
    answers = properties["battery_cloud"]["answers"]
    assert answers["batterySettings"]["data"]["ownerNote"] == "str"
    assert answers["batterySettings"]["data"]["batteryBackupPercentage"] == "int"
    assert answers["siteSettings"]["data"]["featureDetails"] == {"…": "bool"}
    assert answers["schedules"]["cfg"]["details"] == [{"scheduleType": "str", "scheduleId": "str", "createdBy": "str"}]
    text = json.dumps(properties["battery_cloud"])
    for content in ("private text", "owner@example.com", "Europe/Berlin", SITE):
        assert content not in text
    # After a change of the shape as well, which is logged once.
    caplog.clear()
    service.trouble = "shape"
    for _ in range(40):
        await house.installation.pass_time(60)
    report = await async_get_config_entry_diagnostics(house.hass, entry)
    properties = report["envoy_properties"]
    assert properties["battery_cloud"]["answers"]["batterySettings"] == {"type": "str", "data": ["str"]}
    assert [record.getMessage().count("another shape") for record in caplog.records if record.levelno > 20] == [1]


async def test_diagnostics_leave_out_the_documents_of_settings_and_schedules(start: StartHouse) -> None:
    """Not what was read of them."""
    house = await start()
    service, entry = house.cloud.batteries, house.installation.entry
    service.settings["ownerNote"] = "private text"
    service.settings["dtgControl"]["note"] = "private control"
    schedule = {"scheduleType": "CFG", "scheduleId": "one", "startTime": "01:00", "endTime": "02:00", "days": [1]}
    service.schedules["one"] = {**schedule, "note": "private schedule"}
    await house.installation.pass_time(901)
    report: Any = await async_get_config_entry_diagnostics(house.hass, entry)
    battery = report["envoy_model_data"]["cloud_battery"]
    assert battery["settings"]["reserve"] == 20
    assert battery["settings"]["discharge_to_grid"]["is_offered"] is True
    assert (battery["schedules"][0]["start"], battery["schedules"][0]["days"]) == ("01:00:00", [1])
    assert json.dumps(report).count("private") == 0


@pytest.mark.parametrize("levels", [1, 90, 300, 1_000])
async def test_diagnostics_of_an_answer_of_many_levels(start: StartHouse, levels: int) -> None:
    house = await start()
    service, entry = house.cloud.batteries, house.installation.entry
    nested: Any = "private text"
    for _ in range(levels):
        nested = [nested]
    service.settings["nested"] = nested
    await house.installation.pass_time(901)
    report: Any = await async_get_config_entry_diagnostics(house.hass, entry)
    answers = report["envoy_properties"]["battery_cloud"]["answers"]
    assert (answers["batterySettings"] == "too deep") is (levels > 100)
    assert levels > 100 or answers["batterySettings"]["data"]["batteryBackupPercentage"] == "int"
    assert answers["siteSettings"]["data"]["timezone"] == "str"
    assert json.dumps(report).count("private text") == 0


async def test_schedules_by_actions_and_in_the_calendar(start: StartHouse) -> None:
    house = await start()
    hass, entry = house.hass, house.installation.entry
    target = {"config_entry_id": entry.entry_id}
    night = {"schedule_type": "charge_from_grid", "start_time": "23:00", "end_time": "05:00", "limit": 80}
    stored = await hass.services.async_call(
        DOMAIN,
        "set_battery_schedule",
        {**target, **night, "weekdays": ["mon", "sun"]},
        blocking=True,
        return_response=True,
    )
    assert stored
    expected = {
        **night,
        "schedule_id": stored["schedule_id"],
        "weekdays": ["mon", "sun"],
        "enabled": True,
        "status": "pending",
    }
    assert stored == expected
    listed = await hass.services.async_call(
        DOMAIN, "get_battery_schedules", target, blocking=True, return_response=True
    )
    assert listed == {"schedules": [expected]}
    with pytest.raises(HomeAssistantError, match="overlaps"):
        await hass.services.async_call(
            DOMAIN, "set_battery_schedule", {**target, **night, "start_time": "04:00"}, blocking=True
        )
    calendar = entity_id(hass, "calendar", f"{ENPOWER}_battery_schedules")
    now = dt_util.utcnow()
    events = await hass.services.async_call(
        "calendar",
        "get_events",
        {"entity_id": calendar, "start_date_time": now, "end_date_time": now + timedelta(days=14)},
        blocking=True,
        return_response=True,
    )
    assert events
    shown: Any = cast(Any, events)[calendar]["events"]
    assert len(shown) in (4, 5)
    assert {event["summary"] for event in shown} == {"Charge from grid"}
    await hass.services.async_call(
        DOMAIN, "delete_battery_schedule", {**target, "schedule_id": stored["schedule_id"]}, blocking=True
    )
    listed = await hass.services.async_call(
        DOMAIN, "get_battery_schedules", target, blocking=True, return_response=True
    )
    assert listed == {"schedules": []}


async def test_schedules_need_the_option(start: StartHouse) -> None:
    house = await start(enabled=False)
    target = {"config_entry_id": house.installation.entry.entry_id}
    with pytest.raises(ServiceValidationError, match="Enable “Battery settings in the cloud”"):
        await house.hass.services.async_call(
            DOMAIN, "get_battery_schedules", target, blocking=True, return_response=True
        )


async def test_option_is_chosen_in_the_dialog(start: StartHouse) -> None:
    """The account of the entry is used; nothing is requested before the user confirms."""
    house = await start(enabled=False)
    hass, entry = house.hass, house.installation.entry
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    assert "battery_cloud" in flow["menu_options"]
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "battery_cloud"})
    assert not house.cloud.requests
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"enabled": True})
    assert flow["type"] is FlowResultType.CREATE_ENTRY
    await hass.async_block_till_done()
    assert entry.options[OPTION_CLOUD_SITE] == SITE
    await house.installation.pass_time(1)
    assert house.state("switch", "discharge_to_grid").state == "off"
    flow = await hass.config_entries.options.async_init(entry.entry_id)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"next_step_id": "battery_cloud"})
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"enabled": False})
    assert OPTION_CLOUD_SITE not in entry.options
    await hass.async_block_till_done(wait_background_tasks=True)
    await house.installation.pass_time(1)


async def test_account_with_codes_and_several_sites_in_the_dialog(start: StartHouse) -> None:
    house = await start(enabled=False)
    house.cloud.login_trouble = "mfa"
    house.cloud.batteries.sites.append({"id": 99, "title": "Barn"})
    hass, entry = house.hass, house.installation.entry
    flow = await enabled_in_options(house)
    assert flow["step_id"] == "cloud_code"
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"code": "000000"})
    assert flow["errors"] == {"code": "cloud_code_invalid"}
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"code": house.cloud.code})
    assert flow["step_id"] == "cloud_site"
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"site": SITE})
    assert entry.options[OPTION_CLOUD_CODE] is True
    await hass.async_block_till_done()
    await house.installation.pass_time(1)
    # The session of the dialog is used, and no other code is sent.
    assert house.state("switch", "discharge_to_grid").state == "off"
    assert house.cloud.codes_sent == 1
    assert not house.issues()


@pytest.mark.parametrize("step", ["cloud_code", "cloud_site"])
async def test_dialog_of_a_removed_entry_ends(start: StartHouse, step: str) -> None:
    house = await start(enabled=False)
    house.cloud.login_trouble = "mfa" if step == "cloud_code" else None
    house.cloud.batteries.sites.append({"id": 99, "title": "Barn"})
    flow = await enabled_in_options(house)
    assert flow["step_id"] == step
    await house.hass.config_entries.async_remove(house.installation.entry.entry_id)
    requests = house.cloud.requests.copy()
    values = {"site": SITE} if step == "cloud_site" else {"code": house.cloud.code}
    result = await house.hass.config_entries.options.async_configure(flow["flow_id"], values)
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")
    assert house.cloud.requests == requests
    assert not house.hass.data[battery_control._CLIENTS]


async def test_login_under_way_leaves_no_session_of_a_removed_entry(start: StartHouse) -> None:
    house = await start(enabled=False)
    service = house.cloud.batteries
    service.hold = asyncio.Event()
    login = house.hass.async_create_task(enabled_in_options(house))
    await service.holding.wait()
    await house.hass.config_entries.async_remove(house.installation.entry.entry_id)
    service.hold.set()
    result = await login
    assert (result["type"], result["reason"]) == (FlowResultType.ABORT, "removed")
    assert not house.hass.data[battery_control._CLIENTS]


async def test_wrong_password_is_an_error_in_the_dialog(start: StartHouse) -> None:
    house = await start(enabled=False)
    house.cloud.password = "changed"
    flow = await enabled_in_options(house)
    assert flow["errors"] == {"base": "cloud_invalid_auth"}


async def test_setting_that_is_not_kept_offers_the_cloud(
    start: StartHouse, hass_client: ClientSessionGenerator
) -> None:
    house = await start("collar", enabled=False)
    hass, entry = house.hass, house.installation.entry
    reserve = entity_id(hass, "number", f"{house.installation.gateway.serial}_reserve_soc")
    await hass.services.async_call("number", "set_value", {"entity_id": reserve, "value": 45}, blocking=True)
    for _ in range(6):
        await house.installation.poll_all()
    assert "cloud_offer" in house.issues()
    assert not house.cloud.requests
    client, form = await repair_dialog(hass, hass_client, f"cloud_offer_{entry.entry_id}")
    assert form["step_id"] == "battery_cloud"
    data = await (await client.post(f"/api/repairs/issues/fix/{form['flow_id']}", json={})).json()
    assert data["type"] == "create_entry"
    await hass.async_block_till_done(wait_background_tasks=True)
    await house.installation.pass_time(1)
    assert entry.options[OPTION_CLOUD_SITE] == SITE
    assert "cloud_offer" not in house.issues()


async def test_change_under_way_is_not_sent_after_the_entry_was_unloaded(start: StartHouse) -> None:
    house = await start()
    service, hass = house.cloud.batteries, house.hass
    service.hold = asyncio.Event()
    data = {"schedule_type": "charge_from_grid", "start_time": "01:00", "end_time": "02:00"}
    target = {"config_entry_id": house.installation.entry.entry_id}
    changes = [
        hass.async_create_task(hass.services.async_call(DOMAIN, "set_battery_schedule", data | target, blocking=True)),
        hass.async_create_task(house.call("switch", "charge_from_grid", "turn_on")),
    ]
    await service.holding.wait()
    assert await hass.config_entries.async_unload(house.installation.entry.entry_id)
    service.hold.set()
    for change in changes:
        with pytest.raises(HomeAssistantError):
            await change
    assert not service.writes


@pytest.mark.parametrize("action", ["get_battery_schedules", "turn_on"])
async def test_no_request_follows_after_the_entry_was_unloaded(start: StartHouse, action: str) -> None:
    """One is under way: neither the next read, nor a login where the session has ended."""
    house = await start()
    service, hass, entry = house.cloud.batteries, house.hass, house.installation.entry
    cloud = entry.runtime_data.battery_control.cloud
    cloud._next_read = float("-inf")
    service.hold = asyncio.Event()
    if action == "turn_on":
        house.cloud.end_sessions()
        cloud.client._next_login = float("-inf")
        call: Coroutine[Any, Any, object] = house.call("switch", "charge_from_grid", action)
    else:
        data = {"config_entry_id": entry.entry_id}
        call = hass.services.async_call(DOMAIN, action, data, blocking=True, return_response=True)
    request = hass.async_create_task(call)
    await service.holding.wait()
    assert await hass.config_entries.async_unload(entry.entry_id)
    requests = service.requests.copy(), house.cloud.requests.copy()
    service.hold.set()
    with pytest.raises(HomeAssistantError):
        await request
    assert (service.requests, house.cloud.requests) == requests
    # It is no failure of the cloud: the next set-up reads all.
    service.hold = None
    assert await hass.config_entries.async_setup(entry.entry_id)
    await house.installation.pass_time(301)
    assert house.state("switch", "discharge_to_grid").state == "off"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("Nowhere/Atall", "US/Pacific"),
        ("/etc/localtime", "US/Pacific"),
        ("../UTC", "US/Pacific"),
        ("Europe", "US/Pacific"),
    ],
)
async def test_times_of_schedules_are_those_of_the_site(
    start: StartHouse, monkeypatch: pytest.MonkeyPatch, name: str, zone: str
) -> None:
    house = await start()
    service = house.cloud.batteries
    service.site_settings["timezone"] = name
    service.schedules["one"] = {
        "scheduleType": "CFG",
        "scheduleId": "one",
        "startTime": "22:30",
        "endTime": "05:00",
        "timezone": name,
    }
    await house.installation.pass_time(901)
    # It is in a file, which must not be read in the event loop.
    monkeypatch.delattr(dt_util, "get_time_zone")
    calendar = house.state("calendar", "battery_schedules")
    now = dt_util.utcnow()
    events: Any = await house.hass.services.async_call(
        "calendar",
        "get_events",
        {"entity_id": calendar.entity_id, "start_date_time": now, "end_date_time": now + timedelta(days=3)},
        blocking=True,
        return_response=True,
    )
    shown = events[calendar.entity_id]["events"]
    assert len(shown) in (3, 4)
    for event in shown:
        begins = datetime.fromisoformat(event["start"]).astimezone(ZoneInfo(zone))
        assert (begins.hour, begins.minute) == (22, 30)


async def test_session_with_the_cloud_ends_with_the_last_entry_of_its_account(start: StartHouse) -> None:
    house = await start()
    hass, entry = house.hass, house.installation.entry
    client = entry.runtime_data.battery_control.cloud.client
    assert client.is_logged_in
    # Another entry has the same account.
    other = MockConfigEntry(domain=DOMAIN, data=dict(entry.data), unique_id="other")
    other.add_to_hass(hass)
    battery_control.async_end_unused(hass, entry)
    assert client.is_logged_in
    await hass.config_entries.async_remove(other.entry_id)
    await hass.config_entries.async_remove(entry.entry_id)
    await hass.async_block_till_done()
    assert not client.is_logged_in
    assert not client._cookies
    assert client._http.closed
    assert not hass.data[battery_control._CLIENTS]
    assert not hass.data[battery_control._SITES]


async def test_session_that_ends_leaves_no_listener(start: StartHouse) -> None:
    house = await start()
    hass, entry = house.hass, house.installation.entry
    listeners = hass.bus.async_listeners()[EVENT_HOMEASSISTANT_CLOSE]
    battery_control.async_end_unused(hass, entry)
    assert hass.bus.async_listeners()[EVENT_HOMEASSISTANT_CLOSE] == listeners - 1


async def test_session_ends_with_a_new_password(start: StartHouse) -> None:
    house = await start()
    hass, entry = house.hass, house.installation.entry
    client = entry.runtime_data.battery_control.cloud.client
    hass.config_entries.async_update_entry(entry, data={**entry.data, CONF_PASSWORD: "another"})
    assert await hass.config_entries.async_reload(entry.entry_id)
    assert client.is_closed
    assert len(hass.data[battery_control._CLIENTS]) == 1


@pytest.mark.parametrize(
    ("start_time", "end_time", "spring", "autumn"),
    [
        ((2, 30), (3, 15), None, (1, 45)),
        ((2, 0), (3, 0), None, (2, 0)),
        ((2, 15), (2, 45), (0, 30), (0, 30)),
        ((23, 0), (2, 30), (3, 30), (3, 30)),
        ((1, 0), (5, 0), (3, 0), (5, 0)),
    ],
)
def test_events_where_the_clock_changes(
    start_time: tuple[int, int],
    end_time: tuple[int, int],
    spring: tuple[int, int] | None,
    autumn: tuple[int, int],
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    for date, expected in (
        (datetime(2026, 3, 29, 0, 30, tzinfo=zone), spring),
        (datetime(2026, 10, 25, 0, 30, tzinfo=zone), autumn),
    ):
        schedule = Schedule(ScheduleKind.CHARGE_FROM_GRID, time(*start_time), time(*end_time), tuple(range(1, 8)))
        events = [*calendar_events(schedule, date, date + timedelta(hours=4), zone)]
        lengths = [(event.end_datetime_local - event.start_datetime_local).total_seconds() for event in events]
        assert lengths == ([] if expected is None else [3600 * expected[0] + 60 * expected[1]])


async def test_session_that_ends_right_after_the_code_is_an_error_with_a_text(
    start: StartHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await start(enabled=False)
    house.cloud.login_trouble = "mfa"
    hass, flow = house.hass, await enabled_in_options(house)
    monkeypatch.setattr(house.cloud.batteries, "is_authorized", lambda _request: False)
    flow = await hass.config_entries.options.async_configure(flow["flow_id"], {"code": house.cloud.code})
    assert flow["step_id"] == "cloud_code"
    texts = await async_get_translations(hass, "en", "options", [DOMAIN])
    assert flow["errors"]
    for error in flow["errors"].values():
        assert f"component.{DOMAIN}.options.error.{error}" in texts

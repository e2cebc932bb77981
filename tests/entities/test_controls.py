"""Controls: the settings that they change, and their states when the gateway rejects or overwrites a change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import issue_registry as ir
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp, entity_id
from tests.simulator import House as SimulatedHouse, Silent, Status
from tests.simulator.gateway import Gateway as SimulatedGateway
from tests.simulator.writes import WRITES, Refused


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control, a service call for it, and the setting of the simulated system before and after."""

    domain: str
    unique_id: str
    service: str
    data: dict[str, Any]
    setting: Callable[[SimulatedHouse], Any]
    before: Any
    after: Any
    path: str
    method: str = "POST"
    #: The state of the entity afterwards, None for a button.
    state: str | None
    #: Seconds until the change has taken effect.
    delay: float = 0
    profile: str = "full_battery"

    @property
    def id(self) -> str:
        """The name of the parameter set."""
        return f"{self.unique_id}-{self.service}-{self.state}"


ENPOWER = "202226050419"
RELAY = f"{ENPOWER}_relay_NC1"
GENERATOR = "202328041177_generator"
ACB = "122116046628_acb"
TARIFF = "/admin/lib/tariff"
CONTACTS = "/ivp/ensemble/dry_contacts"
CONTACT_SETTINGS = "/ivp/ss/dry_contact_settings"


def generator(house: SimulatedHouse) -> Any:
    """Return the generator of a system that has one."""
    assert house.generator
    return house.generator


CONTROLS = [
    Control(
        domain="number", unique_id=f"{ENPOWER}_reserve_soc", service="set_value", data={"value": 45},
        setting=lambda house: house.settings.reserve, before=20, after=45, state="45.0", path=TARIFF, method="PUT",
    ),
    Control(
        domain="select", unique_id=f"{ENPOWER}_storage_mode", service="select_option", data={"option": "backup"},
        setting=lambda house: house.settings.mode, before="self-consumption", after="backup", state="backup",
        path=TARIFF, method="PUT",
    ),
    Control(
        domain="select", unique_id=f"{ENPOWER}_storage_mode", service="select_option", data={"option": "savings"},
        setting=lambda house: house.settings.mode, before="self-consumption", after="economy", state="savings",
        path=TARIFF, method="PUT",
    ),
    Control(
        domain="switch", unique_id=f"{ENPOWER}_charge_from_grid", service="turn_on", data={},
        setting=lambda house: house.settings.charge_from_grid, before=False, after=True, state="on",
        path=TARIFF, method="PUT",
    ),
    Control(
        domain="switch", unique_id=f"{ENPOWER}_mains_admin_state", service="turn_off", data={},
        setting=lambda house: house.grid.closed, before=True, after=False, state="off",
        path="/ivp/ensemble/relay", delay=28,
    ),
    Control(
        domain="switch", unique_id=f"{RELAY}_relay_status", service="turn_off", data={},
        setting=lambda house: house.relay("NC1").closed, before=True, after=False, state="off", path=CONTACTS, delay=4,
    ),
    Control(
        domain="number", unique_id=f"{RELAY}_soc_low", service="set_value", data={"value": 25},
        setting=lambda house: house.relay("NC1").soc_low, before=30, after=25, state="25.0", path=CONTACT_SETTINGS,
    ),
    Control(
        domain="number", unique_id=f"{RELAY}_soc_high", service="set_value", data={"value": 80},
        setting=lambda house: house.relay("NC1").soc_high, before=70, after=80, state="80.0", path=CONTACT_SETTINGS,
    ),
    Control(
        domain="select", unique_id=f"{RELAY}_mode", service="select_option", data={"option": "battery"},
        setting=lambda house: house.relay("NC1").mode, before="manual", after="soc", state="battery",
        path=CONTACT_SETTINGS,
    ),
    Control(
        domain="select", unique_id=f"{RELAY}_grid_action", service="select_option", data={"option": "not_powered"},
        setting=lambda house: house.relay("NC1").grid_action, before="apply", after="shed", state="not_powered",
        path=CONTACT_SETTINGS,
    ),
    Control(
        domain="select", unique_id=f"{RELAY}_microgrid_action", service="select_option", data={"option": "schedule"},
        setting=lambda house: house.relay("NC1").micro_grid_action, before="shed", after="schedule", state="schedule",
        path=CONTACT_SETTINGS,
    ),
    Control(
        domain="select", unique_id=f"{RELAY}_generator_action", service="select_option", data={"option": "none"},
        setting=lambda house: house.relay("NC1").gen_action, before="shed", after="none", state="none",
        path=CONTACT_SETTINGS,
    ),
    Control(
        domain="select", unique_id=f"{GENERATOR}_mode", service="select_option", data={"option": "on"},
        setting=lambda house: generator(house).mode, before="auto", after="on", state="on", path="/ivp/ss/gen_mode",
    ),
    Control(
        domain="number", unique_id=f"{GENERATOR}_start_soc", service="set_value", data={"value": 40},
        setting=lambda house: generator(house).start_soc, before=30, after=40, state="40", path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="number", unique_id=f"{GENERATOR}_stop_soc", service="set_value", data={"value": 90},
        setting=lambda house: generator(house).stop_soc, before=70, after=90, state="90", path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="number", unique_id=f"{GENERATOR}_exercise_duration", service="set_value", data={"value": 30},
        setting=lambda house: generator(house).exercise_duration, before=20, after=30, state="30",
        path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="number", unique_id=f"{GENERATOR}_exercise_interval", service="set_value", data={"value": 4},
        setting=lambda house: generator(house).exercise_freq_in_weeks, before=2, after=4, state="4",
        path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="select", unique_id=f"{GENERATOR}_exercise_day", service="select_option", data={"option": "wed"},
        setting=lambda house: generator(house).exercise_day, before="Sat", after="Wed", state="wed",
        path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="time", unique_id=f"{GENERATOR}_exercise_start", service="set_value", data={"time": "14:30:00"},
        setting=lambda house: generator(house).exercise_start, before=600, after=870, state="14:30:00",
        path="/ivp/ss/gen_schedule",
    ),
    Control(
        domain="switch", unique_id=f"{GENERATOR}_charge_from_generator", service="turn_off", data={},
        setting=lambda house: generator(house).charge_from_generator, before=True, after=False, state="off",
        path="/ivp/ss/gen_config",
    ),
    Control(
        domain="button", unique_id=f"{ACB}_sleep", service="press", data={},
        setting=lambda house: {battery.sleep_enabled for battery in house.batteries}, before={False}, after={True},
        state=None, path="/admin/lib/acb_config", method="PUT", profile="ac_batteries",
    ),
]  # fmt: skip


async def use(hass: HomeAssistant, control: Control) -> str:
    """Call the service of a control, and return its entity id."""
    entity = entity_id(hass, control.domain, control.unique_id)
    await hass.services.async_call(
        control.domain, control.service, {"entity_id": entity, **control.data}, blocking=True
    )
    return entity


def state(hass: HomeAssistant, entity: str) -> str:
    """Return a state."""
    found = hass.states.get(entity)
    assert found
    return found.state


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
async def test_control_changes_the_setting_and_its_state(hass: HomeAssistant, set_up: SetUp, control: Control) -> None:
    installation = await set_up(control.profile)
    assert control.setting(installation.gateway.house) == control.before
    installation.gateway.requests.clear()
    entity = await use(hass, control)
    if control.delay:
        await installation.pass_time(control.delay)
    assert control.setting(installation.gateway.house) == control.after
    if control.state is not None:
        assert state(hass, entity) == control.state
    (write,) = installation.gateway.writes
    assert (write.method, write.path) == (control.method, control.path)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
async def test_rejected_change_raises_and_keeps_the_state(
    hass: HomeAssistant,
    set_up: SetUp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    control: Control,
) -> None:
    installation = await set_up(control.profile)
    entity = entity_id(hass, control.domain, control.unique_id)
    before = state(hass, entity)

    def refuse(_gateway: SimulatedGateway, _body: Any) -> Any:
        raise Refused("rejected")

    monkeypatch.setitem(WRITES, (control.method, control.path), refuse)
    with pytest.raises(HomeAssistantError) as raised:
        await use(hass, control)
    (named,) = [each for each in hass.states.async_all() if each.entity_id == entity]
    host = installation.gateway.host
    assert str(raised.value) == f"{named.name}: The gateway at {host} refused the change."
    assert f"{entity}: " in caplog.text
    assert control.path in caplog.text
    assert len(installation.gateway.writes) == 1, "a rejected change is not sent again"
    assert control.setting(installation.gateway.house) == control.before
    if control.state is not None:
        assert state(hass, entity) == before
    await installation.poll()
    if control.state is not None:
        assert state(hass, entity) == before


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
async def test_change_while_the_gateway_is_unreachable_raises_and_is_not_sent_later(
    hass: HomeAssistant, set_up: SetUp, control: Control
) -> None:
    installation = await set_up(control.profile)
    await installation.gateway.go_away()
    with pytest.raises(HomeAssistantError) as raised:
        await use(hass, control)
    assert installation.gateway.host in str(raised.value)
    await installation.gateway.come_back()
    await installation.pass_time(60)
    assert not installation.gateway.writes
    assert control.setting(installation.gateway.house) == control.before


@pytest.mark.parametrize(
    ("language", "message"),
    [("en", "Failed to connect to {host}. Check"), ("de", "Die Verbindung zu {host} ist fehlgeschlagen.")],
)
async def test_the_reason_is_the_actual_one_after_a_restart_without_the_gateway(
    hass: HomeAssistant, set_up: SetUp, language: str, message: str
) -> None:
    installation = await set_up("full_battery")
    await hass.config.async_update(language=language)
    await hass.async_block_till_done()
    await installation.gateway.go_away()
    await hass.config_entries.async_reload(installation.entry.entry_id)
    await hass.async_block_till_done()
    control = next(each for each in CONTROLS if each.unique_id == f"{RELAY}_relay_status")
    with pytest.raises(HomeAssistantError) as raised:
        await use(hass, control)
    assert (placeholders := raised.value.translation_placeholders)
    assert placeholders["reason"].startswith(message.format(host=installation.gateway.host))
    # As soon as it is there again, the change is made.
    await installation.gateway.come_back()
    await use(hass, control)
    assert len(installation.gateway.writes) == 1


async def test_change_keeps_settings_that_were_just_changed_in_the_app(hass: HomeAssistant, set_up: SetUp) -> None:
    """The gateway accepts whole documents only: an old one would undo changes since the last poll."""
    installation = await set_up("full_battery")
    installation.gateway.gateway.tariff_settings.charge_from_grid = True
    installation.gateway.house.settings.charge_from_grid = True
    installation.gateway.house.relay("NC1").priority = 7.0
    await use(hass, CONTROLS[0])
    assert installation.gateway.house.settings.charge_from_grid is True
    assert state(hass, entity_id(hass, "switch", f"{ENPOWER}_charge_from_grid")) == "on"
    await use(hass, next(control for control in CONTROLS if control.path == CONTACT_SETTINGS))
    assert installation.gateway.house.relay("NC1").priority == 7.0


async def test_change_times_out_while_its_endpoint_does_not_answer(
    hass: HomeAssistant, set_up: SetUp, virtual_clock: None
) -> None:
    """The error has the advice to try again, and the change is not sent later."""
    installation = await set_up("full_battery")
    installation.gateway.fault(TARIFF, Silent())
    await installation.poll_all()
    with pytest.raises(HomeAssistantError) as raised:
        await use(hass, CONTROLS[0])
    assert raised.value.translation_key == "gateway_busy"
    assert "try again" in str(raised.value)
    await installation.poll()
    assert installation.coordinator.last_update_success
    installation.gateway.faults.clear()
    assert not installation.gateway.writes


async def test_change_is_not_sent_when_the_current_document_can_not_be_read(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    with installation.gateway.fault(TARIFF, Status(503)), pytest.raises(HomeAssistantError):
        await use(hass, CONTROLS[0])
    assert not installation.gateway.writes


async def test_levels_in_the_wrong_order_are_rejected(hass: HomeAssistant, set_up: SetUp) -> None:
    """Cutoff above restore, start above stop: the gateway, or the library, rejects them."""
    installation = await set_up("full_battery")
    for unique_id, value in ((f"{RELAY}_soc_low", 90), (f"{GENERATOR}_start_soc", 95)):
        entity = entity_id(hass, "number", unique_id)
        before = state(hass, entity)
        with pytest.raises(HomeAssistantError):
            await hass.services.async_call("number", "set_value", {"entity_id": entity, "value": value}, blocking=True)
        await installation.poll()
        assert state(hass, entity) == before


async def test_ac_batteries_sleep_within_the_selected_band(hass: HomeAssistant, set_up: SetUp) -> None:
    """A band selected while they are awake is sent when the button is pressed; while they sleep, at once."""
    installation = await set_up("ac_batteries")
    select = entity_id(hass, "select", f"{ACB}_sleep_soc")
    assert state(hass, select) == "25-30"

    async def select_band(option: str) -> None:
        await hass.services.async_call(
            "select", "select_option", {"entity_id": select, "option": option}, blocking=True
        )

    def bands() -> set[tuple[int, int]]:
        return {(battery.sleep_min_soc, battery.sleep_max_soc) for battery in installation.gateway.house.batteries}

    await select_band("45-50")
    assert not installation.gateway.writes
    assert state(hass, select) == "45-50"
    await use(hass, CONTROLS[-1])
    assert bands() == {(45, 50)}
    await installation.pass_time(120)
    assert state(hass, entity_id(hass, "sensor", f"{ACB}_aggregate_sleep_state")) == "asleep"
    await select_band("10-15")
    assert bands() == {(10, 15)}
    wake = entity_id(hass, "button", f"{ACB}_wake")
    await hass.services.async_call("button", "press", {"entity_id": wake}, blocking=True)
    await installation.pass_time(120)
    assert state(hass, entity_id(hass, "sensor", f"{ACB}_aggregate_sleep_state")) == "awake"


def issue(hass: HomeAssistant, installation: Installation, setting: str) -> ir.IssueEntry | None:
    """Return the repair issue about a setting."""
    return ir.async_get(hass).async_get_issue(DOMAIN, f"setting_{setting}_{installation.entry.entry_id}")


async def test_setting_overwritten_by_the_cloud_creates_an_issue_and_updates_the_state(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    """From firmware 8.2.4225 on the gateway answers with 200, and has the old value a minute or two later."""
    installation = await set_up("full_battery")
    installation.gateway.gateway.cloud_owns_tariff = True
    entity = await use(hass, CONTROLS[0])
    assert state(hass, entity) == "45.0"
    await installation.pass_time(60)
    assert state(hass, entity) == "45.0"
    assert issue(hass, installation, "reserved_soc") is None
    await installation.pass_time(60)
    assert state(hass, entity) == "20.0"
    found = issue(hass, installation, "reserved_soc")
    assert found
    assert found.translation_key == "setting_overwritten"
    assert found.translation_placeholders
    assert (found.translation_placeholders["wanted"], found.translation_placeholders["actual"]) == ("45.0", "20.0")

    installation.gateway.gateway.cloud_owns_tariff = False
    await use(hass, CONTROLS[0])
    for _ in range(12):
        await installation.pass_time(60)
    assert issue(hass, installation, "reserved_soc") is None, "a setting that is kept removes the issue"


async def test_setting_ignored_by_the_controller_creates_an_issue_and_updates_the_state(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    """The tariff is stored, but `/ivp/ensemble/secctrl` still reports the old reserve."""
    installation = await set_up("full_battery")
    installation.gateway.gateway.cloud_owns_tariff = True
    installation.gateway.gateway.tariff_settings.opt_schedules = True
    entity = await use(hass, CONTROLS[0])
    installation.gateway.gateway._cloud = None  # the cloud does not overwrite it
    for _ in range(3):
        await installation.pass_time(60)
    assert installation.gateway.house.settings.reserve == 20
    assert state(hass, entity) == "20.0"
    found = issue(hass, installation, "reserved_soc")
    assert found
    assert found.translation_key == "setting_ignored"

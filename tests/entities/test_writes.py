"""What a change sends: the document as it was reported, with one value replaced."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock, patch

import aiohttp
from homeassistant.const import STATE_UNKNOWN, EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import area_registry as ar, device_registry as dr, entity_registry as er
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.entities.test_controls import (
    ACB,
    CONTACT_SETTINGS,
    CONTACTS,
    CONTROLS,
    ENPOWER,
    GENERATOR,
    RELAY,
    TARIFF,
    Control,
    use,
)
from tests.helpers.integration import SetUp, entity_id
from tests.simulator import Change, Replace, Status

#: Values of a kind that no library models, which must come back unchanged.
UNKNOWN: dict[str, Any] = {"new_key": "none", "new_list": [], "new_flag": "true", "new_null": None}


@dataclass(frozen=True)
class Case:
    """A change, and the one place in which the sent document differs from the reported one."""

    control: Control
    place: str
    reported: object
    sent: object


def control(unique_id: str, option: object = None) -> Control:
    """Return the control of an entity, and of one of its options."""
    found = [each for each in CONTROLS if each.unique_id == unique_id]
    return next(each for each in found if option is None or option in each.data.values())


STORAGE = "tariff.storage_settings"
CASES = [
    Case(control(f"{ENPOWER}_reserve_soc"), f"{STORAGE}.reserved_soc", 20.0, 45.0),
    Case(control(f"{ENPOWER}_storage_mode", "backup"), f"{STORAGE}.mode", "self-consumption", "backup"),
    Case(control(f"{ENPOWER}_storage_mode", "savings"), f"{STORAGE}.mode", "self-consumption", "economy"),
    Case(control(f"{ENPOWER}_charge_from_grid"), f"{STORAGE}.charge_from_grid", False, True),
    Case(control(f"{RELAY}_soc_low"), "dry_contacts.soc_low", 30.0, 25.0),
    Case(control(f"{RELAY}_soc_high"), "dry_contacts.soc_high", 70.0, 80.0),
    Case(control(f"{RELAY}_mode"), "dry_contacts.mode", "manual", "soc"),
    Case(control(f"{RELAY}_grid_action"), "dry_contacts.grid_action", "apply", "shed"),
    Case(control(f"{RELAY}_microgrid_action"), "dry_contacts.micro_grid_action", "shed", "schedule"),
    Case(control(f"{RELAY}_generator_action"), "dry_contacts.gen_action", "shed", "none"),
    Case(control(f"{GENERATOR}_mode"), "gen_cmd", "auto", "on"),
    Case(control(f"{GENERATOR}_start_soc"), "default_soc.start_soc", 30, 40),
    Case(control(f"{GENERATOR}_stop_soc"), "default_soc.stop_soc", 70, 90),
    Case(control(f"{GENERATOR}_exercise_duration"), "exercise_config.duration", 20, 30),
    Case(control(f"{GENERATOR}_exercise_interval"), "exercise_config.freq_in_weeks", 2, 4),
    Case(control(f"{GENERATOR}_exercise_day"), "exercise_config.day", "Sat", "Wed"),
    Case(control(f"{GENERATOR}_exercise_start"), "exercise_config.start", 600, 870),
    Case(control(f"{GENERATOR}_charge_from_generator"), "charge_from_generator", True, False),
]


class Recorder(Change):
    """Adds unknown keys to every object of the answers, leaves known ones out, and keeps the answers."""

    def __init__(self, *absent: str) -> None:
        """Leave some keys out."""
        super().__init__(self._change)
        self._absent = absent
        self.answers: list[Any] = []

    def _change(self, document: Any) -> Any:
        changed = self._extended(document)
        self.answers.append(deepcopy(changed))
        return changed

    def _extended(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._extended(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: self._extended(item) for key, item in value.items() if key not in self._absent} | UNKNOWN


def values(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values of a document, each with its place; an empty object or list is a value as well."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [pair for key, item in items for pair in values(item, f"{place}.{key}")]
    yield from inner or [(place.removeprefix("."), value)]


def difference(reported: Any, sent: Any) -> dict[str, tuple[object, object]]:
    """Return the places in which two documents differ, also in type, with both values."""
    before, after = dict(values(reported)), dict(values(sent))
    return {
        place: (before.get(place, "absent"), after.get(place, "absent"))
        for place in before | after
        if repr(before.get(place, "absent")) != repr(after.get(place, "absent"))
    }


def sent_part(path: str, reported: Any) -> Any:
    """Return the part of a reported document that a change sends."""
    if path == TARIFF:
        return {"tariff": reported["tariff"]}
    if path == CONTACT_SETTINGS:
        (contact,) = [contact for contact in reported["dry_contacts"] if contact["id"] == "NC1"]
        return {"dry_contacts": contact}
    return reported


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.control.id)
async def test_change_sends_the_reported_document_with_one_value_replaced(
    hass: HomeAssistant, set_up: SetUp, case: Case
) -> None:
    installation = await set_up(case.control.profile)
    recorder = Recorder()
    with installation.gateway.fault(case.control.path, recorder):
        await use(hass, case.control)
    (write,) = installation.gateway.writes
    # The first answer is the one that was read right before the change.
    reported = sent_part(case.control.path, recorder.answers[0])
    assert difference(reported, write.body) == {case.place: (case.reported, case.sent)}
    assert UNKNOWN.items() <= (write.body.get("dry_contacts") or write.body.get("tariff") or write.body).items()


async def test_keys_that_are_absent_stay_absent(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    recorder = Recorder("manual_override", "priority", "black_s_start", "essential_start_time", "safe_state_action")
    with installation.gateway.fault(CONTACT_SETTINGS, recorder), pytest.raises(HomeAssistantError):
        # The simulated gateway reports them otherwise, and rejects the partial object.
        await use(hass, control(f"{RELAY}_soc_low"))
    (write,) = installation.gateway.writes
    assert difference(sent_part(CONTACT_SETTINGS, recorder.answers[0]), write.body) == {
        "dry_contacts.soc_low": (30.0, 25.0)
    }


async def test_a_failure_that_quotes_the_answer_is_logged_without_it(
    hass: HomeAssistant, set_up: SetUp, caplog: pytest.LogCaptureFixture
) -> None:
    """The error of aiohttp for an invalid header contains it."""
    installation = await set_up("full_battery")
    error = aiohttp.ClientResponseError(Mock(), (), status=400, message="Invalid header [here](https://example.com)")
    with (
        patch.object(installation.coordinator.gateway.envoy, "send", side_effect=error),
        pytest.raises(HomeAssistantError) as raised,
    ):
        await use(hass, control(f"{RELAY}_soc_low"))
    assert "failed: ClientResponseError" in caplog.text
    assert "[here]" not in caplog.text + str(raised.value)


async def test_texts_and_empty_lists_are_sent_as_reported(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    await use(hass, control(f"{RELAY}_mode"))
    await use(hass, control(f"{ENPOWER}_charge_from_grid"))
    relay, tariff = (write.body for write in installation.gateway.writes)
    assert len(relay["dry_contacts"]) == 20
    assert (relay["dry_contacts"]["manual_override"], relay["dry_contacts"]["override"]) == ("true", "false")
    assert tariff["tariff"]["seasons_sell"] == []


@pytest.mark.parametrize("mode", ["savings-mode", None])
async def test_mode_that_the_library_does_not_use_is_sent_as_reported(
    hass: HomeAssistant, set_up: SetUp, mode: str | None
) -> None:
    installation = await set_up("full_battery")

    def report(document: Any) -> Any:
        document["tariff"]["storage_settings"]["mode"] = mode
        return document

    with installation.gateway.fault(TARIFF, Change(report)):
        await installation.poll_all()
        if mode is None:
            with pytest.raises(HomeAssistantError):
                # The simulated gateway rejects it, as it does not report it otherwise.
                await use(hass, control(f"{ENPOWER}_reserve_soc"))
        else:
            await use(hass, control(f"{ENPOWER}_reserve_soc"))
    (write,) = installation.gateway.writes
    assert write.body["tariff"]["storage_settings"]["mode"] == mode
    assert write.body["tariff"]["storage_settings"]["reserved_soc"] == 45


async def test_unknown_mode_is_unknown_and_can_be_changed(hass: HomeAssistant, set_up: SetUp) -> None:
    """The select keeps its options, and writing goes on working."""
    installation, changed = await set_up("full_battery"), control(f"{ENPOWER}_storage_mode", "backup")
    select = entity_id(hass, "select", changed.unique_id)
    before = hass.states.get(select)
    with installation.gateway.fault(TARIFF, Replace("tariff.storage_settings.mode", "ai-optimization")):
        await installation.poll_all()
        state = hass.states.get(select)
        assert before
        assert state
        assert state.state == STATE_UNKNOWN
        assert state.attributes == before.attributes
        await use(hass, changed)
    (write,) = installation.gateway.writes
    assert write.body["tariff"]["storage_settings"]["mode"] == "backup"
    await installation.poll_all()
    assert installation.states()[select] == "backup"


async def test_mode_disables_the_optimisation_of_schedules(hass: HomeAssistant, set_up: SetUp) -> None:
    """The gateway ignores the mode otherwise: the one change that is written with another."""
    installation = await set_up("full_battery")
    installation.gateway.gateway.tariff_settings.opt_schedules = True
    recorder = Recorder()
    with installation.gateway.fault(TARIFF, recorder):
        await use(hass, control(f"{ENPOWER}_storage_mode", "backup"))
    (write,) = installation.gateway.writes
    assert difference(sent_part(TARIFF, recorder.answers[0]), write.body) == {
        f"{STORAGE}.mode": ("self-consumption", "backup"),
        f"{STORAGE}.opt_schedules": (True, False),
    }


async def test_sleep_of_ac_batteries_keeps_what_is_reported_of_those_asleep(hass: HomeAssistant, set_up: SetUp) -> None:
    """Only batteries that are asleep are reported; of these the band is replaced, and the others are added."""
    installation = await set_up("ac_batteries")
    first, *others = installation.gateway.house.batteries
    first.sleep_enabled, first.sleep_min_soc, first.sleep_max_soc = True, 10, 15
    await hass.services.async_call(
        "select",
        "select_option",
        {"entity_id": entity_id(hass, "select", f"{ACB}_sleep_soc"), "option": "45-50"},
        blocking=True,
    )
    recorder = Recorder()
    with installation.gateway.fault("/admin/lib/acb_config", recorder):
        await use(hass, control(f"{ACB}_sleep"))
    (write,) = installation.gateway.writes
    added = difference(recorder.answers[0], {**write.body, "acb_sleep": write.body["acb_sleep"][:1]})
    assert added == {"acb_sleep.0.sleep_min_soc": (10, 45), "acb_sleep.0.sleep_max_soc": (15, 50)}
    assert write.body["acb_sleep"][1:] == [
        {"serial_num": battery.serial, "sleep_min_soc": 45, "sleep_max_soc": 50} for battery in others
    ]


@pytest.mark.parametrize(("status", "writes"), [(404, 1), (503, 0)])
async def test_sleep_needs_no_report_where_firmware_has_none(
    hass: HomeAssistant, set_up: SetUp, status: int, writes: int
) -> None:
    """A gateway that fails to report it is sent nothing."""
    installation = await set_up("ac_batteries")
    with installation.gateway.fault("/admin/lib/acb_config", Status(status), count=1):
        if writes:
            await use(hass, control(f"{ACB}_sleep"))
        else:
            with pytest.raises(HomeAssistantError):
                await use(hass, control(f"{ACB}_sleep"))
    assert len(installation.gateway.writes) == writes


@pytest.mark.parametrize(
    ("domain", "unique_id", "service", "path", "body"),
    [
        ("switch", f"{ENPOWER}_mains_admin_state", "turn_off", "/ivp/ensemble/relay", {"mains_admin_state": "open"}),
        ("switch", f"{ENPOWER}_mains_admin_state", "turn_on", "/ivp/ensemble/relay", {"mains_admin_state": "closed"}),
        ("switch", f"{RELAY}_relay_status", "turn_off", CONTACTS, {"dry_contacts": {"id": "NC1", "status": "open"}}),
        ("switch", f"{RELAY}_relay_status", "turn_on", CONTACTS, {"dry_contacts": {"id": "NC1", "status": "closed"}}),
    ],
)
async def test_commands_are_no_documents(
    hass: HomeAssistant, set_up: SetUp, domain: str, unique_id: str, service: str, path: str, body: Any
) -> None:
    installation = await set_up("full_battery")
    await hass.services.async_call(domain, service, {"entity_id": entity_id(hass, domain, unique_id)}, blocking=True)
    (write,) = installation.gateway.writes
    assert (write.path, write.body) == (path, body)


async def test_an_action_on_an_area_does_not_take_the_home_off_the_grid(hass: HomeAssistant, set_up: SetUp) -> None:
    """The switch keeps the name and the entity id that it was registered with before it was of a category."""
    unique_id = f"{ENPOWER}_mains_admin_state"
    er.async_get(hass).async_get_or_create("switch", DOMAIN, unique_id, suggested_object_id="main_switch")
    installation = await set_up("full_battery")
    entity = er.async_get(hass).async_get(entity_id(hass, "switch", unique_id))
    assert entity
    assert (entity.entity_id, entity.entity_category) == ("switch.main_switch", EntityCategory.CONFIG)
    area = ar.async_get(hass).async_create("Cellar")
    for device in dr.async_entries_for_config_entry(dr.async_get(hass), installation.entry.entry_id):
        dr.async_get(hass).async_update_device(device.id, area_id=area.id)
    await hass.services.async_call("switch", "turn_off", target={"area_id": area.id}, blocking=True)
    assert installation.gateway.writes
    assert "/ivp/ensemble/relay" not in {write.path for write in installation.gateway.writes}

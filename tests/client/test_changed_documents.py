"""Documents that firmware or systems were seen to have, on a fresh start: what changes, and that nothing else does."""

from collections.abc import AsyncIterator, Callable, Mapping
import json
from typing import Any, Final, cast

import aiohttp
import pytest

from tests.helpers.documents import Answers, FreshStarts, Values

INVENTORY: Final = "/ivp/ensemble/inventory"
RELAYS: Final = "/ivp/ss/dry_contact_settings"
REPORT: Final = "/production"
TARIFF: Final = "/admin/lib/tariff"
BATTERIES: Final = ("492309017302", "492309017511")

#: Address and field, each a text; and its value, None where it has none.
type Changes = dict[tuple[str, str], object]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session, which sends nothing."""
    async with aiohttp.ClientSession() as session:
        yield session


def changed(start: FreshStarts, path: str, change: Callable[[Any], None]) -> Answers:
    """Return an endpoint's documents in which something was changed: there are several of one report."""
    answers: dict[str, bytes | int] = {}
    for name in start.documents:
        if name.partition("?")[0].removesuffix(".json") == path:
            document = json.loads(start.documents[name].body)
            change(document)
            answers[name] = json.dumps(document).encode()
    assert any(start.documents[name].body != answer for name, answer in answers.items())
    return answers


def changes(before: Values, after: Values) -> Changes:
    """Return the fields whose value changed."""
    keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return {(" ".join(address), name): after.get((address, name)) for address, name in keys}


def removed(values: Values, *fields: str) -> Changes:
    """Return the change in which all objects of some fields are missing."""
    return {(" ".join(address), name): None for address, name in values if address[0] in fields}


def relay_types(relays: Any) -> None:
    for relay in relays["dry_contacts"][:2]:
        relay["type"] = "3RD-PV-X"


def storage_mode(tariff: Any) -> None:
    tariff["tariff"]["storage_settings"]["mode"] = "ai-optimization"


def no_led_status(inventory: Any) -> None:
    for device in inventory[0]["devices"]:
        del device["led_status"]


def two_groups(inventory: Any) -> None:
    """One group for each battery."""
    first, second = inventory[0]["devices"]
    inventory[:1] = [{"type": "ENCHARGE", "devices": [first]}, {"type": "ENCHARGE", "devices": [second]}]


def group_without_type(inventory: Any) -> None:
    inventory.append({"grid_profile_name": "EN 50549-1", "item_count": 2997})


def other_order(report: Any) -> None:
    report["consumption"].reverse()


def no_week(report: Any) -> None:
    (net,) = [entry for entry in report["consumption"] if entry["measurementType"] == "net-consumption"]
    del net["whLastSevenDays"]


@pytest.mark.parametrize(
    ("path", "change", "expected"),
    [
        (RELAYS, relay_types, {(f"dry_contact_settings NC{n}", "type"): "3RD-PV-X" for n in (1, 2)}),
        (TARIFF, storage_mode, {("storage_settings", "mode"): "ai-optimization"}),
        (INVENTORY, no_led_status, {(f"encharge_inventory {serial}", "led_status"): None for serial in BATTERIES}),
        (INVENTORY, two_groups, {}),
        (INVENTORY, group_without_type, {}),
        (REPORT, other_order, {}),
        (REPORT, no_week, {("system_net_consumption", "watt_hours_last_7_days"): None}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_change_costs_its_own_field(
    session: aiohttp.ClientSession, path: str, change: Callable[[Any], None], expected: Changes
) -> None:
    start = FreshStarts("full_battery", session)
    assert changes(await start.values(), await start.values(changed(start, path, change))) == expected


@pytest.mark.parametrize("kept", ["total-consumption", "net-consumption"])
async def test_one_consumption_meter_is_read_without_the_other(session: aiohttp.ClientSession, kept: str) -> None:
    def change(report: Any) -> None:
        report["consumption"] = [entry for entry in report["consumption"] if entry["measurementType"] == kept]
        (entry,) = report["consumption"]
        assert entry["activeCount"] == 1

    start = FreshStarts("full_battery", session)
    before, after = await start.values(), await start.values(changed(start, REPORT, change))
    missing = "system_net_consumption" if kept == "total-consumption" else "system_consumption"
    assert changes(before, after) == removed(before, missing, f"{missing}_phases")


async def test_consumption_without_types_costs_consumption_alone(session: aiohttp.ClientSession) -> None:
    """As of firmware of 2016."""

    def change(report: Any) -> None:
        for entry in report["consumption"]:
            del entry["measurementType"]

    start = FreshStarts("metered_1phase", session)
    before, after = await start.values(), await start.values(changed(start, REPORT, change))
    assert (lost := changes(before, after)) == removed(before, "system_consumption", "system_net_consumption")
    assert lost


async def test_lines_of_two_phases_are_not_shown_as_others(session: aiohttp.ClientSession) -> None:
    def change(report: Any) -> None:
        for entry in (report["production"][1], *report["consumption"]):
            # One of the documents has no phases.
            del entry.get("lines", [0, 0])[1]

    start = FreshStarts("three_phase", session)
    before, after = await start.values(), await start.values(changed(start, REPORT, change))
    phases = [f"system_{name}_phases" for name in ("production", "consumption", "net_consumption")]
    assert (lost := changes(before, after)) == removed(before, *phases)
    assert {address.split()[1] for address, _ in lost} == {"L1", "L2", "L3"}


async def test_a_meter_that_stands_still_has_no_days(session: aiohttp.ClientSession) -> None:
    """It reports its lifetime as the energy of today and of seven days."""
    energy = 584_366

    def change(report: Any) -> None:
        for meter in (report["production"][1], *report["consumption"]):
            meter |= {"activeCount": 0, "whToday": energy, "whLastSevenDays": energy, "whLifetime": energy}
            meter.pop("lines", None)

    start = FreshStarts("metered_1phase", session)
    after = await start.values(changed(start, REPORT, change))
    inverters = json.loads(start.documents["/production.json?details=1"].body)["production"][0]
    production = {name: value for (address, name), value in after.items() if address == ("system_production",)}
    assert production == {"watts_now": inverters["wNow"], "watt_hours_lifetime": inverters["whLifetime"]}
    of_days = [key for key in after if key[1] in ("watt_hours_today", "watt_hours_last_7_days")]
    assert {address[0] for address, _ in of_days} <= {"inverters"}


def devices(inventory: Any, kind: str) -> list[Any]:
    """Return the devices of a group."""
    (found,) = [group["devices"] for group in inventory if group["type"] == kind]
    return cast("list[Any]", found)


def new_type(kind: str) -> Callable[[Any], None]:
    def change(inventory: Any) -> None:
        (group,) = [group for group in inventory if group["type"] == kind]
        group["type"] = f"{kind}-2"

    return change


def empty_first(kind: str, device: object) -> Callable[[Any], None]:
    return lambda inventory: devices(inventory, kind).insert(0, device)


def numbers_as_serial_numbers(inventory: Any) -> None:
    for group in inventory:
        for device in group["devices"]:
            device["serial_num"] = int(device["serial_num"])


def other_storage_first(report: Any) -> None:
    report["storage"].insert(0, {"type": "ess", "activeCount": 2, "wNow": 5, "whNow": 6, "percentFull": 3})


def null_storage_first(report: Any) -> None:
    report["storage"].insert(0, None)


def all_items(values: Mapping[str, object]) -> Callable[[Any], None]:
    """Return a change of all objects in a list."""

    def change(items: Any) -> None:
        for item in items:
            item.update(values)

    return change


def no_phase_count(meters: Any) -> None:
    for meter in meters:
        del meter["phaseCount"]


def no_active(device_data: Any) -> None:
    for device in device_data.values():
        if isinstance(device, dict):
            device.pop("active", None)


def error_key(value: object) -> Callable[[Any], None]:
    return lambda document: document.update(error=value)


#: Fields of a group of the inventory.
OF_GROUP: Final = {"ENPOWER": ("enpower",), "ENCHARGE": ("encharge_inventory",)}
DEVICE_DATA: Final = "/ivp/pdm/device_data"
METERS: Final = "/ivp/meters"
CONTROL: Final = "/ivp/ensemble/secctrl"


@pytest.mark.parametrize("later", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize("kind", OF_GROUP)
async def test_a_group_of_a_new_type_costs_no_other_endpoint(
    session: aiohttp.ClientSession, kind: str, *, later: bool
) -> None:
    """Its own devices are of a kind that is not known."""
    start = FreshStarts("full_battery", session)
    before = await start.values()
    answers = changed(start, INVENTORY, new_type(kind))
    after = await (start.later_values(answers) if later else start.values(answers))
    assert (lost := changes(before, after)) == removed(before, *OF_GROUP[kind])
    assert lost


@pytest.mark.parametrize("later", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize(
    ("profile", "path", "change"),
    [
        ("full_battery", INVENTORY, empty_first("ENPOWER", None)),
        ("full_battery", INVENTORY, empty_first("ENPOWER", {})),
        ("collar", INVENTORY, empty_first("COLLAR", None)),
        ("collar", INVENTORY, empty_first("COLLAR", {})),
        ("full_battery", INVENTORY, numbers_as_serial_numbers),
        ("ac_batteries", REPORT, other_storage_first),
        ("ac_batteries", REPORT, null_storage_first),
        *(("three_phase", METERS, all_items({"phaseCount": count})) for count in (None, "3", 7)),
        ("three_phase", METERS, no_phase_count),
        ("metered_1phase", METERS, all_items({"phaseMode": "single", "phaseCount": 3})),
        ("three_phase", DEVICE_DATA, no_active),
        *(("full_battery", CONTROL, error_key(value)) for value in (None, "", 0)),
        ("full_battery", TARIFF, error_key(None)),
        ("three_phase", DEVICE_DATA, error_key(None)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_change_without_a_value_costs_nothing(
    session: aiohttp.ClientSession, profile: str, path: str, change: Callable[[Any], None], *, later: bool
) -> None:
    start = FreshStarts(profile, session)
    before = await start.values()
    answers = changed(start, path, change)
    assert changes(before, await (start.later_values(answers) if later else start.values(answers))) == {}


@pytest.mark.parametrize("later", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize("state", ["active", None])
async def test_an_unknown_state_of_a_meter_costs_the_state(
    session: aiohttp.ClientSession, state: str | None, *, later: bool
) -> None:
    start = FreshStarts("three_phase", session)
    before = await start.values()
    answers = changed(start, METERS, all_items({"state": state}))
    after = await (start.later_values(answers) if later else start.values(answers))
    assert (lost := changes(before, after))
    assert {name for _, name in lost} == {"state"}
    assert set(lost.values()) == {state}


@pytest.mark.parametrize("count", [None, "1"])
async def test_ac_batteries_without_a_valid_number_are_there(session: aiohttp.ClientSession, count: object) -> None:
    def change(report: Any) -> None:
        report["storage"][0]["activeCount"] = count

    start = FreshStarts("ac_batteries", session)
    before = await start.values()
    assert changes(before, await start.values(changed(start, REPORT, change))) == {("acb_power", "batteries"): None}


@pytest.mark.parametrize("storage", ["absent", "empty", "other"])
async def test_ac_batteries_are_those_of_the_inventory_without_any_in_the_report(
    session: aiohttp.ClientSession, storage: str
) -> None:
    def change(report: Any) -> None:
        batteries = report.pop("storage")
        if storage != "absent":
            report["storage"] = [{"type": "ess", "activeCount": 1}] if storage == "other" else []
        assert batteries

    start = FreshStarts("ac_batteries", session)
    before = await start.values()
    after = await start.values(changed(start, REPORT, change))
    assert changes(before, after) == removed(before, "acb_power")


#: What each of these endpoints feeds.
FED: Final = {
    "/ivp/ensemble/dry_contacts": ("dry_contact_status",),
    RELAYS: ("dry_contact_settings",),
    "/ivp/ensemble/power": ("encharge_power",),
    "/ivp/ensemble/secctrl": ("encharge_aggregate", "battery_aggregate", "battery_controller"),
}


@pytest.mark.parametrize("answer", [404, b'{"error": "busy"}'], ids=["absent", "busy"])
@pytest.mark.parametrize("path", FED)
async def test_an_endpoint_without_a_document_costs_what_it_feeds(
    session: aiohttp.ClientSession, path: str, answer: bytes | int
) -> None:
    """Batteries, the controller and its grid status stay, whichever of the endpoints beside them fails."""
    start = FreshStarts("full_battery", session)
    before, after = await start.values(), await start.values({path: answer})
    assert (lost := changes(before, after)) == removed(before, *FED[path])
    assert lost

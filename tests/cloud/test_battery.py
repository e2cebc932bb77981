"""Settings and schedules: what is sent, and what is refused before anything is sent."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import time
from typing import Any

import pytest

from custom_components.enphase_envoy.cloud.battery import READ_PAUSE, BatteryCloud
from custom_components.enphase_envoy.cloud.errors import CloudError, CloudReason
from custom_components.enphase_envoy.cloud.models import Profile, Schedule, ScheduleKind
from tests.simulator.battery_service import SITE, ServiceTrouble

from .conftest import Account

CONTROL = {"show": True, "showDaySchedule": True, "enabled": True, "locked": False, "scheduleSupported": True}


@pytest.mark.parametrize(
    ("change", "path", "body"),
    [
        (
            lambda battery: battery.set_reserve(35.0),
            "profile",
            {"profile": "self-consumption", "batteryBackupPercentage": 35},
        ),
        (
            lambda battery: battery.set_profile(Profile.BACKUP),
            "profile",
            {"profile": "backup_only", "batteryBackupPercentage": 100},
        ),
        (
            lambda battery: battery.set_profile(Profile.SAVINGS),
            "profile",
            {"profile": "cost_savings", "batteryBackupPercentage": 30, "operationModeSubType": "prioritize-energy"},
        ),
        (lambda battery: battery.set_charge_from_grid(False), "batterySettings", {"chargeFromGrid": False}),
        (lambda battery: battery.set_shutdown_level(12.0), "batterySettings", {"veryLowSoc": 12}),
        (lambda battery: battery.set_restrict_discharge(True), "batterySettings", {"rbdControl": CONTROL}),
        (
            lambda battery: battery.set_discharge_to_grid(True),
            "batterySettings",
            {"dtgControl": {**CONTROL, "startTime": 960, "endTime": 1140}},
        ),
    ],
)
async def test_change_is_sent_once(
    account: Account, change: Callable[[BatteryCloud], Awaitable[None]], path: str, body: dict[str, Any]
) -> None:
    await account.battery.read()
    await change(account.battery)
    (write,) = account.cloud.batteries.writes
    assert (write.method, write.path, write.body) == ("PUT", f"/{path}/{SITE}", body)


async def test_charging_from_the_grid_accepts_the_disclaimer_first(account: Account) -> None:
    await account.battery.set_charge_from_grid(True)
    await account.battery.set_charge_from_grid(True)
    paths = [write.path for write in account.cloud.batteries.writes]
    assert paths == [
        f"/batterySettings/acceptDisclaimer/{SITE}",
        f"/batterySettings/{SITE}",
        f"/batterySettings/{SITE}",
    ]
    assert account.cloud.batteries.writes[1].body == {
        "chargeFromGrid": True,
        "acceptedItcDisclaimer": True,
        "chargeBeginTime": 120,
        "chargeEndTime": 300,
        "chargeFromGridScheduleEnabled": False,
    }


async def test_settings_that_the_site_does_not_offer_are_refused_without_a_request(account: Account) -> None:
    service = account.cloud.batteries
    service.site_settings |= {"showAiOptiSavingsMode": False, "restrictCfg": True}
    service.settings["dtgControl"]["locked"] = True
    service.settings["rbdControl"] = None
    service.settings["profile"] = "backup_only"
    await account.battery.read()
    for change in (
        account.battery.set_profile(Profile.AI_OPTIMIZATION),
        account.battery.set_charge_from_grid(True),
        account.battery.set_discharge_to_grid(True),
        account.battery.set_restrict_discharge(True),
        account.battery.set_reserve(30),
    ):
        with pytest.raises(CloudError) as failure:
            await change
        assert failure.value.reason is CloudReason.NOT_OFFERED
    assert not service.writes


async def test_settings_are_read_every_five_minutes_at_most(account: Account) -> None:
    requests = account.cloud.batteries.requests
    for _ in range(11):
        await account.battery.read()
        account.now += READ_PAUSE / 10
    assert requests[f"/batterySettings/{SITE}"] == 2


async def test_failed_read_is_not_repeated_for_five_minutes(account: Account) -> None:
    requests = account.cloud.batteries.requests
    account.cloud.batteries.site_settings = {}
    account.cloud.batteries.trouble = "refused"
    for _ in range(11):
        with pytest.raises(CloudError) as failure:
            await account.battery.read()
        assert failure.value.reason is CloudReason.UNREACHABLE
        account.now += READ_PAUSE / 10
    assert requests[f"/batterySettings/{SITE}"] == 2


async def test_accepted_change_is_noted_until_the_next_read(account: Account) -> None:
    await account.battery.read()
    await account.battery.set_shutdown_level(15)
    assert account.battery.latest
    assert account.battery.latest.settings.shutdown_level == 15


async def test_refused_change_is_not_noted_and_not_repeated(account: Account) -> None:
    await account.battery.read()
    account.cloud.batteries.write_trouble = "refused"
    with pytest.raises(CloudError) as failure:
        await account.battery.set_shutdown_level(15)
    assert failure.value.reason is CloudReason.REFUSED
    assert account.battery.latest
    assert account.battery.latest.settings.shutdown_level == 5
    posts = account.cloud.batteries.requests[f"/batterySettings/{SITE}"]
    assert posts == 2


async def test_other_shapes_cost_their_fields_only(account: Account) -> None:
    service = account.cloud.batteries
    service.settings |= {
        "veryLowSoc": "unknown",
        "profile": "expert",
        "dtgControl": [],
        "previousBatteryBackupPercentage": 7,
    }
    battery = await account.battery.read()
    assert battery.settings.shutdown_level is None
    assert battery.settings.profile is None
    assert battery.settings.discharge_to_grid is None
    assert battery.settings.reserve == 20
    service.trouble = "shape"
    account.now += READ_PAUSE + 1
    with pytest.raises(CloudError) as failure:
        await account.battery.read()
    assert failure.value.reason is CloudReason.UNREACHABLE
    assert account.battery.latest is battery, "the settings as read before"
    assert account.battery.answers["batterySettings"] == {"type": "error", "data": ["moved"]}, "for diagnostics"


NIGHT = Schedule(ScheduleKind.CHARGE_FROM_GRID, time(23), time(5), (1, 2, 3), limit=80)


async def test_schedules_are_stored_changed_and_deleted(account: Account) -> None:
    stored = await account.battery.set_schedule(NIGHT)
    assert stored.id
    assert account.battery.schedules(ScheduleKind.CHARGE_FROM_GRID) == (stored,)
    changed = await account.battery.set_schedule(
        Schedule(stored.kind, time(22), time(5), stored.days, limit=90, id=stored.id)
    )
    account.now += READ_PAUSE + 1
    assert (await account.battery.read()).schedules == (changed,)
    assert (changed.start, changed.limit, changed.id) == (time(22), 90, stored.id)
    await account.battery.delete_schedule(stored.id)
    account.now += READ_PAUSE + 1
    assert not (await account.battery.read()).schedules
    with pytest.raises(CloudError) as failure:
        await account.battery.delete_schedule(stored.id)
    assert failure.value.reason is CloudReason.UNKNOWN_SCHEDULE


async def test_schedule_has_an_id_although_the_answer_has_none(account: Account) -> None:
    await account.battery.set_schedule(NIGHT)
    account.cloud.batteries.hides_ids = True
    stored = await account.battery.set_schedule(Schedule(NIGHT.kind, time(12), time(14), (6,), limit=50))
    (identifier,) = [key for key, one in account.cloud.batteries.schedules.items() if one["startTime"] == "12:00"]
    assert stored.id == identifier
    assert stored in account.battery.schedules()
    await account.battery.delete_schedule(stored.id)
    assert len(account.cloud.batteries.schedules) == 1


async def test_schedule_whose_id_cannot_be_read_is_kept_and_the_next_read_not_delayed(account: Account) -> None:
    await account.battery.read()
    service = account.cloud.batteries
    service.hides_ids = True
    read = account.client.read

    async def fail(*_paths: str, require_open: object) -> tuple[object, ...]:
        raise CloudError(CloudReason.PAUSED)

    account.client.read = fail  # type: ignore[method-assign]
    stored = await account.battery.set_schedule(NIGHT)
    assert (stored.id, account.battery.schedules()) == ("", (NIGHT,))
    with pytest.raises(CloudError) as failure:
        await account.battery.delete_schedule("")
    assert failure.value.reason is CloudReason.UNKNOWN_SCHEDULE
    account.client.read = read  # type: ignore[method-assign]
    (schedule,) = (await account.battery.read()).schedules
    assert schedule.id in service.schedules


async def test_fields_of_a_schedule_that_are_not_known_are_sent_back(account: Account) -> None:
    stored = await account.battery.set_schedule(NIGHT)
    account.cloud.batteries.schedules[stored.id]["priority"] = 3
    account.now += READ_PAUSE + 1
    await account.battery.read()
    await account.battery.set_schedule(Schedule(NIGHT.kind, time(22), time(5), (1,), id=stored.id))
    body = account.cloud.batteries.writes[-1].body
    assert body["priority"] == 3
    assert not {"limit", "scheduleId", "scheduleStatus"} & body.keys()


@pytest.mark.parametrize(
    ("kind", "settings", "site"),
    [
        (ScheduleKind.CHARGE_FROM_GRID, {}, {"restrictCfg": True}),
        (ScheduleKind.DISCHARGE_TO_GRID, {"dtgControl": {"show": True, "locked": True}}, {}),
        (ScheduleKind.DISCHARGE_TO_GRID, {"dtgControl": {"show": True, "scheduleSupported": False}}, {}),
        (ScheduleKind.RESTRICT_DISCHARGE, {"rbdControl": None}, {}),
    ],
)
async def test_schedule_that_the_site_does_not_allow_is_refused_without_a_request(
    account: Account, kind: ScheduleKind, settings: dict[str, Any], site: dict[str, Any]
) -> None:
    service = account.cloud.batteries
    service.settings |= settings
    service.site_settings |= site
    with pytest.raises(CloudError) as failure:
        await account.battery.set_schedule(Schedule(kind, time(1), time(2), (1,)))
    assert failure.value.reason is CloudReason.NOT_OFFERED
    assert not service.writes


async def test_overlapping_schedule_is_refused_before_anything_is_lost(account: Account) -> None:
    await account.battery.set_schedule(NIGHT)
    writes = len(account.cloud.batteries.writes)
    with pytest.raises(CloudError) as failure:
        await account.battery.set_schedule(Schedule(NIGHT.kind, time(4), time(6), (4,)))
    assert failure.value.reason is CloudReason.OVERLAP
    assert len(account.cloud.batteries.writes) == writes
    # The cloud has one that was not read yet.
    account.cloud.batteries.schedules["other"] = {
        **Schedule(NIGHT.kind, time(12), time(14), (5,)).to_api("Europe/Berlin"),
        "scheduleId": "other",
    }
    with pytest.raises(CloudError) as failure:
        await account.battery.set_schedule(Schedule(NIGHT.kind, time(13), time(15), (5,)))
    assert (failure.value.reason, failure.value.detail) == (CloudReason.OVERLAP, "CONFLICTING_SCHEDULE_CFG")
    assert len(account.battery.schedules()) == 1


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        (Schedule(NIGHT.kind, time(4), time(6), (4,)), True),
        (Schedule(NIGHT.kind, time(5), time(6), (4,)), False),
        (Schedule(NIGHT.kind, time(22), time(23), (1,)), False),
        (Schedule(NIGHT.kind, time(23, 30), time(23, 45), (3,)), True),
        (Schedule(NIGHT.kind, time(4), time(6), (1,)), False),
        (Schedule(NIGHT.kind, time(22), time(1), (7,)), False),
    ],
)
def test_schedules_that_pass_midnight_overlap_on_the_next_day(other: Schedule, *, overlaps: bool) -> None:
    assert NIGHT.overlaps(other) is overlaps
    assert other.overlaps(NIGHT) is overlaps


def test_schedule_of_sunday_passes_into_monday() -> None:
    sunday = Schedule(NIGHT.kind, time(22), time(6), (7,))
    assert sunday.overlaps(Schedule(NIGHT.kind, time(5), time(7), (1,)))


async def test_two_reads_at_the_same_time_are_one(account: Account) -> None:
    first, second = await asyncio.gather(account.battery.read(), account.battery.read())
    assert first is second
    assert account.cloud.batteries.requests[f"/batterySettings/{SITE}"] == 1


@pytest.mark.parametrize("disabled", [0, 1])
async def test_disabled_schedule_overlaps_none(account: Account, disabled: int) -> None:
    within = Schedule(NIGHT.kind, time(23, 30), time(23, 45), (1,))
    schedules = [replace(one, enabled=index != disabled) for index, one in enumerate((NIGHT, within))]
    for schedule in schedules:
        await account.battery.set_schedule(schedule)
    assert len(account.cloud.batteries.schedules) == 2


@pytest.mark.parametrize(
    ("changes", "identifier", "days"),
    [
        ({"scheduleId": 4711}, "4711", (1, 2)),
        ({"days": ["1", "7"]}, "one", (1, 7)),
        ({"days": None}, "one", (1, 2, 3, 4, 5, 6, 7)),
        ({"startTime": "23:00:00Z"}, "one", (1, 2)),
    ],
)
def test_schedules_of_another_shape(changes: dict[str, Any], identifier: str, days: tuple[int, ...]) -> None:
    document = {"scheduleId": "one", "startTime": "23:00", "endTime": "05:00:00", "days": [1, 2], **changes}
    schedule = Schedule.from_api(NIGHT.kind, document)
    assert schedule
    assert (schedule.id, schedule.days, schedule.start, schedule.end) == (identifier, days, time(23), time(5))
    assert schedule.overlaps(schedule)


@pytest.mark.parametrize("changes", [{"days": ["weekend"]}, {"days": 7}, {"scheduleId": ""}, {"startTime": "late"}])
def test_schedule_that_is_not_understood_is_left_out(changes: dict[str, Any]) -> None:
    document = {"scheduleId": "one", "startTime": "23:00", "endTime": "05:00", "days": [1], **changes}
    assert Schedule.from_api(NIGHT.kind, document) is None


@pytest.mark.parametrize("trouble", ["error", "html", "too_many", "disconnect"])
async def test_failure_does_not_name_the_site(account: Account, trouble: ServiceTrouble) -> None:
    account.cloud.batteries.trouble = trouble
    with pytest.raises(CloudError) as failure:
        await account.battery.read()
    assert SITE not in str(failure.value)
    assert "/service/batteryConfig/api/v1/batterySettings/…" in str(failure.value)

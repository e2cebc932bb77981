"""The batteries of one site in the cloud: read, and changed one setting at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from .client import CloudClient
from .errors import CloudError, CloudReason
from .models import (
    BatterySettings,
    CloudBattery,
    Control,
    Profile,
    Schedule,
    ScheduleKind,
    Setting,
    SiteSettings,
    has_settings,
    schedules_from_api,
)

#: Seconds between two reads at least.
READ_PAUSE: Final = 300
#: Charging from the grid at night, in minutes after midnight, where the site has no times yet.
_CHARGE_BEGIN: Final = 120
_CHARGE_END: Final = 300
_FULL: Final = 100


class BatteryCloud:
    """The battery settings of a site. Every change raises CloudError if the cloud did not accept it."""

    def __init__(self, client: CloudClient, site: str, clock: Callable[[], float]) -> None:
        """Prepare to read the site with this id; `clock` returns seconds."""
        self.client = client
        self.site = site
        self._clock = clock
        #: What was read last, with the changes that were accepted since.
        self.latest: CloudBattery | None = None
        #: The answers of the last read, by their name.
        self.answers: dict[str, object] = {}
        self._next_read = float("-inf")
        #: Held while it is read: a second read at the same time returns the result of the first.
        self._reading = asyncio.Lock()
        #: Why the last read failed.
        self._failure: CloudError | None = None
        #: The entry was unloaded: nothing is read or changed any more.
        self.is_closed = False

    def continue_from(self, other: BatteryCloud) -> None:
        """Take over what another one read of the same site: the site is not read again because of a reload."""
        self.latest, self.answers = other.latest, other.answers
        self._next_read, self._failure = other._next_read, other._failure

    async def read(self) -> CloudBattery:
        """Return the settings; they are requested at most every five minutes. Raises CloudError."""
        async with self._reading:
            return await self._read()

    async def _read(self) -> CloudBattery:
        if self._clock() < self._next_read:
            if self._failure:
                raise CloudError(self._failure.reason, self._failure.detail)
            if self.latest:
                return self.latest
        paths = (f"/batterySettings/{self.site}", f"/siteSettings/{self.site}", self._schedules_path)
        try:
            settings, site, schedules = await self.client.read(*paths, require_open=self._require_open)
        except CloudError as err:
            # A read that an unloaded entry broke off is no failure for the next set-up, which continues from here.
            if err.reason is CloudReason.UNREACHABLE and not self.is_closed:
                # Without the traceback, which refers to the entry that is unloaded later.
                self._next_read, self._failure = self._clock() + READ_PAUSE, CloudError(err.reason, err.detail)
            raise
        self.answers = {"batterySettings": settings, "siteSettings": site, "schedules": schedules}
        self._next_read, self._failure = self._clock() + READ_PAUSE, None
        if not has_settings(settings):
            self._failure = CloudError(CloudReason.UNREACHABLE, "the answer has another shape")
            raise CloudError(self._failure.reason, self._failure.detail)
        self.latest = CloudBattery(
            BatterySettings.from_api(settings), SiteSettings.from_api(site), schedules_from_api(schedules)
        )
        return self.latest

    async def _settings(self) -> CloudBattery:
        return self.latest or await self.read()

    def _require_open(self) -> None:
        if self.is_closed:
            raise CloudError(CloudReason.UNREACHABLE, "closed")

    @property
    def _schedules_path(self) -> str:
        return f"/battery/sites/{self.site}/schedules"

    async def _put(self, path: str, body: object, **changes: object) -> None:
        """Send a change of settings, and note it: a read at once would still return the old values."""
        await self.client.write("PUT", f"/{path}/{self.site}", body, self.site, self._require_open)
        if self.latest:
            self.latest = replace(self.latest, settings=replace(self.latest.settings, **changes))  # type: ignore[arg-type]

    # Settings

    async def change(self, setting: Setting, value: object) -> None:
        """Change a setting: a Profile, a level in percent, or whether something is enabled."""
        match setting, value:
            case Setting.MODE, Profile():
                await self.set_profile(value)
            case Setting.RESERVE, int() | float():
                await self.set_reserve(value)
            case Setting.SHUTDOWN_LEVEL, int() | float():
                await self.set_shutdown_level(value)
            case Setting.CHARGE_FROM_GRID, bool():
                await self.set_charge_from_grid(value)
            case Setting.DISCHARGE_TO_GRID, bool():
                await self.set_discharge_to_grid(value)
            case Setting.RESTRICT_DISCHARGE, bool():
                await self.set_restrict_discharge(value)
            case _:
                raise ValueError(f"{value!r} is no value of {setting}")

    async def set_profile(self, profile: Profile) -> None:
        """Change the storage mode; each has a reserve of its own, which comes back into use."""
        battery = await self._settings()
        if profile not in battery.site.profiles:
            raise CloudError(CloudReason.NOT_OFFERED, profile)
        reserve = battery.settings.reserves.get(profile, battery.settings.reserve)
        await self._put_profile(profile, _FULL if profile is Profile.BACKUP else reserve)

    async def set_reserve(self, level: float) -> None:
        """Change the reserve of the storage mode in use, in percent."""
        settings = (await self._settings()).settings
        if settings.profile is None or settings.profile is Profile.BACKUP:
            # Full backup keeps all of the energy.
            raise CloudError(CloudReason.NOT_OFFERED, f"reserve in {settings.profile}")
        await self._put_profile(settings.profile, level)

    async def _put_profile(self, profile: Profile, reserve: float | None) -> None:
        body: dict[str, object] = {"profile": str(profile)}
        if reserve is not None:
            body["batteryBackupPercentage"] = round(reserve)
        if profile in (Profile.SAVINGS, Profile.AI_OPTIMIZATION):
            body["operationModeSubType"] = "prioritize-energy"
        await self._put("profile", body, profile=profile, reserve=reserve)

    async def set_charge_from_grid(self, enabled: bool) -> None:
        """Allow or forbid charging from the grid.

        Allowing it accepts the disclaimer about tax credits for the user, where that was not done before.
        """
        battery = await self._settings()
        settings = battery.settings
        if enabled and not battery.site.allows_charge_from_grid:
            raise CloudError(CloudReason.NOT_OFFERED, "charge from grid")
        if not enabled:
            await self._put("batterySettings", {"chargeFromGrid": False}, charge_from_grid=False)
            return
        if not settings.accepted_disclaimer:
            path = f"/batterySettings/acceptDisclaimer/{self.site}"
            await self.client.write("POST", path, {"disclaimer-type": "itc"}, self.site, self._require_open)
        body = {
            "chargeFromGrid": True,
            "acceptedItcDisclaimer": True,
            "chargeBeginTime": _CHARGE_BEGIN if settings.charge_begin is None else settings.charge_begin,
            "chargeEndTime": _CHARGE_END if settings.charge_end is None else settings.charge_end,
            "chargeFromGridScheduleEnabled": settings.charge_schedule_enabled or False,
        }
        await self._put("batterySettings", body, charge_from_grid=True, accepted_disclaimer=True)

    async def set_shutdown_level(self, level: float) -> None:
        """Change the level at which batteries switch off, in percent."""
        await self._settings()
        await self._put("batterySettings", {"veryLowSoc": round(level)}, shutdown_level=level)

    async def set_discharge_to_grid(self, enabled: bool) -> None:
        """Allow or forbid discharging to the grid."""
        control = (await self._settings()).settings.discharge_to_grid
        await self._set_control("dtgControl", "discharge_to_grid", control, enabled)

    async def set_restrict_discharge(self, enabled: bool) -> None:
        """Restrict the discharge of batteries, or lift the restriction."""
        control = (await self._settings()).settings.restrict_discharge
        await self._set_control("rbdControl", "restrict_discharge", control, enabled)

    async def _set_control(self, key: str, field: str, control: Control | None, enabled: bool) -> None:
        if control is None or not control.is_offered or control.is_locked:
            raise CloudError(CloudReason.NOT_OFFERED, key)
        # The service ignores some changes that do not repeat the whole control.
        raw = {**control.raw, "enabled": enabled}
        await self._put("batterySettings", {key: raw}, **{field: replace(control, enabled=enabled, raw=raw)})

    # Schedules

    async def set_schedule(self, schedule: Schedule) -> Schedule:
        """Store a schedule, or change the one with its id. One that overlaps another of its kind is refused."""
        battery = await self._settings()
        if schedule.id and not any(schedule.id == other.id for other in battery.schedules):
            raise CloudError(CloudReason.UNKNOWN_SCHEDULE, schedule.id)
        if not _allows_schedules(battery, schedule.kind):
            raise CloudError(CloudReason.NOT_OFFERED, schedule.kind)
        others = [other for other in battery.schedules if other.id != schedule.id]
        # The service names the wrong kind in its refusal, so that this check is better understood.
        for other in others:
            if other.kind is schedule.kind and schedule.enabled and other.enabled and schedule.overlaps(other):
                raise CloudError(CloudReason.OVERLAP, f"{other.start:%H:%M} - {other.end:%H:%M}")
        timezone = battery.site.timezone or "UTC"
        raw = next((other.raw for other in battery.schedules if schedule.id and other.id == schedule.id), {})
        body = replace(schedule, raw=raw).to_api(timezone)
        path = f"{self._schedules_path}/{schedule.id}" if schedule.id else self._schedules_path
        method = "PUT" if schedule.id else "POST"
        answer = await self.client.write(method, path, body, self.site, self._require_open)
        stored = Schedule.from_api(schedule.kind, answer) or schedule
        # Another schedule may have been stored meanwhile.
        battery = self.latest or battery
        others = [other for other in battery.schedules if other.id != stored.id]
        self.latest = replace(battery, schedules=(*others, stored))
        return stored if stored.id else await self._with_id(stored)

    async def _with_id(self, schedule: Schedule) -> Schedule:
        """Return a new schedule as the service lists it: the answer to the request that stored it had no id.

        That is one read more than every five minutes: without its id, the schedule can be neither changed nor deleted.
        """
        # Where this fails, the next read is not delayed.
        self._next_read = float("-inf")
        try:
            battery = await self.read()
        except CloudError:
            return schedule
        same = (one for one in battery.schedules if replace(one, id="", status=None, timezone=None) == schedule)
        return next(same, schedule)

    async def delete_schedule(self, identifier: str) -> None:
        """Delete a schedule."""
        battery = await self._settings()
        if not identifier or not any(other.id == identifier for other in battery.schedules):
            raise CloudError(CloudReason.UNKNOWN_SCHEDULE, identifier)
        path = f"{self._schedules_path}/{identifier}/delete"
        await self.client.write("POST", path, {}, self.site, self._require_open)
        battery = self.latest or battery
        self.latest = replace(battery, schedules=tuple(one for one in battery.schedules if one.id != identifier))

    def schedules(self, kind: ScheduleKind | None = None) -> tuple[Schedule, ...]:
        """Return the schedules that were read last, of one kind or all."""
        found = self.latest.schedules if self.latest else ()
        return tuple(schedule for schedule in found if kind in (None, schedule.kind))


def _allows_schedules(battery: CloudBattery, kind: ScheduleKind) -> bool:
    """Return whether a site lets the user store schedules of a kind."""
    settings = battery.settings
    match kind:
        case ScheduleKind.CHARGE_FROM_GRID:
            return battery.site.allows_charge_from_grid
        case ScheduleKind.DISCHARGE_TO_GRID:
            control = settings.discharge_to_grid
        case ScheduleKind.RESTRICT_DISCHARGE:
            control = settings.restrict_discharge
    return control is not None and control.is_offered and not control.is_locked and control.has_schedules

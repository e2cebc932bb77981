"""Every control of the battery in every situation: what its entity shows, after how long, and what the log contains.

`docs/battery.md` has the same table; a test compares both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
import logging
from pathlib import Path
from typing import Any, Final

from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import entity_registry as er
import pytest

from custom_components.enphase_envoy.const import DOMAIN
from tests.simulator import Cloud

from .conftest import ENPOWER, House, StartHouse

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "battery.md"


class Shown(StrEnum):
    """What an entity shows after a change, in the words of the document. With an error, it is the old value."""

    KEPT = "new value at once"
    LOST = "new value at once, old value after 90 to 125 s"
    CONFIRMED = "`pending`, new value after 15 to 20 s"
    UNCONFIRMED = "`pending`, old value without it after 300 to 330 s"
    UNAVAILABLE = "error: not responding"
    NOT_OFFERED = "error: not offered"
    REFUSED = "error: refused"
    NO_OPTION = "not among the options"
    CODE = "error: code required"
    MISSING = "no entity"
    UNREAD = "no entity, or unavailable"
    #: Of the actions for schedules.
    STORED = "stored schedule"
    NOT_ENABLED = "error: not enabled"


#: Parts of the messages.
ERRORS: Final = {
    # After an error of the service, nothing is requested for five minutes at first.
    Shown.UNAVAILABLE: "not responding|Try again in a few minutes",
    Shown.NOT_OFFERED: "does not offer this setting",
    Shown.REFUSED: "refused the change",
    Shown.NO_OPTION: "not valid",
    Shown.CODE: "requires a one-time code",
    Shown.NOT_ENABLED: "Enable “Battery settings in the cloud”",
}


@dataclass(frozen=True)
class Control:
    """A control: the name in the document, the action with its data, and the state before and after."""

    name: str
    domain: str
    action: str
    data: dict[str, Any]
    before: str
    after: str


#: The mode is changed first: each has a reserve of its own.
CONTROLS: Final = {
    "storage_mode": Control(
        "storage mode", "select", "select_option", {"option": "savings"}, "self_consumption", "savings"
    ),
    "reserve_soc": Control("reserve battery level", "number", "set_value", {"value": 45}, "20.0", "45.0"),
    "charge_from_grid": Control("charge from grid", "switch", "turn_on", {}, "off", "on"),
    "battery_shutdown_level": Control("battery shutdown level", "number", "set_value", {"value": 12}, "5", "12"),
    "discharge_to_grid": Control("discharge to grid", "switch", "turn_on", {}, "off", "on"),
    "restrict_battery_discharge": Control("restrict battery discharge", "switch", "turn_on", {}, "off", "on"),
}
LOCAL: Final = ("storage_mode", "reserve_soc", "charge_from_grid")
CLOUD_ONLY: Final = tuple(key for key in CONTROLS if key not in LOCAL)
#: Settings that the gateway does not report.
NOT_REPORTED: Final = ("discharge_to_grid", "restrict_battery_discharge")


def _all(local: Shown, cloud: Shown, **others: Shown) -> dict[str, Shown]:
    return {**dict.fromkeys(LOCAL, local), **dict.fromkeys(CLOUD_ONLY, cloud), **others}


def _site_refuses(cloud: Cloud) -> None:
    service = cloud.batteries
    service.site_settings |= {"showSavingsMode": False, "restrictCfg": True}
    service.settings["dtgControl"]["locked"] = service.settings["rbdControl"]["locked"] = True
    service.write_trouble = "refused"


def _never_follows(cloud: Cloud) -> None:
    cloud.batteries.delay = None


@dataclass(frozen=True)
class Situation:
    """A column of the table."""

    name: str
    cells: dict[str, Shown]
    schedules: Shown
    #: Parts of the lines of warnings and errors, from the set-up on.
    log: tuple[str, ...] = ()
    issues: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)
    #: Before the set-up.
    prepare: Callable[[Cloud], None] = lambda _: None
    fails_later: bool = False


CANNOT_READ: Final = "the battery settings in the cloud can't be read"
NOT_CONFIRMED: Final = "and the gateway still reports"
SITUATIONS: Final = (
    Situation(
        "older firmware, locally",
        _all(Shown.KEPT, Shown.MISSING),
        Shown.NOT_ENABLED,
        options={"enabled": False, "firmware": "D8.2.127"},
    ),
    Situation(
        "new firmware, locally",
        _all(Shown.LOST, Shown.MISSING),
        Shown.NOT_ENABLED,
        issues=frozenset({"setting_overwritten", "cloud_offer"}),
        options={"enabled": False, "cloud_owns_tariff": True},
    ),
    Situation("cloud", _all(Shown.CONFIRMED, Shown.CONFIRMED, **dict.fromkeys(NOT_REPORTED, Shown.KEPT)), Shown.STORED),
    Situation(
        "cloud, but the gateway does not follow",
        _all(Shown.UNCONFIRMED, Shown.UNCONFIRMED, **dict.fromkeys(NOT_REPORTED, Shown.KEPT)),
        Shown.STORED,
        log=(NOT_CONFIRMED,) * 4,
        issues=frozenset({"cloud_unconfirmed"}),
        prepare=_never_follows,
    ),
    Situation(
        "cloud unavailable",
        _all(Shown.UNAVAILABLE, Shown.UNAVAILABLE),
        Shown.UNAVAILABLE,
        log=(CANNOT_READ,),
        fails_later=True,
    ),
    Situation(
        "refused by the site",
        _all(
            Shown.NOT_OFFERED,
            Shown.NOT_OFFERED,
            storage_mode=Shown.NO_OPTION,
            reserve_soc=Shown.REFUSED,
            battery_shutdown_level=Shown.REFUSED,
        ),
        Shown.NOT_OFFERED,
        prepare=_site_refuses,
    ),
    Situation(
        "one-time code required",
        _all(Shown.CODE, Shown.UNREAD),
        Shown.CODE,
        log=(CANNOT_READ,),
        issues=frozenset({"cloud_code"}),
        options={"needs_code": True},
    ),
)
#: Seconds until the old or the new value is shown, and afterwards.
WITHIN: Final = {Shown.LOST: (90, 125), Shown.CONFIRMED: (15, 20), Shown.UNCONFIRMED: (300, 330)}
STEPS: Final = (5,) * 6 + (30,) * 11


@dataclass
class _Observed:
    """The states of one control."""

    house: House
    key: str

    def __post_init__(self) -> None:
        self.control = CONTROLS[self.key]

    @property
    def now(self) -> tuple[str, bool]:
        """State, and whether a value is pending."""
        state = self.house.state(self.control.domain, self.key)
        return state.state, "pending" in state.attributes

    @property
    def is_missing(self) -> bool:
        """Whether there is no such entity."""
        registry = er.async_get(self.house.hass)
        return not registry.async_get_entity_id(self.control.domain, DOMAIN, f"{ENPOWER}_{self.key}")


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name.replace(" ", "_"))
async def test_table(start: StartHouse, cloud: Cloud, caplog: pytest.LogCaptureFixture, situation: Situation) -> None:
    situation.prepare(cloud)
    house = await start(**situation.options)
    if situation.fails_later:
        cloud.batteries.trouble = "error"
    observed = [_Observed(house, key) for key in CONTROLS if situation.cells[key] not in (Shown.MISSING, Shown.UNREAD)]
    missing = [_Observed(house, key) for key in CONTROLS if situation.cells[key] in (Shown.MISSING, Shown.UNREAD)]
    assert all(each.is_missing for each in missing)
    for each in observed:
        control, shown = each.control, situation.cells[each.key]
        assert each.now == (control.before, False)
        if shown in ERRORS:
            with pytest.raises(HomeAssistantError, match=ERRORS[shown]):
                await house.call(control.domain, each.key, control.action, **control.data)
        else:
            await house.call(control.domain, each.key, control.action, **control.data)
        assert each.now == {
            Shown.KEPT: (control.after, False),
            Shown.LOST: (control.after, False),
            Shown.CONFIRMED: (control.before, True),
            Shown.UNCONFIRMED: (control.before, True),
        }.get(shown, (control.before, False))
    await _check_schedules(house, situation.schedules)
    elapsed = 0
    changed: dict[str, int] = {}
    for seconds in STEPS:
        states = {each.key: each.now for each in observed}
        await house.installation.pass_time(seconds)
        elapsed += seconds
        for each in observed:
            if each.now != states[each.key]:
                assert each.key not in changed, "it changes once"
                changed[each.key] = elapsed
    for each in observed:
        control, shown = each.control, situation.cells[each.key]
        first, last = WITHIN.get(shown, (0, 0))
        assert first <= changed.get(each.key, 0) <= last, each.key
        assert each.now == (control.after if shown in (Shown.KEPT, Shown.CONFIRMED) else control.before, False)
    # A cloud that does not respond is noticed by the next read.
    for _ in range(10 if situation.fails_later else 0):
        await house.installation.pass_time(61)
    lines = [
        record.getMessage()
        for record in caplog.get_records("setup") + caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith(f"custom_components.{DOMAIN}")
    ]
    assert len(lines) == len(situation.log), lines
    assert all(part in line for part, line in zip(situation.log, lines, strict=True))
    assert house.issues() == situation.issues


async def _check_schedules(house: House, shown: Shown) -> None:
    data = {
        "config_entry_id": house.installation.entry.entry_id,
        "schedule_type": "charge_from_grid",
        "start_time": "01:00",
        "end_time": "02:00",
    }
    call = house.hass.services.async_call(DOMAIN, "set_battery_schedule", data, blocking=True, return_response=True)
    if shown in ERRORS:
        with pytest.raises(HomeAssistantError, match=ERRORS[shown]):
            await call
        return
    response = await call
    assert response
    assert response["schedule_id"] in house.cloud.batteries.schedules


def test_document_has_this_table() -> None:
    rows: list[tuple[str, ...]] = [
        ("", *(situation.name for situation in SITUATIONS)),
        ("---",) * (1 + len(SITUATIONS)),
    ]
    rows += [
        (f"*{control.name}*", *(situation.cells[key] for situation in SITUATIONS)) for key, control in CONTROLS.items()
    ]
    rows.append(("`set_battery_schedule`", *(situation.schedules for situation in SITUATIONS)))
    logs = (
        f"lines: {len(situation.log)} (*{situation.log[0]}*)" if situation.log else "nothing"
        for situation in SITUATIONS
    )
    rows.append(("log", *logs))
    issues = [", ".join(f"`{issue}`" for issue in sorted(situation.issues)) or "none" for situation in SITUATIONS]
    rows.append(("repair issue", *issues))
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows).replace("|  |", "| |")
    assert table in DOCUMENT.read_text(encoding="utf-8"), table

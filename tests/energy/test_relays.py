"""Positions of relays after a change, from reports at given times."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC

from pyenphase.models.dry_contacts import DryContactStatus, EnvoyDryContactStatus
from pyenphase.models.enpower import EnvoyEnpower
import pytest

from custom_components.enphase_envoy.energy.pipeline import ProcessingContext
from custom_components.enphase_envoy.energy.relays import RelayMonitor
from custom_components.enphase_envoy.model.relays import GRID_RELAY, GridRelay
from custom_components.enphase_envoy.model.snapshot import Address, Freshness, TimedValue

OPEN, CLOSED = DryContactStatus.OPEN, DryContactStatus.CLOSED
#: What is added to the polls' clock to get epoch seconds.
OFFSET = 1_782_000_000.0
ENPOWER = EnvoyEnpower(
    grid_mode="multimode-ongrid",
    admin_state=24,
    admin_state_str="ENPWR_STATE_OPER_CLOSED",
    comm_level_2_4_ghz=5,
    comm_level_sub_ghz=5,
    communicating=True,
    firmware_loaded_date=0,
    firmware_version="1",
    installed_date=0,
    last_report_date=0,
    mains_admin_state="closed",
    mains_oper_state="closed",
    operating=True,
    part_number="1",
    serial_number="202226050419",
    temperature=79,
    temperature_unit="F",
    zigbee_dongle_fw_version="1",
)


def relay(name: str) -> Address:
    """Return the address of the position of a relay."""
    return ("dry_contact_status", name)


def process(monitor: RelayMonitor, objects: dict[Address, TimedValue], now: float) -> dict[Address, TimedValue]:
    """Return the objects as they are shown at a time."""
    context = ProcessingContext(now + OFFSET, OFFSET, UTC)
    return {**objects, **monitor.process(objects, objects, context)}


def positions(at: float, **status: DryContactStatus) -> dict[Address, TimedValue]:
    """Return a report of positions, as it was read at a time."""
    freshness = Freshness(at)
    return {relay(name): TimedValue(EnvoyDryContactStatus(name, value), freshness) for name, value in status.items()}


def shown(
    name: str, reports: Iterable[tuple[float, DryContactStatus]], *, before: DryContactStatus = CLOSED
) -> list[str]:
    """Return how a relay is shown after each report, when settings were written at 0 s."""
    monitor = RelayMonitor()
    monitor.hold(positions(-20, **{name: before}), 0.0)
    states = []
    for at, status in reports:
        value = process(monitor, positions(at, **{name: status}), at)[relay(name)].value
        assert isinstance(value, EnvoyDryContactStatus)
        states.append(value.status)
    return states


@pytest.mark.parametrize("seconds", [5, 30, 60, 89])
def test_closed_relay_that_is_reported_as_open_after_a_change_of_settings_stays_closed(seconds: int) -> None:
    reports = [(at, OPEN if at <= seconds else CLOSED) for at in (0.1, 3, 10, 30, 60, 80, 89, 91, 120)]
    assert set(shown("NC1", reports)) == {CLOSED}


def test_relay_that_opens_is_shown_after_90_seconds() -> None:
    """Whether it moved can't be distinguished before."""
    assert shown("NC1", [(10, OPEN), (89, OPEN), (90, OPEN)]) == [CLOSED, CLOSED, OPEN]


def test_reports_are_accepted_again_after_two_that_agree() -> None:
    assert shown("NC1", [(10, CLOSED), (20, OPEN), (30, CLOSED), (40, CLOSED), (50, OPEN)]) == [
        CLOSED, CLOSED, CLOSED, CLOSED, OPEN,
    ]  # fmt: skip


def test_one_report_that_is_processed_twice_counts_once() -> None:
    monitor = RelayMonitor()
    monitor.hold(positions(-20, NC1=CLOSED), 0.0)
    report = positions(10, NC1=CLOSED)
    for now in (10, 11, 12):
        process(monitor, report, now)
    held = process(monitor, positions(20, NC1=OPEN), 20)[relay("NC1")].value
    assert isinstance(held, EnvoyDryContactStatus)
    assert held.status == CLOSED


def test_old_report_is_not_shown_when_the_time_is_over() -> None:
    """It is wrong, and is kept fresh by polls that do not read it again."""
    monitor, report = RelayMonitor(), positions(61, NC1=OPEN)
    monitor.hold(positions(-20, NC1=CLOSED), 0.0)
    for now in (61, 91):
        report[relay("NC1")].freshness.updated_at = now
        held = process(monitor, report, now)[relay("NC1")].value
        assert isinstance(held, EnvoyDryContactStatus)
        assert held.status == CLOSED


def test_report_from_before_the_change_does_not_count() -> None:
    monitor, before = RelayMonitor(), positions(-20, NC1=CLOSED)
    monitor.hold(before, 0.0)
    process(monitor, before, 1)
    process(monitor, positions(5, NC1=CLOSED), 5)
    held = process(monitor, positions(6, NC1=OPEN), 6)[relay("NC1")].value
    assert isinstance(held, EnvoyDryContactStatus)
    assert held.status == CLOSED


def test_other_relays_are_shown_as_reported() -> None:
    """Normally-open ones, and those that were open."""
    assert shown("NO1", [(10, OPEN), (20, CLOSED)]) == [OPEN, CLOSED]
    assert shown("NC1", [(10, OPEN), (20, CLOSED), (30, OPEN)], before=OPEN) == [OPEN, CLOSED, OPEN]


def test_relay_that_is_switched_is_shown_as_reported() -> None:
    monitor = RelayMonitor()
    monitor.hold(positions(-20, NC1=CLOSED, NC2=CLOSED), 0.0)
    monitor.release(relay("NC1"))
    values = process(monitor, positions(5, NC1=OPEN, NC2=OPEN), 5)
    assert [value.value.status for value in values.values()] == [OPEN, CLOSED]  # type: ignore[attr-defined]


def test_held_relay_is_the_same_object_and_as_fresh_as_the_report() -> None:
    """So that nothing is written while it is held, and it expires when nothing is read any more."""
    monitor, before = RelayMonitor(), positions(-20, NC1=CLOSED)
    monitor.hold(before, 0.0)
    timed = process(monitor, positions(5, NC1=OPEN), 5)[relay("NC1")]
    assert timed.value is before[relay("NC1")].value
    assert timed.updated_at == 5


def moving(reports: Iterable[tuple[float, str, str]]) -> list[bool]:
    """Return whether the grid relay is shown as moving after each report of requested and actual position."""
    monitor, states = RelayMonitor(), []
    for at, requested, actual in reports:
        enpower = replace(ENPOWER, mains_admin_state=requested, mains_oper_state=actual)
        found = process(monitor, {("enpower",): TimedValue(enpower, Freshness(at))}, at)[GRID_RELAY].value
        assert isinstance(found, GridRelay)
        states.append(found.is_moving)
    return states


def test_grid_relay_moves_from_the_request_to_the_position() -> None:
    assert moving(
        [
            (0, "closed", "closed"),
            (60, "open", "closed"),
            (70, "open", "closed"),
            (90, "open", "open"),
            (100, "closed", "open"),
            (110, "closed", "open synchronizing"),
            (115, "closed", "closed"),
        ]
    ) == [False, True, True, False, True, True, False]


def test_grid_relay_does_not_move_in_an_outage() -> None:
    """Then it is open although it is requested to be closed."""
    assert moving([(0, "closed", "open"), (60, "closed", "open")]) == [False, False]
    assert moving([(0, "closed", "closed"), (60, "closed", "open")]) == [False, False]


def test_grid_relay_that_does_not_arrive_counts_as_moving_for_40_seconds() -> None:
    reports = [(0, "closed", "closed"), (10, "open", "closed"), (49, "open", "closed"), (50, "open", "closed")]
    assert moving(reports) == [False, True, True, False]

"""Objects that the gateway does not give but that follow from several it gives. Pure functions of leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyenphase.models.acb import ACBSleepState, EnvoyACB

from .snapshot import Address, TimedValue, oldest


@dataclass(frozen=True, slots=True)
class AcbFleet:
    """All AC batteries of a gateway, which are sent to sleep and woken together."""

    serials: tuple[str, ...]
    #: State of sleep that all of them share, None where they differ.
    sleep_state: ACBSleepState | None
    #: Lowest and highest state of charge in percent to sleep at: what was chosen for the next time, or what all of them
    #: have; None where they differ.
    sleep_band: tuple[int, int] | None


def derive(
    objects: Mapping[Address, TimedValue], sleep_band: tuple[int, int] | None = None
) -> Iterator[tuple[Address, TimedValue]]:
    """Yield the derived leaves, each as old as the oldest it is made of."""
    batteries = [(timed.value, timed.freshness) for timed in objects.values() if isinstance(timed.value, EnvoyACB)]
    if batteries:
        fleet = _fleet([battery for battery, _ in batteries], sleep_band)
        yield ("acb_fleet",), TimedValue(fleet, oldest(freshness for _, freshness in batteries))


def _fleet(batteries: list[EnvoyACB], chosen: tuple[int, int] | None) -> AcbFleet:
    states = {battery.sleep_state for battery in batteries}
    bands = {(battery.sleep_min_soc, battery.sleep_max_soc) for battery in batteries}
    low, high = bands.pop() if len(bands) == 1 else (None, None)
    return AcbFleet(
        serials=tuple(battery.serial_num for battery in batteries),
        sleep_state=states.pop() if len(states) == 1 else None,
        sleep_band=chosen or (None if low is None or high is None else (low, high)),
    )

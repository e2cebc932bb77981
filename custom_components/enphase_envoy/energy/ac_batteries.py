"""Adds all AC batteries together to the snapshot."""

from collections.abc import Collection, Mapping

from pyenphase.models.acb import EnvoyACB

from ..model.ac_batteries import FLEET, SLEEP_BAND, AcbFleet, SleepBand
from ..model.json_data import Json
from ..model.snapshot import Address, Objects, TimedValue, oldest
from .pipeline import ProcessingContext


class AcBatteries:
    """A processor that adds the fleet of AC batteries; it has no state to store."""

    name = "ac_batteries"

    def __init__(self) -> None:
        """Start without batteries."""
        self._fleet: TimedValue | None = None

    def process(self, objects: Objects, addresses: Collection[Address], _context: ProcessingContext) -> Objects:
        """Return the fleet, as old as the oldest of its batteries."""
        if self._fleet or any(address == SLEEP_BAND or address[0] == "acb_inventory" for address in addresses):
            self._fleet = self._assembled(objects)
        return {FLEET: self._fleet} if self._fleet else {}

    def _assembled(self, objects: Objects) -> TimedValue | None:
        found = [(timed.value, timed.freshness) for timed in objects.values() if isinstance(timed.value, EnvoyACB)]
        if not found:
            return None
        batteries = [battery for battery, _ in found]
        chosen = objects[SLEEP_BAND].value if SLEEP_BAND in objects else None
        fleet, freshness = _fleet(batteries, chosen), oldest(freshness for _, freshness in found)
        return self._fleet.renewed(fleet, freshness) if self._fleet else TimedValue(fleet, freshness)

    def dump(self) -> dict[str, Json]:
        """Return nothing."""
        return {}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore nothing."""


def _fleet(batteries: list[EnvoyACB], chosen: object) -> AcbFleet:
    states = {battery.sleep_state for battery in batteries}
    bands = {(battery.sleep_min_soc, battery.sleep_max_soc) for battery in batteries}
    low, high = bands.pop() if len(bands) == 1 else (None, None)
    common = None if low is None or high is None else SleepBand(low, high)
    return AcbFleet(
        serials=tuple(battery.serial_num for battery in batteries),
        sleep_state=states.pop() if len(states) == 1 else None,
        sleep_band=chosen if isinstance(chosen, SleepBand) else common,
    )

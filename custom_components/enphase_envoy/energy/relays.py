"""Relays after a change: reports that are wrong for some time, and a grid relay that takes its time.

For 5 to 90 s after the settings of a relay were written, a gateway reports normally-closed relays as open although none
moves. The grid relay opens in 27 to 28 s, since the battery is topped up first, and closes in 8 to 15 s.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pyenphase.models.dry_contacts import DryContactStatus, EnvoyDryContactStatus
from pyenphase.models.enpower import EnvoyEnpower

from ..model.json_data import Json
from ..model.relays import GRID_RELAY, GridRelay
from ..model.snapshot import Address, Freshness, Objects, TimedValue
from .pipeline import ProcessingContext

#: Fields of the relays' positions and settings, and of the Enpower with the grid relay.
RELAY_STATUS: Final = "dry_contact_status"
RELAY_SETTINGS: Final = "dry_contact_settings"
ENPOWER: Final = "enpower"

#: Seconds after a change of settings within which reports of an open relay are not accepted.
HOLD_TIME: Final = 90.0
#: Reports in a row of a closed relay after which its reports are accepted again.
_CONFIRMED_AFTER: Final = 2
#: Seconds after which the grid relay no longer counts as moving: in an outage it stays open, whatever is requested.
MOVING_TIME: Final = 40.0
#: Seconds after a change at which to read positions again.
RELAY_RECHECK_DELAYS: Final = (60, HOLD_TIME + 1)
GRID_RECHECK_DELAY: Final = 45


@dataclass(slots=True)
class _Held:
    """A relay that is shown as closed."""

    value: EnvoyDryContactStatus
    since: float
    #: Of the last report, to recognise a new one: the freshness itself is moved on without a read.
    read: Freshness
    #: Reports in a row of a closed relay.
    confirmations: int = 0


class RelayMonitor:
    """A processor that holds the positions of relays, and adds whether the grid relay moves."""

    name = "relays"

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: dict[Address, _Held] = {}
        #: The position of the grid relay that was requested last, and since when it moves there.
        self._requested: str | None = None
        self._moving_since: float | None = None
        self._grid_relay: TimedValue | None = None

    def hold(self, shown: Objects, now: float) -> None:
        """Hold all normally-closed relays that are shown as closed; `now` is in seconds of the polls' clock."""
        for address, timed in shown.items():
            value = timed.value
            if isinstance(value, EnvoyDryContactStatus) and _is_normally_closed(address) and _is_closed(value):
                self._held[address] = _Held(value, now, timed.freshness)

    def release(self, address: Address) -> None:
        """Show what is reported of a relay that is switched."""
        self._held.pop(address, None)

    def process(self, objects: Objects, _addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the relays that are shown in another position than reported, and the grid relay."""
        now = context.now - context.offset
        return {**dict(self._held_relays(objects, now)), **self._with_grid_relay(objects, now)}

    def _held_relays(self, objects: Objects, now: float) -> Iterable[tuple[Address, TimedValue]]:
        for address, held in list(self._held.items()):
            timed = objects.get(address)
            if timed is None or not isinstance(value := timed.value, EnvoyDryContactStatus):
                continue
            if timed.freshness is not held.read:
                held.read, held.confirmations = timed.freshness, held.confirmations + 1 if _is_closed(value) else 0
                # An older report may be wrong, however long it is shown: only a new one ends this.
                if held.confirmations >= _CONFIRMED_AFTER or now - held.since >= HOLD_TIME:
                    del self._held[address]
                    continue
            if value.status == DryContactStatus.OPEN:
                yield address, TimedValue(held.value, timed.freshness)

    def _with_grid_relay(self, objects: Objects, now: float) -> Objects:
        timed = objects.get((ENPOWER,))
        if timed is None or not isinstance(enpower := timed.value, EnvoyEnpower):
            return {}
        if (requested := enpower.mains_admin_state) != self._requested:
            self._moving_since = None if self._requested is None else now
            self._requested = requested
        if self._moving_since is not None and (
            enpower.mains_oper_state == requested or now - self._moving_since >= MOVING_TIME
        ):
            self._moving_since = None
        relay = GridRelay(self._moving_since is not None)
        last = self._grid_relay
        self._grid_relay = last.renewed(relay, timed.freshness) if last else TimedValue(relay, timed.freshness)
        return {GRID_RELAY: self._grid_relay}

    def dump(self) -> dict[str, Json]:
        """Return nothing: a restart ends the monitoring."""
        return {}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore nothing."""


def _is_normally_closed(address: Address) -> bool:
    """Return whether a relay is normally closed: NC1 and NC2 are, NO1 and NO2 are not."""
    return address[-1].startswith("NC")


def _is_closed(relay: EnvoyDryContactStatus) -> bool:
    return relay.status == DryContactStatus.CLOSED

"""Energy into and out of the batteries, where no CT measures it: their power, added up."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
import math
from typing import Final

from pyenphase.models.acb import EnvoyACBPower
from pyenphase.models.encharge import EnvoyEnchargeAggregate, EnvoyEnchargePower

from ...model.json_data import Json, restored
from ...model.live import LIVE_BATTERY, LiveBattery
from ...model.snapshot import Address, Objects, TimedValue, oldest
from ...model.validation import is_number
from .meters import ANEW, STORAGE, has_storage_meter, power_freshness
from .totals import Counting, Totals, Update

#: Address of the object.
BATTERY: Final[Address] = ("battery_energy",)

#: Seconds within which the stored energy of the batteries belongs to their power.
_TOGETHER: Final = 210.0
#: Part of the energy that arrives in a battery, and again from it: a round trip loses a tenth.
_EFFICIENCY: Final = 0.95
#: Wh that an AC battery holds.
_ACB_SIZE: Final = 1240.0
#: Percent by which the energy in a battery may differ from its state of charge.
_CHARGE_TOLERANCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class BatteryEnergy(Counting):
    """Energy into and out of all batteries, calculated from their power."""

    #: Wh since the first reading.
    charged: int
    discharged: int
    #: Watts, + is discharge.
    power: int


def storage(objects: Objects) -> Address | None:
    """Return the address of the counters of the batteries, None where there are none."""
    if has_storage_meter(objects):
        return STORAGE
    return BATTERY if BATTERY in objects else None


@dataclass(frozen=True, slots=True)
class _Charge:
    """Report of all batteries of one kind."""

    #: Seconds of the clock of the polls.
    at: float
    #: Watts, + is discharge.
    watts: float
    #: Wh that they store, and that they store when full: 0 where unknown.
    stored: float = 0.0
    size: float = 0.0


class BatteryMeter:
    """Energy into and out of the batteries, from their power, and over gaps from their state of charge."""

    def __init__(self, gap: float) -> None:
        """Begin at zero; the power between two readings more than `gap` seconds apart is unknown."""
        self.totals = Totals("charged", "discharged")
        self._gap = gap
        #: The last reading of each kind.
        self._last: dict[str, _Charge] = {}
        #: Kinds whose last reading is restored, and when they were first read since then.
        self._first: dict[str, float] = {}
        #: Wh discharged less charged since the last reading that the totals contain already.
        self._counted = 0.0

    def update(self, objects: Objects, _limit: Callable[[Address], float]) -> Update | None:
        """Add new energy; return it, None where there is nothing to calculate."""
        if has_storage_meter(objects):
            return None
        watts, parts = 0.0, []
        for kind, found, charge in (("iq", *_iq_batteries(objects)), ("ac", *_ac_batteries(objects))):
            parts += found
            if charge:
                self._read(kind, charge)
                watts += charge.watts
        if not parts:
            return None
        energy = BatteryEnergy(self.totals.shown("charged"), self.totals.shown("discharged"), round(watts))
        return Update(energy, parts, oldest(map(power_freshness, parts)))

    def _read(self, kind: str, new: _Charge) -> None:
        """Add the energy since the last reading of a kind of battery."""
        last = self._last.get(kind)
        if last and new.at <= last.at + ANEW:
            if kind not in self._first:
                return
            if new.at <= (first := self._first[kind]) + ANEW:
                # The same again, or a restored snapshot, which may be older than the state of this meter.
                self._first[kind] = new.at
                return
            # A reading after the restart: the clock is behind, or was ahead before it. The length of the absence is
            # unknown: its energy follows from the charge, or else only that since the first reading is known.
            if last.size and last.size == new.size:
                last = replace(last, at=-math.inf)
            else:
                last, self._counted = replace(last, at=first), 0.0
        self._first.pop(kind, None)
        self._last[kind] = new
        if last is None:
            return
        counted, self._counted = self._counted, 0.0
        if (seconds := new.at - last.at) <= self._gap:
            self._add(last.watts * seconds / 2 / 3600 - counted)
            self._add(new.watts * seconds / 2 / 3600)
        elif last.size and last.size == new.size:
            gained = new.stored - last.stored
            self._add((-gained / _EFFICIENCY if gained > 0 else -gained * _EFFICIENCY) - counted)

    def _add(self, discharged: float) -> None:
        self.totals.add("discharged", discharged)
        self.totals.add("charged", -discharged)

    def resume(self, name: str, watt_hours: float) -> None:
        """Raise a total to its last recorded value.

        If the last reading is a restored one, the next reading contains this energy too, and must not add it again.
        """
        gained = self.totals.raise_to(name, watt_hours)
        if self._first:
            self._counted += gained if name == "discharged" else -gained

    def shift(self, seconds: float) -> None:
        """Move on to another clock."""
        self._last = {kind: replace(last, at=last.at + seconds) for kind, last in self._last.items()}

    def dump(self, offset: float) -> dict[str, Json]:
        """Return the state to store, in seconds since the epoch."""
        last: dict[str, Json] = {kind: asdict(last) | {"at": last.at + offset} for kind, last in self._last.items()}
        return {"totals": self.totals.dump(), "last": last, "counted": self._counted}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the state; what is not valid is left out."""
        self.totals.load(data.get("totals"))
        last = data.get("last")
        found = last.items() if isinstance(last, dict) else ()
        self._last = {kind: charge for kind, value in found if (charge := restored(_Charge, value))}
        self._first = dict.fromkeys(self._last, math.inf)
        self._counted = float(counted) if is_number(counted := data.get("counted")) else 0.0


def _iq_batteries(objects: Objects) -> tuple[list[TimedValue], _Charge | None]:
    """Return all IQ batteries, and their common report."""
    found = [timed for address, timed in objects.items() if address[0] == "encharge_power"]
    powers = [timed.value.real_power_mw for timed in found if isinstance(timed.value, EnvoyEnchargePower)]
    if not found or not all(is_number(power) for power in powers):
        return found, None
    charge = _Charge(min(timed.updated_at for timed in found), sum(powers) / 1000)
    live = objects.get(LIVE_BATTERY)
    if live and isinstance(live.value, LiveBattery) and ("acb_power",) not in objects:
        found, charge = [live], _Charge(live.updated_at, live.value.power)
    timed = objects.get(("encharge_aggregate",))
    if timed and isinstance(together := timed.value, EnvoyEnchargeAggregate):
        size = together.max_available_capacity
        charge = _filled(charge, timed, together.available_energy, size, together.state_of_charge)
    return found, charge


def _ac_batteries(objects: Objects) -> tuple[list[TimedValue], _Charge | None]:
    """Return the object of all AC batteries, and their report."""
    timed = objects.get(("acb_power",))
    if timed is None or not isinstance(acb := timed.value, EnvoyACBPower):
        return [], None
    if not is_number(acb.power):
        return [timed], None
    size = acb.batteries * _ACB_SIZE if is_number(acb.batteries) else 0.0
    return [timed], _filled(_Charge(timed.updated_at, acb.power), timed, acb.charge_wh, size, acb.state_of_charge)


def _filled(charge: _Charge, timed: TimedValue, stored: float, size: float, percent: float) -> _Charge:
    """Add the stored energy, where it was reported at about the same time and agrees with the state of charge."""
    known = is_number(stored) and is_number(size) and is_number(percent) and size > 0
    if (
        not known
        or abs(timed.updated_at - charge.at) > _TOGETHER
        or abs(100 * stored / size - percent) > _CHARGE_TOLERANCE
    ):
        return charge
    return replace(charge, stored=float(stored), size=float(size))

"""Which meters a system has."""

from typing import Final

from pyenphase.models.meters import CtMeterStatus, CtState, CtType, EnvoyMeterData

from ...model.snapshot import Address, Freshness, Objects, TimedValue

PRODUCTION: Final[Address] = ("ctmeters", CtType.PRODUCTION)
THIRD_PARTY: Final[Address] = ("ctmeters", CtType.PV3P)
NET_CONSUMPTION: Final[Address] = ("ctmeters", CtType.NET_CONSUMPTION)
TOTAL_CONSUMPTION: Final[Address] = ("ctmeters", CtType.TOTAL_CONSUMPTION)
STORAGE: Final[Address] = ("ctmeters", CtType.STORAGE)
#: The production as the gateway itself sums it up.
REPORTED: Final[Address] = ("system_production",)
#: Seconds by which a reading must be newer than the last one.
ANEW: Final = 0.5


def power_freshness(timed: TimedValue) -> Freshness:
    """Return when the power of an object was measured: live power has a freshness of its own."""
    return next(iter(timed.field_freshness.values()), timed.freshness)


def meter(objects: Objects, address: Address) -> EnvoyMeterData | None:
    """Return a CT meter that is in use."""
    timed = objects.get(address)
    found = timed.value if timed and isinstance(timed.value, EnvoyMeterData) else None
    return None if found is None or found.state == CtState.DISABLED else found


def has_storage_meter(objects: Objects) -> bool:
    """Return whether a CT measures the batteries: one that never counted and does not measure is none."""
    if (found := meter(objects, STORAGE)) is None:
        return False
    counted = found.energy_delivered or found.energy_received
    return bool(counted) or found.metering_status != CtMeterStatus.NOT_METERING


def production(objects: Objects) -> Address | None:
    """Return the best counter of the production; None where a part of it is of third parties."""
    if meter(objects, THIRD_PARTY):
        return None
    if meter(objects, PRODUCTION):
        return PRODUCTION
    return REPORTED if REPORTED in objects else None

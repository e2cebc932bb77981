"""Identifiers of devices and of entities: which device an object of the snapshot belongs to. Pure functions."""

from pyenphase.models.acb import EnvoyACB
from pyenphase.models.c6combiner import EnvoyC6CC
from pyenphase.models.collar import EnvoyCollar
from pyenphase.models.enpower import EnvoyEnpower

from .snapshot import Address, Snapshot


def gateway(snapshot: Snapshot, _address: Address) -> str:
    """Identify the gateway itself."""
    return snapshot.serial


def own(_snapshot: Snapshot, address: Address) -> str:
    """Identify a device by the key it has in the snapshot: a serial number, or the id of a relay."""
    return address[-1]


def inverter(snapshot: Snapshot, address: Address) -> str | None:
    """Identify a microinverter by its serial number; None for one that does not report."""
    return address[-1] if ("inverters", address[-1]) in snapshot.objects else None


def relay(snapshot: Snapshot, address: Address) -> str | None:
    """Identify a relay by its id; None without the Enpower to which it belongs."""
    return own(snapshot, address) if enpower(snapshot, address) else None


def enpower(snapshot: Snapshot, _address: Address) -> str | None:
    """Identify the Enpower (System Controller)."""
    found = snapshot.get(EnvoyEnpower, ("enpower",))
    return found.serial_number if found else None


def collar(snapshot: Snapshot, _address: Address) -> str | None:
    """Identify the IQ Meter Collar."""
    found = snapshot.get(EnvoyCollar, ("collar",))
    return found.serial_number if found else None


def c6_combiner(snapshot: Snapshot, _address: Address) -> str | None:
    """Identify the C6 Combiner controller."""
    found = snapshot.get(EnvoyC6CC, ("c6cc",))
    return found.serial_number if found else None


def controllers(snapshot: Snapshot) -> tuple[str | None, ...]:
    """Identify all controllers, which may be exchanged: their address stays the same."""
    return tuple(find(snapshot, ()) for find in (enpower, collar, c6_combiner))


def acb_fleet(snapshot: Snapshot, _address: Address) -> str:
    """Identify the device for all AC batteries together."""
    return f"{snapshot.serial}_acb"


def generator(snapshot: Snapshot, _address: Address) -> str:
    """Identify the generator."""
    return f"{snapshot.serial}_generator"


def listed_as_inverter(snapshot: Snapshot, address: Address) -> str | None:
    """Name an AC battery as it is among the inverters, where the gateway lists it as well."""
    is_battery = snapshot.get(EnvoyACB, ("acb_inventory", address[-1])) is not None
    return f"Inverter {address[-1]}" if is_battery else None


def relay_prefix(snapshot: Snapshot, address: Address) -> str:
    """Begin the unique ids of a relay, whose own id (`NC1`) is the same in every Enpower."""
    return f"{enpower(snapshot, address)}_relay_{address[-1]}"


def battery_controller(snapshot: Snapshot, address: Address) -> str | None:
    """Identify where the settings of the batteries are: the Enpower, or the gateway where there is none.

    A gateway without batteries may have such settings too; they control nothing.
    """
    if found := enpower(snapshot, address):
        return found
    return snapshot.serial if any(snapshot.members("encharge_inventory")) else None


def phase_of(address: Address) -> str:
    """Return the phase that an object belongs to, e.g. `l1`, and an empty string for objects of all phases."""
    return address[-1].lower() if address[0].endswith("_phases") else ""

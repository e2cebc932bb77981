"""Sources: where the snapshot holds objects of each kind, and the devices that they belong to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pyenphase.models.acb import EnvoyACB, EnvoyACBPower, EnvoyBatteryAggregate
from pyenphase.models.c6combiner import EnvoyC6CC
from pyenphase.models.collar import EnvoyCollar
from pyenphase.models.dry_contacts import EnvoyDryContactSettings, EnvoyDryContactStatus
from pyenphase.models.encharge import EnvoyEncharge, EnvoyEnchargeAggregate, EnvoyEnchargePower
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import (
    EnvoyGenerator,
    EnvoyGeneratorConfig,
    EnvoyGeneratorMode,
    EnvoyGeneratorSchedule,
)
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.meters import CtType, EnvoyMeterData
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction
from pyenphase.models.tariff import EnvoyStorageSettings

from ..client.live import SOURCE
from ..client.models import BatteryController, BatteryScheduler, LiveSource
from ..cloud.models import CloudBattery
from ..energy.virtual_meters.battery import BATTERY, BatteryEnergy
from ..energy.virtual_meters.grid import BALANCED, GRID, GridEnergy
from ..energy.virtual_meters.house import HOUSE, HouseEnergy
from ..model import identifiers, live
from ..model.ac_batteries import FLEET, AcbFleet
from ..model.live import LiveGenerator
from ..model.panels import (
    COUNTS,
    HEALTH,
    ROOF as ROOF_ADDRESS,
    STATUSES,
    PanelCounts,
    PanelHealth,
    PanelStatus,
    RoofState,
)
from ..model.relays import GRID_RELAY as GRID_RELAY_ADDRESS, GridRelay
from ..model.snapshot import Address, Snapshot

_CONTROLLERS: Final = (
    *(identifiers.enpower, identifiers.collar, identifiers.c6_combiner, identifiers.battery_controller),
)


@dataclass(frozen=True)
class Source[T]:
    """All objects of one kind at one place of the snapshot."""

    kind: type[T]
    #: Beginning of the addresses of these objects, e.g. `("inverters",)`.
    address: Address
    #: How many more parts the address of an object has: 0 for a single object, 1 for each of a dictionary.
    depth: int = 0
    #: Identifier of the device; None where these objects have no entities on this system.
    device_fn: Callable[[Snapshot, Address], str | None] = identifiers.gateway
    #: Beginning of the unique ids, where it is not the identifier of the device.
    prefix_fn: Callable[[Snapshot, Address], str] | None = None
    #: Beginning of new entity ids, where it is not the name of the device, for compatibility.
    object_id_fn: Callable[[Snapshot, Address], str | None] = lambda _snapshot, _address: None

    @property
    def phases(self) -> Source[T]:
        """The same objects for each phase, one for each phase letter."""
        field, *rest = self.address
        return replace(self, address=(f"{field}_phases", *rest), depth=self.depth + 1)

    @property
    def follows_controller(self) -> bool:
        """Whether the unique ids contain the serial number of a controller, which may be exchanged."""
        return self.device_fn in _CONTROLLERS or self.prefix_fn is identifiers.relay_prefix

    def covers(self, address: Address) -> bool:
        """Return whether an address is one of this source."""
        return len(address) == len(self.address) + self.depth and address[: len(self.address)] == self.address

    def find(self, snapshot: Snapshot, address: Address) -> T | None:
        """Return the object at an address, None where there is none with entities on this system."""
        found = snapshot.get(self.kind, address)
        return None if found is None or self.device_fn(snapshot, address) is None else found

    def device(self, snapshot: Snapshot, address: Address) -> str:
        """Return the identifier of the device that the object at an address belongs to."""
        return self.device_fn(snapshot, address) or snapshot.serial

    def unique_id_prefix(self, snapshot: Snapshot, address: Address) -> str:
        """Return the beginning of the unique ids of the entities of the object at an address."""
        return self.prefix_fn(snapshot, address) if self.prefix_fn else self.device(snapshot, address)


PRODUCTION: Final = Source(EnvoySystemProduction, ("system_production",))
CONSUMPTION: Final = Source(EnvoySystemConsumption, ("system_consumption",))
NET_CONSUMPTION: Final = Source(EnvoySystemConsumption, ("system_net_consumption",))
LIVE_SOURCE: Final = Source(LiveSource, SOURCE)
INVERTERS: Final = Source(
    EnvoyInverter, ("inverters",), 1, identifiers.own, object_id_fn=identifiers.listed_as_inverter
)
PANEL_STATUSES: Final = Source(PanelStatus, (STATUSES,), 1, identifiers.inverter)
PANEL_HEALTH: Final = Source(PanelHealth, (HEALTH,), 1, identifiers.own)
PANEL_COUNTS: Final = Source(PanelCounts, COUNTS)
ROOF: Final = Source(RoofState, ROOF_ADDRESS)

ENCHARGES: Final = Source(EnvoyEncharge, ("encharge_inventory",), 1, identifiers.own)
ENCHARGE_POWER: Final = Source(EnvoyEnchargePower, ("encharge_power",), 1, identifiers.own)
ENCHARGE_AGGREGATE: Final = Source(EnvoyEnchargeAggregate, ("encharge_aggregate",))
BATTERY_AGGREGATE: Final = Source(EnvoyBatteryAggregate, ("battery_aggregate",))
BATTERY_CONTROLLER: Final = Source(BatteryController, ("battery_controller",))
BATTERY_SCHEDULER: Final = Source(BatteryScheduler, ("battery_scheduler",))
CLOUD_BATTERY: Final = Source(CloudBattery, ("cloud_battery",), 0, identifiers.battery_controller)
STORAGE_SETTINGS: Final = Source(EnvoyStorageSettings, ("storage_settings",), 0, identifiers.battery_controller)

ACBS: Final = Source(EnvoyACB, ("acb_inventory",), 1, identifiers.own)
ACB_POWER: Final = Source(EnvoyACBPower, ("acb_power",), 0, identifiers.acb_fleet, identifiers.gateway)
#: The same object, for entities on the gateway.
ACB_POWER_ON_GATEWAY: Final = Source(EnvoyACBPower, ("acb_power",))
ACB_FLEET: Final = Source(AcbFleet, FLEET, 0, identifiers.acb_fleet, identifiers.gateway)

ENPOWER: Final = Source(EnvoyEnpower, ("enpower",), 0, identifiers.enpower)
GRID_RELAY: Final = Source(GridRelay, GRID_RELAY_ADDRESS, 0, identifiers.enpower)
COLLAR: Final = Source(EnvoyCollar, ("collar",), 0, identifiers.collar)
C6_COMBINER: Final = Source(EnvoyC6CC, ("c6cc",), 0, identifiers.c6_combiner)
RELAY_SETTINGS: Final = Source(
    EnvoyDryContactSettings, ("dry_contact_settings",), 1, identifiers.relay, identifiers.relay_prefix
)
RELAY_STATUS: Final = Source(
    EnvoyDryContactStatus, ("dry_contact_status",), 1, identifiers.relay, identifiers.relay_prefix
)

GENERATOR: Final = Source(EnvoyGenerator, ("generator",), 0, identifiers.generator)
LIVE_GENERATOR: Final = Source(LiveGenerator, live.LIVE_GENERATOR, 0, identifiers.generator)
GENERATOR_CONFIG: Final = Source(EnvoyGeneratorConfig, ("generator_config",), 0, identifiers.generator)
GENERATOR_MODE: Final = Source(EnvoyGeneratorMode, ("generator_mode",), 0, identifiers.generator)
GENERATOR_SCHEDULE: Final = Source(EnvoyGeneratorSchedule, ("generator_schedule",), 0, identifiers.generator)

GRID_ENERGY: Final = Source(GridEnergy, GRID)
BALANCED_GRID_ENERGY: Final = Source(GridEnergy, BALANCED)
BATTERY_ENERGY: Final = Source(BatteryEnergy, BATTERY)
HOUSE_ENERGY: Final = Source(HouseEnergy, HOUSE)


def meter(ct_type: CtType) -> Source[EnvoyMeterData]:
    """Return the source of the CT meters of a type."""
    return Source(EnvoyMeterData, ("ctmeters", ct_type))

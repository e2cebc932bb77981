"""Binary sensors: connections, switches, operation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, override

from homeassistant.components.binary_sensor import (
    BinarySensorDeviceClass,
    BinarySensorEntity,
    BinarySensorEntityDescription,
)
from homeassistant.const import EntityCategory
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback
from pyenphase.models.acb import EnvoyACB
from pyenphase.models.c6combiner import EnvoyC6CC
from pyenphase.models.collar import EnvoyCollar
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.enpower import EnvoyEnpower
from pyenphase.models.generator import EnvoyGenerator

from .coordinator import EnvoyConfigEntry
from .descriptions import sources
from .descriptions.base import EntitySet, EnvoyEntityDescription
from .descriptions.inverters import has_few_panels
from .entity import EnvoyEntity, async_setup_entity_sets
from .model.panels import PanelHealth, RoofState
from .model.relays import GridRelay, is_closed

PARALLEL_UPDATES = 0


@dataclass(frozen=True, kw_only=True)
class EnvoyBinarySensorEntityDescription[T](EnvoyEntityDescription[T], BinarySensorEntityDescription):
    """Description of one binary sensor of an object."""

    value_fn: Callable[[T], bool | None]


def _communicating[T: (EnvoyACB, EnvoyC6CC, EnvoyCollar, EnvoyEncharge, EnvoyEnpower)](
    _kind: type[T],
) -> EnvoyBinarySensorEntityDescription[T]:
    """Return the description of a device's connection to the gateway."""
    return EnvoyBinarySensorEntityDescription[T](
        key="communicating",
        device_class=BinarySensorDeviceClass.CONNECTIVITY,
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda device: device.communicating,
    )


_ENCHARGE: Final = (
    _communicating(EnvoyEncharge),
    EnvoyBinarySensorEntityDescription[EnvoyEncharge](
        key="dc_switch",
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda battery: None if battery.dc_switch_off is None else not battery.dc_switch_off,
    ),
)

_ENPOWER: Final = (
    _communicating(EnvoyEnpower),
    EnvoyBinarySensorEntityDescription[EnvoyEnpower](
        key="mains_oper_state",
        translation_key="grid_status",
        field="mains_oper_state",
        value_fn=lambda enpower: is_closed(enpower.mains_oper_state),
    ),
)

_GRID_RELAY: Final = (
    EnvoyBinarySensorEntityDescription[GridRelay](
        key="grid_relay",
        device_class=BinarySensorDeviceClass.MOVING,
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda relay: relay.is_moving,
    ),
)

#: The collar's `grid_state` stays on-grid in an outage, its mode does not.
_COLLAR_ON_GRID: Final = {"ENCMN_MDE_ON_GRID": True, "ENCMN_MDE_OFF_GRID": False}

_COLLAR: Final = (
    _communicating(EnvoyCollar),
    EnvoyBinarySensorEntityDescription[EnvoyCollar](
        key="admin_state_str",
        translation_key="grid_status",
        value_fn=lambda collar: _COLLAR_ON_GRID.get(collar.admin_state_str),
    ),
)

_ACB: Final = (
    _communicating(EnvoyACB),
    EnvoyBinarySensorEntityDescription[EnvoyACB](
        key="operating", entity_category=EntityCategory.DIAGNOSTIC, value_fn=lambda acb: acb.operating
    ),
    EnvoyBinarySensorEntityDescription[EnvoyACB](key="producing", value_fn=lambda acb: acb.producing),
)

_PANEL: Final = (
    EnvoyBinarySensorEntityDescription[PanelHealth](
        key="problem",
        translation_key="panel_problem",
        device_class=BinarySensorDeviceClass.PROBLEM,
        entity_category=EntityCategory.DIAGNOSTIC,
        enabled_fn=has_few_panels,
        value_fn=lambda panel: panel.problem is not None,
        attributes_fn=lambda panel: {"reason": panel.problem},
    ),
)

_ROOF: Final = (
    EnvoyBinarySensorEntityDescription[RoofState](
        key="roof_problem",
        device_class=BinarySensorDeviceClass.PROBLEM,
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda roof: bool(roof.problems),
        attributes_fn=lambda roof: {"panels": roof.problems},
    ),
)

_GENERATOR: Final = (
    EnvoyBinarySensorEntityDescription[EnvoyGenerator](
        key="connected",
        translation_key="generator_connected",
        device_class=BinarySensorDeviceClass.POWER,
        field="oper_state",
        value_fn=lambda generator: is_closed(generator.oper_state),
    ),
    EnvoyBinarySensorEntityDescription[EnvoyGenerator](
        key="exercising",
        translation_key="generator_exercising",
        device_class=BinarySensorDeviceClass.RUNNING,
        entity_category=EntityCategory.DIAGNOSTIC,
        value_fn=lambda generator: None if generator.exc_on is None else bool(generator.exc_on),
    ),
)

BINARY_SENSORS: Final[tuple[EntitySet[Any, EnvoyBinarySensorEntityDescription[Any]], ...]] = (
    EntitySet(sources.ENCHARGES, _ENCHARGE),
    EntitySet(sources.ENPOWER, _ENPOWER),
    EntitySet(sources.GRID_RELAY, _GRID_RELAY),
    EntitySet(sources.COLLAR, _COLLAR),
    EntitySet(sources.C6_COMBINER, (_communicating(EnvoyC6CC),)),
    EntitySet(sources.ACBS, _ACB),
    EntitySet(sources.GENERATOR, _GENERATOR),
    EntitySet(sources.PANEL_HEALTH, _PANEL),
    EntitySet(sources.ROOF, _ROOF),
)


async def async_setup_entry(
    _hass: HomeAssistant, entry: EnvoyConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Set up the binary sensors of a gateway."""
    async_setup_entity_sets(entry, async_add_entities, BINARY_SENSORS, EnvoyBinarySensor)


class EnvoyBinarySensor[T](EnvoyEntity[T], BinarySensorEntity):
    """A binary sensor that reads one object of the snapshot."""

    entity_description: EnvoyBinarySensorEntityDescription[T]

    @property
    @override
    def is_on(self) -> bool | None:
        """Return the state."""
        value: bool | None = self._current[1]
        return value

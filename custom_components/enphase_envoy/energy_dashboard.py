"""Sources of the Energy dashboard: finds those that a gateway has sensors for, and adds those that are missing.

Existing sources are neither changed nor removed. The dashboard's own schema determines which sources and fields the
running version of Home Assistant supports.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal, cast

from homeassistant.components.energy import data as energy
from homeassistant.components.sensor import DOMAIN as SENSOR
from homeassistant.const import ATTR_RESTORED, STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er, translation
from pyenphase.models.acb import EnvoyBatteryAggregate
from pyenphase.models.encharge import EnvoyEnchargeAggregate
import voluptuous as vol

from .const import DOMAIN
from .coordinator import EnvoyConfigEntry
from .model.snapshot import Snapshot

type Kind = Literal["solar", "grid", "grid_balanced", "battery", "home"]
#: A source as the dashboard stores it.
type Source = Mapping[str, str | float | Mapping[str, str] | None]

#: The alternative to the grid that counts each phase by itself, in three-phase systems.
BALANCED: Final = "grid_balanced"

#: Fields of a source without a tariff, beside its entities, as the dashboard's own dialog stores them.
_DEFAULT_FIELDS: Final[Mapping[str, Source]] = {
    "solar": {"config_entry_solar_forecast": None},
    "grid": {
        "stat_energy_from": None,
        "stat_energy_to": None,
        "stat_cost": None,
        "entity_energy_price": None,
        "number_energy_price": None,
        "stat_compensation": None,
        "entity_energy_price_export": None,
        "number_energy_price_export": None,
        "cost_adjustment_day": 0,
    },
    "battery": {},
    "home": {},
}


@dataclass(frozen=True, slots=True)
class _SourceTemplate:
    """One set of sensors for a source: the keys with which their unique ids end."""

    kind: Kind
    #: Counters by role: the name of their field without `stat_`. All of them are required.
    counters: Mapping[str, str]
    #: Power, positive for production, import and discharge; for the home it is consumption.
    power: str | None = None

    @property
    def type(self) -> str:
        """Type of the source in the dashboard."""
        return "grid" if self.kind == BALANCED else self.kind


#: Templates of the same kind are adjacent, the most preferred first.
_TEMPLATES: Final = (
    _SourceTemplate("solar", {"energy_from": "lifetime_production"}, "production"),
    _SourceTemplate(
        "grid",
        {"energy_from": "lifetime_net_consumption", "energy_to": "lifetime_net_production"},
        "net_consumption",
    ),
    _SourceTemplate(
        "grid",
        {"energy_from": "lifetime_grid_import", "energy_to": "lifetime_grid_export"},
        "grid_power",
    ),
    _SourceTemplate(
        BALANCED,
        {"energy_from": "lifetime_balanced_grid_import", "energy_to": "lifetime_balanced_grid_export"},
        "net_consumption",
    ),
    _SourceTemplate(
        "battery",
        {"energy_from": "lifetime_battery_discharged", "energy_to": "lifetime_battery_charged"},
        "battery_discharge",
    ),
    _SourceTemplate(
        "battery",
        {
            "energy_from": "lifetime_battery_energy_discharged",
            "energy_to": "lifetime_battery_energy_charged",
        },
        "battery_power",
    ),
    _SourceTemplate("home", {"energy_to": "lifetime_house_consumption"}, "house_power"),
    _SourceTemplate("home", {"energy_to": "lifetime_consumption"}, "consumption"),
)
#: Keys of state of charge, the most comprehensive first.
_STATE_OF_CHARGE: Final = ("aggregated_soc", "battery_level", "acb_soc")
#: Roles that have a placeholder in the description of a field.
_ROLES: Final = ("energy_from", "energy_to", "power", "soc", "capacity")
#: Suffix of the form's field for a source that might count energy twice, which has another description.
DUPLICATE_SUFFIX: Final = "_again"
#: Entities disabled for these reasons can be enabled.
_CAN_BE_ENABLED: Final = (er.RegistryEntryDisabler.USER, er.RegistryEntryDisabler.INTEGRATION)


@dataclass(frozen=True, slots=True)
class SourceProposal:
    """A source of the dashboard for which a gateway has sensors."""

    kind: Kind
    #: The source to add, None if the dashboard contains it already.
    source: Source | None = None
    #: Its sensors by role.
    sensors: Mapping[str, er.RegistryEntry] = field(default_factory=dict)
    #: Whether existing sources may count the same energy.
    may_duplicate: bool = False

    @property
    def name(self) -> str:
        """Name of its field in the form."""
        return f"{self.kind}{DUPLICATE_SUFFIX}" if self.may_duplicate and self.kind != BALANCED else self.kind

    @property
    def is_selected(self) -> bool:
        """Whether it is selected at first."""
        return not self.may_duplicate and self.kind != BALANCED

    @property
    def texts(self) -> dict[str, str]:
        """Placeholders of its description."""
        capacity = (self.source or {}).get("capacity")
        names = {role: sensor.name or sensor.original_name or role for role, sensor in self.sensors.items()}
        texts = dict.fromkeys(_ROLES, "-") | names | ({"capacity": f"{capacity:g} kWh"} if capacity else {})
        return {f"{self.kind}_{role}": text for role, text in texts.items()}


async def async_proposals(hass: HomeAssistant, entry: EnvoyConfigEntry) -> list[SourceProposal]:
    """Return the sources for which a gateway has sensors, also those in the dashboard. The entry must be loaded."""
    sources = cast("list[Source]", await _async_sources(hass))
    sensors = _GatewaySensors(hass, entry)
    names = await _async_names(hass, entry)
    by_kind = groupby(_TEMPLATES, lambda template: template.kind)
    proposals = (
        _proposal(sensors, list(templates), sources, names.get("grid" if kind == BALANCED else kind))
        for kind, templates in by_kind
    )
    return [proposal for proposal in proposals if proposal]


async def _async_names(hass: HomeAssistant, entry: EnvoyConfigEntry) -> Mapping[str, str]:
    """Return the names of sources by kind: with the name of the gateway where there are several."""
    texts = await translation.async_get_translations(hass, hass.config.language, "selector", {DOMAIN})
    prefix = f"component.{DOMAIN}.selector.energy_source.options."
    before = f"{entry.title} " if len(hass.config_entries.async_entries(DOMAIN)) > 1 else ""
    return {key.removeprefix(prefix): before + name for key, name in texts.items() if key.startswith(prefix)}


async def async_add(hass: HomeAssistant, proposals: Iterable[SourceProposal]) -> None:
    """Add sources to the dashboard, and enable their sensors."""
    proposals = list(proposals)
    added = cast("list[energy.SourceType]", [proposal.source for proposal in proposals if proposal.source])
    manager = await energy.async_get_manager(hass)
    await manager.async_update({"energy_sources": [*await _async_sources(hass), *added]})  # type: ignore[typeddict-item]
    registry = er.async_get(hass)
    for sensor in (sensor for proposal in proposals for sensor in proposal.sensors.values() if sensor.disabled):
        registry.async_update_entity(sensor.entity_id, disabled_by=None)


async def _async_sources(hass: HomeAssistant) -> list[energy.SourceType]:
    manager = await energy.async_get_manager(hass)
    return manager.data["energy_sources"] if manager.data else []


class _GatewaySensors:
    """The sensors of one gateway, and checks of other sensors against them."""

    def __init__(self, hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
        """Store the registries and the snapshot."""
        self._hass = hass
        self._entry_id = entry.entry_id
        self._entities = er.async_get(hass)
        self._devices = dr.async_get(hass)
        self.snapshot: Snapshot = entry.runtime_data.data

    def _entity_id(self, key: str) -> str | None:
        return self._entities.async_get_entity_id(SENSOR, DOMAIN, f"{self.snapshot.serial}_{key}")

    def sensor(self, key: str) -> er.RegistryEntry | None:
        """Return a sensor of the gateway by key, None if the gateway does not provide it. It may be disabled."""
        entity_id = self._entity_id(key)
        sensor = self._entities.async_get(entity_id) if entity_id else None
        if not sensor or sensor.config_entry_id != self._entry_id:
            return None
        if sensor.disabled:
            return sensor if sensor.disabled_by in _CAN_BE_ENABLED else None
        state = self._hass.states.get(sensor.entity_id)
        return None if state is None or ATTR_RESTORED in state.attributes else sensor

    def has_value(self, sensor: er.RegistryEntry) -> bool:
        """Return whether a sensor is available; True for a disabled one, which has no state."""
        state = self._hass.states.get(sensor.entity_id)
        return state is None or state.state != STATE_UNAVAILABLE

    def counts_grid(self, statistics: set[str], but: _SourceTemplate) -> bool:
        """Return whether statistics contain a counter of the grid of this gateway of another template."""
        keys = {key for each in _TEMPLATES if each.type == "grid" and each != but for key in each.counters.values()}
        return any(self._entity_id(key) in statistics for key in keys)

    def may_count(self, kind: Kind, statistic: str) -> bool:
        """Return whether the statistic of another source may count the same energy as this gateway.

        A home has one grid connection, and any device may measure it; only another gateway measures a different part.
        Panels and batteries of another device are different ones. A statistic without a device may be a helper that the
        user made from sensors of this gateway.
        """
        entity = self._entities.async_get(statistic)
        device = self._devices.async_get(entity.device_id) if entity and entity.device_id else None
        if not entity or not device or self._entry_id == device.config_entry_id:
            return True
        return kind in ("grid", BALANCED) and entity.platform != DOMAIN

    @property
    def capacity(self) -> float | None:
        """Usable kWh of the batteries."""
        aggregates: tuple[EnvoyBatteryAggregate | EnvoyEnchargeAggregate, ...] = (
            *self.snapshot.all(EnvoyBatteryAggregate),
            *self.snapshot.all(EnvoyEnchargeAggregate),
        )
        return aggregates[0].max_available_capacity / 1000 if aggregates else None


def _proposal(
    gateway: _GatewaySensors, templates: list[_SourceTemplate], sources: list[Source], name: str | None
) -> SourceProposal | None:
    """Return the proposal of the first template with all counters, None if there is none or a counter has no value."""
    for template in templates:
        counters = {role: sensor for role, key in template.counters.items() if (sensor := gateway.sensor(key))}
        if len(counters) == len(template.counters):
            has_values = all(map(gateway.has_value, counters.values()))
            return _filled(gateway, template, counters, sources, name) if has_values else None
    return None


def _filled(
    gateway: _GatewaySensors,
    template: _SourceTemplate,
    counters: dict[str, er.RegistryEntry],
    sources: list[Source],
    name: str | None,
) -> SourceProposal | None:
    """Return the proposal of a template with its counters, None if the dashboard does not support the source."""
    used = {statistic for source in sources for statistic in _statistics(source)}
    sensors = {role: sensor for role, sensor in counters.items() if sensor.entity_id not in used}
    same_kind = [source for source in sources if source["type"] == template.type]
    is_present = (
        not sensors
        # Import or export of the grid can be added alone; a battery needs both counters.
        or (template.type != "grid" and len(sensors) < len(counters))
        # The same grid is counted the other way.
        or (template.type == "grid" and gateway.counts_grid(used, but=template))
        # There is only one home, whichever device measures it.
        or (template.kind == "home" and same_kind)
    )
    if is_present:
        return SourceProposal(template.kind)
    fields = {f"stat_{role}": sensor.entity_id for role, sensor in sensors.items()}
    source: Source = {"type": template.type, **_DEFAULT_FIELDS[template.type], **fields}
    if not _is_supported(source):
        return None
    if name and _is_supported({**source, "name": name}):
        source = {**source, "name": name}
    for role, sensor, optional in _optional_fields(gateway, template):
        if (sensor is None or sensor.entity_id not in used) and _is_supported({**source, **optional}):
            source = {**source, **optional}
            sensors |= {role: sensor} if sensor else {}
    others = {statistic for source in same_kind for statistic in _statistics(source, "stat_energy_")}
    others -= {sensor.entity_id for sensor in counters.values()}
    may_duplicate = any(gateway.may_count(template.kind, other) for other in others)
    return SourceProposal(template.kind, source, sensors, may_duplicate)


def _optional_fields(
    gateway: _GatewaySensors, template: _SourceTemplate
) -> Iterator[tuple[str, er.RegistryEntry | None, Source]]:
    """Yield the optional parts of a source: role, sensor and fields."""
    if power := template.power and gateway.sensor(template.power):
        rate = {"stat_rate": power.entity_id}
        yield "power", power, {"power_config": rate} if template.type in ("grid", "battery") else rate
    if template.kind == "battery":
        if soc := next(filter(None, map(gateway.sensor, _STATE_OF_CHARGE)), None):
            yield "soc", soc, {"stat_soc": soc.entity_id}
        if capacity := gateway.capacity:
            yield "capacity", None, {"capacity": capacity}


def _statistics(source: Source, prefix: str = "stat_") -> Iterator[str]:
    """Yield the statistics in the fields of a source."""
    for name, value in source.items():
        if isinstance(value, Mapping):
            yield from _statistics(value, prefix)
        elif name.startswith(prefix) and isinstance(value, str):
            yield value


def _is_supported(source: Source) -> bool:
    """Return whether the running version of Home Assistant supports a source."""
    try:
        energy.ENERGY_SOURCE_SCHEMA([dict(source)])
    except vol.Invalid:
        return False
    return True

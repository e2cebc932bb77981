"""The Energy dashboard: which of its sources a gateway can fill, and adding those that are missing.

What is there is neither changed nor removed. Which sources and fields the running version knows, its own schema says.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal, cast

from homeassistant.components.energy import data as energy
from homeassistant.components.sensor import DOMAIN as SENSOR
from homeassistant.const import ATTR_RESTORED, STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
from pyenphase.models.acb import EnvoyBatteryAggregate
from pyenphase.models.encharge import EnvoyEnchargeAggregate
import voluptuous as vol

from .const import DOMAIN
from .coordinator import EnvoyConfigEntry
from .model.snapshot import Snapshot

type Kind = Literal["solar", "grid", "battery", "home"]
#: A source as the dashboard keeps it.
type Source = Mapping[str, str | float | Mapping[str, str] | None]

#: What a source without a tariff holds beside its entities, as the dashboard's own dialog leaves it.
_EMPTY: Final[Mapping[Kind, Source]] = {
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
    """One way to fill a source: keys of sensors, with which their unique ids end."""

    kind: Kind
    #: Counters by what they tell, which is the field they go to less `stat_`. All of them are needed.
    counters: Mapping[str, str]
    #: What comes out of the source: + is production, import, discharge. In the house it is what goes in.
    power: str | None = None


#: The ways of one kind follow each other, the best first.
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
#: State of charge, the most comprehensive first.
_CHARGE: Final = ("aggregated_soc", "battery_level", "acb_soc")
#: All that a description may name.
_ROLES: Final = ("energy_from", "energy_to", "power", "soc", "capacity")
#: End of the name of a field in the form.
AGAIN: Final = "_again"
_ENABLED_AT_WILL: Final = (er.RegistryEntryDisabler.USER, er.RegistryEntryDisabler.INTEGRATION)


@dataclass(frozen=True, slots=True)
class SourceProposal:
    """A source of the dashboard that a gateway can fill."""

    kind: Kind
    #: What would be added, None when the dashboard has it.
    source: Source | None = None
    #: The sensors in it by what they tell.
    sensors: Mapping[str, er.RegistryEntry] = field(default_factory=dict)
    #: Whether other sources may count the same energy already.
    again: bool = False

    @property
    def name(self) -> str:
        """Return the name of its field in the form."""
        return f"{self.kind}{AGAIN}" if self.again else self.kind

    @property
    def texts(self) -> dict[str, str]:
        """Return what fills the placeholders of its description."""
        capacity = (self.source or {}).get("capacity")
        names = {role: sensor.name or sensor.original_name or role for role, sensor in self.sensors.items()}
        shown = dict.fromkeys(_ROLES, "-") | names | ({"capacity": f"{capacity:g} kWh"} if capacity else {})
        return {f"{self.kind}_{role}": text for role, text in shown.items()}


async def async_proposals(hass: HomeAssistant, entry: EnvoyConfigEntry) -> list[SourceProposal]:
    """Return what a gateway can fill, whether the dashboard has it or not. The gateway must be read."""
    sources = cast("list[Source]", await _async_sources(hass))
    ours = _GatewaySensors(hass, entry)
    panels = (_proposal(ours, list(ways), sources) for _, ways in groupby(_TEMPLATES, lambda way: way.kind))
    return [panel for panel in panels if panel]


async def async_add(hass: HomeAssistant, panels: Iterable[SourceProposal]) -> None:
    """Add panels to what the dashboard has, and enable their sensors."""
    panels = list(panels)
    added = cast("list[energy.SourceType]", [panel.source for panel in panels if panel.source])
    manager = await energy.async_get_manager(hass)
    await manager.async_update({"energy_sources": [*await _async_sources(hass), *added]})  # type: ignore[typeddict-item]
    for sensor in (sensor for panel in panels for sensor in panel.sensors.values() if sensor.disabled):
        er.async_get(hass).async_update_entity(sensor.entity_id, disabled_by=None)


async def _async_sources(hass: HomeAssistant) -> list[energy.SourceType]:
    manager = await energy.async_get_manager(hass)
    return manager.data["energy_sources"] if manager.data else []


class _GatewaySensors:
    """The sensors of one gateway, told from those of others."""

    def __init__(self, hass: HomeAssistant, entry: EnvoyConfigEntry) -> None:
        """Remember where to look."""
        self._hass = hass
        self._entry_id = entry.entry_id
        self._entities = er.async_get(hass)
        self._devices = dr.async_get(hass)
        self.snapshot: Snapshot = entry.runtime_data.data

    def sensor(self, key: str) -> er.RegistryEntry | None:
        """Return a sensor of the gateway that is provided, or would be if it were not disabled."""
        entity_id = self._entities.async_get_entity_id(SENSOR, DOMAIN, f"{self.snapshot.serial}_{key}")
        sensor = self._entities.async_get(entity_id) if entity_id else None
        if not sensor or sensor.config_entry_id != self._entry_id:
            return None
        if sensor.disabled:
            return sensor if sensor.disabled_by in _ENABLED_AT_WILL else None
        state = self._hass.states.get(sensor.entity_id)
        return None if state is None or ATTR_RESTORED in state.attributes else sensor

    def answers(self, sensor: er.RegistryEntry) -> bool:
        """Return whether a sensor has a value, as far as is known of one that is disabled."""
        state = self._hass.states.get(sensor.entity_id)
        return state is None or state.state != STATE_UNAVAILABLE

    def may_count(self, kind: Kind, statistic: str) -> bool:
        """Return whether a statistic of another source may be about what this gateway counts.

        A house has one connection to the grid, whoever measures it; only another gateway measures another part. Panels
        and batteries of another device are others. What has no device may be made of this gateway's sensors by hand.
        """
        entity = self._entities.async_get(statistic)
        device = self._devices.async_get(entity.device_id) if entity and entity.device_id else None
        if not entity or not device or self._entry_id in device.config_entries:
            return True
        return kind == "grid" and entity.platform != DOMAIN

    @property
    def capacity(self) -> float | None:
        """Usable kWh of the batteries."""
        together: tuple[EnvoyBatteryAggregate | EnvoyEnchargeAggregate, ...] = (
            *self.snapshot.all(EnvoyBatteryAggregate),
            *self.snapshot.all(EnvoyEnchargeAggregate),
        )
        return together[0].max_available_capacity / 1000 if together else None


def _proposal(ours: _GatewaySensors, ways: list[_SourceTemplate], sources: list[Source]) -> SourceProposal | None:
    """Return what the best way gives, None when there is none, it has no values or the dashboard no such source."""
    for way in ways:
        counters = {role: sensor for role, key in way.counters.items() if (sensor := ours.sensor(key))}
        if len(counters) == len(way.counters):
            return _filled(ours, way, counters, sources) if all(map(ours.answers, counters.values())) else None
    return None


def _filled(
    ours: _GatewaySensors, way: _SourceTemplate, counters: dict[str, er.RegistryEntry], sources: list[Source]
) -> SourceProposal | None:
    used = {statistic for source in sources for statistic in _statistics(source)}
    sensors = {role: sensor for role, sensor in counters.items() if sensor.entity_id not in used}
    same_kind = [source for source in sources if source["type"] == way.kind]
    is_there = (
        not sensors
        # One side of the grid can be added to the other, but half a battery is no battery.
        or (way.kind != "grid" and len(sensors) < len(counters))
        # There is one home, whoever measures it.
        or (way.kind == "home" and same_kind)
    )
    if is_there:
        return SourceProposal(way.kind)
    filled = {f"stat_{role}": sensor.entity_id for role, sensor in sensors.items()}
    source: Source = {"type": way.kind, **_EMPTY[way.kind], **filled}
    if not _known(source):
        return None
    for role, sensor, more in _extras(ours, way):
        if (sensor is None or sensor.entity_id not in used) and _known({**source, **more}):
            source = {**source, **more}
            sensors |= {role: sensor} if sensor else {}
    others = {statistic for source in same_kind for statistic in _statistics(source, "stat_energy_")}
    others -= {sensor.entity_id for sensor in counters.values()}
    return SourceProposal(way.kind, source, sensors, again=any(ours.may_count(way.kind, other) for other in others))


def _extras(ours: _GatewaySensors, way: _SourceTemplate) -> Iterator[tuple[str, er.RegistryEntry | None, Source]]:
    """Yield what a source need not have: what it tells, the sensor and the fields."""
    if power := way.power and ours.sensor(way.power):
        rate = {"stat_rate": power.entity_id}
        yield "power", power, {"power_config": rate} if way.kind in ("grid", "battery") else rate
    if way.kind == "battery":
        if charge := next(filter(None, map(ours.sensor, _CHARGE)), None):
            yield "soc", charge, {"stat_soc": charge.entity_id}
        if capacity := ours.capacity:
            yield "capacity", None, {"capacity": capacity}


def _statistics(source: Source, prefix: str = "stat_") -> Iterator[str]:
    """Yield the statistics in the fields of a source."""
    for name, value in source.items():
        if isinstance(value, Mapping):
            yield from _statistics(value, prefix)
        elif name.startswith(prefix) and isinstance(value, str):
            yield value


def _known(source: Source) -> bool:
    """Return whether the running version of Home Assistant takes such a source."""
    try:
        energy.ENERGY_SOURCE_SCHEMA([dict(source)])
    except vol.Invalid:
        return False
    return True

"""Production and consumption in the gateway's report, `/production.json` or `/production`, read by meaning.

The library reads consumption by its position in the list and needs every key. Here an entry is found by its
`measurementType`, and a value that is missing or invalid is None and costs nothing else. Entries of firmware before 4.3
(2017) have no `measurementType`: such consumption may be total or net, and is left out.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast, override

from pyenphase.const import PHASENAMES, PRODUCTION_TOTAL_IS_NET_CONSUMPTION, SupportedFeatures
from pyenphase.models.acb import EnvoyACBPower
from pyenphase.models.envoy import EnvoyData
from pyenphase.models.meters import CtType
from pyenphase.models.system_consumption import EnvoySystemConsumption
from pyenphase.models.system_production import EnvoySystemProduction
from pyenphase.updaters.production import EnvoyProductionUpdater

from ..model.validation import is_number
from .lenient import Record

#: Meters, and the sum of the inverters.
_METER: Final = "eim"
_INVERTERS: Final = "inverters"
TOTAL: Final = "total-consumption"
NET: Final = "net-consumption"


def _number(entry: Record, key: str) -> int | None:
    return round(value) if is_number(value := entry.get(key)) else None


def counts(entry: Record) -> bool:
    """Return whether a meter counts: one that does not has values all the same, as some firmware has now and then."""
    return bool(_number(entry, "activeCount"))


def inverter_count(document: Record) -> int | None:
    """Return the number of inverters in a report, None where it is not in there."""
    return _number(_by_key(document["production"], "type").get(_INVERTERS, Record()), "activeCount")


def _by_key(entries: Iterable[Record], key: str) -> dict[object, Record]:
    """Return the entries of a section by the value of a key: of each the first that counts, or else the first."""
    found: dict[object, Record] = {}
    for entry in sorted(entries, key=counts, reverse=True):
        found.setdefault(entry[key], entry)
    return found


class CountingMeters(set[str]):
    """Sources of which the production meter has counted, also in earlier sessions."""

    @override
    def __repr__(self) -> str:
        """Return the same in any state: it is no property of a gateway that a probe finds."""
        return "CountingMeters()"


class ProductionReader(EnvoyProductionUpdater):
    """The updater of the report, in place of the library's, whose findings it takes over."""

    def __init__(self, found: EnvoyProductionUpdater, counting: CountingMeters, *, lists_meters: bool) -> None:
        """Take over what the library's updater found.

        `counting` outlives the updaters. `lists_meters` is whether the gateway lists its meters, enabled or not.
        """
        self.__dict__.update(vars(found))
        self.end_point = found.end_point
        #: The name by which the source of the counters is stored.
        self.source = type(found).__name__
        self._counting = counting
        self._lists_meters = lists_meters

    @property
    def _phases(self) -> list[str]:
        """The names of the phases that the meters are configured for; none for a single one."""
        count = self._common_properties.phase_count
        return PHASENAMES[:count] if count > 1 else []

    @override
    async def update(self, envoy_data: EnvoyData) -> None:
        """Read production, consumption and AC batteries."""
        document = await self._json_request(self.end_point)
        envoy_data.raw[self.end_point] = document
        features = self._supported_features
        if features & SupportedFeatures.PRODUCTION:
            self._read_production(document, envoy_data)
        if features & (SupportedFeatures.NET_CONSUMPTION | SupportedFeatures.TOTAL_CONSUMPTION):
            self._read_consumption(document, envoy_data)
        if features & SupportedFeatures.ACB:
            envoy_data.acb_power = EnvoyACBPower.from_production(document)

    def _read_production(self, document: Record, data: EnvoyData) -> None:
        # Others, such as solar that is not of the gateway, may be metered as well.
        of_production = (
            each for each in document["production"] if each["measurementType"] in (None, CtType.PRODUCTION)
        )
        entries = _by_key(of_production, "type")
        meter, inverters = entries.get(_METER, Record()), entries.get(_INVERTERS, Record())
        if not (meter or inverters):
            return
        if counts(meter):
            self._counting.add(self.source)
        elif CtType.PRODUCTION in self._common_properties.meter_types and self.source in self._counting:
            # Some firmware reports now and then that a meter does not count. The inverters count differently: the last
            # values stand until the meter counts again.
            return
        source = meter if counts(meter) else inverters or meter
        data.system_production = _production(source, meter if self._has_days(meter) else Record())
        if counts(meter):
            phases = {name: _production(line, line) for name, line in self._lines(meter)}
            data.system_production_phases = cast(Any, phases or None)

    def _has_days(self, meter: Record) -> bool:
        """Return whether today and the last seven days of a meter are figures: those of a meter that counts.

        Gateways that list their meters as disabled have figures of the meter, too, which were always shown.
        """
        if counts(meter):
            return True
        lifetime = _number(meter, "whLifetime")
        is_disabled = self._lists_meters and CtType.PRODUCTION not in self._common_properties.meter_types
        return is_disabled and not (lifetime and lifetime == _number(meter, "whToday"))

    def _read_consumption(self, document: Record, data: EnvoyData) -> None:
        meters = _by_key(document["consumption"], "measurementType")
        total, net = meters.get(TOTAL), meters.get(NET)
        if total is not None:
            data.system_consumption = _consumption(total, total)
            data.system_consumption_phases = cast(Any, self._consumption_phases(total))
        if net is not None:
            data.system_net_consumption = _consumption(net, net)
            data.system_net_consumption_phases = cast(Any, self._consumption_phases(net))
        self._correct_total(data)

    def _consumption_phases(self, meter: Record) -> dict[str, EnvoySystemConsumption] | None:
        return {name: _consumption(line, meter) for name, line in self._lines(meter)} or None

    def _lines(self, meter: Record) -> Iterator[tuple[str, Record]]:
        """Yield the phases of a meter. Lines have no names: with two of three it is not known which one is missing."""
        lines, phases = meter["lines"], self._phases
        if len(lines) >= len(phases) or (len(lines) == 1 and _is_whole(lines[0], meter)):
            # An invalid line keeps its place: without it, the next phase would be shown as this one.
            yield from ((name, line) for name, line in zip(phases, lines, strict=False) if line)

    def _correct_total(self, data: EnvoyData) -> None:
        """Correct total consumption, which firmware from 8.3.5433 on reports as net: it is net plus production."""
        if not (
            self._envoy_version >= PRODUCTION_TOTAL_IS_NET_CONSUMPTION
            and self._supported_features & SupportedFeatures.METERING
        ):
            return
        total, net, production = data.system_consumption, data.system_net_consumption, data.system_production
        if total is None or net is None or _figures(total) != _figures(net):
            return
        if production is None:
            data.system_consumption = data.system_consumption_phases = None
            return
        data.system_consumption = _sum(total, production)
        phases, net_phases = data.system_consumption_phases or {}, data.system_net_consumption_phases or {}
        produced = data.system_production_phases or {}
        for name in phases.keys() & net_phases.keys() & produced.keys():
            one, other, made = phases[name], net_phases[name], produced[name]
            if one and other and made and _figures(one) == _figures(other):
                phases[name] = _sum(one, made)


def _is_whole(line: Record, meter: Record) -> bool:
    """Return whether a line has all that its meter counts: in systems of several phases it may measure just one."""
    pairs = ((_number(line, key), _number(meter, key)) for key in ("whLifetime", "wNow"))
    return next((abs(one - all_) <= 1 for one, all_ in pairs if one is not None and all_ is not None), False)


def _figures(consumption: EnvoySystemConsumption) -> tuple[int, int]:
    return consumption.watt_hours_lifetime, consumption.watts_now


def _sum(total: EnvoySystemConsumption, production: EnvoySystemProduction) -> EnvoySystemConsumption:
    def added(field: str) -> int:
        values = getattr(total, field), getattr(production, field)
        return cast(int, None if None in values else sum(values))

    return EnvoySystemConsumption(
        watt_hours_lifetime=added("watt_hours_lifetime"),
        watt_hours_last_7_days=total.watt_hours_last_7_days,
        watt_hours_today=total.watt_hours_today,
        watts_now=added("watts_now"),
    )


def _production(source: Record, days: Record) -> EnvoySystemProduction:
    """Return power and lifetime of a source, and today and the last seven days of a meter that counts."""
    return EnvoySystemProduction(**_values(source, days))


def _consumption(source: Record, meter: Record) -> EnvoySystemConsumption:
    return EnvoySystemConsumption(**_values(source, source if counts(meter) else Record()))


def _values(source: Record, days: Record) -> dict[str, Any]:
    return {
        "watt_hours_lifetime": _number(source, "whLifetime"),
        "watt_hours_last_7_days": _number(days, "whLastSevenDays"),
        "watt_hours_today": _number(days, "whToday"),
        "watts_now": _number(source, "wNow"),
    }

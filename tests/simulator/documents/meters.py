"""Production, consumption and CT readings.

Signs of the CTs: delivered is what flows into the house (produced, imported, discharged), received what leaves it.
Aggregates are the sums of the phases, rounded to milliwatts as the gateway does.

With production and net-consumption CTs, "total-consumption" is their sum on real gateways, also with a battery: what it
charges counts as consumption there. With a total-consumption CT "net-consumption" is their difference, which leaves the
battery out.
"""

from __future__ import annotations

from math import hypot
from typing import TYPE_CHECKING, Final

from tests.simulator.text_document import TextDocument
from tests.simulator.weather import smooth

from .devices import inverter_summary

if TYPE_CHECKING:
    from tests.simulator.counters import Flow
    from tests.simulator.gateway import Gateway, Json

#: 2^32 joules in Wh: counters of systems without CTs wrap there.
WRAP: Final = 1_193_046
#: From this firmware on they do not wrap: an upgrade makes them step to the full value.
WRAPS_UNTIL: Final = (8,)
#: The flows that a CT measures as delivered and received.
CTS: Final[dict[str, tuple[Flow, Flow | None]]] = {
    "production": ("production", None),
    "net-consumption": ("imported", "exported"),
    "total-consumption": ("load", None),
    "storage": ("discharged", "charged"),
    "backfeed": ("combiner_out", "combiner_in"),
}
#: Each type of CT has the same identifier on every gateway.
EIDS: Final = {
    "production": 704643328,
    "net-consumption": 704643584,
    "total-consumption": 704643584,
    "storage": 704643840,
    "backfeed": 704644352,
}
FIRST_CHANNEL: Final = 1778385169
#: Flows and signs that make up a consumption of /production.json.
CONSUMPTION: Final[dict[str, dict[Flow, int]]] = {
    "total-consumption": {"production": 1, "imported": 1, "exported": -1},
    "net-consumption": {"imported": 1, "exported": -1},
}
#: The same where the CT measures the house.
CONSUMPTION_OF_TOTAL: Final[dict[str, dict[Flow, int]]] = {
    "total-consumption": {"load": 1},
    "net-consumption": {"load": 1, "production": -1},
}
Line = dict[str, float]


def production_v1(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Whole watts and watt-hours."""
    house = gateway.house
    return {
        "wattHoursToday": round(house.today("production")),
        "wattHoursSevenDays": round(house.week("production")),
        "wattHoursLifetime": round(house.total("production")),
        "wattsNow": round(house.power("production")),
    }


def production_page(gateway: Gateway, _query: dict[str, str]) -> Json:
    """As /production.json without phases; an HTML page on the oldest firmware."""
    return production_json(gateway, {})


def production_json(gateway: Gateway, query: dict[str, str]) -> Json:
    """Power and energy by source; phases only with ?details=1."""
    if gateway.version < (4,):
        return TextDocument(
            "<!DOCTYPE html>\n<html><head><title>error</title></head><body><h2>Page Not Found</h2></body></html>"
        )
    details = query.get("details") == "1"
    count, newest, watts, energy = inverter_summary(gateway)
    inverters = {
        "type": "inverters",
        "activeCount": count,
        "readingTime": newest,
        "wNow": watts,
        "whLifetime": energy % WRAP if gateway.profile.wraps and gateway.version < WRAPS_UNTIL else energy,
    }
    document: dict[str, Json] = {"production": [inverters]}
    if gateway.profile.metered:
        document["production"].append(_segment(gateway, "production", {"production": 1}, details=details))
        document["consumption"] = [
            _segment(gateway, kind, flows, details=details) for kind, flows in _consumption(gateway).items()
        ]
    document["storage"] = [_acb(gateway)]
    return document


def _consumption(gateway: Gateway) -> dict[str, dict[Flow, int]]:
    return CONSUMPTION_OF_TOTAL if "total-consumption" in gateway.profile.cts else CONSUMPTION


def _segment(gateway: Gateway, kind: str, flows: dict[Flow, int], *, details: bool) -> Json:
    lines = [_line(gateway, kind, flows, phase) for phase in range(gateway.house.phases)]
    segment = {
        "type": "eim",
        "activeCount": 1,
        "measurementType": kind,
        "readingTime": int(gateway.now),
        **{key: round(sum(line[key] for line in lines), 3) for key in lines[0]},
        "pwrFactor": lines[0]["pwrFactor"],
    }
    return segment | {"lines": lines} if details else segment


def _line(gateway: Gateway, kind: str, flows: dict[Flow, int], phase: int) -> Line:
    house = gateway.house
    power = sum(sign * house.flow[flow][phase] for flow, sign in flows.items())
    lifetime = sum(sign * house.counters[flow][phase] for flow, sign in flows.items())
    today = sum(sign * house.today(flow, phase) for flow, sign in flows.items())
    week = sum(sign * house.week(flow, phase) for flow, sign in flows.items())
    if kind == "net-consumption":
        today = week = 0  # as in every recording
    volts = _volts(gateway, phase)
    reactive, apparent = _reactive(power)
    return {
        "wNow": round(power, 3),
        "whLifetime": round(lifetime, 3),
        "varhLeadLifetime": round(abs(lifetime) * 0.004, 3),
        "varhLagLifetime": round(abs(lifetime) * 0.12, 3),
        "vahLifetime": round(abs(lifetime) * 1.08, 3),
        "rmsCurrent": round(apparent / volts, 3),
        "rmsVoltage": volts,
        "reactPwr": reactive,
        "apprntPwr": apparent,
        "pwrFactor": _factor(power, apparent, 2),
        "whToday": round(today, 3),
        "whLastSevenDays": round(week, 3),
        "vahToday": round(abs(today) * 1.08, 3),
        "varhLeadToday": round(abs(today) * 0.004, 3),
        "varhLagToday": round(abs(today) * 0.12, 3),
    }


def _acb(gateway: Gateway) -> Json:
    house = gateway.house
    if gateway.profile.storage_kind != "acb" or not house.batteries:
        return {"type": "acb", "activeCount": 0, "readingTime": 0, "wNow": 0, "whNow": 0, "state": "idle"}
    watts = round(house.power("discharged") - house.power("charged"))
    return {
        "type": "acb",
        "activeCount": len(house.batteries),
        "readingTime": int(gateway.now),
        "wNow": watts,
        "whNow": round(house.stored),
        "state": charge_state(watts),
        "percentFull": round(house.soc),
    }


def charge_state(watts: float) -> str:
    """Return the state for a battery's power; + is discharge."""
    return "discharging" if watts > 5 else "charging" if watts < -5 else "idle"


def meters(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the configuration of the CTs."""
    profile = gateway.profile
    if not profile.metered:
        return None
    return [
        {
            "eid": EIDS[kind],
            "state": "enabled",
            "measurementType": kind,
            "phaseMode": profile.phase_mode,
            "phaseCount": profile.phases,
            "meteringStatus": "normal",
            "statusFlags": [],
        }
        for kind in profile.cts
    ]


def readings(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the readings of each CT: always three channels, unused ones at zero."""
    if not gateway.profile.metered:
        return None
    return [_reading(gateway, kind) for kind in gateway.profile.cts]


def _reading(gateway: Gateway, kind: str) -> Json:
    phases = gateway.house.phases
    eid = EIDS[kind]
    first = FIRST_CHANNEL + eid - EIDS["production"]
    channels = [_channel(gateway, kind, first + phase, phase) for phase in range(3)]
    return {
        "eid": eid,
        "timestamp": int(gateway.now),
        **{
            key: round(sum(channel[key] for channel in channels[:phases]), 3)
            for key in channels[0]
            if key not in ("eid", "timestamp", "pwrFactor", "freq")
        },
        "pwrFactor": channels[0]["pwrFactor"],
        "freq": gateway.profile.frequency,
        "channels": channels,
    }


def _channel(gateway: Gateway, kind: str, eid: int, phase: int) -> Line:
    house = gateway.house
    used = phase < house.phases
    into, out = CTS[kind]
    delivered = house.counters[into][phase] if used else 0.0
    received = house.counters[out][phase] if used and out else 0.0
    power = ct_power(gateway, kind, phase) if used else 0.0
    reactive, apparent = _reactive(power) if used else (0.0, 0.0)
    volts = _volts(gateway, phase) if used else 0.0
    return {
        "eid": eid,
        "timestamp": int(gateway.now),
        "actEnergyDlvd": round(delivered, 3),
        "actEnergyRcvd": round(received, 3),
        "apparentEnergy": round((delivered + received) * 1.08, 3),
        "reactEnergyLagg": round((delivered + received) * 0.12, 3),
        "reactEnergyLead": round((delivered + received) * 0.004, 3),
        "instantaneousDemand": round(power, 3),
        "activePower": round(power, 3),
        "apparentPower": apparent,
        "reactivePower": reactive,
        "pwrFactor": _factor(power, apparent, 3),
        "voltage": volts,
        "current": round(apparent / volts, 3) if used else 0.0,
        "freq": gateway.profile.frequency,
    }


def ct_power(gateway: Gateway, kind: str, phase: int) -> float:
    """Watts through a CT on a phase, + into the house."""
    into, out = CTS[kind]
    flow = gateway.house.flow
    return flow[into][phase] - (flow[out][phase] if out else 0.0)


def reports(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the readings under other names."""
    names = {
        "currW": "activePower",
        "actPower": "activePower",
        "apprntPwr": "apparentPower",
        "reactPwr": "reactivePower",
        "whDlvdCum": "actEnergyDlvd",
        "whRcvdCum": "actEnergyRcvd",
        "varhLagCum": "reactEnergyLagg",
        "varhLeadCum": "reactEnergyLead",
        "vahCum": "apparentEnergy",
        "rmsVoltage": "voltage",
        "rmsCurrent": "current",
        "pwrFactor": "pwrFactor",
        "freqHz": "freq",
    }
    if not gateway.profile.metered:
        return None
    return [
        {
            "createdAt": reading["timestamp"],
            "reportType": kind,
            "cumulative": {new: reading[old] for new, old in names.items()},
            "lines": [
                {new: channel[old] for new, old in names.items()}
                for channel in reading["channels"][: gateway.house.phases]
            ],
        }
        for kind in gateway.profile.cts
        for reading in (_reading(gateway, kind),)
    ]


def energy(gateway: Gateway, query: dict[str, str]) -> Json:
    """Counters by type of meter."""
    _count, _newest, watts, lifetime = inverter_summary(gateway)
    none = {"wattHoursToday": 0, "wattHoursSevenDays": 0, "wattHoursLifetime": 0, "wattsNow": 0}
    house = production_v1(gateway, query)
    return {
        "production": {
            "pcu": house | {"wattHoursLifetime": lifetime, "wattsNow": watts},
            "rgm": none,
            "eim": house if gateway.profile.metered else none,
        },
        "consumption": {"eim": none},
    }


def stream(gateway: Gateway) -> Json:
    """Return one event of /stream/meter."""
    event = {}
    for kind in ("production", "net-consumption", "total-consumption"):
        flows: dict[Flow, int] = {"production": 1} if kind == "production" else _consumption(gateway)[kind]
        lines = {}
        for phase, name in enumerate(("ph-a", "ph-b", "ph-c")):
            line = _line(gateway, kind, flows, phase) if phase < gateway.house.phases else None
            lines[name] = {
                "p": line["wNow"] if line else 0.0,
                "q": line["reactPwr"] if line else 0.0,
                "s": line["apprntPwr"] if line else 0.0,
                "v": line["rmsVoltage"] if line else 0.0,
                "i": line["rmsCurrent"] if line else 0.0,
                "pf": line["pwrFactor"] if line else 0.0,
                "f": gateway.profile.frequency if line else 0.0,
            }
        event[kind] = lines
    return event


def _volts(gateway: Gateway, phase: int) -> float:
    return round(
        gateway.profile.voltage * (0.995 + 0.02 * smooth(gateway.house.seed, f"volts{phase}", gateway.now, 60.0)), 3
    )


def _reactive(power: float) -> tuple[float, float]:
    reactive = -0.05 * abs(power) - 20.0
    return round(reactive, 3), round(hypot(power, reactive), 3)


def _factor(power: float, apparent: float, digits: int) -> float:
    return round(power / apparent, digits) if apparent else 0.0

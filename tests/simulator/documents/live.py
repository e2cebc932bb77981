"""Live data: power by the second while the stream is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .devices import inverter_summary

if TYPE_CHECKING:
    from tests.simulator.counters import Flow
    from tests.simulator.gateway import Gateway, Json

#: Names in the live data with the flows and signs that they sum up: + into the house.
LIVE: Final[dict[str, dict[Flow, int]]] = {
    "pv": {"production": 1},
    "storage": {"discharged": 1, "charged": -1},
    "grid": {"imported": 1, "exported": -1},
    "load": {"load": 1},
    "generator": {"generated": 1},
}
BACKUP_MODES: Final = {"self-consumption": 0, "economy": 1, "savings-mode": 1, "backup": 2}


def live_status(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Power by the second while the stream is enabled; afterwards the last values are repeated."""
    if not any(battery.kind == "encharge" for battery in gateway.house.batteries):
        return None
    live = gateway.is_live
    if live or not gateway.last_live:
        gateway.last_live = _live_meters(gateway)
    return {
        "connection": {
            "mqtt_state": "connected",
            "prov_state": "configured",
            "auth_state": "ok",
            "sc_stream": "enabled" if live else "disabled",
            "sc_debug": "disabled",
        },
        "meters": gateway.last_live,
        "tasks": {"task_id": 0, "timestamp": 0},
        **_iqpm(gateway),
        "counters": {"main_CfgLoad": 1, "main_taskUpdate": int(gateway.now) // 60 % 100_000},
        "dry_contacts": {
            relay.id: {
                "dry_contact_id": relay.id,
                "dry_contact_type": relay.type,
                "dry_contact_load_name": relay.load_name,
                "dry_contact_status": int(relay.closed),
            }
            for relay in gateway.house.relays
        },
    }


def _iqpm(gateway: Gateway) -> dict[str, Json]:
    """Return the numbers of inverters, which firmware 8 reports."""
    if gateway.version < (8,):
        return {}
    count, _newest, watts, _energy = inverter_summary(gateway)
    return {"iqpm": {"total_PCU_count": count, "running_PCU_count": count if watts else 0}}


def _live_meters(gateway: Gateway) -> Json:
    house = gateway.house
    soc = round(house.soc)
    return {
        "last_update": int(gateway.now),
        "soc": soc,
        "main_relay_state": int(house.grid.closed),
        "gen_relay_state": int(bool(house.generator and house.generator.running and not house.grid.closed))
        if house.generator
        else 5,
        "backup_bat_mode": BACKUP_MODES[house.settings.mode],
        "backup_soc": round(house.settings.reserve),
        "is_split_phase": int(gateway.profile.phase_mode == "split"),
        "phase_count": house.phases,
        "enc_agg_soc": soc,
        "enc_agg_energy": round(house.stored),
        "acb_agg_soc": 0,
        "acb_agg_energy": 0,
        **{name: _live_power(gateway, flows) for name, flows in LIVE.items()},
    }


def _live_power(gateway: Gateway, flows: dict[Flow, int]) -> Json:
    flow = gateway.house.flow
    watts = [sum(sign * flow[name][phase] for name, sign in flows.items()) for phase in range(gateway.house.phases)]
    milliwatts = [round(power * 1000) for power in watts] + [0] * (3 - len(watts))
    letters = dict(zip("abc", milliwatts, strict=True))
    return {
        "agg_p_mw": sum(milliwatts),
        "agg_s_mva": sum(milliwatts),
        **{f"agg_p_ph_{letter}_mw": power for letter, power in letters.items()},
        **{f"agg_s_ph_{letter}_mva": power for letter, power in letters.items()},
    }

"""Microinverters and AC batteries, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulator.hardware import REPORT_PERIOD
from tests.simulator.weather import elevation, smooth

if TYPE_CHECKING:
    from tests.simulator.gateway import Gateway, Json
    from tests.simulator.hardware import Battery, Inverter

#: /ivp/pdm/device_data lists no more devices than this.
DEVICE_DATA_LIMIT: Final = 50
FIRST_DEVICE: Final = 553648384
FIRST_CHANNEL: Final = 1627390225
FIRST_ACB_CHANNEL: Final = 1795162385
EID_STEP: Final = 256
PHASE_NAMES: Final = ("ph-a", "ph-b", "ph-c")
OK: Final = "envoy.global.ok"
ASLEEP: Final = "envoy.cond_flags.pcu_ctrl.sleep-mode"
DARK: Final = "envoy.cond_flags.pcu_ctrl.dc-pwr-low"
FAILURE: Final = "envoy.cond_flags.obs_strs.failure"
#: AC batteries report like inverters, as devices of this type.
ACB_TYPE: Final = 11
INSTALLED_BEFORE: Final = 400 * 86400


def present(gateway: Gateway) -> list[Inverter]:
    """Inverters that are installed."""
    return [inverter for inverter in gateway.house.inverters if not inverter.deleted]


def inverter_summary(gateway: Gateway) -> tuple[int, int, int, int]:
    """Count, newest report, and the sums of the last reports: watts, Wh."""
    house = gateway.house
    inverters = present(gateway)
    times = [inverter.last_report(house.now) for inverter in inverters]
    pairs = list(zip(inverters, times, strict=True))
    return (
        len(inverters),
        int(max(times, default=0)),
        round(sum(house.roof.power(inverter, at) for inverter, at in pairs)),
        round(sum(house.roof.energy(inverter, at) for inverter, at in pairs)),
    )


def inverters_v1(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the last report of each inverter, and of each AC battery."""
    house = gateway.house
    rows = [
        {
            "serialNumber": inverter.serial,
            "lastReportDate": int(inverter.last_report(house.now)),
            "devType": 1,
            "lastReportWatts": round(house.roof.power(inverter, inverter.last_report(house.now))),
            "maxReportWatts": round(inverter.rated * 0.97),
        }
        for inverter in present(gateway)
    ]
    if gateway.version < (4,):
        for row in rows:
            del row["devType"]
    return rows + [
        {
            "serialNumber": battery.serial,
            "lastReportDate": int(house.now) // REPORT_PERIOD * REPORT_PERIOD,
            "devType": ACB_TYPE,
            "lastReportWatts": round(_acb_power(gateway, battery)),
            "maxReportWatts": round(battery.power),
        }
        for battery in _acbs(gateway)
    ]


def device_data(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Details of the first fifty inverters."""
    if not gateway.profile.device_data:
        return None
    inverters = present(gateway)
    rows: dict[str, Json] = {
        str(FIRST_DEVICE + EID_STEP * index): _details(gateway, inverter, FIRST_CHANNEL + EID_STEP * index)
        for index, inverter in enumerate(inverters[:DEVICE_DATA_LIMIT])
    }
    return rows | {"deviceCount": len(inverters), "deviceDataLimit": DEVICE_DATA_LIMIT}


def _details(gateway: Gateway, inverter: Inverter, eid: int) -> Json:
    house = gateway.house
    at = inverter.last_report(house.now)
    watts, energy = house.roof.power(inverter, at), house.roof.energy(inverter, at)
    before = house.roof.energy(inverter, at - REPORT_PERIOD)
    days = inverter.days
    volts = gateway.profile.voltage * (2 if gateway.profile.phase_mode == "split" else 1)
    dc_volts = 30.0 + 8.0 * min(1.0, watts / inverter.rated)
    return {
        "devName": "pcu",
        "sn": inverter.serial,
        "active": True,
        "modGone": not inverter.communicating,
        "channels": [
            {
                "chanEid": eid,
                "created": int(at),
                "wattHours": {
                    "today": max(0, round(energy - days[-1])),
                    "yesterday": round(days[-1] - days[-2]) if len(days) > 1 else 0,
                    "week": round(days[-1] - days[0]),
                },
                "watts": {"now": round(watts), "nowUsed": 0, "max": round(inverter.rated * 0.97)},
                "lastReading": {
                    "eid": eid,
                    "interval_type": 0,
                    "endDate": int(at),
                    "duration": REPORT_PERIOD,
                    "flags": 0,
                    "flags_hex": "0x0000000000000000",
                    "joulesProduced": round((energy - before) * 3600),
                    "acVoltageINmV": round(volts * 1000 * (0.99 + 0.02 * smooth(house.seed, "volts0", at, 60.0))),
                    "acFrequencyINmHz": round(gateway.profile.frequency * 1000),
                    "dcVoltageINmV": round(dc_volts * 1000),
                    "dcCurrentINmA": round(watts / 0.97 / dc_volts * 1000),
                    "channelTemp": round(14 + watts / 14),
                    "pwrConvErrSecs": 0,
                    "pwrConvMaxErrCycles": 0,
                    "joulesUsed": 0,
                    "leadingVArs": 0,
                    "laggingVArs": 38,
                    "acCurrentInmA": round(watts / volts * 1000),
                    "l1NAcVoltageInmV": 0,
                    "l2NAcVoltageInmV": 0,
                    "l3NAcVoltageInmV": 0,
                    "rssi": 110,
                    "issi": 68,
                },
                "lifetime": {
                    "createdTime": int(at) - INSTALLED_BEFORE,
                    "duration": INSTALLED_BEFORE,
                    "joulesProduced": int(energy * 3600),
                },
            }
        ],
    }


def inventory(gateway: Gateway, query: dict[str, str]) -> Json:
    """Every device with its health; with ?deleted=1 also removed ones."""
    house = gateway.house
    dark = elevation(house.now, gateway.profile.latitude, gateway.profile.longitude) <= 0
    shown = house.inverters if query.get("deleted") == "1" else present(gateway)
    pcus = [_inventory_row(gateway, inverter, index, dark=dark) for index, inverter in enumerate(shown)]
    acbs = [_acb_row(gateway, battery, index) for index, battery in enumerate(_acbs(gateway))]
    kinds = [("PCU", pcus), ("ACB", acbs)] + ([("NSRB", [])] if gateway.version < (8,) else [])
    return [{"type": kind, "devices": rows} for kind, rows in kinds]


def _common(
    gateway: Gateway, serial: str, parts: tuple[str, str], reported: float, status: list[str]
) -> dict[str, Json]:
    installed = str(int(gateway.house.midnights[0].at) // INSTALLED_BEFORE * INSTALLED_BEFORE)
    return {
        "part_num": parts[0],
        "installed": installed,
        "serial_num": serial,
        "device_status": status,
        "last_rpt_date": str(int(reported)),
        "admin_state": 2,
        "dev_type": 1,
        "created_date": installed,
        "img_load_date": installed,
        "img_pnum_running": parts[1],
        "ptpn": "549-00040-r01-v02.61.01",
        "device_control": [{"gficlearset": False}],
        "producing": True,
        "communicating": True,
        "provisioned": True,
        "operating": True,
    }


def _inventory_row(gateway: Gateway, inverter: Inverter, index: int, *, dark: bool) -> Json:
    failed = not inverter.producing and not inverter.deleted
    reported = [flag for flag, on in ((FAILURE, failed), (DARK, dark)) if on]
    status = [*inverter.conditions, *reported] or [OK]
    parts = ("800-01331-r02", "521-00005-r06-v02.61.01")
    row = _common(gateway, inverter.serial, parts, inverter.last_report(gateway.house.now), status)
    return row | {
        "admin_state": 0 if inverter.deleted else 2,
        "chaneid": FIRST_CHANNEL + EID_STEP * index,
        "producing": inverter.producing and not dark,
        "communicating": inverter.communicating and inverter.silent_since is None,
        "operating": inverter.producing,
        "phase": PHASE_NAMES[inverter.phase],
    }


def _acbs(gateway: Gateway) -> list[Battery]:
    return [battery for battery in gateway.house.batteries if battery.kind == "acb"]


def _acb_power(gateway: Gateway, battery: Battery) -> float:
    house = gateway.house
    awake = [other for other in _acbs(gateway) if not other.asleep(house.now)]
    return (house.power("discharged") - house.power("charged")) / len(awake) if battery in awake else 0.0


def _acb_row(gateway: Gateway, battery: Battery, index: int) -> Json:
    house = gateway.house
    watts = _acb_power(gateway, battery)
    asleep = battery.asleep(house.now)
    parts = (battery.part, battery.firmware)
    row = _common(gateway, battery.serial, parts, house.now // 300 * 300, [ASLEEP if asleep else OK])
    return row | {
        "dev_type": ACB_TYPE,
        "chaneid": FIRST_ACB_CHANNEL + EID_STEP * index,
        "producing": watts > 0,
        "operating": not asleep,
        "sleep_enabled": battery.sleep_enabled,
        "percentFull": round(house.soc),
        "maxCellTemp": 21,
        "sleep_min_soc": battery.sleep_min_soc,
        "sleep_max_soc": battery.sleep_max_soc,
        "charge_status": "discharging" if watts > 5 else "charging" if watts < -5 else "idle",
    }

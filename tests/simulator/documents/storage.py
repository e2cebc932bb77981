"""Batteries, system controller, relays, generator, tariff and live data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.simulator.hardware import Relay

if TYPE_CHECKING:
    from tests.simulator.gateway import Gateway, Json

#: First firmware with `opt_schedules` in the tariff.
OPT_SCHEDULES_SINCE: Final = (8, 2, 4225)
WEEK_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def _installed(gateway: Gateway) -> int:
    return int(gateway.house.midnights[0].at) // 8_640_000 * 8_640_000


def _device(gateway: Gateway, part: str, serial: str, state: tuple[int, str]) -> dict[str, Json]:
    installed = _installed(gateway)
    return {
        "part_num": part,
        "serial_num": serial,
        "installed": installed,
        "device_status": ["envoy.global.ok", "prop.done"],
        "last_rpt_date": int(gateway.now) // 60 * 60,
        "admin_state": state[0],
        "admin_state_str": state[1],
        "created_date": installed,
        "img_load_date": installed,
        "communicating": True,
    }


def _mode(gateway: Gateway) -> str:
    return "multimode-ongrid" if gateway.house.grid.closed else "multimode-offgrid"


def _position(gateway: Gateway, *, admin: bool = False) -> str:
    grid = gateway.house.grid
    return "closed" if (grid.wanted if admin else grid.closed) else "open"


def ensemble_inventory(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Batteries, system controller, collar, combiner; an empty list without any."""
    house, profile = gateway.house, gateway.profile
    grid = house.grid.closed
    kinds: list[Json] = []
    enphase = [battery for battery in house.batteries if battery.kind == "encharge"]
    if enphase or profile.enpower or profile.collar:
        kinds.append({"type": "ENCHARGE", "devices": [_encharge(gateway, index) for index in range(len(enphase))]})
    if profile.enpower:
        state = (24, "ENPWR_STATE_OPER_CLOSED") if grid else (23, "ENPWR_STATE_OPER_OPEN")
        enpower = _device(gateway, "861-01381-r05", profile.enpower, state) | {
            "img_pnum_running": "2.0.6936_rel/31.43",
            "zigbee_dongle_fw_version": "100F",
            "operating": True,
            "temperature": 79,
            "comm_level_sub_ghz": 5,
            "comm_level_2_4_ghz": 5,
            "mains_admin_state": _position(gateway, admin=True),
            "mains_oper_state": _position(gateway),
            "Enpwr_grid_mode": _mode(gateway),
            "Enchg_grid_mode": _mode(gateway),
            "Enpwr_relay_state_bm": 15664,
            "Enpwr_curr_state_id": 16,
        }
        kinds.append({"type": "ENPOWER", "devices": [enpower]})
    if profile.collar:
        state = (88, "ENCMN_MDE_ON_GRID") if grid else (89, "ENCMN_MDE_OFF_GRID")
        collar = _device(gateway, "865-00400-r22", profile.collar, state) | {
            "img_pnum_running": "3.0.6-D0",
            "temperature": 42,
            "mid_state": "close" if grid else "open",
            # It stays so in an outage.
            "grid_state": "on_grid",
            "control_error": 0,
            "collar_state": "Installed",
        }
        kinds.append({"type": "COLLAR", "devices": [collar]})
    if profile.c6:
        combiner = _device(gateway, "800-02403-r08", profile.c6, (82, "ENCMN_C6_CC_READY")) | {
            "fw_version": "0.1.20-D1",
            "dmir_version": "0.1.20-D1",
        }
        del combiner["device_status"]
        kinds.append({"type": "C6 COMBINER CONTROLLER", "devices": [combiner]})
        kinds.append({"type": "C6 RGM", "devices": []})
    return kinds


def _encharge(gateway: Gateway, index: int) -> Json:
    house = gateway.house
    battery = house.batteries[index]
    dongle = {} if gateway.profile.collar else {"zigbee_dongle_fw_version": "100F", "operating": True}
    return (
        _device(gateway, battery.part, battery.serial, (6, "ENCHG_STATE_READY"))
        | {
            "img_pnum_running": battery.firmware,
            "bmu_fw_version": "3.8.63",
            "sleep_enabled": False,
            "percentFull": round(house.soc),
            "temperature": 23,
            "maxCellTemp": 24,
            "reported_enc_grid_state": "grid-tied" if house.grid.closed else "off-grid",
            "comm_level_sub_ghz": 5,
            "comm_level_2_4_ghz": 5,
            "led_status": 12,
            "dc_switch_off": False,
            "encharge_rev": 3,
            "encharge_capacity": round(battery.capacity),
            "phase": "ph-a",
            "der_index": 2,
        }
        | dongle
    )


def ensemble_power(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Power of each battery in milliwatts, + is discharge. The colon in the key is the gateway's."""
    house = gateway.house
    batteries = [battery for battery in house.batteries if battery.kind == "encharge"]
    watts = house.power("discharged") - house.power("charged")
    whole = round(watts * 1000)
    # The first gets the remainder, so that the sum is the storage's power.
    shares = [whole // len(batteries)] * len(batteries) if batteries else []
    if shares:
        shares[0] += whole - sum(shares)
    return {
        "devices:": [
            {
                "serial_num": battery.serial,
                "real_power_mw": share,
                "apparent_power_mva": share,
                "soc": round(house.soc),
            }
            for battery, share in zip(batteries, shares, strict=True)
        ]
    }


def secctrl(gateway: Gateway, _query: dict[str, str]) -> Json:
    """The controller's data of the batteries, and the reserve that it keeps."""
    house = gateway.house
    kind = house.batteries[0].kind if house.batteries else None
    capacity, stored, soc = round(house.capacity), round(house.stored), round(house.soc)
    reserve = round(house.settings.reserve) if kind == "encharge" else 0
    encharge, acb = kind == "encharge", kind == "acb"
    bias = {
        f"{name}{phase}": 0 if name.endswith(("q8", "q5")) else 0.0
        for phase in ("", "_phaseb", "_phasec")
        for name in ("freq_bias_hz", "voltage_bias_v", "freq_bias_hz_q8", "voltage_bias_v_q5")
    }
    return {
        "shutdown": False,
        **bias,
        "configured_backup_soc": reserve,
        "adjusted_backup_soc": reserve,
        "agg_soc": soc,
        "Max_energy": capacity,
        "ENC_agg_soc": soc if encharge else 0,
        "ENC_agg_soh": 100 if encharge else 0,
        "ENC_agg_backup_energy": round(capacity * reserve / 100),
        "ENC_agg_avail_energy": stored if encharge else 0,
        "Enc_commissioned_capacity": capacity if encharge else 0,
        "Enc_max_available_capacity": capacity if encharge else 0,
        "ACB_agg_soc": soc if acb else 0,
        "ACB_agg_energy": stored if acb else 0,
        "VLS_Limit": house.settings.very_low,
        "soc_rec_enabled": False,
        "soc_recovery_entry": 0,
        "soc_recovery_exit": 10,
        "Commission_in_progress": False,
        "ESS_in_progress": False,
    }


def grid_relay(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Actual and requested position of the mains relay."""
    return {
        "mains_admin_state": _position(gateway, admin=True),
        "mains_oper_state": _position(gateway),
        "srt12_state": "open",
        "srt13_state": "open",
        "der1_state": 1,
        "der2_state": 1,
        "der3_state": 1,
        "Enchg_grid_mode": _mode(gateway) if gateway.house.batteries else "unknown",
        "Solar_grid_mode": _mode(gateway) if gateway.house.batteries else "unknown",
    }


def ensemble_status(gateway: Gateway, query: dict[str, str]) -> Json:
    """Inventory by serial number, control and relay in one."""
    devices = {
        device["serial_num"]: {
            "device_id": device["serial_num"],
            "admin_state": device["admin_state"],
            "admin_state_str": device["admin_state_str"],
            "part_number": device["part_num"],
            "app_fw_version": device.get("img_pnum_running", ""),
            "submodule_count": 0,
            "submodules": {},
        }
        for kind in ensemble_inventory(gateway, query)
        for device in kind["devices"]
    }
    return {
        "inventory": {"serial_nums": devices},
        "secctrl": secctrl(gateway, query),
        "relay": grid_relay(gateway, query),
    }


def _relays(gateway: Gateway) -> list[Relay]:
    return gateway.house.relays or [Relay(name, closed=False) for name in ("NC1", "NC2", "NO1", "NO2")]


def dry_contacts(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Positions of the relays; every gateway lists four, wired or not."""
    return {"dry_contacts": [{"id": relay.id, "status": gateway.relay_status(relay)} for relay in _relays(gateway)]}


def dry_contact_settings(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the settings of the relays."""
    return {"dry_contacts": [_relay_settings(relay, wired=bool(gateway.house.relays)) for relay in _relays(gateway)]}


def _relay_settings(relay: Relay, *, wired: bool) -> Json:
    times = {
        "essential_start_time": relay.essential_start_time,
        "essential_end_time": relay.essential_end_time,
        "priority": relay.priority,
        "black_s_start": relay.black_s_start,
        "black_start_retries": relay.black_start_retries,
        "action_retries": relay.action_retries,
        "safe_state_action": relay.safe_state_action,
        "pv_phase_select": relay.pv_phase_select,
    }
    return {
        "id": relay.id,
        "type": relay.type,
        "grid_action": relay.grid_action,
        "micro_grid_action": relay.micro_grid_action,
        "gen_action": relay.gen_action,
        **(times if wired else {}),
        "override": str(relay.override).lower(),
        **({"manual_override": str(relay.manual_override).lower()} if wired else {}),
        "load_name": relay.load_name,
        "mode": relay.mode,
        "soc_low": relay.soc_low,
        "soc_high": relay.soc_high,
        "pv_serial_nb": relay.pv_serial_nb,
    }


def generator(gateway: Gateway, _query: dict[str, str]) -> Json:
    """State of the generator; gateways without one return default values."""
    unit = gateway.house.generator
    if unit is None:
        return {
            "admin_state": "unknown",
            "oper_state": "open",
            "admin_mode": 0,
            "schedule": 0,
            "start_soc": 100,
            "stop_soc": -1,
            "exc_on": 0,
            "present": 0,
            "type": 1,
        }
    feeding = unit.running and not gateway.house.grid.closed
    return {
        "admin_state": "closed" if unit.running else "open",
        "oper_state": "closed" if feeding else "open",
        "admin_mode": {"off": 0, "on": 1, "auto": 2}[unit.mode],
        "schedule": 1,
        "start_soc": unit.start_soc,
        "stop_soc": unit.stop_soc,
        "exc_on": 0,
        "present": 1,
        "type": 1,
    }


def gen_config(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the generator's rating and its configuration."""
    unit = gateway.house.generator
    if unit is None:
        return {}
    return {
        "max_cont_gen_amps": unit.max_cont_gen_amps,
        "min_gen_loading_perc": unit.min_gen_loading_perc,
        "max_gen_efficiency_perc": unit.max_gen_efficiency_perc,
        "name_plate_rating_wat": unit.rated / 1000,
        "start_method": unit.start_method,
        "warm_up_mins": unit.warm_up_mins,
        "cool_down_mins": unit.cool_down_mins,
        "gen_type": unit.gen_type,
        "model": unit.model,
        "manufacturer": unit.manufacturer,
        "last_updated_by": unit.last_updated_by,
        "generator_id": unit.generator_id,
        "charge_from_generator": unit.charge_from_generator,
    }


def gen_schedule(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the generator's exercise schedule, and the states of charge at which it starts and stops."""
    unit = gateway.house.generator
    if unit is None:
        return {}
    period = {
        "id": "normal_1",
        "start": 0.0,
        "duration": 1440.0,
        "start_soc": float(unit.start_soc),
        "stop_soc": float(unit.stop_soc),
        "setting": "AUTO",
    }
    day = {"id": "all_days", "week_days": "Mon,Tue,Wed,Thu,Fri,Sat,Sun", "periods": [period]}
    return {
        "exercise_config": {
            "freq_in_weeks": unit.exercise_freq_in_weeks,
            "start": unit.exercise_start,
            "duration": unit.exercise_duration,
            "day": unit.exercise_day,
        },
        "default_soc": {"start_soc": unit.start_soc, "stop_soc": unit.stop_soc},
        "schedule": {"default": [{"id": "always_on", "start": "1/1", "end": "12/31", "days": [day]}]},
        "last_updated_by": unit.last_updated_by,
    }


def gen_mode(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Off, on or auto."""
    unit = gateway.house.generator
    return {"gen_cmd": unit.mode, "last_updated_by": unit.last_updated_by} if unit else {}


def pel_settings(_gateway: Gateway, _query: dict[str, str]) -> Json:
    """No power export limit."""
    limits = ("PEL_Limit", "Comm_Time_Loss", "Resp_Time_SoftPEL", "Resp_Time_HardPEL", "msReset_HardPEL", "PEL_db")
    return {
        "PEL": False,
        "Hard_PEL": False,
        "Soft_PEL": False,
        "Export_Limit_Type": "Aggregate",
        "percent": False,
        "apparent": False,
        **dict.fromkeys(limits, 0.0),
    }


def pv_limit(_gateway: Gateway, _query: dict[str, str]) -> Json:
    """No limit on production."""
    return {"enable": False, "pv_limit_pct": 100}


def tariff(gateway: Gateway, query: dict[str, str]) -> Json:
    """Prices, seasons and the stored battery settings, which the controller need not follow."""
    if not gateway.profile.metered:
        return None
    _ = gateway.house  # applies changes by the cloud until now
    settings = gateway.tariff_settings
    stored: dict[str, Any] = {
        "mode": settings.mode,
        "operation_mode_sub_type": "",
        "reserved_soc": float(settings.reserve),
        "very_low_soc": settings.very_low,
        "charge_from_grid": settings.charge_from_grid,
        "date": str(_installed(gateway)),
    }
    if gateway.version >= OPT_SCHEDULES_SINCE:
        stored["opt_schedules"] = settings.opt_schedules
    periods = [("cheap", 0, 0.21), ("day", 360, 0.28), ("peak", 960, 0.39), ("evening", 1260, 0.28)]
    day = {
        "id": "all_days",
        "days": "Mon,Tue,Wed,Thu,Fri,Sat,Sun",
        "must_charge_start": 0,
        "must_charge_duration": 0,
        "must_charge_mode": "CG",
        "peak_rule": "DL",
        "enable_discharge_to_grid": False,
        "periods": [{"id": name, "start": start, "rate": rate} for name, start, rate in periods],
    }
    return {
        "tariff": {
            "currency": {"code": "EUR"},
            "logger": "mylogger",
            "date": str(_installed(gateway)),
            "storage_settings": stored,
            "single_rate": {"rate": 0.28, "sell": 0.08},
            "seasons": [{"id": "all_year_long", "start": "1/1", "days": [day], "tiers": []}],
            "seasons_sell": [],
        },
        "schedule": schedule(gateway, query),
    }


def schedule(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the settings that the controller applies."""
    if not gateway.profile.metered:
        return None
    settings = gateway.house.settings
    return {
        "filename": "Tariff",
        "source": "Tariff",
        "date": "2026-01-02 03:04:05 UTC",
        "version": "00.00.02",
        "reserved_soc": float(settings.reserve),
        "very_low_soc": settings.very_low,
        "charge_from_grid": settings.charge_from_grid,
        "batt_mode": settings.mode,
        "battery_mode": settings.mode,
        "operation_mode_sub_type": "",
        "opt_schedules": settings.opt_schedules,
        "override": False,
        "override_backup_soc": 30.0,
        "override_chg_dischg_rate": 0.0,
        "override_tou_mode": "StorageTouMode_DEFAULT_TOU_MODE",
        "schedule": {
            "Disable": [{day: [{"start": 0, "duration": 1440, "setting": "ID"}]} for day in WEEK_DAYS],
            "tariff": [
                {"start": "1/1", "end": "1/1"}
                | {day: [{"start": 0, "duration": 1440, "setting": "ZN"}] for day in WEEK_DAYS}
            ],
        },
    }


def scheduler(gateway: Gateway, query: dict[str, str]) -> Json:
    """Return the settings that the controller applies, and what newer firmware commands the batteries to do."""
    settings = schedule(gateway, query)
    if settings is None or gateway.version < OPT_SCHEDULES_SINCE:
        return settings
    charges = gateway.house.settings.charge_from_grid
    return settings | {
        "Charge From Grid Allowed": charges,
        "acb_current_mode": 2 if charges else 6,
        "sched_mode_key": [
            *("ID - Idle", "ZN - Zero Net", "CG - Charge From Grid", "DG - Discharge To Grid"),
            *("ND - No Discharge", "DL - Discharge To Load", "CP - Charge From PV"),
        ],
    }


def acb_config(gateway: Gateway, _query: dict[str, str]) -> Json:
    """Return the AC batteries that are set to sleep."""
    return {
        "acb_sleep": [
            {
                "serial_num": battery.serial,
                "sleep_min_soc": battery.sleep_min_soc,
                "sleep_max_soc": battery.sleep_max_soc,
            }
            for battery in gateway.house.batteries
            if battery.kind == "acb" and battery.sleep_enabled
        ]
    }

"""Writes: one table from method and path to the function that checks the body and changes the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Literal

from .documents import storage
from .gateway import Gateway, Json
from .hardware import ACTIONS, STORAGE_MODES, Relay, StorageSettings

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Refused(Exception):  # noqa: N818 - it is an answer, not an error
    """The gateway rejects this body: 400."""


class NotHere(Exception):  # noqa: N818
    """This system has no such setting: 404."""


def _get(body: Json, *keys: str) -> Any:
    for key in keys:
        if not isinstance(body, dict) or key not in body:
            raise Refused(f"{key} is missing")
        body = body[key]
    return body


def _number(value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused(f"{value!r} is not a number between {low} and {high}")
    return value


def _one_of[T](value: object, choices: Iterable[T]) -> T:
    for choice in choices:
        if value == choice:
            return choice
    raise Refused(f"{value!r} is unknown")


def _flag(value: object) -> bool:
    """Convert a boolean, which may be given as a text."""
    if value in (True, "true"):
        return True
    if value in (False, "false", "none"):
        return False
    raise Refused(f"{value!r} is neither true nor false")


def put_tariff(gateway: Gateway, body: Json) -> Json:
    """Battery mode, reserve, charge from grid."""
    if not gateway.profile.metered:
        raise NotHere
    wanted = _get(body, "tariff", "storage_settings")
    old = gateway.tariff_settings
    charge, schedules = wanted.get("charge_from_grid"), wanted.get("opt_schedules", old.opt_schedules)
    if not isinstance(charge, bool) or not isinstance(schedules, bool):
        raise Refused("charge_from_grid and opt_schedules are booleans")
    gateway.store_tariff(
        StorageSettings(
            mode=_one_of(_get(wanted, "mode"), STORAGE_MODES),
            reserve=_number(_get(wanted, "reserved_soc"), 0, 100),
            very_low=int(_number(wanted.get("very_low_soc", old.very_low), 0, 100)),
            charge_from_grid=charge,
            opt_schedules=schedules,
        )
    )
    return storage.tariff(gateway, {})


def post_relay(gateway: Gateway, body: Json) -> Json:
    """Change to on grid or off grid within half a minute."""
    if not (gateway.profile.enpower or gateway.profile.collar):
        raise NotHere
    wanted = _one_of(_get(body, "mains_admin_state"), ("closed", "open"))
    gateway.house.switch_grid(closed=wanted == "closed")
    return storage.grid_relay(gateway, {})


def _rows(body: Json) -> list[Json]:
    rows = _get(body, "dry_contacts")
    return rows if isinstance(rows, list) else [rows]


def _relay(gateway: Gateway, row: Json) -> Relay:
    if not gateway.house.relays:
        raise NotHere
    try:
        return gateway.house.relay(_get(row, "id"))
    except KeyError as err:
        raise Refused(f"no such relay: {err}") from err


def post_dry_contacts(gateway: Gateway, body: Json) -> Json:
    """Open or close relays."""
    orders = [(_relay(gateway, row), _one_of(_get(row, "status"), ("open", "closed"))) for row in _rows(body)]
    for relay, status in orders:
        gateway.house.switch_relay(relay, closed=status == "closed")
    return storage.dry_contacts(gateway, {})


#: Settings of a relay with the function that checks each.
RELAY_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "type": lambda v: _one_of(v, ("NONE", "PV", "LOAD", "3RD-PV")),
    "mode": lambda v: _one_of(v, ("manual", "soc")),
    "grid_action": lambda v: _one_of(v, ACTIONS),
    "micro_grid_action": lambda v: _one_of(v, ACTIONS),
    "gen_action": lambda v: _one_of(v, ACTIONS),
    "soc_low": lambda v: float(_number(v, 0, 100)),
    "soc_high": lambda v: float(_number(v, 0, 100)),
    "essential_start_time": lambda v: float(_number(v, 0, 86400)),
    "essential_end_time": lambda v: float(_number(v, 0, 86400)),
    "priority": lambda v: float(_number(v, 0, 100)),
    "black_s_start": lambda v: float(_number(v, 0, 100_000)),
    "safe_state_action": lambda v: _one_of(v, ACTIONS),
    "black_start_retries": lambda v: float(_number(v, 0, 100_000)),
    "action_retries": lambda v: float(_number(v, 0, 100)),
    "override": _flag,
    "manual_override": _flag,
    "load_name": str,
    "pv_serial_nb": list,
    "pv_phase_select": list,
}


def post_dry_contact_settings(gateway: Gateway, body: Json) -> Json:
    """Change the settings of relays. A partial object, which can crash a gateway, is rejected."""
    changes = []
    reported = {row["id"]: row for row in storage.dry_contact_settings(gateway, {})["dry_contacts"]}
    for row in _rows(body):
        relay = _relay(gateway, row)
        if missing := reported[relay.id].keys() - row.keys():
            raise Refused(f"{', '.join(sorted(missing))} missing")
        new = {key: check(row[key]) for key, check in RELAY_CHECKS.items() if key in row}
        if new.get("soc_low", relay.soc_low) > new.get("soc_high", relay.soc_high):
            raise Refused("soc_low is above soc_high")
        changes.append((relay, new))
    for relay, new in changes:
        for key, value in new.items():
            setattr(relay, key, value)
    gateway.house.refresh()
    gateway.relays_settle()
    return storage.dry_contact_settings(gateway, {})


def post_gen_mode(gateway: Gateway, body: Json) -> Json:
    """Off, on or auto."""
    generator = gateway.house.generator
    if generator is None:
        raise NotHere
    modes: tuple[Literal["off", "on", "auto"], ...] = ("off", "on", "auto")
    generator.mode = _one_of(_get(body, "gen_cmd"), modes)
    gateway.house.refresh()
    return storage.gen_mode(gateway, {})


def post_gen_schedule(gateway: Gateway, body: Json) -> Json:
    """Exercise, and states of charge at which the generator starts and stops."""
    generator = gateway.house.generator
    if generator is None:
        raise NotHere
    start = int(_number(_get(body, "default_soc", "start_soc"), 0, 100))
    stop = int(_number(_get(body, "default_soc", "stop_soc"), 0, 100))
    if start >= stop:
        raise Refused("start_soc must be below stop_soc")
    exercise = _get(body, "exercise_config")
    gateway.house.generator = replace(
        generator,
        start_soc=start,
        stop_soc=stop,
        exercise_freq_in_weeks=int(_number(_get(exercise, "freq_in_weeks"), 1, 4)),
        exercise_start=int(_number(_get(exercise, "start"), 0, 1439)),
        exercise_duration=int(_number(_get(exercise, "duration"), 10, 60)),
        exercise_day=_one_of(_get(exercise, "day"), DAYS),
    )
    gateway.house.refresh()
    return storage.gen_schedule(gateway, {})


def post_gen_config(gateway: Gateway, body: Json) -> Json:
    """Whether the generator may charge the batteries."""
    generator = gateway.house.generator
    if generator is None:
        raise NotHere
    charge = _get(body, "charge_from_generator")
    if not isinstance(charge, bool):
        raise Refused("charge_from_generator is a boolean")
    generator.charge_from_generator = charge
    gateway.house.refresh()
    return storage.gen_config(gateway, {})


def _acb_rows(gateway: Gateway, body: Json) -> list[Json]:
    if gateway.profile.storage_kind != "acb":
        raise NotHere
    rows = _get(body, "acb_sleep")
    known = {battery.serial for battery in gateway.house.batteries}
    if not isinstance(rows, list) or not rows or any(_get(row, "serial_num") not in known for row in rows):
        raise Refused("acb_sleep lists AC batteries of this system")
    return rows


def put_acb_config(gateway: Gateway, body: Json) -> Json:
    """Send AC batteries to sleep."""
    orders = [
        (row["serial_num"], *(int(_number(_get(row, key), 0, 100)) for key in ("sleep_min_soc", "sleep_max_soc")))
        for row in _acb_rows(gateway, body)
    ]
    if any(low > high for _serial, low, high in orders):
        raise Refused("sleep_min_soc is above sleep_max_soc")
    for serial, low, high in orders:
        battery = gateway.house.battery(serial)
        battery.sleep_min_soc, battery.sleep_max_soc = low, high
        if not battery.sleep_enabled:
            battery.sleep_enabled, battery.sleep_since = True, gateway.now
    gateway.house.refresh()
    return storage.acb_config(gateway, {})


def delete_acb_config(gateway: Gateway, body: Json) -> Json:
    """Wake AC batteries."""
    for row in _acb_rows(gateway, body):
        battery = gateway.house.battery(row["serial_num"])
        if battery.sleep_enabled:
            battery.sleep_enabled, battery.sleep_since = False, gateway.now
    gateway.house.refresh()
    return storage.acb_config(gateway, {})


def post_live_stream(gateway: Gateway, body: Json) -> Json:
    """Enable live data for a quarter of an hour."""
    if not any(battery.kind == "encharge" for battery in gateway.house.batteries):
        raise NotHere
    enable = _one_of(_get(body, "enable"), (0, 1))
    gateway.enable_live_data(enable=bool(enable))
    return {"sc_stream": "enabled" if enable else "disabled"}


WRITES: Final[dict[tuple[str, str], Callable[[Gateway, Json], Json]]] = {
    ("PUT", "/admin/lib/tariff"): put_tariff,
    ("POST", "/ivp/ensemble/relay"): post_relay,
    ("POST", "/ivp/ensemble/dry_contacts"): post_dry_contacts,
    ("POST", "/ivp/ss/dry_contact_settings"): post_dry_contact_settings,
    ("POST", "/ivp/ss/gen_mode"): post_gen_mode,
    ("POST", "/ivp/ss/gen_schedule"): post_gen_schedule,
    ("POST", "/ivp/ss/gen_config"): post_gen_config,
    ("PUT", "/admin/lib/acb_config"): put_acb_config,
    ("DELETE", "/admin/lib/acb_config"): delete_acb_config,
    ("POST", "/ivp/livedata/stream"): post_live_stream,
}

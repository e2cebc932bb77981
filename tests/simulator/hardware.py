"""Hardware: inverters, batteries, relays, a generator, and their settings. No physics, no HTTP."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

StorageMode = Literal["self-consumption", "backup", "economy", "savings-mode"]
Action = Literal["apply", "shed", "schedule", "none"]
STORAGE_MODES: Final[tuple[StorageMode, ...]] = ("self-consumption", "backup", "economy", "savings-mode")
ACTIONS: Final[tuple[Action, ...]] = ("apply", "shed", "schedule", "none")
#: Seconds between the reports of a microinverter, each with an offset of its own.
REPORT_PERIOD: Final = 300
#: Seconds until an AC battery has fallen asleep or woken up.
ACB_SLEEP_DELAY: Final = 60.0


@dataclass(slots=True)
class Inverter:
    """A microinverter: a fixed share of the roof, and an energy counter that is updated with its reports."""

    serial: str
    phase: int
    weight: float
    rated: float = 350.0
    #: Wh produced up to the reading `since` of the roof's counter.
    banked: float = 0.0
    since: float = 0.0
    days: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    producing: bool = True
    communicating: bool = True
    deleted: bool = False
    #: Part of its power that it produces: less than 1 for a degraded, dirty or covered panel.
    factor: float = 1.0
    #: Part of its power in the afternoon.
    afternoon: float = 1.0
    #: Condition flags that the inventory reports.
    conditions: tuple[str, ...] = ()
    #: When it lost its connection over the power line, in epoch seconds: it produces without reporting.
    silent_since: float | None = None

    @property
    def offset(self) -> int:
        """Second of the reporting period at which it reports."""
        return int(self.serial[-6:]) * 37 % REPORT_PERIOD

    def last_report(self, now: float) -> float:
        """Epoch second of the newest report."""
        now = now if self.silent_since is None else min(now, self.silent_since)
        return (now - self.offset) // REPORT_PERIOD * REPORT_PERIOD + self.offset


@dataclass(slots=True)
class Battery:
    """An IQ battery ("encharge") or an AC battery ("acb"), which can be put to sleep."""

    serial: str
    kind: Literal["encharge", "acb"] = "encharge"
    capacity: float = 5000.0
    power: float = 3840.0
    part: str = "836-01826-r76"
    firmware: str = "3.0.6614_rel/31.13"
    sleep_enabled: bool = False
    sleep_since: float = 0.0
    sleep_min_soc: int = 25
    sleep_max_soc: int = 30

    def asleep(self, now: float) -> bool:
        """Whether it sleeps by now, which it does some time after the setting."""
        return self.sleep_enabled == (now - self.sleep_since >= ACB_SLEEP_DELAY)


@dataclass(slots=True)
class Relay:
    """A dry contact of the system controller. Its load is part of the house's load while it is closed."""

    id: str
    load_name: str = ""
    type: Literal["NONE", "PV", "LOAD", "3RD-PV"] = "NONE"
    watts: float = 0.0
    closed: bool = True
    mode: Literal["manual", "soc"] = "manual"
    grid_action: Action = "none"
    micro_grid_action: Action = "none"
    gen_action: Action = "none"
    soc_low: float = 30.0
    soc_high: float = 70.0
    essential_start_time: float = 32400.0
    essential_end_time: float = 57600.0
    priority: float = 1.0
    black_s_start: float = 5.0
    safe_state_action: Action = "shed"
    black_start_retries: float = 10_000.0
    action_retries: float = 1.0
    pv_phase_select: list[str] = field(default_factory=list)
    override: bool = False
    manual_override: bool = True
    pv_serial_nb: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Generator:
    """A standby generator behind the system controller's second input."""

    rated: float = 8000.0
    mode: Literal["off", "on", "auto"] = "auto"
    start_soc: int = 30
    stop_soc: int = 70
    charge_from_generator: bool = True
    running: bool = False
    exercise_freq_in_weeks: int = 2
    exercise_start: int = 600
    exercise_duration: int = 20
    exercise_day: str = "Sat"
    last_updated_by: str = "ITK"
    max_cont_gen_amps: float = 33.0
    min_gen_loading_perc: int = 5
    max_gen_efficiency_perc: int = 100
    start_method: str = "auto"
    warm_up_mins: int = 5
    cool_down_mins: int = 5
    gen_type: str = "Standby"
    model: str = "G007033-1 (8kW)"
    manufacturer: str = "Generac"
    generator_id: str = "3042118807"


@dataclass(slots=True)
class StorageSettings:
    """Battery settings that the controller applies; those in the tariff document may differ."""

    mode: StorageMode = "self-consumption"
    reserve: float = 20.0
    very_low: int = 5
    charge_from_grid: bool = False
    opt_schedules: bool = False

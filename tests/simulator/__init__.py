"""A simulated house with a roof, a battery and a grid, and a gateway that answers about it. See README.md."""

from .clock import Clock
from .cloud import Cloud
from .faults import (
    NAN,
    Body,
    Change,
    Drop,
    EmptyList,
    EmptyObject,
    Held,
    Html,
    Missing,
    NightlyRestart,
    Null,
    Replace,
    Silent,
    Slow,
    Status,
    Truncated,
)
from .house import House
from .lies import (
    LifetimeWraps,
    Step,
    StorageCtHalves,
    TodayIsLifetime,
    TodayNotReset,
    TodayPlus32Bits,
    TodayResetsAbove,
    TotalIsNet,
    Zeros,
)
from .profiles import PROFILES, Profile
from .server import Simulator
from .stranger import Stranger

__all__ = [
    "NAN",
    "PROFILES",
    "Body",
    "Change",
    "Clock",
    "Cloud",
    "Drop",
    "EmptyList",
    "EmptyObject",
    "Held",
    "House",
    "Html",
    "LifetimeWraps",
    "Missing",
    "NightlyRestart",
    "Null",
    "Profile",
    "Replace",
    "Silent",
    "Simulator",
    "Slow",
    "Status",
    "Step",
    "StorageCtHalves",
    "Stranger",
    "TodayIsLifetime",
    "TodayNotReset",
    "TodayPlus32Bits",
    "TodayResetsAbove",
    "TotalIsNet",
    "Truncated",
    "Zeros",
]

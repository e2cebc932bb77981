"""A simulated house with a roof, a battery and a grid connection, and its gateway. See README.md."""

from .clock import Clock
from .cloud import Cloud
from .counter_faults import (
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
from .other_server import OtherServer
from .profiles import PROFILES, Profile
from .server import Simulator

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
    "OtherServer",
    "Profile",
    "Replace",
    "Silent",
    "Simulator",
    "Slow",
    "Status",
    "Step",
    "StorageCtHalves",
    "TodayIsLifetime",
    "TodayNotReset",
    "TodayPlus32Bits",
    "TodayResetsAbove",
    "TotalIsNet",
    "Truncated",
    "Zeros",
]

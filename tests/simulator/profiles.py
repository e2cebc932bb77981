"""The systems that can be simulated. A new system is a new `Profile`: all else is derived from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from .hardware import Battery, Generator, Relay, StorageSettings

CtType = Literal["production", "net-consumption", "total-consumption", "storage", "backfeed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """Wh of the counters before the simulation; import is calculated from the balance."""

    production: float
    load: float
    exported: float = 0.0
    charged: float = 0.0
    discharged: float = 0.0
    generated: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A system."""

    name: str
    about: str
    serial: str
    firmware: str
    part: str
    inverters: int
    lifetime: Lifetime
    #: Phases with a CT: 1, 2 (split phase) or 3.
    phases: int = 1
    phase_mode: Literal["single", "split", "three"] = "three"
    cts: tuple[CtType, ...] = ()
    #: Inverters have their own counters with another start: their share of the lifetime production.
    inverter_share: float = 1.0
    #: Without CTs, below fw 8: `whLifetime` of the inverters wraps at 2^32 joules.
    wraps: bool = False
    rated: float = 350.0
    device_data: bool = False
    batteries: tuple[Battery, ...] = ()
    settings: StorageSettings = field(default_factory=StorageSettings)
    soc: float = 55.0
    enpower: str | None = None
    collar: str | None = None
    c6: str | None = None
    relays: tuple[Relay, ...] = ()
    generator: Generator | None = None
    #: Fw 8.2.4225 and later: while `opt_schedules` is on the controller ignores the stored tariff; the cloud undoes it.
    cloud_owns_tariff: bool = False
    base_load: float = 250.0
    extra_load: float = 900.0
    voltage: float = 230.0
    frequency: float = 50.0
    latitude: float = 52.37
    longitude: float = 4.9
    zone: str = "Europe/Amsterdam"

    @property
    def metered(self) -> bool:
        """Whether the gateway is one with CT inputs (`imeter`)."""
        return bool(self.cts)

    @property
    def storage_kind(self) -> str | None:
        """Kind of the batteries, if there are any."""
        return self.batteries[0].kind if self.batteries else None


RELAYS: Final = (
    Relay("NC1", "Pool pump", "LOAD", 250.0, grid_action="apply", micro_grid_action="shed", gen_action="shed"),
    Relay(
        *("NC2", "Water heater", "LOAD", 300.0),
        mode="soc",
        grid_action="apply",
        micro_grid_action="apply",
        gen_action="apply",
        priority=2.0,
    ),
    Relay(
        "NO1",
        "Workshop",
        "LOAD",
        100.0,
        grid_action="apply",
        micro_grid_action="apply",
        gen_action="apply",
        priority=3.0,
    ),
    Relay("NO2", closed=False, override=False, priority=4.0),
)

_BATTERY = Lifetime(production=13_431_336, load=11_900_000, exported=4_173_334, charged=5_409_935, discharged=4_873_871)

PROFILES: Final[dict[str, Profile]] = {
    profile.name: profile
    for profile in (
        Profile(
            name="legacy_3_9",
            about="Envoy-R of 2014: firmware 3.9, no meters, plain HTTP with digest authentication",
            serial="121426018203",
            firmware="R3.9.36",
            part="800-00069-r05",
            inverters=14,
            rated=250.0,
            lifetime=Lifetime(production=31_412_540, load=40_000_000, exported=20_000_000),
        ),
        Profile(
            name="legacy_5",
            about="Envoy-S standard: firmware 5, no meters, plain HTTP with digest authentication",
            serial="121621014377",
            firmware="D5.0.62",
            part="800-00551-r02",
            inverters=20,
            rated=260.0,
            lifetime=Lifetime(production=48_742_152, load=60_000_000, exported=30_000_000),
        ),
        Profile(
            name="standard_7_6",
            about="IQ Gateway without CTs: firmware 7.6, token",
            serial="122241068415",
            firmware="D7.6.175",
            part="800-00656-r06",
            inverters=13,
            wraps=True,
            lifetime=Lifetime(production=4_544_282, load=9_000_000, exported=2_500_000),
        ),
        Profile(
            name="metered_1phase",
            about="IQ Gateway Metered: firmware 8, one phase, production and net-consumption CT",
            serial="122303027790",
            firmware="D8.2.4264",
            part="800-00654-r08",
            inverters=12,
            cts=("production", "net-consumption"),
            device_data=True,
            inverter_share=0.73,
            lifetime=Lifetime(production=9_183_742, load=12_400_000, exported=5_300_000),
        ),
        Profile(
            name="total_consumption",
            about="As metered_1phase, but the consumption CT measures the house (total-consumption)",
            serial="122312051866",
            firmware="D8.2.127",
            part="800-00654-r08",
            inverters=10,
            cts=("production", "total-consumption"),
            lifetime=Lifetime(production=6_205_118, load=7_912_220, exported=3_000_000),
        ),
        Profile(
            name="three_phase",
            about="Three phases, production and net-consumption CT, no battery",
            serial="122318093351",
            firmware="D8.3.5167",
            part="800-00554-r03",
            inverters=18,
            phases=3,
            cts=("production", "net-consumption"),
            device_data=True,
            inverter_share=0.88,
            extra_load=1600.0,
            lifetime=Lifetime(production=18_569_121, load=21_253_002, exported=9_100_000),
        ),
        Profile(
            name="full_battery",
            about="Split phase with everything: CTs, IQ System Controller, two IQ batteries, four relays, generator",
            serial="202328041177",
            firmware="D8.2.4382",
            part="800-00647-r11",
            inverters=24,
            phases=2,
            phase_mode="split",
            cts=("production", "net-consumption", "storage"),
            device_data=True,
            inverter_share=0.91,
            batteries=(Battery("492309017302"), Battery("492309017511")),
            enpower="202226050419",
            relays=RELAYS,
            generator=Generator(),
            voltage=120.0,
            frequency=60.0,
            extra_load=1100.0,
            lifetime=_BATTERY,
        ),
        Profile(
            name="battery_total",
            about="Two IQ batteries, production and total-consumption CT: neither grid nor batteries are measured",
            serial="122407093355",
            firmware="D8.2.4382",
            part="800-00654-r08",
            inverters=14,
            cts=("production", "total-consumption"),
            batteries=(Battery("492309018821"), Battery("492309019047")),
            lifetime=_BATTERY,
        ),
        Profile(
            name="ac_batteries",
            about="AC batteries (ACB) with sleep mode, one phase, production and net-consumption CT",
            serial="122116046628",
            firmware="D8.2.4382",
            part="800-00654-r06",
            inverters=8,
            cts=("production", "net-consumption"),
            batteries=tuple(
                Battery(serial, "acb", 1240.0, 260.0, "800-00930-r03", "520-00092-r01-v02.13.02")
                for serial in ("121917031187", "121917031263", "121917032008")
            ),
            settings=StorageSettings(reserve=0.0),
            lifetime=Lifetime(
                production=15_160_889, load=27_923_504, exported=3_100_000, charged=2_210_000, discharged=1_950_000
            ),
        ),
        Profile(
            name="collar",
            about="IQ Meter Collar and C6 combiner controller: split phase, two IQ batteries, backfeed CT",
            serial="202519028864",
            firmware="D8.3.5167",
            part="800-02409-r03",
            inverters=17,
            phases=2,
            phase_mode="split",
            cts=("production", "net-consumption", "storage", "backfeed"),
            device_data=True,
            batteries=tuple(
                Battery(serial, part="836-01250-r00", firmware="4.5.35") for serial in ("492516021833", "492517009246")
            ),
            collar="482520034417",
            c6="482523047190",
            settings=StorageSettings(opt_schedules=True),
            cloud_owns_tariff=True,
            voltage=120.0,
            frequency=60.0,
            lifetime=replace(_BATTERY, production=3_047_077, load=3_812_912, exported=1_222_728),
        ),
        Profile(
            name="sixty_inverters",
            about="Sixty inverters on three phases: more than /ivp/pdm/device_data lists",
            serial="122407083920",
            firmware="D8.2.4382",
            part="800-00554-r03",
            inverters=60,
            phases=3,
            cts=("production", "net-consumption"),
            device_data=True,
            inverter_share=0.97,
            extra_load=4000.0,
            lifetime=Lifetime(production=61_204_400, load=55_350_800, exported=30_000_000),
        ),
    )
}
DEFAULT: Final = "full_battery"

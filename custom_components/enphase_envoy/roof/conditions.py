"""Conditions of a device in `device_status` of `/inventory.json`, and the status that each is shown as."""

from collections.abc import Collection
from typing import Final

_PREFIXES: Final = ("envoy.cond_flags.", "envoy.global.")

#: Statuses in the order of gravity, and the condition flags of the gateway's own user interface that each covers,
#: without their group: defects of the device; defects of the panel's side; temperature; the grid; communication;
#: warnings and resets; states that are part of operation. The same flag in two groups is the same condition.
_CONDITIONS: Final = {
    "hardware_error": ("hardwareError", "acMonitorError", "vreferror", "badflashimage", "flasherror"),
    "battery_error": (
        *("bmuhardwareerror", "bmuimageerror", "bmusenseerror", "cibcanerror", "cibimageerror", "cibspierror"),
        *("cellmaxtemperror", "cellmintemperror", "cellmaxvoltageerror", "cellminvoltageerror"),
    ),
    "no_grid_profile": ("bricked",),
    "ground_fault": ("gfitripped",),
    "dc_resistance_low": ("dcresistancelowpoweroff", "dcresistancelow"),
    "dc_voltage_high": ("dcvoltagetoohigh",),
    "over_temperature": ("criticaltemperature", "overtemperature"),
    "grid_missing": ("gridgone",),
    "grid_unstable": ("gridinstability", "dfdt", "gridoffsethi", "gridoffsetlow", "nsync"),
    "ac_voltage_out_of_range": (
        *("acvoltageoor", "acvoltageoosp1", "acvoltageoosp2", "acvoltageoosp3"),
        *("acvoltagehigh", "acvoltagelow", "acvoltage_avg_hi"),
    ),
    "ac_frequency_out_of_range": ("acfrequencyoor", "acfrequencyhigh", "acfrequencylow"),
    "not_reporting": ("failure",),
    "communication_error": ("plmerror", "iuplinkproblem", "secmodeenterfailure", "secmodeexitfailure"),
    "meter_error": ("check_meter",),
    "hardware_warning": ("hardwareWarning",),
    "battery_warning": (
        *("bmumaxcurrentwarning", "cellmaxtempwarning", "cellmintempwarning"),
        *("cellmaxvoltagewarning", "cellminvoltagewarning"),
    ),
    "poor_power_quality": ("power_quality",),
    "skipped_cycles": ("highskiprate", "skippedcycles", "invalidinterval"),
    "alert": ("alertactive",),
    "unexpected_reset": ("watchdogreset", "unexpectedreset"),
    "off_by_command": ("pwrgenoffbycmd",),
    "power_limited": ("agfpowerlimiting",),
    "test_mode": ("altpwrgenmode", "altvfsettings", "tpmtest", "manutestmode"),
    "running_on_ac": ("runningonac",),
    "low_light": ("dcvoltagetoolow", "dc-pwr-low"),
    "restarting": ("commandedreset", "poweronreset"),
    "not_monitored": ("notmonitored",),
    "discovering": ("discovering",),
    "sleeping": ("sleeping",),
    "normal": ("ok",),
}
#: All statuses, the most severe first.
STATUSES: Final = tuple(_CONDITIONS)
#: The status of each flag.
FLAGS: Final = {condition: status for status, conditions in _CONDITIONS.items() for condition in conditions}
_GRAVITY: Final = {status: place for place, status in enumerate(STATUSES)}
#: The gateway commands these: such a panel is not judged.
_COMMANDED: Final = frozenset({"off_by_command", "power_limited"})
#: Every panel reports these at night.
_AT_NIGHT: Final = frozenset({"low_light", "not_reporting"})


def _statuses(codes: Collection[str]) -> set[str]:
    """Return the statuses of codes such as `envoy.cond_flags.pcu_ctrl.dc-pwr-low`, as far as they are in the table."""
    conditions = (code.rsplit(".", 1)[-1] for code in codes if code.startswith(_PREFIXES))
    return {FLAGS[condition] for condition in conditions if condition in FLAGS}


def most_severe(codes: Collection[str], *, is_dark: bool = False) -> str | None:
    """Return the most severe status of several codes; None if none of them is in the table.

    With `is_dark`, statuses that every panel has at night count as `sleeping`.
    """
    found = _statuses(codes)
    if is_dark and found & _AT_NIGHT:
        found = found - _AT_NIGHT | {"sleeping"}
    return min(found, key=_GRAVITY.__getitem__, default=None)


def is_commanded(codes: Collection[str]) -> bool:
    """Return whether the gateway commands a panel to produce less than it could."""
    return not _COMMANDED.isdisjoint(_statuses(codes))

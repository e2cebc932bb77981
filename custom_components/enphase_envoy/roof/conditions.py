"""Conditions of a device in `device_status` of `/inventory.json`, from the gravest to normal operation."""

from collections.abc import Iterable
from typing import Final

_PREFIXES: Final = ("envoy.cond_flags.", "envoy.global.")

#: Condition flags of the gateway's own user interface, without their group, in the order of gravity: defects of the
#: device; defects of the panel's side; temperature; the grid; communication; warnings and resets; states that are
#: part of operation. The same flag in two groups is the same condition.
CONDITIONS: Final = (
    "hardwareError",
    "bmuhardwareerror",
    "bmuimageerror",
    "bmusenseerror",
    "cibcanerror",
    "cibimageerror",
    "cibspierror",
    "badflashimage",
    "flasherror",
    "vreferror",
    "acMonitorError",
    "bricked",
    "gfitripped",
    "dcresistancelowpoweroff",
    "dcresistancelow",
    "dcvoltagetoohigh",
    "criticaltemperature",
    "cellmaxtemperror",
    "cellmintemperror",
    "cellmaxvoltageerror",
    "cellminvoltageerror",
    "overtemperature",
    "gridgone",
    "gridinstability",
    "acvoltageoor",
    "acvoltageoosp1",
    "acvoltageoosp2",
    "acvoltageoosp3",
    "acvoltagehigh",
    "acvoltagelow",
    "acvoltage_avg_hi",
    "acfrequencyoor",
    "acfrequencyhigh",
    "acfrequencylow",
    "dfdt",
    "gridoffsethi",
    "gridoffsetlow",
    "nsync",
    "failure",
    "plmerror",
    "iuplinkproblem",
    "check_meter",
    "secmodeenterfailure",
    "secmodeexitfailure",
    "hardwareWarning",
    "bmumaxcurrentwarning",
    "cellmaxtempwarning",
    "cellmintempwarning",
    "cellmaxvoltagewarning",
    "cellminvoltagewarning",
    "power_quality",
    "highskiprate",
    "skippedcycles",
    "invalidinterval",
    "alertactive",
    "watchdogreset",
    "unexpectedreset",
    "pwrgenoffbycmd",
    "agfpowerlimiting",
    "altpwrgenmode",
    "altvfsettings",
    "tpmtest",
    "manutestmode",
    "runningonac",
    "dcvoltagetoolow",
    "dc-pwr-low",
    "commandedreset",
    "poweronreset",
    "notmonitored",
    "discovering",
    "sleeping",
    "ok",
)
_GRAVITY: Final = {condition: place for place, condition in enumerate(CONDITIONS)}
#: The gateway commands these: such a panel is not judged.
COMMANDED: Final = frozenset({"pwrgenoffbycmd", "agfpowerlimiting"})
#: Every panel reports these at night.
AT_NIGHT: Final = frozenset({"dc-pwr-low", "dcvoltagetoolow", "failure"})


def condition_of(code: str) -> str | None:
    """Return the condition of a code, e.g. `dc-pwr-low`; None for one that is not in the table."""
    condition = code.rsplit(".", 1)[-1]
    return condition if code.startswith(_PREFIXES) and condition in _GRAVITY else None


def gravest(codes: Iterable[str], *, is_dark: bool = False) -> str | None:
    """Return the gravest condition of several codes; None if none of them is in the table.

    With `is_dark`, conditions that every panel reports at night count as `sleeping`.
    """
    found = {condition for code in codes if (condition := condition_of(code)) is not None}
    if is_dark and found & AT_NIGHT:
        found = found - AT_NIGHT | {"sleeping"}
    return min(found, key=_GRAVITY.__getitem__, default=None)

"""Microinverters and the roof, beside what pyenphase models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .snapshot import Address

#: Field of the statuses, of the health of each panel, and the objects of the roof.
STATUSES: Final = "panels"
HEALTH: Final = "panel_health"
COUNTS: Final[Address] = ("panel_counts",)
ROOF: Final[Address] = ("roof",)


@dataclass(frozen=True, slots=True)
class PanelStatus:
    """Status of a microinverter, from `/inventory.json`."""

    #: Condition flags such as `envoy.cond_flags.pcu_ctrl.dc-pwr-low`; None where they are not reported.
    codes: tuple[str, ...] | None
    producing: bool | None
    communicating: bool | None
    #: Whether the sun is too low for the panel to produce.
    is_dark: bool = False


@dataclass(frozen=True, slots=True)
class PanelCounts:
    """How many microinverters there are, and how many of them produce and communicate.

    From `/inventory.json`; with live power the first two are from `iqpm` of the live data status.
    """

    total: int
    producing: int
    #: None without an inventory.
    communicating: int | None


@dataclass(frozen=True, slots=True)
class PanelHealth:
    """Whether a panel produces what it should."""

    #: Key of the reason: `not_producing`, `no_reports` or `degraded`; None without a problem.
    problem: str | None


@dataclass(frozen=True, slots=True)
class RoofState:
    """All panels together."""

    total: int
    #: Reasons of the panels with a problem, by serial number.
    problems: Mapping[str, str]

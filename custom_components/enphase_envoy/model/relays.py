"""What follows from several reports about relays, and that no single one contains."""

from dataclasses import dataclass
from typing import Final

from .snapshot import Address

#: Where the grid relay is found.
GRID_RELAY: Final[Address] = ("grid_relay",)


@dataclass(frozen=True, slots=True)
class GridRelay:
    """The relay that connects the house to the grid."""

    #: Whether it is on its way to the position that was requested last.
    is_moving: bool

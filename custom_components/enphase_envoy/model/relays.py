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


def is_closed(position: object) -> bool | None:
    """Return whether a relay is closed; None for a word that is not known, which may mean anything.

    An open relay may be on its way: `open synchronizing`.
    """
    word = position.partition(" ")[0] if isinstance(position, str) else ""
    return {"closed": True, "open": False}.get(word)

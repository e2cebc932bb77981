"""Arrangement of the panels of an entry: which array each is in, its place there, and how it is mounted."""

from collections.abc import Mapping
from typing import Any, Final

import voluptuous as vol

#: More than a gateway can have.
_MOST_PANELS: Final = 5000
_MOST_ARRAYS: Final = 100
#: Steps of the grid: a panel has 3 by 5.
_FARTHEST: Final = 10_000


def _each_once(arrays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check that no panel is in two places. Raises vol.Invalid."""
    serials = [panel["serial"] for array in arrays for panel in array["panels"]]
    if len(serials) > _MOST_PANELS:
        raise vol.Invalid("too many panels")
    if len(set(serials)) != len(serials):
        raise vol.Invalid("a panel is in two places")
    return arrays


_PLACE: Final = vol.All(vol.Coerce(int), vol.Range(-_FARTHEST, _FARTHEST))
_PANEL: Final = vol.Schema(
    {
        vol.Required("serial"): vol.All(str, vol.Length(1, 64)),
        vol.Required("x"): _PLACE,
        vol.Required("y"): _PLACE,
        vol.Optional("landscape", default=False): bool,
    }
)
_ARRAY: Final = vol.Schema(
    {
        vol.Required("name"): vol.All(str, vol.Length(0, 100)),
        #: Degrees from north to east; None if the user did not enter it.
        vol.Optional("azimuth", default=None): vol.Any(None, vol.All(vol.Any(int, float), vol.Range(0, 360))),
        vol.Required("panels"): [_PANEL],
    }
)
ARRANGEMENT: Final = vol.Schema(
    {
        vol.Optional("version", default=1): 1,
        vol.Required("arrays"): vol.All([_ARRAY], vol.Length(0, _MOST_ARRAYS), _each_once),
    }
)


def valid(stored: Mapping[str, object] | None) -> dict[str, Any] | None:
    """Return a stored arrangement, None if there is none or it is invalid."""
    try:
        arrangement: dict[str, Any] | None = ARRANGEMENT(stored) if stored else None
    except vol.Invalid:
        return None
    return arrangement

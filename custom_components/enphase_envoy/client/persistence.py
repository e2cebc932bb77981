"""What is stored of a gateway, to be restored after a restart. Pure; contains no token and no password.

Stored times are wall-clock times, those in use are seconds of the polls' clock: only the first goes on while Home
Assistant does not run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
import math
from types import MappingProxyType
from typing import Final

from pyenphase.envoy import get_updaters

from ..model.snapshot import Address, from_key, to_key
from ..model.validation import is_number
from .endpoints import Document, Endpoint
from .firmware import GatewayInfo
from .paths import COUNTER_FIELDS

#: The updaters that may feed a field.
_UPDATERS: Final = frozenset(updater.__name__ for updater in get_updaters())


@dataclass(frozen=True, slots=True)
class ClockPair:
    """The present time on both clocks."""

    #: Seconds of the polls' clock.
    polls: float
    #: Epoch seconds.
    wall: float

    def to_wall(self, at: float) -> float | None:
        """Return a time of the polls' clock as epoch seconds; None for never."""
        return self.wall - (self.polls - at) if math.isfinite(at) else None

    def from_wall(self, at: object) -> float:
        """Return epoch seconds on the polls' clock; 1970 for a time that is invalid or in the future."""
        if not isinstance(at, int | float) or not 0 <= at <= self.wall:
            at = 0
        return self.polls - (self.wall - at)


@dataclass(frozen=True, slots=True)
class StoredGateway:
    """All that was restored."""

    info: GatewayInfo
    #: The updater of the library that feeds each field with counters.
    sources: dict[str, str]
    endpoints: dict[str, Endpoint]
    #: Identities of the objects so far, and the seconds for which each was absent.
    known: dict[Address, float]
    #: The updaters whose production meter has counted.
    counting: set[str]


def dump(
    info: GatewayInfo,
    sources: Mapping[str, str],
    endpoints: Mapping[str, Endpoint],
    now: ClockPair,
    known: Iterable[Address] = (),
    absent: Mapping[Address, float] = MappingProxyType({}),
    counting: Iterable[str] = (),
) -> dict[str, object]:
    """Return the data to store, in JSON's types."""
    documents = {
        path: {
            "body": document.text,
            "good": endpoint.good is not None,
            "seen": now.to_wall(endpoint.freshness.updated_at if endpoint.good else endpoint.requested_at),
            "took": endpoint.duration,
        }
        for path, endpoint in endpoints.items()
        if (document := endpoint.good or endpoint.latest) and not endpoint.is_removed
    }
    objects = sorted(map(to_key, known))
    return {
        "gateway": asdict(info),
        "sources": dict(sources),
        "documents": documents,
        "objects": objects,
        "absent": {to_key(identity): round(seconds) for identity, seconds in absent.items()},
        "counting": sorted(counting),
    }


def load(stored: Mapping[str, object], now: ClockPair) -> StoredGateway | None:
    """Return what was stored, as far as it is valid; None when it does not identify a gateway."""
    gateway, sources, documents = (_part(stored, name) for name in ("gateway", "sources", "documents"))
    try:
        info = GatewayInfo.load(gateway)
    except LookupError, TypeError, ValueError:
        return None
    endpoints = {path: endpoint for path in documents if (endpoint := _endpoint(path, _part(documents, path), now))}
    valid = {
        field: name
        for field, name in sources.items()
        if field in COUNTER_FIELDS and isinstance(name, str) and name in _UPDATERS
    }
    absent = {key: float(seconds) for key, seconds in _part(stored, "absent").items() if is_number(seconds)}
    known = {from_key(key): absent.get(key, 0.0) for key in _words(stored, "objects")}
    counting = _UPDATERS.intersection(_words(stored, "counting"))
    return StoredGateway(info, valid, endpoints, known, set(counting))


def _words(stored: Mapping[str, object], name: str) -> list[str]:
    words = stored.get(name)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _part(stored: Mapping[str, object], name: str) -> dict[str, object]:
    part = stored.get(name)
    return part if isinstance(part, dict) else {}


def _endpoint(path: str, stored: Mapping[str, object], now: ClockPair) -> Endpoint | None:
    """Return an endpoint as it was, None when its document is invalid."""
    body, duration = stored.get("body"), stored.get("took")
    if not isinstance(body, str):
        return None
    endpoint = Endpoint.of(path)
    endpoint.latest = Document(path, body.encode())
    try:
        _ = endpoint.latest.content
    except ValueError, TypeError:
        return None
    if stored.get("good"):
        endpoint.good = endpoint.latest
        endpoint.freshness.updated_at = now.from_wall(stored.get("seen"))
    endpoint.duration = float(duration) if is_number(duration) else 0.0
    return endpoint

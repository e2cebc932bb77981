"""What is written down of a gateway, to be known again after a restart. Pure; no token and no password is in it.

Times are wall-clock times there, and seconds of the clock of the polls here: only the first goes on while nobody runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
import math
from typing import Final

from pyenphase.envoy import get_updaters
from pyenphase.json import json_loads

from ..model.validation import is_number
from .endpoints import Document, Endpoint
from .firmware import GatewayInfo
from .paths import COUNTER_FIELDS

#: What may feed a field.
_UPDATERS: Final = frozenset(updater.__name__ for updater in get_updaters())


@dataclass(frozen=True, slots=True)
class ClockPair:
    """What both clocks show now."""

    #: Seconds of the clock of the polls.
    polls: float
    #: Epoch seconds.
    wall: float

    def to_wall(self, seen: float) -> float | None:
        """Return a time of the clock of the polls as epoch seconds; None for never."""
        return self.wall - (self.polls - seen) if math.isfinite(seen) else None

    def from_wall(self, seen: object) -> float:
        """Return epoch seconds on the clock of the polls; 1970 where they can't be: a clock was wrong."""
        if not isinstance(seen, int | float) or not 0 <= seen <= self.wall:
            seen = 0
        return self.polls - (self.wall - seen)


@dataclass(frozen=True, slots=True)
class StoredGateway:
    """All that is known again."""

    identity: GatewayInfo
    #: Which updater of the library feeds each field that holds counters.
    sources: dict[str, str]
    endpoints: dict[str, Endpoint]


def dump(
    identity: GatewayInfo, sources: Mapping[str, str], endpoints: Iterable[tuple[str, Endpoint]], now: ClockPair
) -> dict[str, object]:
    """Return what to save, in JSON's types."""
    documents = {
        path: {
            "body": document.text,
            "good": endpoint.good is not None,
            "seen": now.to_wall(endpoint.freshness.updated_at if endpoint.good else endpoint.asked),
            "took": endpoint.took,
        }
        for path, endpoint in endpoints
        if (document := endpoint.good or endpoint.latest) and not endpoint.is_gone
    }
    return {"gateway": asdict(identity), "sources": dict(sources), "documents": documents}


def load(saved: Mapping[str, object], now: ClockPair) -> StoredGateway | None:
    """Return what was saved, as far as it makes sense; None when nobody can tell which gateway it is about."""
    gateway, sources, documents = (_part(saved, name) for name in ("gateway", "sources", "documents"))
    try:
        identity = GatewayInfo.read(gateway)
    except LookupError, TypeError, ValueError:
        return None
    endpoints = {path: found for path in documents if (found := _endpoint(path, _part(documents, path), now))}
    fed_by = {
        field: name
        for field, name in sources.items()
        if field in COUNTER_FIELDS and isinstance(name, str) and name in _UPDATERS
    }
    return StoredGateway(identity, fed_by, endpoints)


def _part(saved: Mapping[str, object], name: str) -> dict[str, object]:
    part = saved.get(name)
    return part if isinstance(part, dict) else {}


def _endpoint(path: str, saved: Mapping[str, object], now: ClockPair) -> Endpoint | None:
    """Return an endpoint as it was, None when its document is none."""
    body, took = saved.get("body"), saved.get("took")
    try:
        if not isinstance(body, str):
            return None
        json_loads(path, body)
    except ValueError:
        return None
    endpoint = Endpoint.of(path)
    endpoint.latest = Document(path, body.encode())
    if saved.get("good"):
        endpoint.good = endpoint.latest
        endpoint.freshness.updated_at = now.from_wall(saved.get("seen"))
    endpoint.took = float(took) if is_number(took) else 0.0
    return endpoint

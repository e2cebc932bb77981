"""Faults on request: statuses, missing answers, broken connections, changed documents.

A fault may change the document before it is serialised (`edit`) and the answer afterwards (`spoil`). Faults of counters
are edits too; they have a module of their own, `counter_faults.py`.
"""

from __future__ import annotations

from asyncio import Event
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import time as TimeOfDay  # noqa: N812 - a class
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Self

from .gateway import Gateway, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .clock import Clock

NAN: Final = float("nan")


@dataclass(slots=True)
class Answer:
    """An answer before it is sent."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    #: Seconds of real time before it is sent; None for never.
    delay: float | None = 0.0
    #: An event to wait for before it is sent.
    hold: Event | None = None
    #: Break the connection after this many bytes of the body; -1 before anything is sent.
    cut: int | None = None


class Fault:
    """Base class, which changes nothing."""

    def __repr__(self) -> str:
        """Return the name, which is the same in each process: it names parameters of tests."""
        return type(self).__name__

    @property
    def blocks(self) -> bool:
        """Whether a write has no effect; otherwise it takes effect and only the answer is changed."""
        return False

    @property
    def replaces(self) -> bool:
        """Whether it replaces the whole answer, also of a stream."""
        return type(self).spoil is not Fault.spoil

    def stall(self, _count: int) -> float | None:
        """Return the seconds of real time to the next event after `count` events of a stream, None for the usual."""
        return None

    def applies(self, _gateway: Gateway) -> bool:
        """Whether the fault is present now."""
        return True

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Return the changed document."""
        return document

    def spoil(self, _answer: Answer) -> None:
        """Change the answer."""


@dataclass
class Status(Fault):
    """Any status instead of the answer."""

    code: int
    text: str = ""

    @property
    def blocks(self) -> bool:
        """Errors do."""
        return self.code >= 400

    def spoil(self, answer: Answer) -> None:
        """Replace the answer."""
        answer.status, answer.content_type, answer.body = self.code, "text/html", self.text.encode()


@dataclass
class Slow(Fault):
    """The right answer, late by seconds of real time."""

    seconds: float

    def spoil(self, answer: Answer) -> None:
        """Delay the answer."""
        answer.delay = self.seconds


@dataclass
class Held(Fault):
    """The right answer, held back until an event is set."""

    released: Event = field(default_factory=Event)
    #: Set once a request waits for it.
    waiting: Event = field(default_factory=Event)

    def spoil(self, answer: Answer) -> None:
        """Hold the answer back."""
        answer.hold = self.released
        self.waiting.set()

    def release(self) -> None:
        """Send all answers that are held back, and later ones at once."""
        self.released.set()


@dataclass
class Stall(Fault):
    """A stream that stops for seconds of real time after each burst of so many events."""

    seconds: float
    burst: int = 5

    def stall(self, count: int) -> float:
        """Return the pause, or none within a burst."""
        return 0.0 if count % self.burst else self.seconds


class Freeze(Fault):
    """A document that stays as it was when it was first requested."""

    def __init__(self) -> None:
        """Start with the next document."""
        self._first: Json = None

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Return the first document."""
        self._first = self._first or deepcopy(document)
        return self._first


class AllZeros(Fault):
    """A document with zeros in place of all its powers, voltages and currents."""

    def edit(self, _path: str, document: Json, gateway: Gateway) -> Json:
        """Return zeros for all numbers but identifiers and times."""
        if isinstance(document, dict):
            return {
                key: value if key in ("eid", "timestamp", "last_update") else self.edit(_path, value, gateway)
                for key, value in document.items()
            }
        if isinstance(document, list):
            return [self.edit(_path, value, gateway) for value in document]
        return 0 if isinstance(document, int | float) else document


class Silent(Fault):
    """The connection is accepted, and no answer is sent."""

    @property
    def blocks(self) -> bool:
        """The request is not processed."""
        return True

    def spoil(self, answer: Answer) -> None:
        """Never answer."""
        answer.delay = None


@dataclass
class Drop(Fault):
    """The connection breaks: before the first byte, or within the body."""

    part: float | None = None

    @property
    def blocks(self) -> bool:
        """Only without any answer."""
        return self.part is None

    def spoil(self, answer: Answer) -> None:
        """Cut the answer."""
        answer.cut = -1 if self.part is None else int(len(answer.body) * self.part)


class NightlyRestart(Drop):
    """Services restart shortly after 23:00 local time: connections break for some minutes, every night."""

    def __init__(self, minutes: float = 5) -> None:
        """Last for some minutes."""
        super().__init__()
        self._minutes = minutes

    def applies(self, gateway: Gateway) -> bool:
        """Whether it is night."""
        local = gateway.clock.local(gateway.house.zone)
        since = (local.hour - 23) * 60 + local.minute + local.second / 60
        return local.time() >= TimeOfDay(23) and since < self._minutes


@dataclass
class Truncated(Fault):
    """A complete HTTP answer with a truncated body."""

    part: float = 0.6

    def spoil(self, answer: Answer) -> None:
        """Shorten the body."""
        answer.body = answer.body[: int(len(answer.body) * self.part)]


@dataclass
class Body(Fault):
    """Status 200 with another body."""

    text: str
    content_type: str = "application/json"

    def spoil(self, answer: Answer) -> None:
        """Replace the body."""
        answer.status, answer.content_type, answer.body = 200, self.content_type, self.text.encode()


def Html() -> Body:  # noqa: N802 - reads like the others
    """Return an HTML page instead of JSON."""
    return Body("<!DOCTYPE html><html><head><title>Envoy</title></head><body>Please log in</body></html>", "text/html")


def Null() -> Body:  # noqa: N802
    """JSON null."""
    return Body("null")


def EmptyObject() -> Body:  # noqa: N802
    """An empty JSON object."""
    return Body("{}")


def EmptyList() -> Body:  # noqa: N802
    """An empty JSON list."""
    return Body("[]")


def find(document: Json, path: str) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every match of a path such as `production.1.wNow` or `*.serialNumber`."""
    *way, last = path.split(".")
    places = [document]
    for step in way:
        places = [place[key] for place in places for key in _keys(place, step)]
    for place in places:
        for key in _keys(place, last):
            yield place, key


def _keys(place: Json, step: str) -> list[Any]:
    if isinstance(place, dict):
        return list(place) if step == "*" else [step] if step in place else []
    if isinstance(place, list):
        if step == "*":
            return list(range(len(place)))
        return [int(step)] if step.lstrip("-").isdigit() and -len(place) <= int(step) < len(place) else []
    return []


@dataclass
class Replace(Fault):
    """Another value, of any type, at a JSON path, or the result of a function of the original value."""

    path: str
    value: Any

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Replace all matches."""
        for place, key in find(document, self.path):
            place[key] = self.value(place[key]) if callable(self.value) else self.value
        return document


@dataclass
class Missing(Fault):
    """A missing field or entry of a list."""

    path: str

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Remove all matches."""
        for place, key in reversed(list(find(document, self.path))):
            del place[key]
        return document


@dataclass
class Change(Fault):
    """The result of a function of the document."""

    function: Callable[[Json], Json]

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Apply the function."""
        return self.function(document)


@dataclass(slots=True)
class Active:
    """An active fault; as a context manager it ends with the block."""

    pattern: str
    fault: Fault
    until: float | None
    left: int | None
    faults: Faults
    #: Number of requests that it applied to.
    hits: int = 0

    def remove(self) -> None:
        """Remove the fault."""
        if self in self.faults.active:
            self.faults.active.remove(self)

    def __enter__(self) -> Self:
        """Return it; it is active since it was added."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Remove the fault."""
        self.remove()


class Faults:
    """All active faults."""

    def __init__(self, clock: Clock) -> None:
        """Start without any."""
        self._clock = clock
        self.active: list[Active] = []

    def add(self, pattern: str, fault: Fault, *, seconds: float | None = None, count: int | None = None) -> Active:
        """Apply a fault to requests with a path (with or without its query) that equals or matches the pattern.

        It is active until it is removed, for seconds of simulated time, or for a number of requests.
        """
        active = Active(pattern, fault, None if seconds is None else self._clock.now + seconds, count, self)
        self.active.append(active)
        return active

    def clear(self) -> None:
        """Remove all faults."""
        self.active.clear()

    def meet(self, path_qs: str, gateway: Gateway) -> list[Fault]:
        """Return the faults that apply to this request, and count them."""
        now = self._clock.now
        self.active[:] = [a for a in self.active if (a.until is None or now < a.until) and a.left != 0]
        met = [a for a in self.active if _matches(a.pattern, path_qs) and a.fault.applies(gateway)]
        for active in met:
            active.hits += 1
            if active.left is not None:
                active.left -= 1
        return [active.fault for active in met]


def _matches(pattern: str, path_qs: str) -> bool:
    path = path_qs.partition("?")[0]
    return pattern in (path, path_qs) or fnmatchcase(path, pattern) or fnmatchcase(path_qs, pattern)

"""The state of each endpoint: its last documents, whether it fails, when to request it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from http import HTTPStatus
import math
from typing import Any, Final, Self

from pyenphase.json import json_loads

from ..model.snapshot import Freshness
from . import lenient
from .backoff import Backoff
from .limits import is_too_complex
from .paths import PERIODS

#: Seconds above which an endpoint counts as slow: it then waits in a queue of its own.
SLOW: Final = 5.0
#: HTTP status with which a gateway denies access, to all users or to this one.
_DENIED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: HTTP status with which a gateway reports that it has nothing of the kind.
_NOT_FOUND: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.NO_CONTENT})
#: Answers in a row after which an empty document is accepted.
_CHANGED_AFTER: Final = 20
#: Seconds of the first pause after a slow failure, and of the longest.
_FIRST_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 300.0


class FailureKind(StrEnum):
    """Why an endpoint has no usable document; the values are texts for the log."""

    #: Another HTTP status than 200.
    STATUS = "HTTP status"
    #: The user may not read this endpoint.
    UNAUTHORIZED = "not authorised"
    #: The gateway as a whole did not respond in this poll.
    UNREACHABLE = "the gateway does not answer"
    #: The connection failed, or the answer did not come in time.
    NETWORK = "network error"
    #: The certificate is not the pinned one.
    UNTRUSTED = "another certificate"
    NOT_JSON = "no JSON"
    #: More objects than any gateway has: it would take too long to parse.
    TOO_LARGE = "too large"
    #: `{}` or `[]` where there was more: a gateway that restarts answers so before it has found its devices.
    EMPTY = "empty"
    #: A document of another kind, such as an error message, or one that could not be parsed.
    UNEXPECTED = "unexpected content"
    #: A document that can be parsed, without a kind of objects that it had.
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last answer of an endpoint was not usable."""

    kind: FailureKind
    detail: str = ""
    #: The HTTP status, for that kind.
    status: int | None = None

    def __str__(self) -> str:
        """Return a text for the log."""
        return f"HTTP {self.status}" if self.status is not None else self.detail or self.kind.value

    @property
    def is_denied(self) -> bool:
        """Whether the user may not read this endpoint."""
        return self.kind is FailureKind.UNAUTHORIZED or self.status in _DENIED

    @property
    def is_absent(self) -> bool:
        """Whether the gateway reports that it has no such endpoint, or none for this user."""
        return self.is_denied or self.status in _NOT_FOUND

    @property
    def is_without_answer(self) -> bool:
        """Whether there was no HTTP answer at all."""
        return self.kind in (FailureKind.NETWORK, FailureKind.UNREACHABLE, FailureKind.UNTRUSTED)

    @property
    def is_temporary(self) -> bool:
        """Whether it is likely to pass: firmware without the endpoint answers otherwise."""
        if self.status is not None:
            lasting = self.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.status >= HTTPStatus.BAD_REQUEST
            return not (lasting or self.is_absent or self.status == HTTPStatus.INTERNAL_SERVER_ERROR)
        return self.kind not in (FailureKind.UNAUTHORIZED, FailureKind.NOT_JSON, FailureKind.UNEXPECTED)


@dataclass(frozen=True)
class Document:
    """An answer of an endpoint, completely read. The library takes it in place of aiohttp's response."""

    #: Of the endpoint.
    url: str
    body: bytes
    #: Of HTTP.
    status: int = HTTPStatus.OK

    async def read(self) -> bytes:
        """Return the body, as a response does."""
        return self.body

    async def __aenter__(self) -> Self:
        """Return it, as a response does."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Release nothing: it is completely read."""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    @cached_property
    def content(self) -> Any:  # noqa: ANN401  (lists or objects)
        """What it contains, as the library reads it.

        Raises ValueError when it is no JSON, and TypeError when it is no document of this endpoint.
        """
        return lenient.read(self.url, json_loads(self.url, self.body))


type Documents = Mapping[str, Document]


@dataclass(slots=True)
class Endpoint:
    """One endpoint of a gateway."""

    #: Seconds between two requests; 0 for every poll.
    period: float = 0.0
    latest: Document | None = None
    #: Whether a probe may use the latest document without a new request.
    latest_is_current: bool = True
    #: The last document that pyenphase could parse.
    good: Document | None = None
    #: When `good` was up to date, shared by all objects made of it.
    freshness: Freshness = field(default_factory=lambda: Freshness(float("-inf")))
    #: Why the last answer was not usable; None when it was.
    failure: Failure | None = None
    #: When it was last requested, and the duration of the answer in seconds.
    requested_at: float = float("-inf")
    duration: float = 0.0
    #: Pauses after slow failures.
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, jitter=0.1))
    #: Answers in a row that were empty.
    empty_answers: int = 0

    @classmethod
    def of(cls, path: str) -> Self:
        """Return the initial state of an endpoint."""
        return cls(PERIODS.get(path, 0.0))

    @property
    def is_restored(self) -> bool:
        """Whether its document comes from storage and was not requested since."""
        return self.latest is not None and not math.isfinite(self.requested_at)

    @property
    def is_unparsed(self) -> bool:
        """Whether its latest document was not parsed yet."""
        return self.latest is not self.good

    @property
    def is_absent(self) -> bool:
        """Whether the gateway reports that it has no such endpoint."""
        return self.failure is not None and self.failure.is_absent

    @property
    def is_removed(self) -> bool:
        """Whether it is absent, and access to it was not merely denied after it had been granted."""
        return self.failure is not None and self.is_absent and not (self.good and self.failure.is_denied)

    @property
    def is_failing(self) -> bool:
        """Whether the last answer was not usable, absence aside."""
        return self.failure is not None and not self.is_absent

    @property
    def is_slow(self) -> bool:
        """Whether the last answer took long."""
        return self.duration > SLOW

    def is_due(self, now: float, slack: float) -> bool:
        """Return whether to request it now; what comes due within `slack` seconds does not wait for the next poll.

        After a quick failure it is requested in every poll, after slow ones with growing pauses; one that the gateway
        never had, in its period.
        """
        elapsed = now - self.requested_at
        is_failing = self.failure and not (self.is_absent and self.good is None)
        return elapsed >= (self.backoff.pause if is_failing else self.period) - slack

    def make_due(self, now: float) -> None:
        """Have it requested in the next poll, unless it pauses after failures."""
        self.requested_at = min(self.requested_at, now - self.period)

    def accept(self, document: Document) -> bool:
        """Store an answer as the latest document, if it is usable."""
        if document.status != HTTPStatus.OK:
            self.fail(Failure(FailureKind.STATUS, status=document.status))
            return False
        if is_too_complex(document.body):
            self.fail(Failure(FailureKind.TOO_LARGE))
            return False
        try:
            content = document.content
        except (ValueError, TypeError) as err:
            self.fail(Failure(FailureKind.NOT_JSON if isinstance(err, ValueError) else FailureKind.UNEXPECTED))
            return False
        if not content and self._has_content():
            # {} and [] parse without an error.
            self.empty_answers += 1
            self.fail(Failure(FailureKind.EMPTY))
            return False
        self.latest = document
        self.failure = None
        self.latest_is_current, self.empty_answers = True, 0
        self.backoff.reset()
        return True

    def _has_content(self) -> bool:
        """Return whether the last good document still stands against an empty one."""
        return self.good is not None and bool(self.good.content) and self.empty_answers < _CHANGED_AFTER

    def fail(self, failure: Failure) -> None:
        """Record that the last answer was not usable."""
        self.failure = failure
        if self.is_slow:
            self.backoff.fail()
        else:
            self.backoff.reset()

    def reject(self) -> None:
        """Go back to the last good document: the latest could not be parsed."""
        self.latest, self.latest_is_current = self.good, False
        self.fail(Failure(FailureKind.UNEXPECTED))

    def approve(self, now: float) -> None:
        """Record that the latest document could be parsed."""
        if self.latest is not self.good:
            self.good, self.freshness = self.latest, Freshness(now)


class Endpoints(dict[str, Endpoint]):
    """The endpoints of a gateway by path; one that is new starts in its initial state."""

    def __missing__(self, path: str) -> Endpoint:
        """Add an endpoint."""
        endpoint = self[path] = Endpoint.of(path)
        return endpoint

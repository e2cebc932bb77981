"""What is known of each endpoint: its last documents, whether it fails, when to ask again. No Home Assistant here."""

from dataclasses import dataclass, field
from http import HTTPStatus
import math
import random
from typing import Final, Self

from pyenphase.json import json_loads

from ..model.snapshot import Freshness
from .paths import PERIODS

#: Seconds above which an endpoint counts as slow: it then waits in a lane of its own.
SLOW: Final = 5.0
#: Why an endpoint says nothing to this user.
NOT_AUTHORIZED: Final = "not authorised"
#: What is wrong with a document that holds something else than it should.
UNEXPECTED: Final = "unexpected content"
#: How a gateway says that not everybody may see it, and that, or that it has nothing of the kind.
_REFUSED: Final = frozenset({"HTTP 401", "HTTP 403", NOT_AUTHORIZED})
_NOT_HERE: Final = _REFUSED | {"HTTP 404", "HTTP 204"}
#: How some firmware says the same for good.
_LASTING: Final = _NOT_HERE | {"HTTP 500", "no JSON"}
#: Answers after which a document that is empty, or of another kind than before, is believed.
_BELIEVED_AFTER: Final = 20
#: Seconds of the first pause after a slow failure, and of the longest.
_FIRST_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Document:
    """An answer of an endpoint, read to its end. The library's updaters take it for a response of aiohttp."""

    #: Of the endpoint.
    url: str
    body: bytes
    #: Of HTTP.
    status: int = HTTPStatus.OK

    async def read(self) -> bytes:
        """Return the body, as a response does."""
        return self.body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it. Raises ValueError when it is no JSON."""
        return not json_loads(self.url, self.body)


@dataclass(slots=True)
class Endpoint:
    """One endpoint of a gateway."""

    #: Seconds between two requests; 0 for every poll.
    period: float = 0.0
    latest: Document | None = None
    #: Whether a look for new hardware may take the latest document for true without asking again.
    latest_stands: bool = True
    #: The last document that pyenphase could make objects of.
    good: Document | None = None
    #: When `good` was true, shared by all that was made of it.
    freshness: Freshness = field(default_factory=lambda: Freshness(float("-inf")))
    #: What was wrong with the last answer; None when it was good.
    failure: str | None = None
    #: When it was last asked, how long that took, and how often in a row it failed slowly.
    asked: float = float("-inf")
    took: float = 0.0
    slow_failures: int = 0
    #: How often in a row it was empty where it had something, or a list where it was none.
    doubted: int = 0

    @classmethod
    def of(cls, path: str) -> Self:
        """Return an endpoint of which nothing is known yet."""
        return cls(PERIODS.get(path, 0.0))

    @property
    def is_recalled(self) -> bool:
        """Whether all that is known of it is of an earlier life."""
        return self.latest is not None and not math.isfinite(self.asked)

    @property
    def is_absent(self) -> bool:
        """Whether it said that there is nothing here."""
        return self.failure in _NOT_HERE

    @property
    def is_gone(self) -> bool:
        """Whether it said that there is nothing here, rather than nothing for somebody who was let in before."""
        return self.is_absent and not (self.good and self.failure in _REFUSED)

    @property
    def is_broken(self) -> bool:
        """Whether it failed, rather than said that there is nothing here."""
        return self.failure is not None and not self.is_absent

    @property
    def is_busy(self) -> bool:
        """Whether it failed in a way that passes: a firmware that has nothing here says so otherwise."""
        lasting = self.failure is None or self.failure.startswith("HTTP 4") or self.failure in _LASTING
        return not lasting

    @property
    def is_slow(self) -> bool:
        """Whether the last answer took long."""
        return self.took > SLOW

    def is_due(self, now: float, slack: float) -> bool:
        """Return whether to ask now; what comes due within `slack` seconds is not put off to the next poll.

        What fails quickly is asked in every poll, what fails slowly ever more rarely.
        """
        if not self.failure:
            return bool(now - self.asked >= self.period - slack)
        if not self.slow_failures:
            return True
        pause = min(_FIRST_PAUSE * 2 ** (self.slow_failures - 1), _LONGEST_PAUSE)
        return bool(now - self.asked >= pause * random.uniform(0.9, 1.1) - slack)  # noqa: S311

    def take(self, document: Document) -> bool:
        """Take an answer for the latest document, if it is one."""
        if document.status != HTTPStatus.OK:
            self.fail(f"HTTP {document.status}")
            return False
        try:
            empty = document.empty
        except ValueError:
            self.fail("no JSON")
            return False
        if (empty or self._is_other_kind(document)) and self._had_something():
            # {} and [] parse without an error: a gateway that restarts says so before it knows its devices.
            self.doubted += 1
            self.fail("empty" if empty else UNEXPECTED)
            return False
        self.latest, self.failure, self.slow_failures = document, None, 0
        self.latest_stands, self.doubted = True, 0
        return True

    def _is_other_kind(self, document: Document) -> bool:
        """Return whether a document is a list where the last good one was an object, or the other way round."""
        return self.good is not None and self.good.body.lstrip()[:1] != document.body.lstrip()[:1]

    def _had_something(self) -> bool:
        """Return whether the last good document says more than a new one that is to be doubted."""
        return self.good is not None and not self.good.empty and self.doubted < _BELIEVED_AFTER

    def fail(self, why: str) -> None:
        """Note that the answer was no good."""
        self.failure = why
        self.slow_failures = self.slow_failures + 1 if self.is_slow else 0

    def approve(self, now: float) -> None:
        """Note that objects could be made of the latest document."""
        if self.latest is not self.good:
            self.good, self.freshness = self.latest, Freshness(now)

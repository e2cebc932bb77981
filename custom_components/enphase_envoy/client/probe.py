"""When to probe what a gateway offers, and when to accept that it offers something else."""

from collections.abc import Callable
import time
from typing import Final

from .backoff import Backoff

#: Seconds between probes, which find new kinds of hardware, and until the repetition of one in which something failed.
_PERIOD: Final = 2400.0
_FIRST_PAUSE: Final = 60.0
#: Seconds for which a probe must have found something else, where the result before was confirmed.
_CONFIRMED_AFTER: Final = 600.0


class ProbeSchedule:
    """When to probe one gateway, and which results to accept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare for the first probe; `clock` returns seconds."""
        self._clock = clock
        #: Number of probes so far.
        self.count = 0
        self._last = float("-inf")
        #: To be done with the next poll.
        self._requested = False
        #: To be repeated soon, after a pause that grows.
        self._soon = False
        self._backoff = Backoff(_FIRST_PAUSE, _PERIOD)
        #: The accepted result, and whether it was found twice.
        self._accepted = ""
        self._confirmed = False
        #: Another result, and since when it was found.
        self._candidate = ""
        self._since = 0.0

    @property
    def is_due(self) -> bool:
        """Whether to probe: every 40 minutes, and sooner after a failure."""
        pause = max(self._backoff.pause, _FIRST_PAUSE) if self._soon else _PERIOD
        return self._requested or self._clock() >= self._last + pause

    def request(self, *, keep_confirmed: bool = False) -> None:
        """Probe with the next poll; `keep_confirmed` leaves a confirmed result confirmed."""
        self._requested = True
        self._confirmed &= keep_confirmed

    def begin(self) -> None:
        """Record that a probe starts: one that is requested meanwhile follows it."""
        self._requested = False

    def accept(self, found: str) -> bool:
        """Return whether to use a result: one that differs from a confirmed result, only when it lasts."""
        if found == self._accepted:
            self._confirmed = True
        elif self._confirmed:
            if found != self._candidate:
                self._candidate, self._since = found, self._clock()
            if self._clock() - self._since < _CONFIRMED_AFTER:
                return False
            self._confirmed = False
        self._accepted, self._candidate = found, ""
        return True

    def done(self, *, failing: bool) -> None:
        """Record that a probe is over, in which some endpoint may have been `failing`."""
        self.count += 1
        self._last = self._clock()
        self._soon = failing or bool(self._candidate)
        if self._soon:
            self._backoff.fail()
        else:
            self._backoff.reset()

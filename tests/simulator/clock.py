"""The simulator's clock: follows real time, optionally faster, or stands still until a test advances it."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
import time


class Clock:
    """Epoch seconds of the simulated house and gateway.

    A running clock advances with the monotonic clock of the machine times `speed`; a standing one only by `advance`
    and `set`. It is never set back, because counters only increase.
    """

    def __init__(
        self, start: str | datetime | float | None = None, *, running: bool = True, speed: float = 1.0
    ) -> None:
        """Start at an ISO time (with an offset), a datetime or epoch seconds; without one at the current time."""
        self.running = running
        self.speed = speed
        self._base = time.time() if start is None else _epoch(start)
        self._since = time.monotonic()

    @property
    def now(self) -> float:
        """Epoch seconds."""
        if not self.running:
            return self._base
        return self._base + (time.monotonic() - self._since) * self.speed

    def local(self, zone: tzinfo) -> datetime:
        """Return the local time of a zone."""
        return datetime.fromtimestamp(self.now, zone)

    def advance(self, seconds: float) -> None:
        """Advance by seconds. Raises ValueError if they are negative."""
        if seconds < 0:
            raise ValueError(f"a clock advances by seconds >= 0, not {seconds}")
        self._base += seconds

    def set(self, when: str | datetime | float) -> None:
        """Advance to a time."""
        target = _epoch(when)
        self.advance(target - self.now)


def _epoch(when: str | datetime | float) -> float:
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return when.timestamp()
    return float(when)

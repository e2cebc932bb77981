"""The simulator's time: follows the real one, faster if asked, or stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
import time


class Clock:
    """Epoch seconds as the simulated house and gateway see them.

    A running clock advances with the monotonic clock of the machine times `speed`; a standing one only by `advance`
    and `set`. It never goes backwards: counters could not follow.
    """

    def __init__(
        self, start: str | datetime | float | None = None, *, running: bool = True, speed: float = 1.0
    ) -> None:
        """Start at an ISO time (with an offset), a datetime or epoch seconds; without any at the present."""
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
        """Return the time on a wall clock of the zone."""
        return datetime.fromtimestamp(self.now, zone)

    def advance(self, seconds: float) -> None:
        """Move forward."""
        if seconds < 0:
            raise ValueError(f"a clock advances by seconds >= 0, not {seconds}")
        self._base += seconds

    def set(self, when: str | datetime | float) -> None:
        """Move forward to a time."""
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

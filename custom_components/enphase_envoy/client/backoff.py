"""Growing pauses between attempts."""

from dataclasses import dataclass, field
import random


@dataclass(slots=True)
class Backoff:
    """A pause that doubles with every failure, in seconds."""

    first: float
    longest: float
    #: Share by which a pause varies at random, so that several do not end at the same time.
    jitter: float = 0.0
    #: Failures in a row.
    failures: int = field(default=0, init=False)

    @property
    def pause(self) -> float:
        """The pause after the failures so far; 0 when there was none."""
        if not self.failures:
            return 0.0
        pause = min(self.first * 2.0 ** min(self.failures - 1, 64), self.longest)
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311

    def fail(self) -> float:
        """Count a failure, and return the pause that follows it."""
        self.failures += 1
        return self.pause

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0

"""Accept a change only when it was reported several times in a row."""

from collections import Counter
from collections.abc import Hashable, Set as AbstractSet


class Confirmation[K: Hashable]:
    """Counts reports in a row, per key, until there are enough of them."""

    def __init__(self, needed: int) -> None:
        """Require `needed` reports in a row."""
        self._needed = needed
        self._counts: Counter[K] = Counter()

    def __contains__(self, key: K) -> bool:
        """Return whether there were reports since the last reset."""
        return key in self._counts

    def add(self, key: K) -> int:
        """Count a report, and return how many there were in a row."""
        self._counts[key] += 1
        return self._counts[key]

    def is_confirmed(self, key: K) -> bool:
        """Return whether there were enough reports in a row."""
        return self._counts[key] >= self._needed if self._counts else False

    def reset(self, key: K) -> None:
        """Start over: the opposite was reported."""
        if self._counts:
            self._counts.pop(key, None)

    def reset_all(self, keys: AbstractSet[K]) -> None:
        """Start over for several keys."""
        if self._counts:
            for key in self._counts.keys() & keys:
                del self._counts[key]

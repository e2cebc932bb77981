"""When to find out what a gateway offers, and when to believe that it is another thing. No Home Assistant here."""

from collections.abc import Callable, Iterable
from typing import Final

from pyenphase.models.common import CommonProperties
from pyenphase.updaters.base import EnvoyUpdater

#: Seconds between looks for new kinds of hardware, and until the first look again at what failed.
_PERIOD: Final = 2400.0
_FIRST_PAUSE: Final = 60.0
#: Seconds for which a gateway must have offered something else, if it was known for sure what it offers.
_LASTING: Final = 600.0


def fingerprint(updaters: Iterable[EnvoyUpdater], common: CommonProperties) -> str:
    """Return all that the library found in a probe, to be compared: which updaters read what, and how."""
    notes = {
        type(updater).__name__: {
            name: value
            for name, value in vars(updater).items()
            if not callable(value) and not isinstance(value, CommonProperties)
        }
        for updater in updaters
    }
    return repr((notes, common))


class ProbeSchedule:
    """The probes of one gateway."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Prepare for the first, on a clock that tells seconds."""
        self._clock = clock
        #: How often it was found out what the gateway offers.
        self.count = 0
        self._last = float("-inf")
        #: To be done again soon, and after which pause.
        self._soon = False
        self._pause = _FIRST_PAUSE / 2
        #: What is offered, and whether it was found twice.
        self._known = ""
        self._sure = False
        #: What the last probe found instead, and since when.
        self._doubted = ""
        self._since = 0.0

    @property
    def are_due(self) -> bool:
        """Whether to probe: once an hour, and soon where there was trouble."""
        return self._clock() >= self._last + (self._pause if self._soon else _PERIOD)

    def forget(self, *, sure: bool) -> None:
        """Probe as soon as possible; what is known may still be `sure`."""
        self._last = float("-inf")
        self._sure &= sure

    def hasten(self) -> None:
        """Probe soon: something is wrong with what the last one found."""
        self._soon = True

    def believe(self, found: str) -> bool:
        """Return whether to take an offer: another than what is known for sure only when it lasts."""
        if found == self._known:
            self._sure = True
        elif self._sure:
            if found != self._doubted:
                self._doubted, self._since = found, self._clock()
            if self._clock() - self._since < _LASTING:
                return False
            self._sure = False
        self._known, self._doubted = found, ""
        return True

    def done(self, *, failing: bool) -> None:
        """Note that a probe is over, and say when the next one is; some endpoint may be `failing`."""
        self.count += 1
        self._last = self._clock()
        self._soon = failing or bool(self._doubted)
        self._pause = min(2 * self._pause, _PERIOD) if self._soon else _FIRST_PAUSE

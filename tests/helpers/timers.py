"""Timers of Home Assistant that run when a test lets time pass, and never because the machine is slow."""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import sys
from typing import Any, Final
from unittest.mock import patch

from freezegun.api import freeze_factories

#: Seconds that no test lasts.
_FAR: Final = 1e6


class _HeldTimer(TimerHandle):
    """A timer that the event loop does not run; for `async_fire_time_changed` it is due when it was set to be."""

    __slots__ = ()

    def when(self) -> float:
        """Return the time for which it was set."""
        return super().when() - _FAR


@contextmanager
def held_timers(loop: AbstractEventLoop) -> Iterator[None]:
    """Hold the timers that Home Assistant's helpers set: polls, intervals, delays, warnings about slow updates.

    Timeouts of requests are not among them, nor timers that are set while freezegun controls the loop's clock.
    """
    call_at = loop.call_at

    def hold(when: float, callback: Callable[..., object], *args: Any, **options: Any) -> TimerHandle:
        setter = str(sys._getframe(1).f_globals["__name__"])
        if freeze_factories or not setter.startswith("homeassistant.helpers."):
            return call_at(when, callback, *args, **options)
        timer = call_at(when + _FAR, callback, *args, **options)
        timer.__class__ = _HeldTimer
        return timer

    with patch.object(loop, "call_at", hold):
        yield

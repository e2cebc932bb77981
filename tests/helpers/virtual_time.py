"""Virtual time for the event loop: timeouts pass without waiting, however slow the machine is."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Iterator
from contextlib import contextmanager
import time
from typing import Any, Final, cast
from unittest.mock import patch

#: Seconds of real time without any input before the clock jumps: what is sent on loopback has arrived long before.
IDLE: Final = 0.01


@contextmanager
def virtual_time(loop: AbstractEventLoop) -> Iterator[None]:
    """Let the loop's clock jump to the next timer whenever all tasks wait for timers; it stands still otherwise.

    Client and simulator share the loop, so an answer that was sent is always received before a timeout passes, and no
    timeout passes while the machine is busy, or while an executor works. `time.monotonic` is this clock as well, the
    wall clock is not.
    """
    selector = cast(Any, loop)._selector
    select, run_in_executor = selector.select, loop.run_in_executor
    now = time.monotonic()
    executing: set[Future[Any]] = set()

    def select_or_jump(timeout: float | None = None) -> Any:
        nonlocal now
        if timeout is None:
            return select(timeout)
        if not (events := select(min(timeout, IDLE))) and not executing:
            now += max(timeout, 0.0)
        return events

    def track(*args: Any) -> Any:
        future = run_in_executor(*args)
        executing.add(future)
        future.add_done_callback(executing.discard)
        return future

    with (
        patch.object(selector, "select", select_or_jump),
        patch.object(loop, "run_in_executor", track),
        patch("time.monotonic", lambda: now),
    ):
        yield

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
    """Let the loop's clock jump to the next timer whenever all tasks wait for timers.

    Client and simulator share the loop, so an answer that was sent is always received before a timeout passes. While an
    executor works, the clock keeps to real time. `time.monotonic` jumps as well, the wall clock does not.
    """
    selector = cast(Any, loop)._selector
    select, run_in_executor, monotonic = selector.select, loop.run_in_executor, time.monotonic
    jumped = 0.0
    executing: set[Future[Any]] = set()

    def select_or_jump(timeout: float | None = None) -> Any:
        nonlocal jumped
        if timeout is None or timeout <= IDLE or executing:
            return select(timeout)
        if not (events := select(IDLE)):
            jumped += timeout
        return events

    def track(*args: Any) -> Any:
        future = run_in_executor(*args)
        executing.add(future)
        future.add_done_callback(executing.discard)
        return future

    with (
        patch.object(selector, "select", select_or_jump),
        patch.object(loop, "run_in_executor", track),
        patch("time.monotonic", lambda: monotonic() + jumped),
    ):
        yield

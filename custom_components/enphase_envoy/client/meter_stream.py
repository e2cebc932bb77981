"""The server-sent events of `/stream/meter`, about one a second: one connection, of which the last event is kept."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import aiohttp

#: Returns the answer of an endpoint that does not end.
type Open = Callable[[], AbstractAsyncContextManager[aiohttp.StreamReader]]

#: Seconds without data after which the connection is closed: the gateway stalls for up to 13 s, and connections were
#: seen that stay open without any data.
SILENT_AFTER: Final = 20.0
#: Bytes without the end of an event; an event has about 1 kB.
_LARGEST_EVENT: Final = 64_000


class MeterStream:
    """Receives events in a task of its own, for a reader that takes the latest at its own interval.

    It occupies no slot while it is open, because it never ends; the gateway answers other requests meanwhile.
    """

    def __init__(self, open_stream: Open, clock: Callable[[], float]) -> None:
        """Connect to nothing yet; `clock` returns seconds."""
        self._open = open_stream
        self._clock = clock
        self._latest: asyncio.Future[tuple[float, bytes]] | None = None
        self._task: asyncio.Task[None] | None = None

    async def latest(self) -> tuple[float, bytes]:
        """Return when the last event was received, and its data; wait for it where none was received yet.

        Raises what aiohttp does, or OSError.
        """
        if self._task is None or self._latest is None:
            self._latest = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._receive())
            # Its error is of no interest once the stream is closed: asyncio would log it.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        task, latest = self._task, self._latest
        if not latest.done():
            waits: set[asyncio.Future[Any]] = {latest, task}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if task.done() or task is not self._task:
            if task is self._task:
                self.close()
            if task.done() and not task.cancelled():
                # Raises why it ended.
                task.result()
            raise OSError("the stream ended")
        return latest.result()

    async def _receive(self) -> None:
        buffer = b""
        async with self._open() as content:
            while chunk := await asyncio.wait_for(content.readany(), SILENT_AFTER):
                *events, buffer = (buffer + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
                if len(buffer) > _LARGEST_EVENT:
                    raise OSError("an event is too large")
                # After a stall several come at once, of which only the last is current.
                for event in reversed(events):
                    # An event may have other lines too: a comment, its name, its identifier.
                    lines = [line for line in event.split(b"\n") if line.startswith(b"data:")]
                    if lines:
                        self._keep(b"\n".join(line.removeprefix(b"data:") for line in lines))
                        break
                # What was received already is read without a pause.
                await asyncio.sleep(0)

    def _keep(self, data: bytes) -> None:
        if self._latest is None or self._latest.done():
            self._latest = asyncio.get_running_loop().create_future()
        self._latest.set_result((self._clock(), data))

    def close(self) -> None:
        """Close the connection."""
        if self._task:
            self._task.cancel()
        self._task = self._latest = None

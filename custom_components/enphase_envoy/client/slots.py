"""Slots for requests to a gateway, passed on in the order in which they were requested; urgent requests come first."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """A number of requests that may run at a time."""

    def __init__(self, count: int) -> None:
        """Start with `count` free slots."""
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def are_occupied(self) -> bool:
        """Whether none is free."""
        return not self._free

    @asynccontextmanager
    async def occupy(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Occupy a slot; an urgent request is given the next one that gets free."""
        if not self.take():
            await self._wait(urgent=urgent)
        try:
            yield
        finally:
            self.release()

    def take(self) -> bool:
        """Occupy a slot until `release`, if one is free; return whether it was."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def _wait(self, *, urgent: bool) -> None:
        future = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(future)
        try:
            await future
        except asyncio.CancelledError:
            if not future.cancelled():
                # It was given a slot before it was cancelled.
                self.release()
            raise

    def release(self) -> None:
        """Pass the slot on to the next request, or leave it free."""
        while self._waiting:
            if not (future := self._waiting.popleft()).done():
                future.set_result(None)
                return
        self._free += 1

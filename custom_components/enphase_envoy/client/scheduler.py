"""When and how endpoints are requested: few at a time, slow ones in a queue of their own, late answers kept as well."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
import logging
import time
from typing import Any, Final, Protocol

import aiohttp
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyClientClosedError, EnvoyError

from .endpoints import SLOW, Document, Endpoints, Failure, FailureKind
from .errors import GatewayBusyError, description
from .paths import URL_INFO
from .slots import Slots
from .timeouts import Timeouts

_LOGGER: Final = logging.getLogger(__name__)

#: Requests at a time: the gateway is a small computer, which more of them slow down to a standstill.
SLOTS: Final = 2


class Transport(Protocol):
    """What makes the requests; raises what aiohttp and pyenphase raise."""

    async def get(self, path: str) -> Document:
        """Request an endpoint, and read its answer."""

    async def check_reachable(self) -> None:
        """Request what needs no authentication."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    """The answer of an endpoint as received, or why there was none."""

    status: int | None
    body: str
    failure: str | None = None
    #: Seconds that it took, where it was requested for this.
    duration: float | None = None
    #: The gateway as a whole did not respond.
    unreachable: bool = False


class RequestScheduler:
    """The endpoints of one gateway, and the slots for requests to it.

    Requests are made in poll cycles, which may overlap: a quick one can run beside a slow one.
    """

    def __init__(self, transport: Transport, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to make requests through `transport`; `clock` returns seconds."""
        self.transport = transport
        self.timeouts = timeouts
        self.clock = clock
        self.endpoints = Endpoints()
        self.slots = Slots(SLOTS)
        #: The one slot that slow endpoints may occupy.
        self.slow_slot = Slots(1)
        #: Held while an endpoint is requested. A request that waits for it occupies a slot.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Since when.
        self._requested_at: dict[str, float] = {}
        #: Requests under way, and those of them that outlast their cycle's timeout.
        self._tasks: set[asyncio.Task[bool]] = set()
        self._late: dict[str, asyncio.Task[bool]] = {}
        #: Limits of requests that last too long in a slot that is not the slow one, and urgent requests that wait.
        self._outlasting: list[asyncio.Timeout] = []
        self._urgent = 0
        self.is_closed = False

    @property
    def late(self) -> set[str]:
        """Endpoints that outlast the timeout of a cycle and may still answer."""
        return set(self._late)

    def is_requested(self, path: str) -> bool:
        """Return whether a request to an endpoint is under way."""
        return path in self._late or self._locks[path].locked()

    def seconds_requested(self, path: str) -> float | None:
        """Return for how long an endpoint has been requested; None where it is not, or its request waits for a slot."""
        started = self._requested_at.get(path)
        return None if started is None else self.clock() - started

    @asynccontextmanager
    async def requesting(self, path: str) -> AsyncIterator[None]:
        """Wait until an endpoint is not requested, and note that it is."""
        async with self._locks[path]:
            self._requested_at[path] = self.clock()
            try:
                yield
            finally:
                del self._requested_at[path]

    def is_failing(self, path: str) -> bool:
        """Return whether an endpoint did not answer, or not usably; absence aside."""
        return path in self._late or self.endpoints[path].is_failing

    def new_cycle(self, *, offline: bool = False) -> PollCycle:
        """Return a new cycle of requests; in an offline one every request fails at once."""
        return PollCycle(self, offline=offline)

    def start(self, request: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        """Start a request of a cycle."""
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Cancel all requests; later ones fail at once."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()

    async def wait_for_late(self, path: str) -> None:
        """Wait for the answer of an endpoint that an earlier cycle requested."""
        if path in self._late:
            await asyncio.wait([self._late[path]])

    @asynccontextmanager
    async def limited(self, seconds: float) -> AsyncIterator[None]:
        """Let a request last longer than some seconds only in the slow slot, or while no urgent one waits for its slot.

        Two requests without an answer would occupy all slots. Raises TimeoutError.
        """
        loop, is_slow = asyncio.get_running_loop(), False

        def outlast() -> None:
            nonlocal is_slow
            if is_slow := self.slow_slot.take():
                return
            self._outlasting.append(limit)
            if self._urgent:
                self._give_up()

        timer = loop.call_later(seconds, outlast)
        try:
            async with asyncio.timeout(None) as limit:
                yield
        finally:
            timer.cancel()
            if is_slow:
                self.slow_slot.release()
            if limit in self._outlasting:
                self._outlasting.remove(limit)

    def _give_up(self) -> None:
        """End a request that lasts too long beside the one in the slow slot."""
        if self._outlasting:
            self._outlasting.pop().reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def _occupy(self, *, urgent: bool) -> AsyncIterator[None]:
        """Occupy a slot, and end a request for an urgent one if necessary."""
        async with AsyncExitStack() as stack:
            self._urgent += urgent
            try:
                if urgent and self.slots.are_occupied:
                    self._give_up()
                await stack.enter_async_context(self.slots.occupy(urgent=urgent))
            finally:
                self._urgent -= urgent
            yield

    @asynccontextmanager
    async def slot(self, path: str, *, urgent: bool = False) -> AsyncIterator[None]:
        """Occupy a slot for a request outside of any cycle; an urgent one comes before those that wait.

        It does not wait for a request to the same endpoint whose answer may be lost. Raises GatewayBusyError when no
        slot gets free in time, or when the scheduler is closed.
        """
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self.timeouts.slot):
                    await stack.enter_async_context(self._occupy(urgent=urgent))
                    if not (urgent and (self.seconds_requested(path) or 0) > self.timeouts.live):
                        await stack.enter_async_context(self.requesting(path))
            except TimeoutError:
                raise GatewayBusyError from None
            if self.is_closed:
                raise GatewayBusyError
            yield

    async def check_reachable(self) -> None:
        """Request what needs no authentication, within the slot of a request that failed. Raises what aiohttp does."""
        async with self.requesting(URL_INFO):
            await self.transport.check_reachable()

    def keep_late(self, path: str, task: asyncio.Task[bool]) -> None:
        """Keep a request that outlasts the timeout of its cycle."""
        # It waits in the queue of slow endpoints until it has answered faster.
        self.endpoints[path].duration = SLOW + 1
        self._late[path] = task

    def finish(self, path: str, task: asyncio.Task[bool] | None) -> None:
        """Note that a request is over."""
        if self._late.get(path) is task:
            self._late.pop(path, None)

    async def read_raw(self, path: str) -> RawResponse:
        """Request an endpoint for what it answers, whatever that is."""
        started = self.clock()
        status, body, failure = None, "", None
        try:
            async with self.slots.occupy(), self.requesting(path):
                started = self.clock()
                if self.is_closed:
                    return RawResponse(None, "", FailureKind.UNREACHABLE.value, None, unreachable=True)
                document = await self.transport.get(path)
                status, body = document.status, document.text
        except EnvoyAuthenticationRequired:
            status, failure = HTTPStatus.UNAUTHORIZED.value, FailureKind.UNAUTHORIZED.value
        except aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError:
            return RawResponse(None, "", FailureKind.UNREACHABLE.value, None, unreachable=True)
        except (aiohttp.ClientError, OSError, EnvoyError, EnvoyClientClosedError) as err:
            failure = type(err).__name__
        return RawResponse(status, body, failure, round(self.clock() - started, 3))


class PollCycle:
    """The requests of one poll, or of one reading of few endpoints, and their results."""

    def __init__(self, scheduler: RequestScheduler, *, offline: bool = False) -> None:
        """Begin without requests; `offline` means that the gateway is not to be requested at all."""
        self._scheduler = scheduler
        #: Endpoints requested in this cycle, and those of them with a usable answer.
        self.requested: set[str] = set()
        self.answered: set[str] = set()
        #: The gateway does not respond; it denies access; its certificate is not the pinned one.
        self.unreachable = offline
        self.unauthorized = False
        self.untrusted = False
        #: Held while it is checked whether the gateway responds at all.
        self._checking = asyncio.Lock()

    def failures(self) -> str:
        """Return the endpoints that failed in this cycle, and how, as a text for the log."""
        failed = ((path, self._scheduler.endpoints[path].failure) for path in sorted(self.requested))
        return ", ".join(f"{path}: {failure}" for path, failure in failed if failure)

    async def fetch(self, paths: Iterable[str], seconds: float | None) -> dict[str, asyncio.Task[bool]]:
        """Request endpoints that this cycle has not requested yet, the fastest first, and wait for their answers.

        Returns the requests that outlast `seconds`: their results are whether the answer is usable.
        """
        paths = [path for path in paths if path not in self.requested and path not in self._scheduler.late]
        paths.sort(key=lambda path: (self._scheduler.endpoints[path].duration, path))
        tasks = {self._scheduler.start(self._request(path, seconds)): path for path in paths}
        self.requested.update(paths)
        if not tasks:
            return {}
        try:
            done, pending = await asyncio.wait(tasks, timeout=seconds)
            async with self._checking:
                # A check may be under way. A gateway with which there is a connection is only slow.
                pass
            if pending and self.unreachable:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending)
                done, pending = done | pending, set()
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        for task in done:
            if task.cancelled():
                self._scheduler.endpoints[tasks[task]].fail(Failure(FailureKind.UNREACHABLE))
        late = {tasks[task]: task for task in pending if not task.done()}
        for path, task in late.items():
            self._scheduler.keep_late(path, task)
        return late

    async def _request(self, path: str, seconds: float | None) -> bool:
        """Request an endpoint once, store the answer, and return whether it is usable.

        A cycle that waits for all answers, without `seconds`, has nothing to show without them.
        """
        endpoint, timeouts = self._scheduler.endpoints[path], self._scheduler.timeouts
        is_limited = seconds is not None and not endpoint.is_slow
        try:
            slow = self._scheduler.slow_slot.occupy() if endpoint.is_slow else nullcontext()
            async with slow, self._scheduler.slots.occupy(), self._scheduler.requesting(path):
                if self.unreachable or self._scheduler.is_closed:
                    endpoint.fail(Failure(FailureKind.UNREACHABLE))
                    return False
                endpoint.requested_at = self._scheduler.clock()
                try:
                    limit = self._scheduler.limited(timeouts.poll) if is_limited else nullcontext()
                    result, connected = await self._read(path, limit)
                except Exception as err:
                    _LOGGER.debug("%s: unexpected error", path, exc_info=True)
                    result, connected = Failure(FailureKind.NETWORK, type(err).__name__), True
                endpoint.duration = self._scheduler.clock() - endpoint.requested_at
                if not connected:
                    # While the request still occupies its slot: there may be no more requests than slots.
                    await self._check_reachable()
        finally:
            self._scheduler.finish(path, asyncio.current_task())
        if isinstance(result, Failure):
            endpoint.fail(result)
            return False
        if is_usable := endpoint.accept(result):
            self.answered.add(path)
        return is_usable

    async def _read(self, path: str, limit: AbstractAsyncContextManager[None]) -> tuple[Document | Failure, bool]:
        """Make a request, read the answer to its end, and return it and whether there was a connection."""
        try:
            async with limit:
                return await self._scheduler.transport.get(path), True
        except EnvoyAuthenticationRequired:
            self.unauthorized = True
            return Failure(FailureKind.UNAUTHORIZED), True
        except aiohttp.ServerFingerprintMismatch:
            self.untrusted = True
            return Failure(FailureKind.UNTRUSTED), True
        except (aiohttp.ClientError, EnvoyError, EnvoyClientClosedError, OSError) as err:
            connected = not isinstance(err, (aiohttp.ClientConnectorError, TimeoutError))
            return Failure(FailureKind.NETWORK, description(err)), connected

    async def _check_reachable(self) -> None:
        """Check whether the gateway responds at all, after a request to it failed."""
        async with self._checking:
            if self.answered or self.unreachable:
                return
            try:
                await self._scheduler.check_reachable()
            except aiohttp.ServerFingerprintMismatch:
                self.unreachable = self.untrusted = True
            except aiohttp.ClientError, EnvoyClientClosedError, OSError, RuntimeError:
                # RuntimeError: aiohttp's session was closed meanwhile.
                self.unreachable = True

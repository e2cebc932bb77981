"""How a gateway is asked: few requests at a time, slow endpoints in a lane of their own, late answers taken as well."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
import time
from typing import Final

import aiohttp
from pyenphase.exceptions import EnvoyAuthenticationRequired, EnvoyError

from .endpoints import NOT_AUTHORIZED, SLOW, Document, Endpoint
from .errors import GatewayBusyError
from .paths import URL_INFO

#: Why an endpoint said nothing, and the others will not either.
UNREACHABLE: Final = "the gateway does not answer"
#: Requests at a time: the gateway is a small computer, more of them pile up and stop it.
_IN_FLIGHT: Final = 2
#: Seconds to wait for a place.
_PLACE_LIMIT: Final = 20


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What came of a request: an answer read to its end, or why there is none."""

    document: Document | None = None
    failure: str = ""
    #: There was no connection, or no answer in time.
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class RawResponse:
    """What an endpoint said, word for word, or why it did not."""

    status: int | None
    body: str
    failure: str | None = None
    #: Seconds that it took, where it was asked for this.
    took: float | None = None


class RequestScheduler:
    """Asks the endpoints of one gateway in rounds: a poll is one, and so is a look at a single endpoint."""

    def __init__(
        self,
        request: Callable[[str], Awaitable[aiohttp.ClientResponse]],
        knock: Callable[[], Awaitable[None]],
        take_late: Callable[[str], Coroutine[None, None, None]],
        clock: Callable[[], float],
    ) -> None:
        """Prepare to ask.

        `request` asks for a path and `knock` for what everybody may see, as aiohttp does and with its exceptions.
        `take_late` is told of an answer that outlasted its round, to have it settled.
        """
        self._request = request
        self._knock = knock
        self._take_late = take_late
        self._clock = clock
        self._endpoints: dict[str, Endpoint] = {}
        #: Endpoints asked in this round, and those of them that answered well.
        self.asked: set[str] = set()
        self.answered: set[str] = set()
        #: Nobody is there in this round; somebody is, and won't let us in; it shows a certificate that is not trusted.
        self.gone = False
        self.refused = False
        self.distrusted = False
        #: Held while it is found out whether anybody is there.
        self._making_sure = asyncio.Lock()
        #: Held while an endpoint is asked; whoever waits for it has a place.
        self._alone: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: A place for each request at a time.
        self._places = asyncio.Semaphore(_IN_FLIGHT)
        #: The place that slow endpoints may hold, one at a time.
        self._slow_place = asyncio.Semaphore(1)
        #: Requests that outlast their round, and what takes in their answers.
        self._late: dict[str, asyncio.Task[FetchResult]] = {}
        self._takers: set[asyncio.Task[None]] = set()

    def endpoint(self, path: str) -> Endpoint:
        """Return what is known of an endpoint."""
        if path not in self._endpoints:
            self._endpoints[path] = Endpoint.of(path)
        return self._endpoints[path]

    def endpoints(self) -> list[tuple[str, Endpoint]]:
        """Return all that anything is known of, with their paths."""
        return list(self._endpoints.items())

    def recall(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Know endpoints as they were in an earlier life."""
        self._endpoints.update(endpoints)

    def forget(self) -> None:
        """Know nothing of any endpoint."""
        self._endpoints.clear()

    @property
    def late(self) -> set[str]:
        """Endpoints that were asked in an earlier round, and may still answer."""
        return set(self._late)

    def is_failing(self, path: str) -> bool:
        """Return whether an endpoint has not answered, or badly, rather than said that there is nothing here."""
        return path in self._late or self.endpoint(path).is_broken

    def begin(self) -> None:
        """Begin a new round: forget what the last one came to."""
        self.asked.clear()
        self.answered.clear()
        self.gone = self.refused = self.distrusted = False

    def stop(self) -> None:
        """Give up requests that outlast their round."""
        for task in (*self._late.values(), *self._takers):
            task.cancel()

    def failures(self) -> str:
        """Name the endpoints that failed in this round, and how."""
        failed = ((path, self.endpoint(path).failure) for path in sorted(self.asked))
        return ", ".join(f"{path}: {failure}" for path, failure in failed if failure)

    async def fetch(self, paths: Iterable[str], *, patience: float | None) -> None:
        """Ask endpoints that this round has not asked yet, and keep what they say within `patience` seconds.

        What is still under way after that is taken in when it comes, unless nobody is there.
        """
        paths = [path for path in paths if path not in self.asked and path not in self._late]
        paths.sort(key=lambda path: (self.endpoint(path).took, path))
        tasks = {asyncio.create_task(self.ask(path)): path for path in paths}
        self.asked.update(paths)
        if not tasks:
            return
        try:
            done, pending = await asyncio.wait(tasks, timeout=patience)
            async with self._making_sure:
                # It may just be found out that nobody is there; with whom there is a connection, that one is only slow.
                pass
            if pending and self.gone:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending)
                done, pending = done | pending, set()
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        nobody = FetchResult(failure=UNREACHABLE)
        for task in done:
            self._settle(tasks[task], nobody if task.cancelled() else task.result())
        for task in pending:
            path = tasks[task]
            # From now on it waits in the lane of the slow ones, until it has answered faster.
            self.endpoint(path).took = SLOW + 1
            self._late[path] = task
            task.add_done_callback(partial(self._arrived, path))

    async def give_up_late(self, path: str) -> None:
        """Wait for the answer of an endpoint that an earlier round asked, which may then be asked anew."""
        if path in self._late:
            await asyncio.wait([self._late[path]])
            self._late.pop(path, None)

    def _arrived(self, path: str, task: asyncio.Task[FetchResult]) -> None:
        """Have an answer taken in that came after its round; until then it is still late."""
        if task.cancelled():
            self._late.pop(path, None)
            return
        taker = asyncio.create_task(self._take_late(path))
        self._takers.add(taker)
        taker.add_done_callback(self._takers.discard)

    def settle_late(self, path: str) -> None:
        """Keep what came after its round, in one of its own, unless somebody gave it up."""
        self.begin()
        if (task := self._late.get(path)) and task.done():
            del self._late[path]
            self.asked.add(path)
            self._settle(path, task.result())

    @asynccontextmanager
    async def place(self, path: str) -> AsyncIterator[None]:
        """Hold a place for a request that is part of no round. Raises BusyError when none gets free in time."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_PLACE_LIMIT):
                    await stack.enter_async_context(self._places)
                    await stack.enter_async_context(self._alone[path])
            except TimeoutError:
                raise GatewayBusyError from None
            yield

    async def ask(self, path: str) -> FetchResult:
        """Make one request, one of a few at a time. Once it is clear that nobody is there, nobody is asked."""
        endpoint = self.endpoint(path)
        async with self._slow_place if endpoint.is_slow else nullcontext(), self._places, self._alone[path]:
            if self.gone:
                return FetchResult(failure=UNREACHABLE)
            endpoint.asked, begin = self._clock(), time.monotonic()
            reply = await self._once(path)
            endpoint.took = time.monotonic() - begin
            if reply.unreachable and not self.answered:
                await self._make_sure()
            return reply

    async def _once(self, path: str) -> FetchResult:
        """Make one request and read the answer to its end."""
        try:
            response = await self._request(path)
            return FetchResult(Document(path, await response.read(), response.status))
        except EnvoyAuthenticationRequired:
            self.refused = True
            return FetchResult(failure=NOT_AUTHORIZED)
        except aiohttp.ServerFingerprintMismatch:
            self.distrusted = True
            return FetchResult(failure="another certificate")
        except (aiohttp.ClientConnectorError, TimeoutError) as err:
            return FetchResult(failure=str(err) or type(err).__name__, unreachable=True)
        except aiohttp.ClientError as err:
            return FetchResult(failure=str(err) or type(err).__name__)

    async def _make_sure(self) -> None:
        """Find out whether anybody is there at all, in the place of a request that got no answer."""
        async with self._making_sure:
            if self.answered or self.gone:
                return
            try:
                async with self._alone[URL_INFO]:
                    await self._knock()
            except aiohttp.ServerFingerprintMismatch:
                self.gone = self.distrusted = True
            except aiohttp.ClientError, TimeoutError, OSError:
                self.gone = True

    def _settle(self, path: str, reply: FetchResult) -> None:
        """Keep what an endpoint said, or that it did not."""
        endpoint = self.endpoint(path)
        if reply.document is None:
            endpoint.fail(reply.failure)
        elif endpoint.take(reply.document):
            self.answered.add(path)

    async def look_at(self, path: str) -> RawResponse:
        """Ask an endpoint for what it says, whatever it is."""
        begin = time.monotonic()
        status, body, failure = None, "", None
        try:
            async with self._places, self._alone[path]:
                response = await self._request(path)
                status, body = response.status, await response.text(errors="replace")
        except EnvoyAuthenticationRequired:
            status, failure = HTTPStatus.UNAUTHORIZED.value, NOT_AUTHORIZED
        except aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError:
            failure = UNREACHABLE
        except (aiohttp.ClientError, TimeoutError, EnvoyError) as err:
            failure = type(err).__name__
        return RawResponse(status, body, failure, round(time.monotonic() - begin, 3))

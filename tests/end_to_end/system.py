"""A simulated gateway, its cloud and another web server, in a process of their own.

The sockets of a test's process are guarded by the test tools, and a browser blocks its event loop.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from threading import Thread
from typing import Any, Final, cast

from tests.simulator import Cloud, Simulator
from tests.simulator.access import make_certificate
from tests.simulator.other_server import OtherServer

#: Seconds for the start and the stop of Home Assistant, and for all that is waited for.
WITHIN: Final = 300


class System:
    """Servers on loopback. Its methods are called from the process of the tests, so results must be picklable."""

    def __init__(self, profile: str) -> None:
        """Start the servers."""
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, daemon=True).start()
        self._run(self._start(profile))

    def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN)

    async def _start(self, profile: str) -> None:
        self._stack = AsyncExitStack()
        self._gateway = await self._stack.enter_async_context(Simulator(profile))
        self._cloud = await self._stack.enter_async_context(Cloud())
        self._other = await self._stack.enter_async_context(OtherServer())

    def stop(self) -> None:
        """Stop the servers."""
        self._run(self._stack.aclose())

    def facts(self) -> dict[str, str]:
        """Return addresses and credentials."""
        return {
            "host": self._gateway.host,
            "other_host": self._other.host,
            "serial": self._gateway.serial,
            "firmware": self._gateway.firmware,
            "username": self._cloud.username,
            "password": self._cloud.password,
            "login_url": self._cloud.login_url,
            "token_url": self._cloud.token_url,
        }

    def serial_numbers(self) -> set[str]:
        """Return the serial numbers of the gateway and of its devices."""
        house, profile = self._gateway.house, self._gateway.profile
        devices = (*(inverter.serial for inverter in house.inverters), *(battery.serial for battery in house.batteries))
        return {self._gateway.serial, *devices, *filter(None, (profile.enpower, profile.collar, profile.c6))}

    def new_token(self) -> str:
        """Return a token that the gateway accepts."""
        return self._gateway.token()

    def revoke(self, token: str) -> None:
        """Let the gateway reject a token from now on."""
        self._gateway.revoke(token)

    def closed_relays(self) -> dict[str, bool]:
        """Return whether each relay is closed, by the name of its load."""
        return {relay.load_name: relay.closed for relay in self._gateway.house.relays}

    def reserve(self) -> float:
        """Return the reserve of the batteries in percent."""
        return self._gateway.gateway.tariff_settings.reserve

    def change_certificate(self) -> None:
        """Restart the gateway with another certificate."""
        self._run(self._change_certificate())

    async def _change_certificate(self) -> None:
        await self._gateway.go_away()
        self._gateway.certificate = make_certificate(self._gateway.serial)
        await self._gateway.come_back()

    def sent_elsewhere(self) -> list[str]:
        """Return the credentials that the other web server received."""
        return self._other.credentials


class _Manager(BaseManager):
    """Starts the process."""


_Manager.register("System", System)


@contextmanager
def simulated_system(profile: str) -> Generator[System]:
    """Run a system in a process of its own."""
    # The test tools block other sockets than those of loopback.
    with _Manager(("127.0.0.1", 0), ctx=get_context("spawn")) as manager:
        system = cast("System", manager.System(profile))  # type: ignore[attr-defined]
        try:
            yield system
        finally:
            system.stop()

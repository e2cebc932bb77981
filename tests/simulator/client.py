"""pyenphase as a client of a simulated gateway."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pyenphase import Envoy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .server import Simulator


@asynccontextmanager
async def connected(sim: Simulator, *, update: bool = True) -> AsyncIterator[Envoy]:
    """Yield an Envoy that is authenticated and has polled once; it does not retry requests."""
    envoy = Envoy(sim.host)
    envoy.set_retry_policy(max_attempts=1)
    try:
        await envoy.setup()
        if sim.uses_tokens:
            await envoy.authenticate(token=sim.token())
        else:
            await envoy.authenticate(sim.username, sim.password)
        if update:
            await envoy.update()
        yield envoy
    finally:
        await envoy.close()

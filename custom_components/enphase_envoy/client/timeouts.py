"""How long the client waits, in seconds."""

from dataclasses import dataclass

import aiohttp


@dataclass(slots=True)
class Timeouts:
    """Time limits of one gateway's client; tests set shorter ones."""

    #: A poll waits so long for answers; slower ones are published when they arrive.
    poll: float = 8
    #: A poll waits so long for an endpoint whose values may come late.
    unhurried: float = 1
    #: One request: `/production.json` of firmware 8.3.6086 takes up to 55 s.
    request: float = 90
    #: One request of live power, which is read again soon.
    live: float = 3
    #: The connection of a request: shorter than `poll`, so that a poll distinguishes a slow gateway from an absent one.
    connect: float = 7
    #: A request outside the poll waits so long for a free slot.
    slot: float = 20
    #: A write is given up when the gateway is busy with other requests for longer.
    write: float = 20
    #: Identifying a gateway: HTTPS first (10 s to connect), then the plain HTTP of old firmware.
    identify: float = 14
    #: The check of a token by the gateway.
    token_check: float = 10
    #: Logging in to Enlighten and fetching a token.
    cloud: float = 10
    #: Reading every known endpoint for diagnostics: firmware that takes 45 s per answer has 34 of them.
    capture: float = 240

    @property
    def http(self) -> aiohttp.ClientTimeout:
        """The limits of one request, as aiohttp takes them."""
        return aiohttp.ClientTimeout(total=self.request, connect=self.connect)

"""HTTP(S) servers of the simulator, and the address and login of a served gateway."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from . import access


def _ignore_resets_before_acceptance() -> None:
    """Keep connections that the client resets before the server accepts them out of the loop's exception handler.

    asyncio reports these as errors of the loop. On a busy machine a client's timeout can come first.
    """
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), ConnectionError) and "incoming connection" in context["message"]:
            return
        if handler:
            handler(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


async def listen(
    app: web.Application,
    address: str = "127.0.0.1",
    port: int = 0,
    *,
    certificate: str | None = None,
    handler_cancellation: bool = False,
) -> web.AppRunner:
    """Serve an application, over TLS with a certificate. Raises OSError when the port can't be used."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=handler_cancellation)
    await runner.setup()
    context = access.tls(certificate) if certificate else None
    _ignore_resets_before_acceptance()
    try:
        await web.TCPSite(runner, address, port, ssl_context=context, reuse_address=True).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def port_of(runner: web.AppRunner) -> int:
    """Return the port on which an application is served."""
    port: int = runner.addresses[0][1]
    return port


class GatewayServer:
    """Address and login of a served gateway."""

    def __init__(self, address: str, port: int) -> None:
        """Store address and port; port 0 selects a free one."""
        self._address, self.port = address, port

    @property
    def host(self) -> str:
        """Address and port for a client."""
        return f"{self._address}:{self.port}"

    @property
    def uses_tokens(self) -> bool:
        """Whether it uses HTTPS and tokens, rather than HTTP and digest authentication."""
        raise NotImplementedError

    @property
    def username(self) -> str:
        """User name for a form: of the cloud account, or of the local user."""
        return access.CLOUD_USER if self.uses_tokens else "installer"

    @property
    def password(self) -> str:
        """Password for a form; empty for the installer, because the library computes that one."""
        return access.CLOUD_PASSWORD if self.uses_tokens else ""

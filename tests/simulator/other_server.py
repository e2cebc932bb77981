"""A web server that is not a gateway, for tests with a wrong address."""

from __future__ import annotations

from typing import Final, Self

from aiohttp import web

from .listener import listen, port_of

#: The answer to every request.
ANSWERS: Final[dict[str, tuple[str, str]]] = {
    "html": ("<!DOCTYPE html><html><body><br>It works!</body></html>", "text/html"),
    "xml": ('<?xml version="1.0"?><printer><model>LaserJet</model></printer>', "text/xml"),
    "empty": ("", "text/plain"),
    "no_device": ('<?xml version="1.0"?><envoy_info><time>1748576887</time></envoy_info>', "text/xml"),
    "no_software": (
        '<?xml version="1.0"?><envoy_info><device><sn>122333444555</sn><software/></device></envoy_info>',
        "text/xml",
    ),
    "no_serial": (
        '<?xml version="1.0"?><envoy_info><device><software>D8.2.4382</software></device></envoy_info>',
        "text/xml",
    ),
}


class OtherServer:
    """Serve one of ANSWERS over plain HTTP."""

    def __init__(self, answer: str = "html", *, status: int = 200) -> None:
        """Choose the answer."""
        self._text, self._type = ANSWERS[answer]
        self._status = status
        self._runner: web.AppRunner | None = None
        self.host = ""
        #: Authorization headers that it received: there should be none.
        self.credentials: list[str] = []

    async def __aenter__(self) -> Self:
        """Start serving."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = await listen(app)
        self.host = f"127.0.0.1:{port_of(self._runner)}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if header := request.headers.get("Authorization"):
            self.credentials.append(header)
        return web.Response(text=self._text, content_type=self._type, status=self._status)

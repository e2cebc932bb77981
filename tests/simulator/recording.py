"""A recorded gateway: a folder with the answer of each endpoint, served again.

A file is an endpoint, named like it with `/`, `?`, `=` and `&` as `_`; `<name>_log.json` contains the HTTP status
(`code`). Writes are answered and discarded; no authentication is needed.
"""

from __future__ import annotations

import json
from pathlib import Path
import re
import time
from typing import TYPE_CHECKING, Any, Final, Self, override

from aiohttp import web

from . import access
from .listener import GatewayServer, listen, port_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The same document under more than one name.
_ALIASES: Final = {"production.json_details_1": "production.json", "inventory.json_deleted_1": "inventory"}


def file_name(endpoint: str) -> str:
    """Return the name of the file for an endpoint such as `/production.json?details=1`."""
    return re.sub(r"[/?=&]", "_", endpoint.lstrip("/"))


class Recording(GatewayServer):
    """A recorded gateway; an async context manager that serves it. Any login is accepted."""

    def __init__(self, folder: Path, *, port: int = 0, host: str = "127.0.0.1") -> None:
        """Read the identity. Raises FileNotFoundError or ValueError when the folder contains no recording."""
        super().__init__(host, port)
        self._folder = folder
        info = (folder / "info").read_text(encoding="utf-8")
        self.serial = _tag(info, "sn")
        self.firmware = _tag(info, "software").lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        self._runner: web.AppRunner | None = None

    @property
    @override
    def uses_tokens(self) -> bool:
        """Whether it uses HTTPS and tokens, rather than HTTP."""
        return int(self.firmware.split(".")[0]) >= 7

    def token(self, days: float = 300) -> str:
        """Return a token for this gateway."""
        return access.make_token(self.serial, now=time.time(), days=days)

    async def __aenter__(self) -> Self:
        """Start serving."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        certificate = access.make_certificate(self.serial) if self.uses_tokens else None
        self._runner = await listen(app, self._address, self.port, certificate=certificate)
        self.port = port_of(self._runner)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop serving."""
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == "/auth/check_jwt":
            return web.Response(text="<h2>Valid token.</h2>", content_type="text/html")
        if request.method != "GET":
            return web.Response(body=await request.read(), content_type="application/json")
        name = file_name(request.path_qs)
        for stored in (name, _ALIASES.get(name, name)):
            if re.fullmatch(r"\w[\w.-]*", stored) and (file := self._folder / stored).is_file():
                kind = "text/xml" if stored == "info" else "application/json"
                return web.Response(status=self._status(stored), body=file.read_bytes(), content_type=kind)
        return web.Response(status=404)

    def _status(self, name: str) -> int:
        log = self._folder / f"{name}_log.json"
        return int(json.loads(log.read_text(encoding="utf-8")).get("code", 200)) if log.is_file() else 200


def write(folder: Path, fixtures: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Write the answers of a diagnostics file as a recording, yielding the names of its files.

    An endpoint that did not answer is recorded as 503, because the gateway may have it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for endpoint, answer in fixtures.items():
        name = file_name(endpoint)
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"{endpoint!r} is no endpoint")
        (folder / name).write_text(answer["body"] or "", encoding="utf-8")
        log = {"code": answer["status"] or 503}
        (folder / f"{name}_log.json").write_text(json.dumps(log) + "\n", encoding="utf-8")
        yield name


def _tag(xml: str, name: str) -> str:
    if not (found := re.search(rf"<{name}>([^<]+)</{name}>", xml)):
        raise ValueError(f"/info names no {name}")
    return found[1]

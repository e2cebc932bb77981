"""The cloud on loopback: the login of Enlighten and the token service Entrez, as the library uses them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
import json
import secrets
import time
from typing import Final, Literal, Self

from aiohttp import web

from .access import CLOUD_PASSWORD, CLOUD_USER, make_token
from .listener import listen, port_of

Trouble = Literal["mfa", "error", "html", "hang", "refused"]
#: Days of validity: a year for the token of a homeowner, half a day for one of an installer.
TOKEN_DAYS: Final = {"owner": 365.0, "installer": 0.5}


class Cloud:
    """Accounts and tokens; an async context manager that serves them over plain HTTP.

    `trouble` is the failure: "mfa" (a login without session id), "error" (500), "html" (a page instead of JSON),
    "hang" (no answer), "refused" (tokens are refused although the login succeeded). `login_trouble` and `token_trouble`
    limit it to one service.
    """

    def __init__(self, username: str = CLOUD_USER, password: str = CLOUD_PASSWORD, *, user: str = "owner") -> None:
        """Accept one account; the user "installer" gets installers' tokens."""
        self.username, self.password, self.user = username, password, user
        self.login_trouble: Trouble | None = None
        self.token_trouble: Trouble | None = None
        self.requests: Counter[str] = Counter()
        self.tokens: list[str] = []
        self._sessions: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self._base = ""

    @property
    def trouble(self) -> Trouble | None:
        """The failure of the login."""
        return self.login_trouble

    @trouble.setter
    def trouble(self, trouble: Trouble | None) -> None:
        self.login_trouble = self.token_trouble = trouble

    @property
    def login_url(self) -> str:
        """The value for EnvoyTokenAuth.JSON_LOGIN_URL."""
        return f"{self._base}/login/login.json?"

    @property
    def token_url(self) -> str:
        """The value for EnvoyTokenAuth.TOKEN_URL."""
        return f"{self._base}/tokens"

    async def __aenter__(self) -> Self:
        """Start serving."""
        app = web.Application()
        app.router.add_post("/login/login.json", self._login)
        app.router.add_post("/tokens", self._tokens)
        self._runner = await listen(app)
        self._base = f"http://127.0.0.1:{port_of(self._runner)}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop serving."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _login(self, request: web.Request) -> web.Response:
        self.requests["login"] += 1
        if (failure := await self._fail(self.login_trouble)) is not None:
            return failure
        form = await request.post()
        if (form.get("user[email]"), form.get("user[password]")) != (self.username, self.password):
            return web.json_response({"message": "Invalid email or password"}, status=401)
        if self.login_trouble == "mfa":
            return web.json_response({"message": "success", "requires_mfa": True})
        session = secrets.token_hex(16)
        self._sessions.add(session)
        return web.json_response(
            {
                "message": "success",
                "session_id": session,
                "manager_token": make_token("enlighten", now=time.time(), days=1),
                "is_consumer": self.user == "owner",
            }
        )

    async def _tokens(self, request: web.Request) -> web.Response:
        self.requests["tokens"] += 1
        if (failure := await self._fail(self.token_trouble)) is not None:
            return failure
        try:
            order = json.loads(await request.read())
            session, serial = order["session_id"], order["serial_num"]
        except (ValueError, KeyError, TypeError):  # fmt: skip
            return web.Response(status=400, text="Bad Request")
        if session not in self._sessions or self.token_trouble == "refused":
            return web.Response(status=401, text="Unauthorized")
        token = make_token(str(serial), now=time.time(), days=TOKEN_DAYS[self.user], user=self.user)
        self.tokens.append(token)
        return web.Response(text=token)

    async def _fail(self, trouble: Trouble | None) -> web.Response | None:
        if trouble == "error":
            return web.Response(status=500, text="Internal Server Error")
        if trouble == "html":
            return web.Response(text="<html><body>Down for maintenance</body></html>", content_type="text/html")
        if trouble == "hang":
            with suppress(TimeoutError):
                async with asyncio.timeout(120):
                    await self._stopping.wait()
            return web.Response(status=503)
        return None

"""The cloud on loopback: the login of Enlighten and the token service Entrez, as the library uses them."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from contextlib import suppress
import json
import secrets
import time
from typing import Final, Literal, Self

from aiohttp import web

from .access import CLOUD_PASSWORD, CLOUD_USER, make_token
from .battery_service import SITE, USER_ID, BatteryService
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
        #: Battery settings.
        self.batteries = BatteryService()
        self.batteries.is_authorized = self._is_authorized  # type: ignore[method-assign]
        #: The code that users of a multi-factor account receive.
        self.code = "123456"
        #: The login for battery settings requires a code; the one for tokens does not.
        self.requires_code = False
        self.codes_sent = 0
        self._nonces: set[str] = set()

    @property
    def trouble(self) -> Trouble | None:
        """The failure of the login."""
        return self.login_trouble

    @trouble.setter
    def trouble(self, trouble: Trouble | None) -> None:
        self.login_trouble = self.token_trouble = trouble

    @property
    def base_url(self) -> str:
        """The address of the cloud."""
        return self._base

    def end_sessions(self) -> None:
        """End all sessions: their cookies are refused from now on."""
        self._sessions.clear()

    def _is_authorized(self, request: web.Request) -> bool:
        return request.cookies.get("_enlighten_4_session") in self._sessions

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
        app.router.add_post("/app-api/generate_mfa_login_otp", self._send_code)
        app.router.add_post("/app-api/validate_login_otp", self._validate_code)
        self.batteries.add_routes(app)
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
        for_batteries = request.headers.get("User-Agent") == "enphase_envoy"
        if self.login_trouble == "mfa" or (self.requires_code and for_batteries):
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            response = web.json_response({"message": "success", "requires_mfa": True})
            response.set_cookie("login_otp_nonce", nonce)
            return response
        return self._begin_session()

    def _begin_session(self) -> web.Response:
        session = secrets.token_hex(16)
        self._sessions.add(session)
        response = web.json_response(
            {
                "message": "success",
                "session_id": session,
                "manager_token": make_token("enlighten", now=time.time(), days=1, data={"user_id": int(USER_ID)}),
                "is_consumer": self.user == "owner",
                "system_id": int(SITE),
            }
        )
        response.set_cookie("_enlighten_4_session", session)
        return response

    async def _send_code(self, request: web.Request) -> web.Response:
        self.requests["send_code"] += 1
        if request.cookies.get("login_otp_nonce") not in self._nonces:
            return web.Response(status=401)
        self.codes_sent += 1
        return web.json_response({"success": True, "isBlocked": False})

    async def _validate_code(self, request: web.Request) -> web.Response:
        self.requests["validate_code"] += 1
        form = {
            key: base64.b64decode(str(value)).decode()
            for key, value in (await request.post()).items()
            if key in ("email", "otp")
        }
        known = request.cookies.get("login_otp_nonce") in self._nonces
        if not known or form != {"email": self.username, "otp": self.code}:
            return web.json_response({"isValid": False, "isBlocked": False})
        return self._begin_session()

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

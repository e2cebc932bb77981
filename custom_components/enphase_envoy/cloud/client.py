"""Requests to Enphase's cloud: login, one-time code, and the service of battery settings.

The maker has no public documentation of these. Several public projects reported in 2025 and 2026 what is used here: a
form for the login, session cookies, the user's id in the `manager_token`, the header `Username`, and for changes
`X-XSRF-Token` with the value of the cookie `BP-XSRF-Token` of a request right before. `Origin` and `Referer` are
required. A User-Agent that contains `HomeAssistant` was answered with 406, so this sends a name of its own.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from http import HTTPStatus
import logging
import re
from typing import Any, Final

import aiohttp
import jwt
from orjson import JSONDecodeError, loads as json_loads

from ..client.backoff import Backoff
from ..client.limits import CLOUD as LIMIT, read_body
from ..model.text import LONGEST_NAME, clean
from .errors import CloudError, CloudReason
from .models import sites_from_api

_LOGGER: Final = logging.getLogger(__name__)

BASE_URL: Final = "https://enlighten.enphaseenergy.com"
_LOGIN: Final = "/login/login.json"
_CODE: Final = "/app-api/validate_login_otp"
_SEND_CODE: Final = "/app-api/generate_mfa_login_otp"
_SITES: Final = "/app-api/search_sites.json"
SERVICE: Final = "/service/batteryConfig/api/v1"
_UI: Final = "https://battery-profile-ui.enphaseenergy.com"
_USER_AGENT: Final = "enphase_envoy"

#: Seconds for one request.
_TIMEOUT: Final = 20
#: Seconds between two logins at least, and of the pauses after the service refused a request.
LOGIN_PAUSE: Final = 300
_LONGEST_PAUSE: Final = 6 * 3600
_SESSION_COOKIE: Final = "_enlighten_4_session"
_CODE_COOKIE: Final = "login_otp_nonce"
_XSRF_COOKIE: Final = "BP-XSRF-Token"
#: Answers after which nothing is requested for some minutes, beside errors of the service itself.
_PAUSING: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.TOO_MANY_REQUESTS})
_OF_SESSION: Final = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER}
)


class CloudClient:
    """A session of one account. Cookies and tokens are in memory only, and requests follow one another."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        username: str,
        password: str,
        clock: Callable[[], float],
        base_url: str = BASE_URL,
    ) -> None:
        """Prepare to log in. `http` must not share its cookies with others; `clock` returns seconds."""
        # aiohttp sends a PUT again where the server closes the connection; a change is never repeated.
        http._retry_connection = False  # noqa: SLF001
        self._http = http
        self._username = username
        self._password = password
        self._clock = clock
        self._base = base_url
        self._cookies: dict[str, str] = {}
        self._user_id: str | None = None
        self._manager_token: str | None = None
        #: The site that the service named at login.
        self.site: str | None = None
        #: The session has ended or did not begin yet.
        self.is_logged_in = False
        #: The account requires a one-time code, which is only requested when the user is present.
        self.needs_code = False
        self._awaits_code = False
        self.is_closed = False
        self._next_login = float("-inf")
        self._backoff = Backoff(LOGIN_PAUSE, _LONGEST_PAUSE)
        self._paused_until = float("-inf")
        self._lock = asyncio.Lock()

    def close(self) -> None:
        """End the session: nothing is requested any more."""
        self.is_closed = True
        self.is_logged_in = self._awaits_code = False
        self._cookies.clear()
        self._manager_token = None

    # Login

    async def log_in(self) -> None:
        """Log in while the user is present, unless the session is in use.

        Raises CloudError; CODE_REQUIRED once the user was sent a code. After five minutes, another one is sent.
        """
        async with self._lock:
            await self._log_in(is_attended=True)

    async def _log_in(self, *, is_attended: bool = False) -> None:
        if self.is_logged_in:
            return
        if self.needs_code and not is_attended:
            raise CloudError(CloudReason.CODE_REQUIRED)
        if self._clock() >= self._next_login:
            await self._send_password()
            if self.is_logged_in:
                return
        elif not (is_attended and _CODE_COOKIE in self._cookies):
            raise CloudError(CloudReason.PAUSED, "one login in five minutes")
        if is_attended and not self._awaits_code:
            status, _ = await self._send("POST", _SEND_CODE, data={"locale": "en"})
            self._require_ok(status, _SEND_CODE)
            self._awaits_code = True
        raise CloudError(CloudReason.CODE_REQUIRED)

    async def _send_password(self) -> None:
        """Begin a session, or find out that a code is required."""
        self._next_login = self._clock() + LOGIN_PAUSE
        self._cookies.clear()
        self._awaits_code = False
        form = {"user[email]": self._username, "user[password]": self._password}
        status, document = await self._send("POST", _LOGIN, data=form)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise CloudError(CloudReason.INVALID_AUTH, f"HTTP {status}")
        self._require_ok(status, _LOGIN)
        if self._begins_session(document):
            return
        if document.get("isBlocked") is True or document.get("success") is False:
            raise CloudError(CloudReason.INVALID_AUTH, "blocked" if document.get("isBlocked") else "not successful")
        if not (document.get("requires_mfa") or document.get("success")):
            raise CloudError(CloudReason.UNREACHABLE, "the login has no session")
        self.needs_code = True

    async def enter_code(self, code: str) -> None:
        """Log in with the code that the user received. Raises CloudError."""
        async with self._lock:
            form = {
                "email": base64.b64encode(self._username.encode()).decode(),
                "otp": base64.b64encode(code.strip().encode()).decode(),
                "xhrFields[withCredentials]": "true",
            }
            status, document = await self._send("POST", _CODE, data=form)
            if document.get("isValid") is False or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY):
                blocked = document.get("isBlocked") is True
                self._awaits_code = not blocked
                raise CloudError(CloudReason.INVALID_AUTH if blocked else CloudReason.CODE_INVALID)
            self._require_ok(status, _CODE)
            if not self._begins_session(document):
                raise CloudError(CloudReason.UNREACHABLE, "the login with a code has no session")

    def _begins_session(self, document: Mapping[str, Any]) -> bool:
        """Use the session that an answer to a login contains; return whether there is one."""
        session, manager = document.get("session_id"), document.get("manager_token")
        if not (isinstance(session, str) and isinstance(manager, str)):
            return False
        try:
            data = jwt.decode(manager, options={"verify_signature": False}).get("data")
        except jwt.InvalidTokenError:
            data = None
        user = data.get("user_id") if isinstance(data, dict) else None
        self._user_id = str(user) if isinstance(user, int | str) and user else None
        self._cookies.setdefault(_SESSION_COOKIE, session)
        self._manager_token = manager
        site = document.get("system_id")
        self.site = str(site) if isinstance(site, int | str) and str(site).isdecimal() else None
        self.is_logged_in, self._awaits_code = True, False
        self._cookies.pop(_CODE_COOKIE, None)
        return True

    async def sites(self) -> dict[str, str]:
        """Return the names of the account's sites by their ids. Raises CloudError; NO_SITE where there is none."""
        async with self._lock:
            document = await self._read(_SITES, lambda: None, {"searchText": "", "favourite": "false"})
        # The list was seen empty in half of the calls.
        if not (found := sites_from_api(document) or ({self.site: self.site} if self.site else {})):
            raise CloudError(CloudReason.NO_SITE)
        return found

    # The service of battery settings

    async def read(self, *paths: str, require_open: Callable[[], None]) -> tuple[object, ...]:
        """Return documents of the service, one for each path.

        Raises CloudError, and what `require_open` raises before each request: the entry may have been unloaded.
        """
        async with self._lock:
            return tuple([await self._read(SERVICE + path, require_open) for path in paths])

    async def write(
        self, method: str, path: str, body: object, site: str, require_open: Callable[[], None]
    ) -> Mapping[str, Any]:
        """Send a change once, and return the answer. Raises as `read` does.

        A read right before it provides the token without which the service refuses changes. That is also how a session
        that has ended is noticed before anything is changed.
        """
        async with self._lock:
            self._cookies.pop(_XSRF_COOKIE, None)
            await self._read(f"{SERVICE}/siteSettings/{site}", require_open)
            headers = {**self._headers, "X-Requested-With": "XMLHttpRequest"}
            if token := self._cookies.get(_XSRF_COOKIE):
                headers["X-XSRF-Token"] = token
            require_open()
            status, document = await self._send(
                method, SERVICE + path, params=self._parameters, json=body, headers=headers
            )
            if status == HTTPStatus.CONFLICT:
                raise CloudError(CloudReason.OVERLAP, _reason(document, status))
            if status == HTTPStatus.UNAUTHORIZED:
                self.is_logged_in = False
            if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PAUSING:
                raise CloudError(CloudReason.REFUSED, _reason(document, status))
            self._require_ok(status, path)
            return document

    @property
    def _parameters(self) -> dict[str, str]:
        return {"userId": self._user_id, "source": "enho"} if self._user_id else {"source": "enho"}

    @property
    def _headers(self) -> dict[str, str]:
        """The headers that the service requires."""
        headers = {"Origin": _UI, "Referer": f"{_UI}/"}
        if self._user_id:
            headers["Username"] = self._user_id
        if self._manager_token:
            # Some sites are refused without it.
            headers["e-auth-token"] = self._manager_token
        return headers

    # Requests

    async def _read(
        self, path: str, require_open: Callable[[], None], params: Mapping[str, str] | None = None
    ) -> object:
        """Return a document; log in first where there is no session, and once more where it has ended."""
        renewed = not self.is_logged_in
        status, document = await self._get(path, require_open, params)
        if status in _OF_SESSION:
            self.is_logged_in = False
            if renewed:
                raise CloudError(CloudReason.UNREACHABLE, f"{_without_ids(path)}: HTTP {status} after a login")
            status, document = await self._get(path, require_open, params)
        self._require_ok(status, path)
        return document.get(_LIST, document)

    async def _get(
        self, path: str, require_open: Callable[[], None], params: Mapping[str, str] | None
    ) -> tuple[int, Mapping[str, Any]]:
        require_open()
        await self._log_in()
        require_open()
        return await self._send("GET", path, params=params or self._parameters, headers=self._headers)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        json: object = None,
    ) -> tuple[int, Mapping[str, Any]]:
        """Return status and JSON object of an answer. A list is the only value, at `_LIST`. Raises CloudError."""
        if self.is_closed:
            raise CloudError(CloudReason.UNREACHABLE, "closed")
        if self._clock() < self._paused_until:
            raise CloudError(CloudReason.PAUSED, "after a refused request")
        try:
            async with self._http.request(
                method,
                self._base + path,
                params=params,
                headers={"Accept": "application/json", "User-Agent": _USER_AGENT, **(headers or {})},
                data=data,
                json=json,
                cookies=self._cookies,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            ) as response:
                body = await read_body(response, LIMIT)
                self._cookies |= {name: morsel.value for name, morsel in response.cookies.items()}
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as err:
            raise CloudError(CloudReason.UNREACHABLE, f"{_without_ids(path)}: {type(err).__name__}") from None
        if status in _PAUSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._failed(f"{_without_ids(path)}: HTTP {status}")
        document = _json(body)
        if document is None and status == HTTPStatus.OK and body.strip():
            # A page for maintenance.
            raise self._failed(f"{_without_ids(path)}: no JSON")
        self._backoff.reset()
        return status, document or {}

    def _failed(self, detail: str) -> CloudError:
        """Return the error of a request that failed, after which there is a pause."""
        self._paused_until = self._clock() + self._backoff.fail()
        return CloudError(CloudReason.UNREACHABLE, detail)

    def _require_ok(self, status: int, path: str) -> None:
        """Raise CloudError for any other status than success."""
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise CloudError(CloudReason.UNREACHABLE, f"{_without_ids(path)}: HTTP {status}")


#: Key of a list that is a whole answer.
_LIST: Final = "list"


def _without_ids(path: str) -> str:
    """Return a path for the log: without the id of the site, and of a schedule."""
    return re.sub(r"/(?!v\d+(?:/|$))[^/]*\d[^/]*", "/…", path)


def _reason(document: Mapping[str, Any], status: int) -> str:
    """Return the reason that the service gives for a refusal, else the status."""
    error = document.get("error")
    for found in (error, document) if isinstance(error, dict) else (document,):
        for key in ("message", "error", "status"):
            if isinstance(text := found.get(key), str) and text:
                return clean(text, LONGEST_NAME)
    return f"HTTP {status}"


def _json(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None for anything else but a list, which becomes the value of `_LIST`."""
    try:
        document = json_loads(body)
    except JSONDecodeError, RecursionError:
        return None
    if isinstance(document, list):
        return {_LIST: document}
    return document if isinstance(document, dict) else None

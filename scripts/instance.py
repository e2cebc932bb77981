"""A running Home Assistant, talked to the way its own frontend does it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

ROOT: Final = Path(__file__).parent.parent
DOMAIN: Final = "enphase_envoy"
USER = PASSWORD = "develop"  # noqa: S105

#: What the configuration of a development instance names, beside what Home Assistant starts unasked.
CONFIGURED = ("config", "energy", "frontend", "history", "logbook")

type Json = dict[str, Any]


class InstanceError(Exception):
    """Home Assistant answered, but not what was hoped for."""


class Instance:
    """A connection to a Home Assistant at an address."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        """Remember where it is; nothing is sent yet."""
        self._session = session
        self.address = address
        self._headers: dict[str, str] = {}
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._last_id = 0

    async def create_owner(self, user: str, password: str) -> None:
        """Create the first user, as the page that greets a new owner does."""
        names = {"name": user.title(), "username": user, "password": password}
        await self.post("/api/onboarding/users", {**names, "client_id": f"{self.address}/", "language": "en"})

    async def log_in(self, user: str, password: str) -> Json:
        """Log in and return the tokens in the form in which the frontend keeps them."""
        client = {"client_id": f"{self.address}/"}
        started = await self.post(
            "/auth/login_flow",
            {**client, "handler": ["homeassistant", None], "redirect_uri": f"{self.address}/?auth_callback=1"},
        )
        finished = await self.post(
            f"/auth/login_flow/{started['flow_id']}", {**client, "username": user, "password": password}
        )
        if "result" not in finished:
            raise InstanceError(f"Home Assistant does not let {user} in: {finished.get('errors')}")
        form = {**client, "grant_type": "authorization_code", "code": finished["result"]}
        async with self._session.post(f"{self.address}/auth/token", data=form) as response:
            tokens: Json = await _json(response)
        self._headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return {**tokens, "hassUrl": self.address, "clientId": f"{self.address}/", "expires": 2**53}

    async def post(self, path: str, body: Json) -> Json:
        """Send JSON to a path of the REST interface and return its answer."""
        async with self._session.post(self.address + path, json=body, headers=self._headers) as response:
            return await _json(response)

    async def command(self, kind: str, **fields: object) -> object:
        """Send a command over the websocket and return its result."""
        if self._websocket is None or self._websocket.closed:
            self._websocket = await self._session.ws_connect(f"{self.address}/api/websocket", max_msg_size=0)
            await self._websocket.receive_json()
            token = self._headers["Authorization"].removeprefix("Bearer ")
            await self._websocket.send_json({"type": "auth", "access_token": token})
            await self._websocket.receive_json()
        self._last_id += 1
        await self._websocket.send_json({"id": self._last_id, "type": kind, **fields})
        while (answer := await self._websocket.receive_json()).get("id") != self._last_id:
            pass
        if not answer["success"]:
            raise InstanceError(f"Home Assistant refuses {kind}: {answer['error']['message']}")
        result: object = answer["result"]
        return result

    async def rows(self, kind: str, **fields: object) -> list[Json]:
        """Return the result of a command that lists something."""
        result = await self.command(kind, **fields)
        if not isinstance(result, list):
            raise InstanceError(f"Home Assistant answers {kind} with something else than a list")
        return result

    async def finish_flow(self, start: Json, form: Json) -> Json:
        """Start a config flow, fill in its one form and return what came of it."""
        shown = await self.post("/api/config/config_entries/flow", start)
        if shown["type"] != "form":
            return shown
        fields = {field["name"] for field in shown["data_schema"]}
        filled_in = {key: value for key, value in form.items() if key in fields}
        return await self.post(f"/api/config/config_entries/flow/{shown['flow_id']}", filled_in)


async def retry_until_up[T](call: Callable[[], Awaitable[T]], pause: Callable[[], Awaitable[None]]) -> T:
    """Call until Home Assistant is so far that it answers. Paths appear one after another while it starts."""
    while True:
        try:
            return await call()
        except aiohttp.ClientError, ConnectionError, TimeoutError, TypeError:
            await pause()


async def _json(response: aiohttp.ClientResponse) -> Json:
    if not response.ok:
        response.raise_for_status()
    answer: Json = await response.json()
    return answer

"""A client for a running Home Assistant, which uses the same interfaces as the frontend."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

ROOT: Final = Path(__file__).parent.parent
DOMAIN: Final = "enphase_envoy"
USER = PASSWORD = "develop"  # noqa: S105
#: Time zone of the development instance, whose pages are shown in it.
TIME_ZONE: Final = "Europe/Amsterdam"

#: Integrations in the configuration of a development instance, in addition to those that always start.
CONFIGURED = ("config", "energy", "frontend", "history", "logbook")

type Json = dict[str, Any]


class InstanceError(Exception):
    """Home Assistant rejected a request, or returned an unexpected result."""


class Instance:
    """A client of the Home Assistant at an address."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        """Store the address; no request is sent yet."""
        self._session = session
        self.address = address
        self._headers: dict[str, str] = {}
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self._last_id = 0

    async def create_user(self, user: str, password: str) -> None:
        """Create the first user, as the onboarding page does."""
        names = {"name": user.title(), "username": user, "password": password}
        await self.post("/api/onboarding/users", {**names, "client_id": f"{self.address}/", "language": "en"})

    async def log_in(self, user: str, password: str) -> Json:
        """Log in and return the tokens in the format that the frontend stores. Raises InstanceError."""
        client = {"client_id": f"{self.address}/"}
        started = await self.post(
            "/auth/login_flow",
            {**client, "handler": ["homeassistant", None], "redirect_uri": f"{self.address}/?auth_callback=1"},
        )
        finished = await self.post(
            f"/auth/login_flow/{started['flow_id']}", {**client, "username": user, "password": password}
        )
        if "result" not in finished:
            raise InstanceError(f"Home Assistant rejects the login of {user}: {finished.get('errors')}")
        form = {**client, "grant_type": "authorization_code", "code": finished["result"]}
        async with self._session.post(f"{self.address}/auth/token", data=form) as response:
            tokens: Json = await _json(response)
        self.use(tokens)
        return {**tokens, "hassUrl": self.address, "clientId": f"{self.address}/", "expires": 2**53}

    def use(self, tokens: Json) -> None:
        """Send the access token of an earlier login from now on."""
        self._headers = {"Authorization": f"Bearer {tokens['access_token']}"}

    async def post(self, path: str, body: Json) -> Json:
        """Send JSON to a path of the REST interface and return its answer."""
        async with self._session.post(self.address + path, json=body, headers=self._headers) as response:
            return await _json(response)

    async def delete(self, path: str) -> None:
        """Delete the object at a path of the REST interface."""
        async with self._session.delete(self.address + path, headers=self._headers) as response:
            await _json(response)

    async def command(self, kind: str, **fields: object) -> object:
        """Send a command over the websocket and return its result. Raises InstanceError."""
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
            raise InstanceError(f"Home Assistant rejects {kind}: {answer['error']['message']}")
        result: object = answer["result"]
        return result

    async def rows(self, kind: str, **fields: object) -> list[Json]:
        """Return the result of a command that returns a list. Raises InstanceError."""
        result = await self.command(kind, **fields)
        if not isinstance(result, list):
            raise InstanceError(f"Home Assistant returns no list for {kind}")
        return result

    async def finish_flow(self, start: Json, form: Json) -> Json:
        """Start a config flow, submit its forms and return the result. In a menu: the step in `form`."""
        path = "/api/config/config_entries/flow"
        shown = await self.post(path, start)
        while shown["type"] in ("form", "menu") and not shown.get("errors"):
            if shown["type"] == "menu":
                values = {"next_step_id": next(step for step in shown["menu_options"] if step in form)}
            else:
                fields = {field["name"] for field in shown["data_schema"]}
                values = {key: value for key, value in form.items() if key in fields}
            shown = await self.post(f"{path}/{shown['flow_id']}", values)
        return shown


async def retry_until_up[T](call: Callable[[], Awaitable[T]], pause: Callable[[], Awaitable[None]]) -> T:
    """Call until Home Assistant answers. Paths become available one after another while it starts."""
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

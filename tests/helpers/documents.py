"""Documents of a simulated gateway, and the values that a fresh start reads from them; without a server."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from functools import cache
from http import HTTPStatus
import json
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from custom_components.enphase_envoy.client.endpoints import Document
from custom_components.enphase_envoy.client.errors import GatewayError
from custom_components.enphase_envoy.client.firmware import GatewayInfo
from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.model.snapshot import Address
from tests.helpers.integration import NOON
from tests.simulator import PROFILES, Clock, Simulator
from tests.simulator.documents import ENDPOINTS

#: Seconds after which all endpoints are requested again.
_LATER: Final = 901.0

#: The value of each field of each object.
type Values = dict[tuple[Address, str], object]
#: The answers of a gateway by path: a body, or an HTTP status.
type Answers = Mapping[str, bytes | int]


@cache
def bodies(profile: str) -> dict[str, bytes]:
    """Return the documents of all endpoints of a simulated system at noon."""
    gateway = Simulator(profile, clock=Clock(start=NOON, running=False))
    found = {path: gateway._document(path, {}) for path in ENDPOINTS if path != "/info"}
    for path, query in (("/production.json", {"details": "1"}), ("/inventory.json", {"deleted": "1"})):
        found[f"{path}?{urlencode(query)}"] = gateway._document(path, query)
    return {
        path: json.dumps(document).encode() for path, document in found.items() if isinstance(document, dict | list)
    }


class FreshStarts:
    """A client that starts over with each set of answers."""

    def __init__(self, profile: str, session: aiohttp.ClientSession) -> None:
        """Prepare to read the answers of a simulated system."""
        self._session = session
        system = PROFILES[profile]
        firmware = system.firmware[1:]
        secure = int(firmware.partition(".")[0]) >= 7
        self._info = GatewayInfo(system.serial, firmware, system.part, system.metered, secure)
        #: Read once.
        self.documents = {path: Document(path, body) for path, body in bodies(profile).items()}
        #: The endpoints that were read at the last start.
        self.requested: set[str] = set()
        #: Seconds of the polls' clock.
        self.now = 0.0

    def gateway(self, changed: Answers | None = None) -> Gateway:
        """Return a new gateway, with some of the answers changed."""
        given = {} if changed is None else changed
        gateway = Gateway("127.0.0.1", self._session, lambda: self.now)
        gateway.envoy.restore_info(self._info)
        self.requested = set()

        async def get(path: str, _data: dict[str, Any] | None = None) -> Document:
            self.requested.add(path)
            if path not in given and path in self.documents:
                # An answer of its own, with the same content.
                return copy(self.documents[path])
            answer = given.get(path, HTTPStatus.NOT_FOUND)
            return Document(path, b"{}", answer) if isinstance(answer, int) else Document(path, answer)

        gateway.envoy.get = get  # type: ignore[method-assign, assignment]
        return gateway

    async def values(self, changed: Answers | None = None) -> Values:
        """Return the values that a new gateway has after its first poll, with some of the answers changed."""
        try:
            snapshot = await self.gateway(changed).poll()
        except GatewayError:
            return {}
        return dict(_values({address: timed.value for address, timed in snapshot.objects.items()}))

    async def later_values(self, changed: Answers) -> Values:
        """Return the values that are up to date after six polls, of which all but the first had changed answers."""
        answers: dict[str, bytes | int] = {}
        gateway = self.gateway(answers)
        await gateway.poll()
        answers |= changed
        for _ in range(5):
            self.now += _LATER
            snapshot = await gateway.poll()
        objects = snapshot.objects.items()
        return dict(_values({address: timed.value for address, timed in objects if timed.updated_at == self.now}))


def _values(objects: Mapping[Address, object]) -> Iterator[tuple[tuple[Address, str], object]]:
    for address, value in objects.items():
        assert is_dataclass(value)
        for field in fields(value):
            found = getattr(value, field.name)
            # The library fills in the unit by itself.
            if found is not None and field.name != "temperature_unit":
                yield (address, field.name), found

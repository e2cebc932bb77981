"""Changes of settings: the document as the gateway reported it, with one value replaced.

The library's own calls build the whole document from its objects: keys that it does not model are lost, absent ones are
added, texts are sent as other types. A partial object can crash a gateway, and loses what an installer has set. So the
library sends these changes, but does not build them.
"""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from pyenphase.const import (
    URL_ACB_CONFIG,
    URL_DRY_CONTACT_SETTINGS,
    URL_DRY_CONTACT_STATUS,
    URL_GEN_CONFIG,
    URL_GEN_MODE,
    URL_GEN_SCHEDULE,
    URL_TARIFF,
)
from pyenphase.exceptions import EnvoyHTTPStatusError
from pyenphase.json import json_loads
from pyenphase.models.acb import ACBSleepState
from pyenphase.models.dry_contacts import DryContactType
from pyenphase.models.tariff import EnvoyStorageMode, EnvoyStorageSettings

from ..model.ac_batteries import SLEEP_BAND, AcbFleet, SleepBand
from ..model.validation import is_number
from .endpoints import Endpoint
from .envoy import LibraryEnvoy
from .errors import GatewayError, Reason, RelayTypeError
from .object_cache import ObjectCache

_ABSENT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


class Edit:
    """A change that is being written, based on the document that was read right before.

    All methods raise what the library raises, and GatewayError when the document lacks the object to change; then
    nothing was written.
    """

    def __init__(
        self, envoy: LibraryEnvoy, endpoint: Endpoint, settings: EnvoyStorageSettings | None, cache: ObjectCache
    ) -> None:
        """Prepare to change the latest document of an endpoint; `settings` are those of the batteries at present."""
        #: For commands, which are no documents.
        self.envoy = envoy
        self._endpoint = endpoint
        self._cache = cache
        #: The battery settings before the change, and as wanted.
        self.before = self.wanted = settings

    @property
    def _document(self) -> object:
        latest = self._endpoint.latest
        document: object = latest and json_loads(latest.url, latest.body)
        return document

    async def storage_settings(self, **values: object) -> None:
        """Change settings of the batteries.

        `schedule`, which the gateway reports beside the tariff, is the result of its settings, and is not sent.
        """
        document = _changed(self._document, values, "tariff", "storage_settings")
        if self.before:
            wanted = document["tariff"]["storage_settings"]
            self.wanted = replace(self.before, **{name: wanted[name] for name in values})
        await self.envoy.send(URL_TARIFF, {"tariff": document["tariff"]}, "PUT")

    async def storage_mode(self, mode: EnvoyStorageMode) -> None:
        """Change the mode of the batteries.

        While the gateway optimises schedules itself, it stores another mode and ignores it: that is disabled as well.
        """
        optimised = self.before is not None and self.before.opt_schedules
        await self.storage_settings(mode=mode, **({"opt_schedules": False} if optimised else {}))

    async def relay(self, relay_id: str, **values: object) -> None:
        """Change settings of a relay, whose whole object is sent."""
        contact = _changed(_rows(self._document, "dry_contacts", "id").get(relay_id), values)
        await self.envoy.send(URL_DRY_CONTACT_SETTINGS, {"dry_contacts": contact})

    async def relay_action(self, relay_id: str, **values: object) -> None:
        """Change actions of a relay. Raises RelayTypeError where it switches no load: there they are ignored."""
        contact = _rows(self._document, "dry_contacts", "id").get(relay_id, {})
        if contact.get("type") != DryContactType.LOAD:
            raise RelayTypeError
        await self.relay(relay_id, **values)

    async def relay_status(self, relay_id: str, *, closed: bool) -> None:
        """Open or close a relay."""
        command = {"id": relay_id, "status": "closed" if closed else "open"}
        await self.envoy.send(URL_DRY_CONTACT_STATUS, {"dry_contacts": command})

    async def generator_mode(self, mode: str) -> None:
        """Change the mode of the generator."""
        await self.envoy.send(URL_GEN_MODE, _changed(self._document, {"gen_cmd": mode}))

    async def generator_config(self, **values: object) -> None:
        """Change the configuration of the generator."""
        await self.envoy.send(URL_GEN_CONFIG, _changed(self._document, values))

    async def generator_schedule(self, part: str, **values: object) -> None:
        """Change a part of the generator's schedule. Raises ValueError if it would stop before it starts."""
        document = _changed(self._document, values, part)
        charge = document.get("default_soc") or {}
        start, stop = charge.get("start_soc"), charge.get("stop_soc")
        if is_number(start) and is_number(stop) and start >= stop:
            raise ValueError(f"start at {start} % must be below stop at {stop} %")
        await self.envoy.send(URL_GEN_SCHEDULE, document)

    async def sleep_band(self, fleet: AcbFleet, band: SleepBand) -> None:
        """Choose the state of charge at which AC batteries sleep; it is sent at once to batteries that are asleep."""
        if fleet.sleep_state is ACBSleepState.ASLEEP:
            await self.sleep(replace(fleet, sleep_band=band))
        else:
            self._cache.put(SLEEP_BAND, band, self._endpoint.freshness)

    async def sleep(self, fleet: AcbFleet) -> None:
        """Send all AC batteries to sleep at the chosen state of charge. Raises ValueError when none was chosen."""
        if (band := fleet.sleep_band) is None:
            raise ValueError("no state of charge to sleep at was chosen")
        try:
            document = await self.envoy.send(URL_ACB_CONFIG)
        except EnvoyHTTPStatusError as err:
            if err.status_code not in _ABSENT:
                raise
            document = None
        rows = _rows(document, "acb_sleep")
        limits = {"sleep_min_soc": band.low, "sleep_max_soc": band.high}
        for serial in fleet.serials:
            rows[serial] = _changed(rows.get(serial, {"serial_num": serial}), limits)
        body = _changed(document or {}, {"acb_sleep": list(rows.values())})
        await self.envoy.send(URL_ACB_CONFIG, body, "PUT")
        # From now on the batteries report it themselves.
        self._cache.remove(SLEEP_BAND)


def _rows(document: object, key: str, identifier: str = "serial_num") -> dict[object, dict[str, Any]]:
    """Return the objects that a document lists, by their identifiers."""
    rows = document.get(key) if isinstance(document, dict) else None
    return {row.get(identifier): row for row in rows or () if isinstance(row, dict)}


def _changed(document: object, values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return a document with other values in the object at some keys. Raises GatewayError when there is none.

    Integers become floating-point numbers where the gateway reports such.
    """
    if not isinstance(document, dict):
        raise GatewayError(Reason.NO_DATA, "the settings are incomplete")
    if keys:
        key, *rest = keys
        return {**document, key: _changed(document.get(key), values, *rest)}
    as_reported = {
        name: float(value) if type(value) is int and isinstance(document.get(name), float) else value
        for name, value in values.items()
    }
    return document | as_reported

"""Changes of settings: the document as the gateway reported it, with one value replaced.

The library's own calls build the whole document from its objects: keys that it does not model are lost, absent ones are
added, texts are sent as other types. A partial object can crash a gateway, and loses what an installer has set. So the
library sends these changes, but does not build them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
import json
from typing import Any, Final, cast

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
from .endpoints import Document, Endpoint
from .envoy import LibraryEnvoy
from .errors import GatewayError, Reason, RelayTypeError
from .object_cache import ObjectCache

#: The path of a document, and the keys of an object in it; an object of a list is found by its `id`.
type Place = tuple[str, ...]

#: Seconds for which a gateway may report the document from before a change.
_HOLD_TIME: Final = 60.0
_ABSENT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


@dataclass(frozen=True, slots=True)
class _Written:
    value: object
    #: What the gateway reported before it, and was written before it.
    earlier: tuple[object, ...]
    until: float


class WrittenValues:
    """Values that were written and are not reported yet: a second change sends them again, as it sends all values."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without any; `clock` returns seconds."""
        self._clock = clock
        self._values: defaultdict[Place, dict[str, _Written]] = defaultdict(dict)

    def add(self, place: Place, values: Mapping[str, object], reported: Mapping[str, object] | None) -> None:
        """Hold values that were written to an object, given what was reported of it before."""
        held, until = self._values[place], self._clock() + _HOLD_TIME
        for name, value in values.items():
            earlier = (*held[name].earlier, held[name].value) if name in held else ()
            held[name] = _Written(value, (*earlier, (reported or {}).get(name)), until)

    def confirm(self, path: str, document: Document | None) -> None:
        """Discard the values of which a new document reports another value than before, and those of long ago."""
        for place in [place for place in self._values if place[0] == path and document]:
            reported = _object_at(_content(document), place[1:]) or {}
            self._values[place] = {
                name: written
                for name, written in self._values[place].items()
                if written.value != reported.get(name) in written.earlier and self._clock() < written.until
            }
            if not self._values[place]:
                del self._values[place]

    def unconfirmed(self, place: Place) -> dict[str, object]:
        """Return the values of an object that are not reported yet."""
        return {name: written.value for name, written in self._values.get(place, {}).items()}


class Edit:
    """A change that is being written, based on the document that was read right before.

    All methods raise what the library raises, and GatewayError when the document lacks the object to change; then
    nothing was written.
    """

    def __init__(
        self,
        envoy: LibraryEnvoy,
        endpoint: Endpoint,
        settings: EnvoyStorageSettings | None,
        cache: ObjectCache,
        written: WrittenValues,
    ) -> None:
        """Prepare to change the latest document of an endpoint; `settings` are those of the batteries at present."""
        #: For commands, which are no documents.
        self.envoy = envoy
        self._endpoint = endpoint
        self._cache = cache
        self._written = written
        #: The place of what is changed, its new values, and the object as reported.
        self._changes: tuple[Place, Mapping[str, object], Mapping[str, object] | None] = ((), {}, None)
        #: The battery settings before the change, and as wanted.
        self.before = self.wanted = settings

    @property
    def _document(self) -> Any:  # noqa: ANN401  (a JSON document)
        return _content(self._endpoint.latest)

    def _object(self, path: str, values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
        """Return the object at some keys of the document, with other values. Raises GatewayError when there is none."""
        reported, place = _object_at(self._document, keys), (path, *keys)
        self._changes = (place, values, reported)
        return _changed(reported, {**self._written.unconfirmed(place), **values})

    async def _send(self, path: str, body: dict[str, Any], method: str | None = None) -> None:
        """Send a document with an object that was changed."""
        await self.envoy.send(path, body, method)
        self._written.add(*self._changes)

    async def storage_settings(self, **values: object) -> None:
        """Change settings of the batteries.

        `schedule`, which the gateway reports beside the tariff, is the result of its settings, and is not sent.
        """
        wanted = self._object(URL_TARIFF, values, "tariff", "storage_settings")
        if self.before:
            # A number that is sent as a text is one all the same.
            kept = {name: value if isinstance(wanted[name], str) else wanted[name] for name, value in values.items()}
            self.wanted = replace(self.before, **cast("Any", kept))
        await self._send(URL_TARIFF, {"tariff": self._document["tariff"] | {"storage_settings": wanted}}, "PUT")

    async def storage_mode(self, mode: EnvoyStorageMode) -> None:
        """Change the mode of the batteries.

        While the gateway optimises schedules itself, it stores another mode and ignores it: that is disabled as well.
        """
        optimised = self.before is not None and self.before.opt_schedules
        await self.storage_settings(mode=mode, **({"opt_schedules": False} if optimised else {}))

    async def relay(self, relay_id: str, **values: object) -> None:
        """Change settings of a relay, whose whole object is sent."""
        contact = self._object(URL_DRY_CONTACT_SETTINGS, values, "dry_contacts", relay_id)
        await self._send(URL_DRY_CONTACT_SETTINGS, {"dry_contacts": contact})

    async def relay_action(self, relay_id: str, **values: object) -> None:
        """Change actions of a relay. Raises RelayTypeError where it switches no load: there they are ignored."""
        contact = _object_at(self._document, ("dry_contacts", relay_id))
        if contact is None or contact.get("type") != DryContactType.LOAD:
            raise RelayTypeError
        await self.relay(relay_id, **values)

    async def relay_status(self, relay_id: str, *, closed: bool) -> None:
        """Open or close a relay."""
        command = {"id": relay_id, "status": "closed" if closed else "open"}
        await self.envoy.send(URL_DRY_CONTACT_STATUS, {"dry_contacts": command})

    async def generator_mode(self, mode: str) -> None:
        """Change the mode of the generator."""
        await self._send(URL_GEN_MODE, self._object(URL_GEN_MODE, {"gen_cmd": mode}))

    async def generator_config(self, **values: object) -> None:
        """Change the configuration of the generator."""
        await self._send(URL_GEN_CONFIG, self._object(URL_GEN_CONFIG, values))

    async def generator_schedule(self, part: str, **values: object) -> None:
        """Change a part of the generator's schedule. Raises ValueError if it would stop before it starts."""
        document = self._document | {part: self._object(URL_GEN_SCHEDULE, values, part)}
        charge = document.get("default_soc") or {}
        start, stop = charge.get("start_soc"), charge.get("stop_soc")
        if is_number(start) and is_number(stop) and start >= stop:
            raise ValueError(f"start at {start} % must be below stop at {stop} %")
        await self._send(URL_GEN_SCHEDULE, document)

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
        body = _with_limits(document or {}, fleet.serials, {"sleep_min_soc": band.low, "sleep_max_soc": band.high})
        await self.envoy.send(URL_ACB_CONFIG, body, "PUT")
        # From now on the batteries report it themselves.
        self._cache.remove(SLEEP_BAND)


def _content(document: Document | None) -> Any:  # noqa: ANN401  (a JSON document)
    return document and json_loads(document.url, document.body)


def _object_at(content: Any, keys: Sequence[str]) -> dict[str, Any] | None:  # noqa: ANN401  (a JSON document)
    """Return the object at some keys of a document, in lists by its `id`; None when there is none."""
    for key in keys:
        if isinstance(content, list):
            content = next((item for item in content if isinstance(item, dict) and item.get("id") == key), None)
        else:
            content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else None


def _with_limits(document: object, serials: Sequence[str], limits: Mapping[str, int]) -> dict[str, Any]:
    """Return a configuration of AC batteries with other limits of some, whose rows are added where there are none.

    Raises GatewayError when the document is another one.
    """
    rows = document.get("acb_sleep") or [] if isinstance(document, dict) else None
    if not isinstance(document, dict) or document.get("error") or not isinstance(rows, list):
        raise GatewayError(Reason.NO_DATA, "the settings are incomplete")
    # A serial number may be reported as a number.
    reported = [str(row.get("serial_num")) if isinstance(row, dict) else None for row in rows]
    changed = [_changed(row, limits) if serial in serials else row for serial, row in zip(reported, rows, strict=True)]
    added = [{"serial_num": serial, **limits} for serial in serials if serial not in reported]
    return document | {"acb_sleep": changed + added}


def _changed(reported: object, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with other values, of the types that are reported. Raises GatewayError when there is none."""
    if not isinstance(reported, dict):
        raise GatewayError(Reason.NO_DATA, "the settings are incomplete")
    return reported | {name: _as_reported(value, reported.get(name)) for name, value in values.items()}


def _as_reported(value: object, reported: object) -> object:
    """Return a number, or whether something is on, as the type that is reported: a text, or another number."""
    if not isinstance(value, int | float):
        return value
    if isinstance(reported, str):
        try:
            known = json.loads(reported)
        except ValueError:
            # Some firmware reports `none` where there is no value.
            return value
        return json.dumps(_as_reported(value, known)) if isinstance(known, int | float) else value
    return type(reported)(value) if type(reported) is float or (type(reported) is int and value in (0, 1)) else value

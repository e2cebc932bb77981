"""Invalid values at any place of any document: nothing but the values that come from them is lost.

That holds for a fresh start, and for a system that was read before.

The values that come from a place are those that change when it has another valid value.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
import json
import os
from random import Random
from typing import Any, Final

import aiohttp
import pytest

from custom_components.enphase_envoy.model.snapshot import Address
from tests.helpers.documents import FreshStarts, Values
from tests.simulator import PROFILES

type Key = str | int
#: A place in a document: endpoint, and the keys that lead to it.
type Place = tuple[str, tuple[Key, ...]]
#: Fields of objects.
type Fields = frozenset[tuple[Address, str]]

#: Stands for a value that is removed.
MISSING: Final = object()
#: Documents with up to five invalid values that are tried for each system.
COMBINATIONS: Final = 1000
#: Lists whose items have no name of their own: without one it is not certain what the others are.
_WITHOUT_NAMES: Final = ("lines", "sched_mode_key")
#: Keys that identify a record, without which it belongs to no device.
_NAMES: Final = ("serial_num", "serialNumber", "sn", "eid", "id")


def _another_type(value: object) -> object:
    match value:
        case bool():
            return "yes"
        case int() | float():
            return str(value)
        case str():
            return 7.5
        case list():
            return {"0": 1}
        case dict():
            return [1]
    return {"unknown": 1}


#: Invalid values, given the valid one.
INVALID: Final[dict[str, Callable[[Any], object]]] = {
    "unknown word": lambda _: "unknown-word",
    "null": lambda _: None,
    "missing": lambda _: MISSING,
    "another type": _another_type,
    "in a list": lambda value: [value],
    "too large": lambda _: 1e300,
}


def _valid(value: object) -> list[object]:
    """Return other valid values of a place, of all kinds where it is null."""
    match value:
        case bool():
            return [not value]
        case int() | float():
            return [value + 1, 0]
        case str():
            return [str(int(value) + 1)] if value.isdigit() else [f"{value}-x", "true" if value == "false" else "false"]
        case None:
            return [1, "word"]
        case list():
            return [[]] if value else [["word"]]
    return []


def places(document: Any, keys: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    """Yield all places within a document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*keys, key)
        yield from places(value, (*keys, key))


def value_at(document: Any, keys: tuple[Key, ...]) -> Any:
    """Return the value at a place."""
    for key in keys:
        document = document[key]
    return document


def put(document: Any, keys: tuple[Key, ...], value: object) -> None:
    """Replace the value at a place, or remove it; nothing where the place is no longer there."""
    try:
        container: Any = value_at(document, keys[:-1])
        if value is MISSING:
            del container[keys[-1]]
        else:
            container[keys[-1]] = value
    except LookupError, TypeError:
        return


def _order(place: Place) -> list[tuple[bool, Key]]:
    return [(isinstance(key, int), key) for key in place[1]]


def lost(before: Values, after: Values) -> Fields:
    """Return the fields that have another value, or none."""
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


@dataclass
class Figures:
    """What was tried, and what was lost."""

    documents: int = 0
    fields: int = 0
    #: Fields that were lost without cause, and the changes.
    without_cause: list[str] = field(default_factory=list)


class Trial:
    """Documents of one system with invalid values."""

    def __init__(self, profile: str, session: aiohttp.ClientSession) -> None:
        """Prepare to read the documents of a simulated system."""
        self.profile = profile
        self._start = FreshStarts(profile, session)
        self._expected: Values = {}
        self._documents: dict[str, Any] = {}
        self._changed: dict[Place, Fields] = {}
        self.places: list[Place] = []
        self.figures = Figures()

    async def prepare(self) -> None:
        """Read the valid documents."""
        self._expected = await self._start.values()
        assert self._expected == await self._start.later_values({})
        for path in sorted(self._start.requested & self._start.documents.keys()):
            self._documents[path] = json.loads(self._start.documents[path].body)
            self.places += [(path, keys) for keys in places(self._documents[path])]

    async def _without_cause(self, found: Fields, places_changed: Iterable[Place]) -> Fields:
        """Return the fields that come from none of some places."""
        for path, keys in places_changed:
            whole = keys
            if keys[-1] in _NAMES or (len(keys) > 1 and keys[-2] in _WITHOUT_NAMES):
                whole = keys[:-1]
            for inner in ((), *places(value_at(self._documents[path], whole))):
                if not found:
                    return found
                found -= await self._changed_by(path, whole + inner)
        return found

    async def _changed_by(self, path: str, keys: tuple[Key, ...]) -> Fields:
        """Return the fields that change with a value."""
        if (place := (path, keys)) not in self._changed:
            found: Fields = frozenset()
            for other in _valid(value_at(self._documents[path], keys)):
                found |= lost(self._expected, await self._start.values(self._changed_documents({place: other})))
            self._changed[place] = found
        return self._changed[place]

    def _changed_documents(self, changes: dict[Place, object]) -> dict[str, bytes]:
        documents = {path: deepcopy(self._documents[path]) for path, _ in changes}
        # Items of lists are removed last, and from behind.
        removed = {place for place, value in changes.items() if value is MISSING}
        for path, keys in [place for place in changes if place not in removed] + sorted(removed, key=_order)[::-1]:
            put(documents[path], keys, changes[path, keys])
        return {path: json.dumps(document).encode() for path, document in documents.items()}

    async def attempt(self, changes: dict[Place, str], *, known: bool) -> None:
        """Read the documents with invalid values, and note what is lost without cause.

        A `known` system was read without invalid values before; otherwise it is a fresh start.
        """
        values = {
            (path, keys): INVALID[kind](value_at(self._documents[path], keys)) for (path, keys), kind in changes.items()
        }
        read = self._start.later_values if known else self._start.values
        found = lost(self._expected, await read(self._changed_documents(values)))
        self.figures.documents += 1
        self.figures.fields += len(found)
        for address, name in sorted(await self._without_cause(found, changes)):
            when = "later" if known else "at a fresh start"
            where = ", ".join(f"{path} {'.'.join(map(str, keys))}: {kind}" for (path, keys), kind in changes.items())
            self.figures.without_cause.append(f"{self.profile}: {' '.join(address)} {name} lost {when} with {where}")


async def try_documents(profile: str, single: int | None, combined: int, known: Collection[bool]) -> Figures:
    """Try each kind of invalid value at each place, or a sample; then combinations of two to five."""
    random = Random(profile)
    async with aiohttp.ClientSession() as session:
        trial = Trial(profile, session)
        await trial.prepare()
        each = [(place, kind) for place in trial.places for kind in INVALID]
        tried = [{place: kind} for place, kind in (each if single is None else random.sample(each, single))]
        tried += [dict(random.sample(each, random.randint(2, 5))) for _ in range(combined)]
        for changes in tried:
            for is_known in known:
                await trial.attempt(changes, known=is_known)
    return trial.figures


def check(profile: str, single: int | None, combined: int, known: Collection[bool] = (False, True)) -> None:
    """Fail if a field was lost without cause: at a fresh start, or in a known system."""
    # Tasks take ten times as long in the loop of the other tests, which is one for debugging.
    with asyncio.Runner(debug=False) as runner:
        figures = runner.run(try_documents(profile, single, combined, known))
    count = len(figures.without_cause)
    # Shown by pytest's option -s.
    print(f"{profile}: {figures.documents} documents, {figures.fields} fields lost, {count} without cause")  # noqa: T201
    assert not figures.without_cause, "\n".join(figures.without_cause[:20])


@pytest.mark.parametrize("profile", PROFILES)
def test_an_invalid_value_costs_the_fields_that_come_from_it(profile: str) -> None:
    check(profile, single=25, combined=15)


@pytest.mark.slow
@pytest.mark.skipif("EXHAUSTIVE" not in os.environ, reason="takes an hour; EXHAUSTIVE=1 scripts/test runs it")
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_invalid_value_costs_the_fields_that_come_from_it(profile: str, *, known: bool) -> None:
    check(profile, single=None, combined=COMBINATIONS, known=[known])

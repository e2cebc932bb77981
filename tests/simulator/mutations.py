"""Documents with one to three mutations of their values or structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
import json
from typing import Final

from .faults import Answer, Fault
from .gateway import Gateway, Json

#: A key of an object or an index of a list.
type Key = str | int

_DEEP: Final = 400
_LONG: Final = 20_000


def _deep(value: Json) -> Json:
    """Nest a value in many lists."""
    for _ in range(_DEEP):
        value = [value]
    return value


def _number(text: str) -> Json:
    """Return a text as a number, or its length."""
    try:
        return float(text)
    except ValueError:
        return len(text)


def _retyped(value: Json) -> Json:
    """Return a value of another type: a text for a number, a number for a text, an object for a list."""
    match value:
        case bool():
            return int(value)
        case int() | float():
            return str(value)
        case str():
            return _number(value)
        case list():
            return {str(index): item for index, item in enumerate(value)}
        case dict():
            return list(value.values())
    return 0


def _emptied(value: Json) -> Json:
    """Return an empty value of the same type."""
    return [] if isinstance(value, list) else {} if isinstance(value, dict) else "" if isinstance(value, str) else 0


def _negative(value: Json) -> Json:
    return -value if isinstance(value, int | float) and value else -1


def _scaled(factor: float) -> Callable[[Json], Json]:
    """Return a function that multiplies numbers, and repeats or shortens texts and lists."""

    def scale(value: Json) -> Json:
        if isinstance(value, bool | None):
            return factor
        if isinstance(value, int | float):
            # Some of these integers are too large for a float.
            return value * factor if isinstance(value, float) else value * round(2 * factor) // 2
        if isinstance(value, dict):
            return dict(list(value.items())[: int(len(value) * factor)])
        return value * int(factor) if factor >= 1 else value[: int(len(value) * factor)]

    return scale


#: Mutations of a value.
VALUES: Final[dict[str, Callable[[Json], Json]]] = {
    "null": lambda _: None,
    "of another type": _retyped,
    "NaN": lambda _: float("nan"),
    "Infinity": lambda _: float("inf"),
    "-Infinity": lambda _: float("-inf"),
    "1e18": lambda _: 1e18,
    "-1e18": lambda _: -1e18,
    "1e400": lambda _: 10**400,
    "2^63": lambda _: 2**63,
    "negative": _negative,
    "tripled": _scaled(3),
    "halved": _scaled(0.5),
    "true": lambda _: True,
    "false": lambda _: False,
    "an empty list": lambda _: [],
    "an empty object": lambda _: {},
    "empty": _emptied,
    "in a list": lambda value: [value],
    "in an object": lambda value: {"value": value},
    "deep": _deep,
    "a text": lambda _: "n/a",
    "the text NaN": lambda _: "NaN",
    "unusual characters": lambda _: "\u0000\ud83d\ude00\u202e\uffff",
    "a lone surrogate": lambda _: "\ud83d",
    "long": lambda _: "x" * _LONG,
}


def _twice(place: Json, key: Key) -> None:
    if isinstance(place, list):
        place.insert(int(key), deepcopy(place[int(key)]))
    else:
        place[f"{key}_2"] = deepcopy(place[str(key)])


def _remove(place: Json, key: Key) -> None:
    del place[key]


def _add(place: Json, key: Key) -> None:
    if isinstance(place, list):
        place.append({"unknown": 1})
    else:
        place["unknown"] = {"unknown": [1, None]}


def _reverse(place: Json, _key: Key) -> None:
    if isinstance(place, list):
        place.reverse()
    else:
        items = list(place.items())
        place.clear()
        place.update(reversed(items))


def _cut(place: Json, key: Key) -> None:
    """Remove this entry and all after it."""
    for later in list(place)[list(place).index(key) :] if isinstance(place, dict) else [slice(int(key), None)]:
        del place[later]


def _exchange(place: Json, key: Key) -> None:
    """Exchange two values."""
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    other = keys[(keys.index(key) + 1) % len(keys)]
    place[key], place[other] = place[other], place[key]


#: Mutations of the structure around a value.
SHAPES: Final[dict[str, Callable[[Json, Key], None]]] = {
    "twice": _twice,
    "missing": _remove,
    "with an unknown neighbour": _add,
    "reversed": _reverse,
    "cut off": _cut,
    "exchanged": _exchange,
}

#: Mutations of the answer; its Content-Length is kept.
BODIES: Final[dict[str, Callable[[Answer], None]]] = {}


def _body(name: str) -> Callable[[Callable[[Answer], None]], Callable[[Answer], None]]:
    def register(spoil: Callable[[Answer], None]) -> Callable[[Answer], None]:
        BODIES[name] = spoil
        return spoil

    return register


@_body("truncated")
def _truncated(answer: Answer) -> None:
    answer.body = answer.body[: len(answer.body) * 2 // 3]


@_body("connection lost within the body")
def _lost(answer: Answer) -> None:
    answer.cut = len(answer.body) // 2


@_body("an empty body")
def _nothing(answer: Answer) -> None:
    answer.body = b""


@_body("invalid UTF-8")
def _bytes(answer: Answer) -> None:
    answer.body = answer.body.replace(b'"', b'"\xff\xc3', 1)


@_body("twice in a row")
def _doubled(answer: Answer) -> None:
    answer.body += answer.body


@_body("another content type")
def _other_type(answer: Answer) -> None:
    answer.content_type = "application/octet-stream"


@_body("an HTML page")
def _page(answer: Answer) -> None:
    answer.content_type, answer.body = "text/html", b"<!DOCTYPE html><html><body>Please wait</body></html>"


@_body("huge")
def _huge(answer: Answer) -> None:
    answer.body = b"[" + b'{"a": 1},' * 20_000 + b"{}]"


@_body("unclosed brackets")
def _brackets(answer: Answer) -> None:
    answer.body = b"[" * 100_000


@_body("a byte-order mark")
def _marked(answer: Answer) -> None:
    answer.body = b"\xef\xbb\xbf" + answer.body


def find_all(document: Json, way: tuple[Key, ...] = ()) -> Iterator[tuple[Json, Key, tuple[Key, ...]]]:
    """Yield container, key and path of every value in a document, at any depth."""
    keys: list[Key] = list(document) if isinstance(document, dict) else []
    if isinstance(document, list):
        keys = list(range(len(document)))
    for key in keys:
        yield document, key, (*way, key)
        yield from find_all(document[key], (*way, key))


@dataclass
class Mutation(Fault):
    """One to three mutations of the document of one endpoint, or one of its body."""

    #: The index of a value in the document, modulo their number, and a mutation of VALUES or SHAPES.
    edits: tuple[tuple[int, str], ...] = ()
    #: Or a mutation of BODIES.
    body: str | None = None
    #: Descriptions of the mutations that were made.
    done: list[str] = field(default_factory=list, compare=False)

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Mutate the document."""
        self.done.clear()
        for number, mutation in self.edits:
            found = list(find_all(document))
            if not found:
                break
            place, key, way = found[number % len(found)]
            before = json.dumps(place[key], default=str)
            self.done.append(f"{'.'.join(map(str, way))} = {before[:60]}: {mutation}")
            if mutation in SHAPES:
                SHAPES[mutation](place, key)
            else:
                place[key] = VALUES[mutation](place[key])
        return document

    def spoil(self, answer: Answer) -> None:
        """Mutate the answer."""
        if self.body:
            BODIES[self.body](answer)

"""Documents with one to three things wrong in them: whatever a gateway may say instead of what is true."""

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
    """Put a value at the bottom of many lists."""
    for _ in range(_DEEP):
        value = [value]
    return value


def _number(text: str) -> Json:
    """Return a text as the number it is, or as its length."""
    try:
        return float(text)
    except ValueError:
        return len(text)


def _retyped(value: Json) -> Json:
    """Return what a careless programmer would send: a text for a number, a number for a text, an object for a list."""
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
    """Return nothing of the same kind."""
    return [] if isinstance(value, list) else {} if isinstance(value, dict) else "" if isinstance(value, str) else 0


def _negative(value: Json) -> Json:
    return -value if isinstance(value, int | float) and value else -1


def _scaled(factor: float) -> Callable[[Json], Json]:
    """Return a function that multiplies numbers, and repeats or cuts what has a length."""

    def scale(value: Json) -> Json:
        if isinstance(value, bool | None):
            return factor
        if isinstance(value, int | float):
            # No float is as large as some of these whole numbers.
            return value * factor if isinstance(value, float) else value * round(2 * factor) // 2
        if isinstance(value, dict):
            return dict(list(value.items())[: int(len(value) * factor)])
        return value * int(factor) if factor >= 1 else value[: int(len(value) * factor)]

    return scale


#: What may stand at a place instead of what belongs there.
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
    "a word": lambda _: "n/a",
    "the word NaN": lambda _: "NaN",
    "not of this alphabet": lambda _: "\u0000\ud83d\ude00\u202e\uffff",
    "half a character": lambda _: "\ud83d",
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
    """Leave out this one and all after it."""
    for later in list(place)[list(place).index(key) :] if isinstance(place, dict) else [slice(int(key), None)]:
        del place[later]


def _exchange(place: Json, key: Key) -> None:
    """Let two values change places."""
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    other = keys[(keys.index(key) + 1) % len(keys)]
    place[key], place[other] = place[other], place[key]


#: What may happen to a place and its neighbours.
SHAPES: Final[dict[str, Callable[[Json, Key], None]]] = {
    "twice": _twice,
    "missing": _remove,
    "with a stranger beside it": _add,
    "reversed": _reverse,
    "cut off": _cut,
    "exchanged": _exchange,
}

#: What may happen to the finished answer, whose length is given in case.
BODIES: Final[dict[str, Callable[[Answer], None]]] = {}


def _body(name: str) -> Callable[[Callable[[Answer], None]], Callable[[Answer], None]]:
    def register(spoil: Callable[[Answer], None]) -> Callable[[Answer], None]:
        BODIES[name] = spoil
        return spoil

    return register


@_body("truncated")
def _truncated(answer: Answer) -> None:
    answer.body = answer.body[: len(answer.body) * 2 // 3]


@_body("half of it lost on the way")
def _lost(answer: Answer) -> None:
    answer.cut = len(answer.body) // 2


@_body("nothing")
def _nothing(answer: Answer) -> None:
    answer.body = b""


@_body("bytes that are no text")
def _bytes(answer: Answer) -> None:
    answer.body = answer.body.replace(b'"', b'"\xff\xc3', 1)


@_body("twice in a row")
def _doubled(answer: Answer) -> None:
    answer.body += answer.body


@_body("another type of content")
def _other_type(answer: Answer) -> None:
    answer.content_type = "application/octet-stream"


@_body("a page for people")
def _page(answer: Answer) -> None:
    answer.content_type, answer.body = "text/html", b"<!DOCTYPE html><html><body>Please wait</body></html>"


@_body("huge")
def _huge(answer: Answer) -> None:
    answer.body = b"[" + b'{"a": 1},' * 20_000 + b"{}]"


@_body("brackets without end")
def _brackets(answer: Answer) -> None:
    answer.body = b"[" * 100_000


@_body("a byte-order mark")
def _marked(answer: Answer) -> None:
    answer.body = b"\xef\xbb\xbf" + answer.body


def places(document: Json, way: tuple[Key, ...] = ()) -> Iterator[tuple[Json, Key, tuple[Key, ...]]]:
    """Yield container, key and the way there of everything in a document, however deep."""
    keys: list[Key] = list(document) if isinstance(document, dict) else []
    if isinstance(document, list):
        keys = list(range(len(document)))
    for key in keys:
        yield document, key, (*way, key)
        yield from places(document[key], (*way, key))


@dataclass
class Mutation(Fault):
    """One to three things wrong in the document of one endpoint."""

    #: Which place, counted through the document and begun anew at its end, and what is there: of VALUES or SHAPES.
    edits: tuple[tuple[int, str], ...] = ()
    #: Or what became of the whole answer: of BODIES.
    body: str | None = None
    #: What was found where, once it was done.
    done: list[str] = field(default_factory=list, compare=False)

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Change the places."""
        self.done.clear()
        for number, what in self.edits:
            all_places = list(places(document))
            if not all_places:
                break
            place, key, way = all_places[number % len(all_places)]
            before = json.dumps(place[key], default=str)
            self.done.append(f"{'.'.join(map(str, way))} = {before[:60]}: {what}")
            if what in SHAPES:
                SHAPES[what](place, key)
            else:
                place[key] = VALUES[what](place[key])
        return document

    def spoil(self, answer: Answer) -> None:
        """Change the answer."""
        if self.body:
            BODIES[self.body](answer)

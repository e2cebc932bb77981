"""Leave out of a document the records that make no sense, so that one of them costs no more than itself. Pure."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeIs

type Record = dict[str, object]

#: What devices are known by in lists, whichever of these comes first.
_KEYS: Final = ("serial_num", "serialNumber", "sn", "eid", "id")
#: Levels that a document may have; gateways get by with ten, and writing 250 of them crashes orjson and Python with it.
_LEVELS: Final = 100
#: Documents that lack one record to try, where it is not known what records should look like.
_GUESSES: Final = 20


def candidates(document: object, good: object) -> Iterator[object]:
    """Yield documents with less in them that may make sense, given the last good one or None."""
    if _is_deep(document):
        return
    if (mended := _mended(document, good)) != document:
        yield mended
    if good is None:
        yield from islice(_without_one(document), _GUESSES)


def _is_deep(document: object) -> bool:
    """Return whether a document has too many levels to be looked through."""
    level = [document]
    for _ in range(_LEVELS):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [value for values in inner for value in values]
    return bool(level)


def _mended(new: object, good: object) -> object:
    """Return a document without the devices that look unlike themselves before, or unlike most others."""
    if isinstance(new, dict):
        return {key: _mended(value, good.get(key) if isinstance(good, dict) else None) for key, value in new.items()}
    if not isinstance(new, list):
        return new
    before = good if isinstance(good, list) else []
    if not _lists_devices(new):
        # Groups of devices, one of each type.
        groups = {_type(group): group for group in before}
        return [_mended(item, groups.get(_type(item))) for item in new]
    known = {_name(device): device for device in before if _is_device(device)}
    common = _most_common([device for device in (*new, *before) if _is_device(device)])
    return [device for device in new if _is_device(device) and _fits(device, known.get(_name(device), common))]


def _without_one(document: object) -> Iterator[object]:
    """Yield a document without each of its devices in turn."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from ({**document, key: less} for less in _without_one(value))
    elif isinstance(document, list):
        devices = _lists_devices(document)
        for index, item in enumerate(document):
            rest = document[:index], document[index + 1 :]
            if devices:
                yield [*rest[0], *rest[1]]
            else:
                yield from ([*rest[0], less, *rest[1]] for less in _without_one(item))


def _lists_devices(items: list[object]) -> bool:
    return 2 * sum(_is_device(item) for item in items) > len(items)


def _type(group: object) -> str | None:
    kind = group.get("type") if isinstance(group, dict) else None
    return kind if isinstance(kind, str) else None


def _is_name(value: object) -> TypeIs[str | int]:
    return isinstance(value, str | int)


def _is_device(item: object) -> TypeIs[Record]:
    return isinstance(item, dict) and any(_is_name(item.get(key)) for key in _KEYS)


def _name(device: Record) -> object:
    return next(device[key] for key in _KEYS if _is_name(device.get(key)))


def _most_common(devices: list[Record]) -> Record:
    """Return one that looks as most do."""
    looks = [frozenset((key, _kind(value)) for key, value in device.items()) for device in devices]
    (most, _), *_ = Counter(looks).most_common(1)
    return devices[looks.index(most)]


def _kind(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _fits(new: object, like: object) -> bool:
    """Return whether a value has the type, and at least the parts, of another; what was null may become anything."""
    if like is None:
        return True
    if isinstance(new, dict) and isinstance(like, dict):
        return all(key in new and _fits(new[key], value) for key, value in like.items())
    return _kind(new) == _kind(like)

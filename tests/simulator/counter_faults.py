"""Wrong counters, each of a kind that real gateways have reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .documents.meters import WRAP
from .faults import Fault
from .gateway import Gateway, Json

#: Fields of the day's and the lifetime's production and consumption: production.json with its phases, and v1.
TODAY: Final = ("whToday", "wattHoursToday")
LIFETIME: Final = ("whLifetime", "wattHoursLifetime")
STORAGE_EID: Final = 704643840


def _each(document: Json, names: tuple[str, ...], change: Callable[[dict[str, float], str], float]) -> Json:
    """Change every field of these names, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in names:
                document[key] = change(document, key)
            else:
                _each(value, names, change)
    elif isinstance(document, list):
        for value in document:
            _each(value, names, change)
    return document


class TodayPlus32Bits(Fault):
    """2^32 Wh on top of whToday."""

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Add them."""
        return _each(document, TODAY, lambda place, key: place[key] + 2**32)


class TodayIsLifetime(Fault):
    """whToday has the lifetime's value."""

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Copy it."""
        return _each(document, TODAY, lambda place, key: place[LIFETIME[TODAY.index(key)]])


@dataclass
class TodayNotReset(Fault):
    """At midnight whToday continues from yesterday's value: for good, or for some seconds."""

    seconds: float | None = None

    def applies(self, gateway: Gateway) -> bool:
        """Whether this counter was not reset yet."""
        return self.seconds is None or gateway.house.local_second < self.seconds

    def edit(self, _path: str, document: Json, gateway: Gateway) -> Json:
        """Add yesterday's production to all."""
        yesterday = gateway.house.yesterday("production")
        return _each(document, TODAY, lambda place, key: round(place[key] + yesterday, 3))


@dataclass
class TodayResetsAbove(Fault):
    """The day starts above 0."""

    watt_hours: float = 1300.0

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Add the remainder."""
        return _each(document, TODAY, lambda place, key: place[key] + self.watt_hours)


class LifetimeWraps(Fault):
    """Lifetime counters wrap at 2^32 joules."""

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Wrap them."""
        return _each(document, LIFETIME, lambda place, key: place[key] % WRAP)


@dataclass
class Step(Fault):
    """A lasting step of counters: fields of these names, by watt-hours."""

    watt_hours: float
    fields: tuple[str, ...] = LIFETIME

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Shift them."""
        return _each(document, self.fields, lambda place, key: place[key] + self.watt_hours)


@dataclass
class StorageCtHalves(Fault):
    """Energy of the storage CT loses a phase (fw 8.3.6000 and later, split phase): one channel reads 0."""

    phase: int = 1

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Set the channel to 0 and subtract it from the sum."""
        for reading in document:
            if reading["eid"] == STORAGE_EID:
                channel = reading["channels"][self.phase]
                for key in ("actEnergyDlvd", "actEnergyRcvd", "activePower", "instantaneousDemand"):
                    reading[key] = round(reading[key] - channel[key], 3)
                    channel[key] = 0.0
        return document


class Zeros(Fault):
    """Every number reads 0, as after a drop-out or (fw 3.x) a start; times, identifiers and counts stay."""

    KEEP: Final = frozenset(
        {"eid", "timestamp", "readingTime", "activeCount", "lastReportDate", "devType", "createdAt"}
    )

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Set all numbers to 0."""
        return self._zero(document)

    def _zero(self, document: Json) -> Json:
        if isinstance(document, dict):
            return {key: value if key in self.KEEP else self._zero(value) for key, value in document.items()}
        if isinstance(document, list):
            return [self._zero(value) for value in document]
        if isinstance(document, bool) or not isinstance(document, int | float):
            return document
        return type(document)(0)


class TotalIsNet(Fault):
    """Firmware 8.3.5433: power and lifetime of total-consumption are those of net-consumption."""

    def edit(self, _path: str, document: Json, _gateway: Gateway) -> Json:
        """Copy them, phases too."""
        if not isinstance(document, dict) or "consumption" not in document:
            return document
        total, net = document["consumption"]
        pairs = [(total, net), *zip(total.get("lines", []), net.get("lines", []), strict=True)]
        for wrong, right in pairs:
            wrong["wNow"], wrong["whLifetime"] = right["wNow"], right["whLifetime"]
        return document

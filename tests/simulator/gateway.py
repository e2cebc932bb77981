"""The gateway: one house, one firmware, and stored settings. Documents are rendered from it, writes change it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
import re
from typing import TYPE_CHECKING, Any, Final

from .hardware import StorageSettings
from .house import House

if TYPE_CHECKING:
    from .clock import Clock
    from .hardware import Relay
    from .profiles import Profile

#: Seconds for which a request enables live data.
LIVE_SPAN: Final = 900.0
#: Seconds after a change of a relay's settings for which normally-closed relays are reported as open: from 5 to 90.
SETTLING_TIME: Final = 30.0
#: Seconds after which the cloud restores its own tariff.
CLOUD_DELAY: Final = 90.0
Json = Any


class Gateway:
    """State behind the endpoints."""

    def __init__(self, profile: Profile, house: House, clock: Clock) -> None:
        """Create the gateway of a profile in a house."""
        self.profile = profile
        self._house = house
        self.clock = clock
        self.serial = profile.serial
        self.firmware = profile.firmware
        self.cloud_owns_tariff = profile.cloud_owns_tariff
        self.tariff_settings = deepcopy(house.settings)
        self.live_until = 0.0
        self.last_live: Json = None
        self.settling_time = SETTLING_TIME
        self._settled_at = 0.0
        self._cloud: tuple[float, StorageSettings, StorageSettings] | None = None
        #: Settings that the cloud sent, and when they arrive.
        self._arriving: list[tuple[float, StorageSettings]] = []

    @property
    def version(self) -> tuple[int, ...]:
        """Firmware as numbers: (8, 2, 4382)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.firmware))

    @property
    def now(self) -> float:
        """Epoch seconds of the simulated time."""
        return self.clock.now

    @property
    def house(self) -> House:
        """The house, simulated up to now."""
        now = self.now
        if self._cloud and self._cloud[0] <= now:
            at, tariff, controller = self._cloud
            self._cloud = None
            self._house.advance(at)
            self.tariff_settings, self._house.settings = tariff, controller
            self._house.refresh()
        while self._arriving and self._arriving[0][0] <= now:
            at, settings = self._arriving.pop(0)
            self._cloud = None
            self._house.advance(at)
            self.tariff_settings, self._house.settings = deepcopy(settings), deepcopy(settings)
            self._house.refresh()
        self._house.advance(now)
        return self._house

    def change_later(self, seconds: float, settings: StorageSettings) -> None:
        """Apply settings of the cloud after some seconds."""
        self._arriving = sorted([*self._arriving, (self.now + seconds, settings)], key=lambda change: change[0])

    def store_tariff(self, wanted: StorageSettings) -> None:
        """Store new battery settings, as this firmware does."""
        house = self.house
        if self.cloud_owns_tariff and self._cloud is None:
            self._cloud = (self.now + CLOUD_DELAY, deepcopy(self.tariff_settings), deepcopy(house.settings))
        self.tariff_settings = wanted
        if not (self.cloud_owns_tariff and wanted.opt_schedules):
            house.settings = deepcopy(wanted)
            house.refresh()

    def relays_settle(self) -> None:
        """Report normally-closed relays as open for some time, although none moves."""
        self._settled_at = self.now + self.settling_time

    def relay_status(self, relay: Relay) -> str:
        """Return the position of a relay as it is reported."""
        settling = self.now < self._settled_at and relay.id.startswith("NC")
        return "closed" if relay.closed and not settling else "open"

    def enable_live_data(self, *, enable: bool) -> None:
        """Start or stop the stream of live data."""
        self.live_until = self.now + LIVE_SPAN if enable else 0.0

    @property
    def is_live(self) -> bool:
        """Whether live data are updated."""
        return self.now < self.live_until

    def dump(self) -> dict[str, Json]:
        """Return the state to save, without the house."""
        return {
            "firmware": self.firmware,
            "cloud_owns_tariff": self.cloud_owns_tariff,
            "tariff_settings": asdict(self.tariff_settings),
        }

    def load(self, state: dict[str, Json]) -> None:
        """Restore the state that `dump` returned."""
        self.firmware = state["firmware"]
        self.cloud_owns_tariff = state["cloud_owns_tariff"]
        self.tariff_settings = StorageSettings(**state["tariff_settings"])

"""Battery settings that a gateway accepts and then does not keep.

From firmware 8.2.4225 on, a gateway answers 200 to a new setting and stores it, but its controller may continue with
the old one, and the Enphase cloud overwrites it within a minute or two. So every setting that is written is monitored
for some minutes.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pyenphase.models.encharge import EnvoyEnchargeAggregate
from pyenphase.models.tariff import EnvoyStorageSettings

from ..model.json_data import Json
from ..model.snapshot import Address, Freshness, Objects, TimedValue
from .pipeline import ProcessingContext

#: Where the settings and the controller's own figures are found.
STORAGE_SETTINGS: Final[Address] = ("storage_settings",)
_CONTROLLER: Final[Address] = ("encharge_aggregate",)

#: Seconds that a setting is monitored after it was written.
WATCH_TIME: Final = 300
#: Seconds after a write at which to read the stored settings again.
RECHECK_DELAYS: Final = (60, 120, 180, 240, WATCH_TIME + 1)
#: Seconds for which a gateway may still report the setting from before.
_STALE_TIME: Final = 30
#: Seconds that the controller needs at most to apply what is stored.
_CONTROLLER_LAG: Final = 90

_RESERVE: Final = "reserved_soc"
_SETTINGS: Final = (_RESERVE, "mode", "charge_from_grid")


class SettingOutcome(StrEnum):
    """The result of writing a setting."""

    KEPT = "kept"
    #: The stored value was replaced by another.
    OVERWRITTEN = "overwritten"
    #: The value is stored, but the controller uses another.
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class SettingResult:
    """The result for one setting that was written."""

    setting: str
    #: The entity through which it was written.
    entity_id: str
    outcome: SettingOutcome
    wanted: object
    actual: object


@dataclass(frozen=True, slots=True)
class _Written:
    entity_id: str
    before: object
    wanted: object
    at: float


class SettingsMonitor:
    """A processor that follows written settings, and shows the reserve that the controller really uses."""

    name = "settings"

    def __init__(self) -> None:
        """Monitor nothing yet."""
        #: Settings whose result was found in the last call.
        self.results: list[SettingResult] = []
        self._written: dict[str, _Written] = {}
        #: The reserve that the controller uses, while that is known not to be the stored one.
        self._in_use: tuple[float, Freshness] | None = None
        #: Nothing is evaluated while settings are written: documents of before and after can be read in any order.
        self.writes = 0
        #: What was shown last instead of the stored settings.
        self._shown: TimedValue | None = None
        #: Of the settings as last read, to recognise a new document.
        self._read: Freshness | None = None

    def watch(self, before: EnvoyStorageSettings, wanted: EnvoyStorageSettings, entity_id: str, now: float) -> None:
        """Monitor what a write changed; `now` is in seconds of the polls' clock."""
        for setting in _SETTINGS:
            value: object = getattr(wanted, setting)
            if value != getattr(before, setting) or (setting == _RESERVE and self._in_use):
                self._written[setting] = _Written(entity_id, getattr(before, setting), value, now)
                if setting == _RESERVE:
                    self._in_use = None

    def process(self, objects: Objects, _addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return the settings with the reserve that the controller uses, where that is not the stored one."""
        self.results = []
        timed = objects.get(STORAGE_SETTINGS)
        if timed is None or not isinstance(settings := timed.value, EnvoyStorageSettings):
            return {}
        controller = _controller_reserve(objects.get(_CONTROLLER))
        if timed.freshness is not self._read and not self.writes:
            # The stored settings are read more rarely than the controller's: only new ones are compared.
            self._read = timed.freshness
            self.results.extend(self._evaluate(settings, controller, context.now - context.offset))
        if self._in_use is None:
            return {}
        self._in_use = reserve, freshness = controller or self._in_use
        shown = replace(settings, reserved_soc=float(reserve))
        self._shown = (self._shown or timed).renewed(shown, timed.freshness, {_RESERVE: freshness})
        return {STORAGE_SETTINGS: self._shown}

    def _evaluate(
        self, stored: EnvoyStorageSettings, controller: tuple[float, Freshness] | None, now: float
    ) -> Iterator[SettingResult]:
        """Yield the results that are certain now, each setting once, with the controller's reserve as evidence."""
        for setting, written in list(self._written.items()):
            actual: object = getattr(stored, setting)
            outcome = SettingOutcome.OVERWRITTEN
            if actual == written.wanted:
                applied = setting != _RESERVE or controller is None or controller[0] == written.wanted
                if applied and now - written.at < WATCH_TIME:
                    continue
                if not applied and controller:
                    if controller[1].updated_at - written.at < _CONTROLLER_LAG:
                        continue
                    self._in_use, actual = controller, float(controller[0])
                outcome = SettingOutcome.KEPT if applied else SettingOutcome.IGNORED
            elif actual == written.before and now - written.at < _STALE_TIME:
                continue
            del self._written[setting]
            yield SettingResult(setting, written.entity_id, outcome, written.wanted, actual)

    def dump(self) -> dict[str, Json]:
        """Return nothing: a restart ends the monitoring."""
        return {}

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore nothing."""


def _controller_reserve(timed: TimedValue | None) -> tuple[float, Freshness] | None:
    """Return the reserve in percent that the controller uses, and how fresh it is."""
    if timed is None or not isinstance(timed.value, EnvoyEnchargeAggregate):
        return None
    reserve = timed.value.configured_reserve_state_of_charge
    return None if reserve is None else (reserve, timed.freshness)

"""Battery settings that a gateway accepts and then does not keep.

From firmware 8.2.4225 on a gateway answers 200 to a new setting and stores it, but its controller may go on as before,
and the Enphase cloud overwrites it with its own value within a minute or two. So new settings are monitored a while.
No Home Assistant here; time is given by the caller.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pyenphase.models.tariff import EnvoyStorageSettings

#: Seconds for which a setting is monitored after it was written.
WATCH_TIME: Final = 300
#: Seconds after a write at which to read again what is stored.
RECHECK_DELAYS: Final = (60, 120, 180, 240, WATCH_TIME + 1)
#: Seconds within which the controller has to use the stored value.
_CONTROLLER_LAG: Final = 90

_SETTINGS: Final = ("reserved_soc", "mode", "charge_from_grid")


class SettingOutcome(StrEnum):
    """Whether a gateway kept a setting."""

    KEPT = "kept"
    #: The stored value was replaced by another.
    OVERWRITTEN = "overwritten"
    #: The value is stored, but the controller works with another.
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class SettingResult:
    """Outcome of one setting that was written."""

    setting: str
    #: The entity through which it was written.
    asker: str
    outcome: SettingOutcome
    wanted: object
    actual: object


@dataclass(frozen=True, slots=True)
class _Written:
    """A setting that is monitored."""

    asker: str
    wanted: object
    at: float


class SettingsMonitor:
    """Monitors settings until their outcome is clear."""

    def __init__(self) -> None:
        """Start without any setting."""
        self._written: dict[str, _Written] = {}
        #: The value that the controller uses, where that is known to differ from the stored one.
        self._used: dict[str, float] = {}

    def ask(self, before: EnvoyStorageSettings, wanted: EnvoyStorageSettings, asker: str, now: float) -> None:
        """Note the settings that a write changed."""
        for setting in _SETTINGS:
            if (value := getattr(wanted, setting)) != getattr(before, setting) or setting in self._used:
                self._written[setting] = _Written(asker, value, now)
                self._used.pop(setting, None)

    def judge(
        self,
        stored: EnvoyStorageSettings,
        controller: tuple[float, float] | None,
        now: float,
        *,
        just_read: bool,
    ) -> Iterator[SettingResult]:
        """Yield the outcomes that are clear: each setting once, with the controller's reserve in percent as evidence.

        `controller` is that reserve and when it was read, None where there is no such report.

        The stored settings are read more rarely: the two are compared only when they were just read.
        """
        if not just_read:
            return
        for setting, written in list(self._written.items()):
            actual: object = getattr(stored, setting)
            outcome = SettingOutcome.OVERWRITTEN
            if actual == written.wanted:
                is_used = setting != "reserved_soc" or controller is None or controller[0] == written.wanted
                if is_used and now - written.at < WATCH_TIME:
                    continue
                if not is_used and controller and controller[1] - written.at < _CONTROLLER_LAG:
                    continue
                outcome = SettingOutcome.KEPT if is_used else SettingOutcome.IGNORED
                if not is_used and controller:
                    actual = self._used[setting] = float(controller[0])
            del self._written[setting]
            yield SettingResult(setting, written.asker, outcome, written.wanted, actual)

    def real_reserve(self, controller_reserve: float | None) -> float | None:
        """Return the reserve in percent that is used, where it is known to differ from the stored one."""
        if "reserved_soc" in self._used and controller_reserve is not None:
            self._used["reserved_soc"] = float(controller_reserve)
        return self._used.get("reserved_soc")

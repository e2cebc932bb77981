"""Battery settings that a gateway takes and then does not keep.

From firmware 8.2.4225 on a gateway answers 200 to a new setting and stores it, but its controller may go on as before,
and the Enphase cloud writes its own value over it within a minute or two. So whatever was set is watched for a while.
No Home Assistant here; time is given by the caller.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pyenphase.models.tariff import EnvoyStorageSettings

#: Seconds that a setting is watched after it was written.
WATCH_TIME: Final = 300
#: Seconds after a write at which to read again what is stored.
RECHECK_DELAYS: Final = (60, 120, 180, 240, WATCH_TIME + 1)
#: Seconds that the controller has to take over what was stored.
_CONTROLLER_LAG: Final = 90

_SETTINGS: Final = ("reserved_soc", "mode", "charge_from_grid")


class SettingOutcome(StrEnum):
    """What became of a setting."""

    KEPT = "kept"
    #: The stored value was replaced by another.
    OVERWRITTEN = "overwritten"
    #: The value is stored, but the controller works with another.
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class SettingResult:
    """What became of one setting that somebody asked for."""

    setting: str
    #: The entity it was asked through.
    asker: str
    outcome: SettingOutcome
    wanted: object
    actual: object


@dataclass(frozen=True, slots=True)
class _Asked:
    asker: str
    wanted: object
    at: float


class SettingsMonitor:
    """Remembers what was asked for until it is clear what became of it."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._asked: dict[str, _Asked] = {}
        #: What the controller works with, where that is known not to be what is stored.
        self._really: dict[str, float] = {}

    def ask(self, before: EnvoyStorageSettings, wanted: EnvoyStorageSettings, asker: str, now: float) -> None:
        """Note what a write changed."""
        for setting in _SETTINGS:
            if (value := getattr(wanted, setting)) != getattr(before, setting) or setting in self._really:
                self._asked[setting] = _Asked(asker, value, now)
                self._really.pop(setting, None)

    def judge(
        self,
        stored: EnvoyStorageSettings,
        controller: tuple[float, float] | None,
        now: float,
        *,
        just_read: bool,
    ) -> Iterator[SettingResult]:
        """Yield what has become clear: each setting once, with the controller's reserve in percent as evidence.

        `controller` is that reserve and when it was read, None where there is no such report.

        What is stored is asked more rarely than the controller: only when it was just read are the two compared.
        """
        if not just_read:
            return
        for setting, asked in list(self._asked.items()):
            actual: object = getattr(stored, setting)
            outcome = SettingOutcome.OVERWRITTEN
            if actual == asked.wanted:
                heeded = setting != "reserved_soc" or controller is None or controller[0] == asked.wanted
                if heeded and now - asked.at < WATCH_TIME:
                    continue
                if not heeded and controller and controller[1] - asked.at < _CONTROLLER_LAG:
                    continue
                outcome = SettingOutcome.KEPT if heeded else SettingOutcome.IGNORED
                if not heeded and controller:
                    actual = self._really[setting] = float(controller[0])
            del self._asked[setting]
            yield SettingResult(setting, asked.asker, outcome, asked.wanted, actual)

    def real_reserve(self, controller_reserve: float | None) -> float | None:
        """Return the reserve in percent that holds in truth, where it is known not to be the stored one."""
        if "reserved_soc" in self._really and controller_reserve is not None:
            self._really["reserved_soc"] = float(controller_reserve)
        return self._really.get("reserved_soc")

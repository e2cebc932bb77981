"""The arithmetic of Home Assistant's recorder for counters, on rows of five minutes, and the corrections of it."""

from collections import defaultdict
from dataclasses import dataclass, field

from custom_components.enphase_envoy.statistics.recorder import ROW, recorded_change


@dataclass
class RecordedCounter:
    """The statistics of one entity, in Wh."""

    #: A counter of the state class `total`, which may fall.
    is_total: bool = False
    state: float | None = None
    #: The states as written, with their times.
    states: list[tuple[float, float | None]] = field(default_factory=list)
    #: The energy of each row, by its beginning.
    rows: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    def write(self, at: float, state: float | None) -> None:
        """Record a state; None is unavailable."""
        self.states.append((at, state))
        if state is None or (state < 0 and not self.is_total):
            return
        if self.state is not None:
            change = state - self.state if self.is_total else recorded_change(self.state, state)
            self.rows[at - at % ROW] += change
        self.state = state

    def correct(self, at: float, watt_hours: float) -> None:
        """Correct the row of a time."""
        self.rows[at - at % ROW] += watt_hours

    @property
    def energy(self) -> float:
        """The energy of all rows."""
        return sum(self.rows.values())

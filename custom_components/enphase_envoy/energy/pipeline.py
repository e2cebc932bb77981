"""What passes over each snapshot before anyone reads it, and what it remembers. No Home Assistant here.

A gateway's counters lie now and then, and some things no gateway counts. Each step of the books takes the leaves as the
steps before left them and says what is otherwise or new. Entities, the Energy dashboard and the statistics see the
outcome alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Protocol

from ..model.snapshot import Address, Leaf, Snapshot
from ..model.validation import is_number

#: What can be kept in a file.
type Json = bool | int | float | str | list[Json] | dict[str, Json] | None
#: A field of the object at an address that counts energy, e.g. `(("inverters", "482243033093"), "lifetime_energy")`.
type Counter = tuple[Address, str]


def number(value: Json) -> float:
    """Return a number that was remembered. Raises ValueError for what is none, or none that a house may have."""
    if not is_number(value):
        raise ValueError(value)
    return float(value)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a snapshot was taken, and how its clock relates to the one on the wall."""

    #: Seconds since the epoch.
    now: float
    #: What is added to the clock of the polls to get seconds since the epoch.
    offset: float
    #: Where the day begins at midnight.
    zone: tzinfo
    #: CT meters that nobody could read yet.
    awaited: frozenset[Address] = frozenset()

    def seen(self, leaf: Leaf) -> float:
        """Return when the gateway last gave this leaf, in seconds since the epoch."""
        return leaf.seen + self.offset


class Step(Protocol):
    """One pass over the leaves, with a memory that outlasts a restart."""

    @property
    def name(self) -> str:
        """What its memory is kept under."""

    def enter(self, leaves: Mapping[Address, Leaf], moment: Moment) -> Mapping[Address, Leaf]:
        """Return the leaves that are new, or otherwise than given."""

    def dump(self) -> dict[str, Json]:
        """Return all that has to be remembered."""

    def load(self, memory: Mapping[str, Json]) -> None:
        """Go on from what was remembered; what can't be understood is left out."""


class Books:
    """The steps, one after another."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Begin with what the steps know."""
        self._steps = steps

    def enter(self, snapshot: Snapshot, moment: Moment) -> Snapshot:
        """Return the snapshot as everyone is to see it."""
        leaves = snapshot.leaves
        for step in self._steps:
            if changed := step.enter(leaves, moment):
                leaves = {**leaves, **changed}
        return snapshot if leaves is snapshot.leaves else replace(snapshot, leaves=leaves)

    def dump(self) -> dict[str, Json]:
        """Return what all steps have to remember."""
        return {step.name: step.dump() for step in self._steps}

    def load(self, memory: Mapping[str, object]) -> None:
        """Give each step what it remembered."""
        for step in self._steps:
            if isinstance(part := memory.get(step.name), dict):
                step.load(part)

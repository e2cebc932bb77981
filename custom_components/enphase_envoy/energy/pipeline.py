"""The steps that every snapshot passes before anything is shown, and what they store.

A gateway's counters are wrong now and then, and some figures no gateway has. Each processor takes the objects as the
processors before it left them, and returns those that are different or new. Entities, the Energy dashboard and the
statistics use the result alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Protocol

from ..model.json_data import Json
from ..model.snapshot import Address, Snapshot, TimedValue

type Objects = Mapping[Address, TimedValue]


@dataclass(frozen=True, slots=True)
class ProcessingContext:
    """When a snapshot was taken, and how the polls' clock relates to the time of day."""

    #: Seconds since the epoch.
    now: float
    #: What is added to the polls' clock to get seconds since the epoch.
    offset: float
    #: Time zone in which a day begins at midnight.
    zone: tzinfo
    #: CT meters that could not be read yet.
    unread_meters: frozenset[Address] = frozenset()

    def updated_at(self, timed: TimedValue) -> float:
        """Return when an object was last up to date, in seconds since the epoch."""
        return timed.updated_at + self.offset


class Processor(Protocol):
    """One step, with state that is kept over restarts."""

    @property
    def name(self) -> str:
        """The key under which the state is stored."""

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return all objects that this adds, or that are different from those given.

        Only at `addresses` may objects have changed since the last call: all of them at a poll, few in between.
        """

    def dump(self) -> dict[str, Json]:
        """Return the state to store."""

    def load(self, data: Mapping[str, Json]) -> None:
        """Restore the state; what is not valid is left out."""


class Pipeline:
    """The processors, one after another."""

    def __init__(self, processors: Sequence[Processor]) -> None:
        """Start with the state that the processors have."""
        self._processors = processors

    def process(
        self, snapshot: Snapshot, context: ProcessingContext, addresses: Collection[Address] | None = None
    ) -> Snapshot:
        """Return the snapshot as it is to be shown. With `addresses`, only these are evaluated anew."""
        objects = snapshot.objects
        for processor in self._processors:
            changed = objects if addresses is None else addresses
            if result := processor.process(objects, changed, context):
                objects = {**objects, **result}
        return snapshot if objects is snapshot.objects else replace(snapshot, objects=objects)

    def dump(self) -> dict[str, Json]:
        """Return the state of all processors."""
        return {processor.name: processor.dump() for processor in self._processors}

    def load(self, data: Mapping[str, object]) -> None:
        """Restore the state of each processor."""
        for processor in self._processors:
            if isinstance(part := data.get(processor.name), dict):
                processor.load(part)

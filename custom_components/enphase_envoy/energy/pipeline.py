"""The processors that every snapshot passes before it is shown, and their stored state.

A gateway's counters are wrong now and then, and some figures no gateway has. Each processor takes the objects as the
processors before it left them, and returns those that are different or new. Entities, the Energy dashboard and the
statistics use the result alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Protocol

from ..model.json_data import Json
from ..model.snapshot import Address, Objects, Snapshot, TimedValue, changed_addresses


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


class Replacements:
    """The objects that a processor replaces. A replacement stays the same object while nothing changes."""

    def __init__(self) -> None:
        """Start without any."""
        self.objects: dict[Address, TimedValue] = {}

    def put(self, address: Address, timed: TimedValue, values: Mapping[str, Any]) -> None:
        """Replace an object by one with other values of some fields, if they are others."""
        value: Any = timed.value
        if not values or all(getattr(value, name) == new for name, new in values.items()):
            self.discard(address)
            return
        replacement, last = replace(value, **values), self.objects.get(address)
        self.objects[address] = replace(timed, value=last.value if last and last.value == replacement else replacement)

    def renew(self, address: Address, timed: TimedValue) -> None:
        """Note that the object was up to date again."""
        if (last := self.objects.get(address)) and last.freshness is not timed.freshness:
            self.objects[address] = replace(timed, value=last.value)

    def discard(self, address: Address) -> None:
        """Leave an object unchanged."""
        self.objects.pop(address, None)


class Processor(Protocol):
    """One step of the pipeline, with state that is kept over restarts."""

    @property
    def name(self) -> str:
        """The key under which the state is stored."""

    def process(self, objects: Objects, addresses: Collection[Address], context: ProcessingContext) -> Objects:
        """Return all objects that this adds, or that are different from those given.

        Only at `addresses` may objects have changed since the last call.
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
        #: The objects of the last poll.
        self._given: Objects = {}
        #: The last result of each processor, by its name.
        self._results: dict[str, Objects] = {}

    def process(
        self, snapshot: Snapshot, context: ProcessingContext, addresses: Collection[Address] | None = None
    ) -> Snapshot:
        """Return the snapshot as it is to be shown. Only objects at `addresses` have changed, if these are given."""
        objects = snapshot.objects
        # With hundreds of inverters most polls read few of the objects again.
        evaluated = changed_addresses(objects, self._given) if addresses is None else {*addresses}
        if addresses is None:
            self._given = objects
        for processor in self._processors:
            result = processor.process(objects, evaluated, context)
            # What a processor replaces by another object, or no longer, has changed for the next ones.
            before, self._results[processor.name] = self._results.get(processor.name, {}), {**result}
            evaluated |= changed_addresses(result, before) | (before.keys() - result.keys())
            if result:
                objects = {**objects, **result}
        return snapshot if objects is snapshot.objects else replace(snapshot, objects=objects)

    def dump(self) -> dict[str, Json]:
        """Return the state of all processors."""
        return {processor.name: processor.dump() for processor in self._processors}

    def load(self, data: Mapping[str, object]) -> None:
        """Restore the state of each processor."""
        self._given = {}
        for processor in self._processors:
            if isinstance(part := data.get(processor.name), dict):
                processor.load(part)

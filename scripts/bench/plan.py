"""Systems, subjects, number and order of runs; and the result of one run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

#: The component of this repository, Home Assistant's own integration, and the library alone.
type Subject = Literal["ours", "own", "bare"]
SUBJECTS: Final[tuple[Subject, ...]] = ("ours", "own", "bare")

#: Polls, a simulated minute apart. Endpoints that the component requests every 2, 4, 5 or 10 minutes are then requested
#: a whole number of times: with fewer polls the result would depend on the first one.
POLLS: Final = 20
ROUNDS: Final = 5
ROUNDS_QUICK: Final = 2


@dataclass(frozen=True, slots=True)
class System:
    """A simulated system."""

    label: str
    profile: str
    #: Number of inverters where it is not the profile's.
    inverters: int | None = None


SYSTEMS: Final = {
    "legacy": System("legacy, firmware 5", "legacy_5"),
    "metered": System("metered, three phases", "three_phase"),
    "battery": System("full battery", "full_battery"),
    "inverters_49": System("49 inverters", "three_phase", 49),
    "inverters_200": System("200 inverters", "sixty_inverters", 200),
    "inverters_600": System("600 inverters", "sixty_inverters", 600),
}
QUICK: Final = ("battery", "inverters_200")


@dataclass(frozen=True, slots=True)
class Case:
    """A system, and whether entities that are disabled at first are enabled."""

    system: str
    all_enabled: bool

    @property
    def label(self) -> str:
        """Name of this case in a table."""
        return f"{SYSTEMS[self.system].label}, {'all' if self.all_enabled else 'default'}"


@dataclass(frozen=True, slots=True)
class Run:
    """The measurements of one process."""

    subject: Subject
    system: str
    all_enabled: bool
    #: Seconds.
    setup_cpu: float
    setup_wall: float
    #: Set up once more in the same Home Assistant; None for the library.
    again_cpu: float | None
    #: Seconds of CPU of each poll, and those of them within the library.
    cpu: list[float]
    library_cpu: list[float]
    #: Requests in these polls, and bytes of their answers.
    requests: int
    bytes: int
    paths: dict[str, int]
    #: State writes a poll: changed, and reported without a change.
    changed: float
    reported: float
    #: Entities that have a value.
    entities: int
    #: Bytes: peak of the process, and how far that is above what it held before the set-up.
    peak: int
    added: int
    #: Versions of the measured packages.
    versions: dict[str, str] = field(default_factory=dict)


def cases(systems: Sequence[str], entities: Sequence[bool]) -> list[Case]:
    """Return every combination."""
    return [Case(system, all_enabled) for system in systems for all_enabled in entities]


def order(wanted: Sequence[Case], subjects: Sequence[Subject], rounds: int) -> Iterator[tuple[int, Case, Subject]]:
    """Yield runs in an order in which a temporary load of the machine affects all subjects alike.

    Subjects alternate within a case, in reverse order in every second round, and a case is repeated after all others.
    The library alone has no entities, so it runs once for each system.
    """
    for round_ in range(rounds):
        done = set()
        for case in wanted:
            for subject in subjects if round_ % 2 == 0 else subjects[::-1]:
                if subject == "bare":
                    if case.system in done:
                        continue
                    done.add(case.system)
                yield round_, case, subject

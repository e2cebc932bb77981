"""Save a simulated system between runs: all state of the house that `House.at` does not create again."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

from .counters import Snapshot
from .hardware import Battery, Generator, Inverter, Relay, StorageSettings
from .house import Grid, House

if TYPE_CHECKING:
    from .gateway import Json
    from .profiles import Profile


def dump_house(house: House) -> dict[str, Json]:
    """Return a house as JSON."""
    return {
        "seed": house.seed,
        "now": house.now,
        "counters": house.counters,
        "stored": house.stored,
        "next_midnight": house.next_midnight,
        "inverters": [asdict(inverter) | {"days": list(inverter.days)} for inverter in house.inverters],
        "batteries": [asdict(battery) for battery in house.batteries],
        "relays": [asdict(relay) for relay in house.relays],
        "held": {relay: list(situation) for relay, situation in house.held.items()},
        "generator": asdict(house.generator) if house.generator else None,
        "settings": asdict(house.settings),
        "grid": asdict(house.grid),
        "midnights": [asdict(midnight) for midnight in house.midnights],
    }


def load_house(profile: Profile, state: dict[str, Json]) -> House:
    """Create a house from the result of `dump_house`."""
    midnights = deque((Snapshot(**row) for row in state["midnights"]), maxlen=8)
    house = House(
        profile=profile,
        seed=state["seed"],
        now=state["now"],
        counters=state["counters"],
        inverters=[Inverter(**row | {"days": deque(row["days"], maxlen=8)}) for row in state["inverters"]],
        batteries=[Battery(**row) for row in state["batteries"]],
        relays=[Relay(**row) for row in state["relays"]],
        generator=Generator(**state["generator"]) if state["generator"] else None,
        settings=StorageSettings(**state["settings"]),
        stored=state["stored"],
        grid=Grid(**state["grid"]),
        midnights=midnights,
        next_midnight=state["next_midnight"],
        held={relay: (grid, fed) for relay, (grid, fed) in state["held"].items()},
    )
    house.log.append(house.snapshot())
    return house

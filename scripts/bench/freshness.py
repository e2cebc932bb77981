"""How soon a step of power is in Home Assistant: `python -m scripts.bench.freshness ours 5 metered`. Prints JSON.

The load of the house goes up and down by 2 kW at random seconds. Time passes in steps of a second, in which live power
and polls are due as their timers would have them. Requests and CPU are those of the whole run, per minute; state writes
are the rows that a recorder would add. For `requests` only the endpoint of the live source is requested, and nothing is
done with the answers: what any reading at this interval costs at least.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
import json
import logging
from pathlib import Path
from random import Random
from statistics import median
import subprocess
import sys
import time
from typing import Final, cast

from .gateway import STEP, Remote
from .measure import MINUTE, Integration, client_of
from .plan import SYSTEMS, Subject
from .report import number, table

ROOT: Final = Path(__file__).resolve().parent.parent.parent
#: Keys of the sensors that show the step, by system.
SENSORS: Final = {"metered": "consumption", "battery": "battery_discharge"}
#: Watts by which the state has to move, of a step of 2 kW.
SEEN: Final = 1000.0
#: Seconds after which a step is hidden by another change of the load, since a poll is due every minute: it is repeated.
LONGEST: Final = 180
#: Requests of live power alone: nothing is polled, published or shown.
REQUESTS: Final = "requests"
#: Subjects and their seconds between readings of live power.
ROWS: Final = (("ours", 1), ("ours", 5), ("ours", 0), ("own", 0), (REQUESTS, 5))
#: The endpoint of the live source, by system.
SOURCES: Final = {"metered": "/ivp/meters/readings", "battery": "/ivp/livedata/status"}


@dataclass(frozen=True, slots=True)
class Freshness:
    """The result of one run."""

    subject: str
    live: int
    system: str
    #: Seconds between each step and the state.
    seconds: list[int]
    #: Steps that were repeated.
    hidden: int
    #: A minute.
    requests: float
    cpu: float
    writes: float


@dataclass
class House:
    """A system at which seconds pass, in each of which live power and a poll may be due."""

    gateway: Remote
    client: Integration
    #: Reads live power every `live` seconds; 0 is never.
    read: Callable[[], Awaitable[None]]
    live: int
    is_polled: bool = True
    second: int = 0
    requests: int = 0
    cpu: float = 0.0

    async def tick(self) -> None:
        """Let a second pass."""
        self.second += 1
        self.requests += sum(self.gateway.advance(1)["paths"].values())
        is_read = self.live and self.second % self.live == 0
        is_polled = self.is_polled and self.second % MINUTE == 0
        if not (is_read or is_polled):
            return
        begin = time.process_time()
        if is_read:
            await self.read()
        if is_polled:
            await self.client.poll()
        self.cpu += time.process_time() - begin

    async def step(self, shown: Callable[[], float]) -> int:
        """Change the load, and return the seconds until that is shown."""
        before, stepped = shown(), self.second
        self.gateway.send(STEP)
        while abs(shown() - before) < SEEN and self.second - stepped < LONGEST:
            await self.tick()
        return self.second - stepped


async def measure(subject: str, live: int, system: str, steps: int) -> Freshness:
    """Measure one subject at one system."""
    logging.disable(logging.CRITICAL)
    random, kind = Random(1), SYSTEMS[system]  # noqa: S311
    component: Subject = "own" if subject == "own" else "ours"
    with Remote(kind.profile, kind.inverters) as gateway:
        access = gateway.receive()
        async with client_of(component, gateway, access, all_enabled=False) as client:
            integration = cast("Integration", client)
            house = House(gateway, integration, integration.read_live, live)
            if subject == REQUESTS:
                house.read, house.is_polled = partial(integration.request, SOURCES[system]), False
            elif live:
                integration.set_options(live_power=live)
            await client.set_up()
            for _ in range(int(3 * MINUTE)):
                await house.tick()
            house.requests, house.cpu, begun = 0, 0.0, house.second
            writes = client.count_writes()
            tried: list[int] = []
            while sum(seconds < LONGEST for seconds in tried) < steps:
                for _ in range(random.randint(60, 119)):
                    await house.tick()
                shown = partial(integration.watts, f"{access['serial']}_{SENSORS[system]}")
                tried.append(0 if subject == REQUESTS else await house.step(shown))
            found = [] if subject == REQUESTS else [seconds for seconds in tried if seconds < LONGEST]
            minutes = (house.second - begun) / MINUTE
            figures = house.requests / minutes, house.cpu / minutes, writes["state_changed"] / minutes
            return Freshness(subject, live, system, found, len(tried) - steps, *figures)


def report(system: str, steps: int) -> str:
    """Measure all subjects at a system, each in a process of its own, and return a table in Markdown."""
    rows = []
    for subject, live in ROWS:
        command = [sys.executable, "-m", "scripts.bench.freshness", subject, str(live), system, "--steps", str(steps)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = Freshness(**json.loads(done.stdout))
        name = f"{subject}, live {live} s" if live else f"{subject}, polled"
        if subject == REQUESTS:
            name = f"requests every {live} s alone"
        seconds = [number(median(found.seconds)), str(max(found.seconds))] if found.seconds else ["", ""]
        rows.append([name, *seconds, *map(number, (found.requests, found.cpu * 1e3, found.writes))])
    head = ["median [s]", "worst [s]", "requests per minute", "CPU per minute [ms]", "state writes per minute"]
    return table([SYSTEMS[system].label, *head], rows)


def main() -> None:
    """Measure the subject and system of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=("ours", "own", REQUESTS))
    parser.add_argument("live", type=int, help="seconds between readings of live power; 0 is off")
    parser.add_argument("system", choices=SENSORS)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(measure(options.subject, options.live, options.system, options.steps)))))


if __name__ == "__main__":
    main()

"""How soon a step of power is in Home Assistant: `python -m scripts.bench.freshness ours 5 metered`. Prints JSON.

The load of the house goes up and down by 2 kW at random seconds. Time passes in steps of a second, in which live power
and polls are due as their timers would have them. Requests and CPU are those of the whole run, per minute; state writes
are the rows that a recorder would add.
"""

import argparse
import asyncio
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
#: Seconds after which a step counts as not shown.
LONGEST: Final = 600
#: Subjects and their seconds between readings of live power.
ROWS: Final = (("ours", 1), ("ours", 5), ("ours", 0), ("own", 0))


@dataclass(frozen=True, slots=True)
class Freshness:
    """The result of one run."""

    subject: str
    live: int
    system: str
    #: Seconds between each step and the state.
    seconds: list[int]
    #: A minute.
    requests: float
    cpu: float
    writes: float


async def measure(subject: Subject, live: int, system: str, steps: int) -> Freshness:
    """Measure one subject at one system."""
    logging.disable(logging.CRITICAL)
    random, kind = Random(1), SYSTEMS[system]  # noqa: S311
    with Remote(kind.profile, kind.inverters) as gateway:
        access = gateway.receive()
        async with client_of(subject, gateway, access, all_enabled=False) as client:
            integration = cast("Integration", client)
            if live:
                integration.set_options(live_power=live)
            await client.set_up()
            power = partial(integration.watts, f"{access['serial']}_{SENSORS[system]}")
            requests, cpu, second = 0, 0.0, 0
            found: list[int] = []

            async def tick() -> None:
                nonlocal requests, cpu, second
                second += 1
                requests += sum(gateway.advance(1)["paths"].values())
                begin = time.process_time()
                if live and second % live == 0:
                    await integration.read_live()
                if second % MINUTE == 0:
                    await client.poll()
                cpu += time.process_time() - begin

            for _ in range(int(3 * MINUTE)):
                await tick()
            requests, cpu, begun = 0, 0.0, second
            writes = client.count_writes()
            for _ in range(steps):
                for _ in range(random.randint(60, 119)):
                    await tick()
                before, stepped = power(), second
                gateway.send(STEP)
                while abs(power() - before) < SEEN and second - stepped < LONGEST:
                    await tick()
                found.append(second - stepped)
            minutes = (second - begun) / MINUTE
            return Freshness(
                *(subject, live, system, found),
                *(requests / minutes, cpu / minutes, writes["state_changed"] / minutes),
            )


def report(system: str, steps: int) -> str:
    """Measure all subjects at a system, each in a process of its own, and return a table in Markdown."""
    rows = []
    for subject, live in ROWS:
        command = [sys.executable, "-m", "scripts.bench.freshness", subject, str(live), system, "--steps", str(steps)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = Freshness(**json.loads(done.stdout))
        name = f"ours, live {live} s" if live else f"{subject}, polled"
        figures = (found.requests, found.cpu * 1e3, found.writes)
        rows.append([name, number(median(found.seconds)), str(max(found.seconds)), *map(number, figures)])
    head = ["median [s]", "worst [s]", "requests per minute", "CPU per minute [ms]", "state writes per minute"]
    return table([SYSTEMS[system].label, *head], rows)


def main() -> None:
    """Measure the subject and system of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=("ours", "own"))
    parser.add_argument("live", type=int, help="seconds between readings of live power; 0 is off")
    parser.add_argument("system", choices=SENSORS)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    print(json.dumps(asdict(asyncio.run(measure(options.subject, options.live, options.system, options.steps)))))


if __name__ == "__main__":
    main()

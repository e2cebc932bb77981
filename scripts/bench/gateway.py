"""The simulated gateway of one run, in a process of its own, with a clock that is advanced on request.

It prints address and credentials as one line of JSON. For each line of its input, a number of seconds, it advances the
clock and prints one line of JSON with the requests since the last one. It stops at the end of its input.
"""

import argparse
import asyncio
from collections import Counter
import json
from subprocess import PIPE, Popen
import sys
from typing import Any, Self

from aiohttp import web

from tests.simulator import Clock, Simulator, house, weather
from tests.simulator.faults import Answer

#: A sunny noon: all inverters produce, and every minute differs from the last.
START = "2026-06-21T12:00:00+02:00"
#: Days of validity of its tokens, independent of the date of the benchmark.
LONG = 36500


#: A line of its input that adds a load to the house, or removes it.
STEP = "step"
#: Watts added to the load of the house.
_extra = {"watts": 0.0}


class Counted(Simulator):
    """A simulator that counts the bytes of its answers."""

    answered = 0

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        self.answered += len(answer.body)
        return await super()._send(request, answer)


def step(simulator: Simulator) -> None:
    """Add a load to the house, or remove it."""
    _extra["watts"] = 2000.0 - _extra["watts"]
    simulator.house.reconsider()


async def serve(profile: str, inverters: int | None) -> None:
    """Serve until the input ends."""
    # The house takes it from there.
    vars(house)["load"] = lambda *args: weather.load(*args) + _extra["watts"]
    simulator = Counted(profile, inverters=inverters, clock=Clock(START, running=False))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with simulator:
        print_json(
            host=simulator.host,
            serial=simulator.serial,
            token=simulator.token(days=LONG) if simulator.uses_tokens else None,
            username=simulator.username,
            password=simulator.password,
        )
        async for line in lines:
            if line.decode().strip() == STEP:
                step(simulator)
                continue
            paths = Counter(f"{request.path} {request.status}" for request in simulator.requests)
            answered = simulator.answered
            simulator.requests.clear()
            simulator.answered = 0
            simulator.clock.advance(float(line))
            # Otherwise the first request after it would wait for the simulation of that time.
            _ = simulator.house
            print_json(paths=paths, bytes=answered)


def print_json(**values: object) -> None:
    """Print one line of JSON for the process that started this one."""
    print(json.dumps(values), flush=True)


class Remote:
    """The process of a gateway, started by a run."""

    def __init__(self, profile: str, inverters: int | None) -> None:
        """Start it; it needs about a second until the first line."""
        command = [sys.executable, "-m", "scripts.bench.gateway", profile]
        if inverters:
            command += ["--inverters", str(inverters)]
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, text=True)
        self.now = 0.0

    def __enter__(self) -> Self:
        """Stop it with the block."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Stop it."""
        self._process.communicate(timeout=30)

    def receive(self) -> dict[str, Any]:
        """Wait for a line, and return its JSON."""
        assert self._process.stdout  # noqa: S101
        received: dict[str, Any] = json.loads(self._process.stdout.readline())
        return received

    def send(self, line: str) -> None:
        """Send a line that is not answered."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def advance(self, seconds: float) -> dict[str, Any]:
        """Advance the clock, and return the requests since the last time."""
        self.send(str(seconds))
        self.now += seconds
        return self.receive()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile")
    parser.add_argument("--inverters", type=int)
    options = parser.parse_args()
    asyncio.run(serve(options.profile, options.inverters))

"""Memory and the longest block of the event loop while answers are no gateway's: `python -m scripts.bench.attacks`.

Each attack runs in a process of its own. A block is the longest time that one callback of the event loop takes; its CPU
time does not depend on what else the machine does. Prints a table in Markdown.
"""

import argparse
import asyncio
from asyncio.events import Handle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
import gc
import itertools
import json
import logging
from pathlib import Path
import subprocess
import sys
import time
from typing import Any, Final
from unittest.mock import patch

from aiohttp import web

from tests.simulator import Body, Clock, Simulator
from tests.simulator.faults import Answer, Change
from tests.simulator.gateway import Json

from .gateway import LONG, START, Remote, print_json
from .measure import MINUTE, Integration, client_of, peak
from .report import number, table

ROOT: Final = Path(__file__).resolve().parent.parent.parent
INVENTORY: Final = "/ivp/ensemble/inventory"
INVERTERS: Final = "/api/v1/production/inverters"
INFO: Final = "/info"
POLLS: Final = 5
_numbers: Final = itertools.count(100_000_000_000)


def many(count: int) -> Change:
    """Return a list with that many devices, which are the same in each answer."""

    def edit(document: Json) -> Json:
        devices = document[0].get("devices", document)
        key = "serial_num" if "serial_num" in devices[0] else "serialNumber"
        devices[:] = [devices[0] | {key: str(100_000_000_000 + number)} for number in range(count)]
        return document

    return Change(edit)


def other_serials(document: Json) -> Json:
    """Replace the serial numbers of all devices by new ones."""
    groups = document["devices:"] if isinstance(document, dict) else document
    for group in groups:
        for device in group.get("devices", [group]):
            for key in {"serial_num", "serialNumber"} & device.keys():
                device[key] = str(next(_numbers))
    return document


#: Paths and their faults by attack; None for an answer that does not end.
ATTACKS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "endless chunks as inventory": {INVENTORY: None},
    "endless chunks as /info": {INFO: None},
    "50 MB as /info": {INFO: Body("<a>" + " " * 50_000_000)},
    "2 MB of {},": {INVENTORY: Body("[" + "{}," * 666_000 + "{}]")},
    "8 MB of {},": {INVENTORY: Body("[" + "{}," * 2_666_000 + "{}]")},
    "5,990 objects": {INVENTORY: Body("[" + "{}," * 5_990 + "{}]")},
    "100,000 batteries": {INVENTORY: many(100_000)},
    "1,500 batteries": {INVENTORY: many(1_500)},
    "200 batteries": {INVENTORY: many(200)},
    "1,000 inverters": {INVERTERS: many(1_000)},
    "other serial numbers in each answer": {
        path: Change(other_serials) for path in (INVENTORY, INVERTERS, "/ivp/ensemble/power")
    },
}


class Attacker(Simulator):
    """A simulator some of whose answers do not end."""

    endless: frozenset[str] = frozenset()

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if request.path not in self.endless:
            return await super()._send(request, answer)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"[" * 1_000_000)
        return response


async def serve(attack: str, profile: str, inverters: int) -> None:
    """Serve until the input ends; the attack begins with its first line."""
    simulator = Attacker(profile, inverters=inverters, clock=Clock(START, running=False))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with simulator:
        token = simulator.token(days=LONG)
        print_json(host=simulator.host, serial=simulator.serial, token=token, username="", password="")
        async for line in lines:
            if not float(line):
                faults = ATTACKS[attack].items()
                simulator.endless = frozenset(path for path, fault in faults if fault is None)
                for path, fault in faults:
                    if fault:
                        simulator.fault(path, fault)
            simulator.clock.advance(float(line))
            _ = simulator.house
            print_json()


class AttackingRemote(Remote):
    """The process of that gateway."""

    def __init__(self, attack: str, profile: str, inverters: int) -> None:
        """Start it."""
        command = [sys.executable, "-m", "scripts.bench.attacks", "--serve", "--attack", attack, "--profile", profile]
        command += ["--inverters", str(inverters)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.now = 0.0


@dataclass
class Block:
    """The longest callback, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def longest_block() -> Iterator[Block]:
    """Measure the longest callback of the event loop."""
    block, run = Block(), Handle._run  # noqa: SLF001  (there is no public name)

    def measured(handle: Handle) -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        block.wall = max(block.wall, time.perf_counter() - wall)
        block.cpu = max(block.cpu, time.thread_time() - cpu)

    with patch.object(Handle, "_run", measured):
        yield block


@asynccontextmanager
async def set_up(gateway: Remote) -> AsyncIterator[Integration]:
    """Provide a client that was set up before the attack."""
    async with client_of("ours", gateway, gateway.receive(), all_enabled=False) as client:
        assert isinstance(client, Integration)  # noqa: S101
        await client.set_up()
        for _ in range(2):
            gateway.advance(11 * MINUTE)
            await client.poll()
        yield client


async def measure(attack: str, profile: str, inverters: int) -> dict[str, Any]:
    """Measure one attack."""
    from homeassistant.helpers import device_registry as dr, entity_registry as er  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    with AttackingRemote(attack, profile, inverters) as gateway:
        async with set_up(gateway) as client:
            hass, entry = client._hass, client._entry  # noqa: SLF001
            registries = (dr.async_get(hass).devices, er.async_get(hass).entities)
            before, counts = peak(), [len(registry) for registry in registries]
            gateway.advance(0)
            # A collection of all that Home Assistant holds is not the work of the callback in which it happens.
            gc.collect()
            gc.freeze()
            begin = time.perf_counter()
            with longest_block() as block:
                for _ in range(POLLS):
                    gateway.advance(16 * MINUTE)
                    with suppress(RuntimeError):
                        await client.poll()
                    if INFO in ATTACKS[attack]:
                        with suppress(Exception):
                            await entry.runtime_data.gateway.envoy.new_firmware().identify(10)
            added = [len(registry) - count for registry, count in zip(registries, counts, strict=True)]
            return {
                "memory": (peak() - before) / 1e6,
                "wall": block.wall * 1e3,
                "cpu": block.cpu * 1e3,
                "seconds": time.perf_counter() - begin,
                "devices": added[0],
                "entities": added[1],
            }


def main() -> None:
    """Measure all attacks, each in a process of its own, or the one of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attack", choices=ATTACKS, help="this one only")
    parser.add_argument("--profile", default="full_battery")
    parser.add_argument("--inverters", type=int, default=60)
    for name in ("--serve", "--json"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    given = (options.profile, options.inverters)
    if options.serve:
        asyncio.run(serve(options.attack, *given))
    elif options.json:
        print(json.dumps(asyncio.run(measure(options.attack, *given))))
    else:
        rows = []
        for attack in (options.attack,) if options.attack else ATTACKS:
            command = [sys.executable, "-m", "scripts.bench.attacks", *sys.argv[1:], "--json", "--attack", attack]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            rows.append([attack, *map(number, json.loads(done.stdout).values())])
        head = ["memory [MB]", "block, wall [ms]", "block, CPU [ms]", "5 polls [s]", "new devices", "new entities"]
        print(table(["attack", *head], rows))


if __name__ == "__main__":
    main()

"""Serve a simulated system from the command line: `python -m tests.simulator --help`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, suppress
import errno
import json
from pathlib import Path
import signal
import sys

from .clock import Clock
from .cloud import Cloud
from .profiles import DEFAULT, PROFILES
from .recording import Recording
from .server import Simulator


class UsageError(Exception):
    """The command line is invalid, or can't be carried out; the message is for the user."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description="Serve a simulated solar gateway.")
    parser.add_argument("--profile", default=DEFAULT, metavar="NAME", help=f"the system (default {DEFAULT})")
    parser.add_argument("--list", action="store_true", help="list the systems and stop")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default loopback only)")
    parser.add_argument("--port", type=int, default=0, help="port (default any free one)")
    parser.add_argument("--inverters", type=int, metavar="N", help="number of inverters")
    parser.add_argument("--seed", type=int, metavar="S", help="seed of weather and load (default 1)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="simulated seconds per second")
    parser.add_argument("--start", metavar="ISO", help="simulated time to begin at (default now)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep counters and settings across runs")
    parser.add_argument("--recording", type=Path, metavar="FOLDER", help="serve a recorded gateway instead")
    parser.add_argument("--cloud", action="store_true", help="serve a cloud with the account of the system as well")
    parser.add_argument(
        "--code", action="store_true", help="the account requires a one-time code for battery settings: 123456"
    )
    parser.add_argument("--lively", action="store_true", help="the load changes every few seconds, not every minute")
    parser.add_argument("--json", action="store_true", help="print address and credentials as one line of JSON")
    return parser.parse_args(argv)


def recorded(options: argparse.Namespace) -> Recording:
    """Return the recorded gateway to serve."""
    try:
        return Recording(options.recording, port=options.port, host=options.host)
    except (ValueError, OSError) as err:
        raise UsageError(f"{options.recording} contains no recorded gateway: {err}") from err


def simulated(options: argparse.Namespace) -> Simulator:
    """Return the simulated system to serve."""
    try:
        clock = Clock(options.start, speed=options.speed)
    except ValueError as err:
        raise UsageError(f"--start needs an ISO time such as 2026-06-21T12:00:00+02:00: {err}") from err
    if options.profile not in PROFILES:
        raise UsageError(f"There is no profile {options.profile}; there are {', '.join(PROFILES)}.")
    if options.inverters is not None and options.inverters < 1:
        raise UsageError("A system has at least one inverter.")
    if options.speed <= 0:
        raise UsageError("--speed must be above 0.")
    try:
        return Simulator(
            options.profile,
            seed=options.seed,
            inverters=options.inverters,
            clock=clock,
            port=options.port,
            state=options.state,
            host=options.host,
        )
    except (ValueError, KeyError, TypeError, OSError) as err:
        raise UsageError(f"The state file cannot be used: {err}") from err


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    if options.recording:
        simulator: Recording | Simulator = recorded(options)
    else:
        simulator = simulated(options)
        if options.lively:
            simulator.house.enliven()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with simulator, AsyncExitStack() as stack:
            cloud = await stack.enter_async_context(Cloud()) if options.cloud or options.code else None
            if cloud:
                cloud.requires_code = options.code
                cloud.batteries.gateway = simulator.gateway if isinstance(simulator, Simulator) else None
            announce(simulator, cloud, as_json=options.json)
            await stop.wait()
    except OSError as err:
        if err.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise UsageError(f"Cannot listen on {options.host}:{options.port}: {err.strerror or err}") from err
        raise
    except OverflowError as err:
        raise UsageError(f"{options.port} is not a port.") from err


def announce(simulator: Simulator | Recording, cloud: Cloud | None = None, *, as_json: bool) -> None:
    """Print address and credentials."""
    values = {
        "host": simulator.host,
        "serial": simulator.serial,
        "firmware": simulator.firmware,
        "profile": simulator.profile.name if isinstance(simulator, Simulator) else "recorded",
        "token": simulator.token() if simulator.uses_tokens else "",
        "username": simulator.username,
        "password": simulator.password,
    }
    if cloud:
        values |= {"cloud": cloud.base_url, "account": cloud.username, "account_password": cloud.password}
    lines = [json.dumps(values)] if as_json else [f"{name:9} {value}" for name, value in values.items()]
    print(*lines, sep="\n", flush=True)  # noqa: T201 - this is its purpose


def main() -> int:
    """Run the command."""
    options = arguments()
    if options.list:
        print(*(f"{name:18} {profile.about}" for name, profile in PROFILES.items()), sep="\n")  # noqa: T201
        return 0
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(options))
        except UsageError as err:
            print(err, file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

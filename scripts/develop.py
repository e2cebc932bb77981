"""Run the component in a real Home Assistant, against a simulated gateway, with one command.

Everything that the two remember lies in a folder of its own for each profile: the next start finds the same house with
its history.
"""

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
import contextlib
import json
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import sys
import time
from typing import Any, Final

import aiohttp

from tests.simulator.__main__ import arguments as simulator_arguments, simulated

from .instance import CONFIGURED, DOMAIN, PASSWORD, ROOT, USER, Instance, InstanceError, Json, retry_until_up
from .past import Past, tell

READY_WITHIN: Final = 180
STOPPED_WITHIN: Final = 30
#: With this Home Assistant ends when its user asks it to restart.
RESTART: Final = 100

CONFIGURATION = """\
# Written at every start by scripts/develop.
homeassistant:
  name: Development
  country: NL
  currency: EUR
  time_zone: Europe/Amsterdam
  unit_system: metric
  latitude: 52.37
  longitude: 4.9
  elevation: 2
{configured}
# Of scripts/: takes the past that the house tells.
past_recorder:
logger:
  default: warning
  logs:
    custom_components.enphase_envoy: info
    # Would say that it installs something, which is scripts/setup's job.
    homeassistant.util.package: info
    # Miss ffmpeg, libturbojpeg and a faster zlib, which nothing here needs.
    haffmpeg: critical
    homeassistant.components.camera.img_util: critical
    aiohttp_fast_zlib: error
"""

#: Ends of unique ids of the sensors that tell how a house is doing, whatever it has.
TELLING = (
    "_production",
    "_consumption",
    "_net_consumption",
    "_battery_discharge",
    "_battery_level",
    "_daily_production",
    "_daily_consumption",
    "_lifetime_production",
)


class Stop(Exception):  # noqa: N818
    """There is no going on; the message says why, to a person."""


def say(text: str) -> None:
    """Tell the developer what is going on."""
    print(f"develop: {text}", flush=True)


class Child:
    """A program that runs beside this one and ends with it. What it says goes to a log and to `heard`."""

    def __init__(
        self, name: str, command: Iterable[str], log: Path, heard: Callable[[str], None], folder: Path = ROOT
    ) -> None:
        """Remember what is to be run, and in which folder."""
        self.name = name
        self._folder = folder
        self.log = log
        self._command = tuple(command)
        self._heard = heard
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Run it, again when it asks for that, and return the code it ended with."""
        code = RESTART
        with self.log.open("w", encoding="utf-8") as log:
            while code == RESTART:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    cwd=self._folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    limit=2**24,
                    # Ctrl-C is for this program, which then stops the others in order.
                    start_new_session=True,
                )
                assert self._process.stdout  # noqa: S101
                async for line in self._process.stdout:
                    text = line.decode(errors="replace")
                    log.write(text)
                    log.flush()
                    self._heard(text.rstrip())
                code = await self._process.wait()
        return code

    async def stop(self) -> None:
        """Ask it to end, make it end when it does not, and take along what it may have started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOPPED_WITHIN):
                await self._process.wait()
        except TimeoutError:
            say(f"{self.name} does not end by itself: killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Log:
    """What Home Assistant says. Troubles are kept, and shown at once; the rest once there is nothing else to read."""

    _TROUBLE = re.compile(r" (ERROR|CRITICAL) \(|^Traceback |Attempting install of")
    _NEW_MESSAGE = re.compile(r"\d{4}-\d\d-\d\d ")

    def __init__(self) -> None:
        """Start quiet."""
        self.troubles: list[str] = []
        self.shown = False
        self._in_trouble = False

    def heard(self, line: str) -> None:
        """Take a line."""
        if trouble := bool(self._TROUBLE.search(line)):
            self.troubles.append(line)
        # What a message and its traceback say goes on over lines without a date.
        self._in_trouble = trouble or (self._in_trouble and not self._NEW_MESSAGE.match(line))
        if self._in_trouble or self.shown:
            print(line, flush=True)


def check_port(port: int, what: str, option: str) -> None:
    """Stop when a port is not free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise Stop(
                f"port {port}, wanted for {what}, is taken or not allowed ({err.strerror}): "
                f"stop what uses it, or choose another with {option}"
            ) from None


def free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_configuration(config: Path, port: int) -> bool:
    """Write what Home Assistant is to find. Return whether this is its first start."""
    storage = config / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    (config / "custom_components").mkdir(exist_ok=True)
    for component in (ROOT / "custom_components" / DOMAIN, ROOT / "scripts" / "past_recorder"):
        link = config / "custom_components" / component.name
        link.unlink(missing_ok=True)
        link.symlink_to(component, target_is_directory=True)
    configured = "\n".join(f"{name}:" for name in CONFIGURED)
    (config / "configuration.yaml").write_text(CONFIGURATION.format(configured=configured))

    def store(key: str, version: tuple[int, int], data: Json) -> None:
        content = {"version": version[0], "minor_version": version[1], "key": key, "data": data}
        (storage / key).write_text(json.dumps(content, indent=2))

    # In configuration.yaml it would have the user confirm a new server configuration.
    store("http", (1, 1), {"server_host": ["127.0.0.1"], "server_port": port})
    if first := not (storage / "auth").exists():
        # Further steps of the greeting would start integrations that want the internet.
        store("onboarding", (4, 1), {"done": ["core_config", "analytics", "integration"]})
    return first


def format_table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return rows of state, unit and name as columns, states to the right."""
    rows = list(rows)
    state, unit = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    return "\n".join(f"  {row[0]:>{state}} {row[1]:<{unit}}  {row[2]}".rstrip() for row in rows)


def live_values(entities: Iterable[Json], states: Mapping[str, Json]) -> list[tuple[str, str, str]]:
    """Return state, unit and name of the sensors that tell most, of those that exist."""
    found: dict[str, tuple[str, str, str]] = {}
    for entity in entities:
        if not (state := states.get(entity["entity_id"])):
            continue
        _, _, key = entity["unique_id"].partition("_")
        attributes = state["attributes"]
        name = entity.get("original_name") or attributes.get("friendly_name", entity["entity_id"])
        value = state["state"]
        precision = entity.get("options", {}).get("sensor", {}).get("suggested_display_precision")
        with contextlib.suppress(ValueError):
            value = value if precision is None else f"{float(value):.{precision}f}"
        found.setdefault(f"_{key}", (value, attributes.get("unit_of_measurement", ""), name))
    return [found[key] for key in TELLING if key in found]


async def add_or_mend_entry(home_assistant: Instance, gateway: Json) -> None:
    """Have the component's own dialog connect the gateway, and wait until it is read."""
    # With name and password it would renew the token at Enphase, which knows nothing of a simulated gateway.
    access = ("token",) if gateway.get("token") else ("username", "password")
    form = {key: gateway[key] for key in ("host", *access)}
    entries = await home_assistant.rows("config_entries/get", domain=DOMAIN)
    start: Json | None = None if entries else {"handler": DOMAIN}
    while True:
        if start:
            result = await home_assistant.finish_flow(start, form)
            if result["type"] != "create_entry" and result.get("reason") != "reconfigure_successful":
                raise Stop(f"the dialog of the component says: {result.get('errors') or result.get('reason')}")
        entries = await home_assistant.rows("config_entries/get", domain=DOMAIN)
        if not entries:
            raise Stop("the gateway was added, but Home Assistant does not list it")
        entry = entries[0]
        if entry["state"] == "loaded":
            return
        if entry["state"] not in ("not_loaded", "setup_in_progress"):
            if start:
                raise Stop(f"the component is not set up ({entry['state']}): {entry['reason']}")
            # Remembered with another port or an old token.
            say(
                f"the gateway that Home Assistant remembers is not read ({entry['reason']}): telling it the new address"
            )
            start = {"handler": DOMAIN, "entry_id": entry["entry_id"]}
        else:
            start = None
            await asyncio.sleep(0.3)


async def read_house(home_assistant: Instance) -> str:
    """Return a table of what Home Assistant knows about the house, as soon as it has a first value."""
    while True:
        registry = await home_assistant.rows("config/entity_registry/list")
        entities = [entity for entity in registry if entity["platform"] == DOMAIN]
        states = {state["entity_id"]: state for state in await home_assistant.rows("get_states")}
        values = live_values(entities, states)
        if any(state not in ("unknown", "unavailable") for state, _, _ in values):
            break
        await asyncio.sleep(0.5)
    entry_ids = {entity["config_entry_id"] for entity in entities}
    devices = [
        device
        for device in await home_assistant.rows("config/device_registry/list")
        if entry_ids & set(device["config_entries"])
    ]
    enabled = sum(entity["disabled_by"] is None for entity in entities)
    counts = [
        (str(len(devices)), "", "devices"),
        (str(enabled), "", f"entities, and {len(entities) - enabled} more that are disabled at first"),
    ]
    return format_table([*values, *counts])


async def fill_dashboard(home_assistant: Instance) -> None:
    """Add what is missing to the Energy dashboard, through the dialog of the component's options."""
    path = "/api/config/config_entries/options/flow"
    (entry,) = await home_assistant.rows("config_entries/get", domain=DOMAIN)
    menu = await home_assistant.post(path, {"handler": entry["entry_id"]})
    shown = await home_assistant.post(f"{path}/{menu['flow_id']}", {"next_step_id": "energy_dashboard"})
    if shown["type"] == "form":
        ticked = {field["name"]: field["default"] for field in shown["data_schema"]}
        await home_assistant.post(f"{path}/{shown['flow_id']}", ticked)


async def while_alive[T](work: Coroutine[Any, Any, T], running: Mapping[asyncio.Task[int], Child]) -> T:
    """Do work that makes sense only as long as all children run."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task, *running), return_when=asyncio.FIRST_COMPLETED)
        for ended, child in running.items():
            if ended.done():
                raise Stop(
                    f"{child.name} has ended by itself (exit code {ended.result()}); its last words are in {child.log}"
                )
        return await task
    finally:
        task.cancel()


class House:
    """A simulated gateway and a Home Assistant that reads it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Prepare both; nothing runs yet."""
        self.folder: Path = options.state / options.profile
        self._options = options
        self._gateway: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._gateway_words: list[str] = []
        self.log = Log()
        python = (sys.executable, "-u", "-m")
        self._state = self.folder / "gateway.json"
        #: The state that the simulator finds, kept: its own goes on.
        self._state_found = self.folder / "gateway-before.json"
        simulator = ("--profile", options.profile, "--port", str(options.gateway_port), "--json")
        self.gateway = Child(
            "the simulated gateway",
            (*python, "tests.simulator", *simulator, "--state", str(self._state), *options.simulator),
            self.folder / "gateway.log",
            self._heard_gateway,
        )
        self.home_assistant = Child(
            "Home Assistant",
            (*python, "homeassistant", "--log-no-color", "--config", str(self.folder / "config")),
            self.folder / "home-assistant.log",
            self.log.heard,
            # In that of the checkout it would find custom components there, and there alone.
            self.folder / "config",
        )
        self._running: dict[asyncio.Task[int], Child] = {}

    def _heard_gateway(self, line: str) -> None:
        """Wait for the line that says how it is reached."""
        if line.startswith("{") and not self._gateway.done():
            self._gateway.set_result(json.loads(line))
        self._gateway_words.append(line)
        del self._gateway_words[:-3]

    async def run(self) -> None:
        """Start both, connect them, show what came of it, and go on until interrupted."""
        began = time.monotonic()
        gateway = await self._start_gateway()
        first = write_configuration(self.folder / "config", self._options.port)
        say(f"waiting for Home Assistant{' (its first start takes longer)' if first else ''}")
        self._start(self.home_assistant)
        async with aiohttp.ClientSession() as session:
            home_assistant = Instance(session, f"http://127.0.0.1:{self._options.port}")
            try:
                async with asyncio.timeout(READY_WITHIN):
                    table = await while_alive(self._set_up(home_assistant, gateway, first=first), self._running)
            except TimeoutError:
                raise Stop(
                    f"Home Assistant is not ready after {READY_WITHIN} s; see {self.home_assistant.log}"
                ) from None
            except (InstanceError, aiohttp.ClientError) as err:
                raise Stop(str(err)) from err
        print(
            f"\n  Home Assistant  {home_assistant.address}   user {USER}, password {PASSWORD}\n"
            f"  Gateway         {gateway['serial']}, firmware {gateway['firmware']}, at {gateway['host']}"
            f" (simulated, profile {gateway['profile']})\n\n{table}\n",
            flush=True,
        )
        say(f"ready after {time.monotonic() - began:.0f} s; everything that is remembered lies in {self.folder}")
        if not self._options.once:
            say("Press Ctrl-C to stop")
            self.log.shown = True
            await while_alive(asyncio.Event().wait(), self._running)

    def _start(self, child: Child) -> None:
        self._running[asyncio.create_task(child.run())] = child

    async def _start_gateway(self) -> Json:
        """Start the simulator and return how it is reached."""
        say(f"waiting for the simulated gateway (profile {self._options.profile})")
        self._state_found.unlink(missing_ok=True)
        if self._state.exists():
            shutil.copyfile(self._state, self._state_found)
        self._start(self.gateway)
        waits: tuple[asyncio.Future[Any], ...] = (self._gateway, *self._running)
        await asyncio.wait(waits, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not self._gateway.done():
            raise Stop(f"the simulated gateway does not start: {' '.join(self._gateway_words) or 'it says nothing'}")
        return self._gateway.result()

    async def _set_up(self, home_assistant: Instance, gateway: Json, *, first: bool) -> str:
        """Bring a Home Assistant that starts so far that it shows the gateway's values."""

        async def pause() -> None:
            await asyncio.sleep(0.2)

        if first:
            await retry_until_up(lambda: home_assistant.create_owner(USER, PASSWORD), pause)
        await retry_until_up(lambda: home_assistant.log_in(USER, PASSWORD), pause)
        # The page works from here on; what else answers does so long before.
        await retry_until_up(lambda: home_assistant.command("get_services"), pause)
        say("waiting for the component")
        await add_or_mend_entry(home_assistant, gateway)
        say("waiting for the first values")
        table = await read_house(home_assistant)
        if past := await asyncio.to_thread(self._past):
            say("telling what was before")
            await tell(home_assistant, gateway["serial"], past)
        if not self._options.empty_dashboard:
            await fill_dashboard(home_assistant)
        return table

    def _past(self) -> Past | None:
        """Return the past of the house, lived through once more from where the simulator began. None of a recording."""
        options = simulator_arguments(
            ["--profile", self._options.profile, *self._options.simulator, "--state", str(self._state_found)]
        )
        if options.recording:
            return None
        house = simulated(options).house
        seen = json.loads(self._state_found.read_text())["saved_at"] if self._state_found.exists() else None
        return Past(house, time.time(), days=7 * self._options.weeks, seen_until=seen)

    async def stop(self) -> None:
        """Stop both, Home Assistant first: it should not miss the gateway."""
        for task, child in reversed(self._running.items()):
            await child.stop()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/develop", description=__doc__)
    parser.add_argument("--profile", default="full_battery", help="house to simulate (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8123, help="of Home Assistant; 0 finds a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--gateway-port", type=int, default=8124, help="of the gateway, likewise (default: %(default)s)"
    )
    parser.add_argument("--state", type=Path, default=ROOT / ".develop", help="folder of all that is remembered")
    parser.add_argument("--fresh", action="store_true", help="forget what this profile's earlier starts have left")
    parser.add_argument(
        "--weeks",
        type=int,
        default=4,
        help="of the past that Home Assistant is told at its first start (default: %(default)s)",
    )
    parser.add_argument(
        "--empty-dashboard",
        action="store_true",
        help="leave it to you to fill the Energy dashboard, under Configure",
    )
    parser.add_argument(
        "--once", action="store_true", help="show the values and stop; fails when the log holds an error"
    )
    parser.add_argument(
        "simulator", nargs="*", help="after --: further arguments of the simulator, such as --start ISO"
    )
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\w[\w.-]*", options.profile):
        parser.error(f"{options.profile!r} is not the name of a profile")
    options.state = options.state.absolute()
    options.port = options.port or free_port()
    options.gateway_port = options.gateway_port or free_port()
    return options


async def main(arguments: list[str] | None = None) -> int:
    """Run a house until interrupted. Return an exit code."""
    options = parse(arguments)
    check_port(options.port, "Home Assistant", "--port")
    check_port(options.gateway_port, "the gateway", "--gateway-port")
    house = House(options)
    if options.fresh and house.folder.exists():
        shutil.rmtree(house.folder)
    house.folder.mkdir(parents=True, exist_ok=True)
    running = asyncio.create_task(house.run())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        print(flush=True)
        return 130 if options.once else 0
    finally:
        say("stopping")
        house.log.shown = False
        await house.stop()
        if not (house.folder / "config").exists():
            shutil.rmtree(house.folder)
    if options.once and house.log.troubles:
        raise Stop(f"the log of Home Assistant holds {len(house.log.troubles)} lines of trouble (see above)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Stop as stop:
        print(f"develop: {stop}", file=sys.stderr)
        sys.exit(2)

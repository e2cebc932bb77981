"""Run the component in Home Assistant with a simulated gateway.

The state of both is stored in a folder for each profile: the next start continues with the same system and its history.
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
from zoneinfo import ZoneInfo

import aiohttp

from tests.simulator.__main__ import arguments as simulator_arguments, simulated

from .history import History, import_history
from .instance import (
    CONFIGURED,
    DOMAIN,
    PASSWORD,
    ROOT,
    TIME_ZONE,
    USER,
    Instance,
    InstanceError,
    Json,
    retry_until_up,
)

READY_WITHIN: Final = 600
STOPPED_WITHIN: Final = 30
#: Path of the dashboard with the array card.
ARRAY_DASHBOARD: Final = "solar-panels"
#: Exit code of Home Assistant for a restart.
RESTART: Final = 100

CONFIGURATION = """\
# Written at every start by scripts/develop.
homeassistant:
  name: Development
  country: NL
  currency: EUR
  time_zone: {zone}
  unit_system: metric
  latitude: 52.37
  longitude: 4.9
  elevation: 2
{configured}
# Of scripts/: imports statistics of the time before.
statistics_import:
logger:
  default: warning
  logs:
    custom_components.enphase_envoy: info
    # Log that ffmpeg, libturbojpeg and a faster zlib are missing, which are not needed here.
    haffmpeg: critical
    homeassistant.components.camera.img_util: critical
    aiohttp_fast_zlib: error
"""

#: Endings of unique ids of the sensors that are printed.
PRINTED_SENSORS = (
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
    """The instance can't be started or continued; the message is for the user."""


def log(text: str) -> None:
    """Print progress."""
    print(f"develop: {text}", flush=True)


class Child:
    """A child process that ends with this one. Its output is written to a log and passed to `on_line`."""

    def __init__(
        self, name: str, command: Iterable[str], log: Path, on_line: Callable[[str], None], folder: Path = ROOT
    ) -> None:
        """Store command and folder; the process is not started yet."""
        self.name = name
        self._folder = folder
        self.log = log
        self.command = tuple(command)
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> int:
        """Run it, again while it exits with RESTART, and return its exit code."""
        code = RESTART
        with self.log.open("w", encoding="utf-8") as log:
            while code == RESTART:
                self._process = await asyncio.create_subprocess_exec(
                    *self.command,
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
                    self._on_line(text.rstrip())
                code = await self._process.wait()
        return code

    async def stop(self) -> None:
        """Terminate it, kill it when it does not exit, and kill its own children."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOPPED_WITHIN):
                await self._process.wait()
        except TimeoutError:
            log(f"{self.name} does not exit: killed")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Log:
    """Log of Home Assistant. Errors, and warnings about the component or pyenphase, are collected and printed at once.

    Other messages are printed only if `shown` is set.
    """

    # Home Assistant warns of every custom component, and of deprecated functions that one uses.
    _ERROR = re.compile(
        r" (ERROR|CRITICAL) \(|^Traceback "
        r"| WARNING \((?!.*We found a custom integration).*(enphase_envoy|pyenphase)"
    )
    _NEW_MESSAGE = re.compile(r"\d{4}-\d\d-\d\d ")

    def __init__(self) -> None:
        """Collect errors from now on."""
        self.errors: list[str] = []
        self.shown = False
        self._in_error = False

    def add(self, line: str) -> None:
        """Add a line. Raises Stop in recovery mode, in which Home Assistant loads its own integration instead."""
        if error := bool(self._ERROR.search(line)):
            self.errors.append(line)
        # Messages and tracebacks continue on lines without a date.
        self._in_error = error or (self._in_error and not self._NEW_MESSAGE.match(line))
        if self._in_error or self.shown:
            print(line, flush=True)
        if "Activating recovery mode" in line:
            raise Stop(f"Home Assistant can't start with this configuration: {line.partition('] ')[2]}")

    def summary(self) -> str:
        """Return the numbers of errors and warnings."""
        warnings = sum(" WARNING (" in line for line in self.errors)
        return f"{len(self.errors) - warnings} errors, and {warnings} warnings about the component or pyenphase"


def check_port(port: int, name: str, option: str) -> None:
    """Check that a port is free. Raises Stop if it is not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise Stop(
                f"port {port}, needed for {name}, is in use or not permitted ({err.strerror}): "
                f"stop the program that uses it, or choose another port with {option}"
            ) from None


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_configuration(config: Path, port: int, cloud: str | None = None, *, time_zone: str = TIME_ZONE) -> bool:
    """Write Home Assistant's configuration. Return whether this is its first start. `cloud` is the simulated one."""
    storage = config / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    (config / "custom_components").mkdir(exist_ok=True)
    helpers = ("statistics_import", *(["simulated_cloud"] if cloud else []))
    for component in (ROOT / "custom_components" / DOMAIN, *(ROOT / "scripts" / name for name in helpers)):
        link = config / "custom_components" / component.name
        link.unlink(missing_ok=True)
        link.symlink_to(component, target_is_directory=True)
    configured = "\n".join(f"{name}:" for name in CONFIGURED)
    settings = CONFIGURATION.format(configured=configured, zone=time_zone) + (
        f"simulated_cloud: {cloud}\n" if cloud else ""
    )
    (config / "configuration.yaml").write_text(settings)

    def store(key: str, version: tuple[int, int], data: Json) -> None:
        content = {"version": version[0], "minor_version": version[1], "key": key, "data": data}
        (storage / key).write_text(json.dumps(content, indent=2))

    # In configuration.yaml it would make the frontend request a confirmation of the new server configuration.
    store("http", (1, 1), {"server_host": ["127.0.0.1"], "server_port": port})
    if first := not (storage / "auth").exists():
        # Further steps of the onboarding would start integrations that need the internet.
        store("onboarding", (4, 1), {"done": ["core_config", "analytics", "integration"]})
    return first


def format_table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return rows of state, unit and name as columns, with states aligned to the right."""
    rows = list(rows)
    state, unit = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    return "\n".join(f"  {row[0]:>{state}} {row[1]:<{unit}}  {row[2]}".rstrip() for row in rows)


def live_values(entities: Iterable[Json], states: Mapping[str, Json]) -> list[tuple[str, str, str]]:
    """Return state, unit and name of those sensors of PRINTED_SENSORS that exist."""
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
    return [found[key] for key in PRINTED_SENSORS if key in found]


async def add_or_update_entry(home_assistant: Instance, gateway: Json) -> None:
    """Add the gateway with the config flow, or update its entry, and wait until it is loaded. Raises Stop."""
    if "cloud" in gateway:
        access = {"account": "", "username": gateway["account"], "password": gateway["account_password"]}
    else:
        # With name and password the component would request a token from the cloud, which has no simulated gateways.
        access = {key: gateway[key] for key in (("token",) if gateway.get("token") else ("username", "password"))}
    # Names of fields, and of steps in menus.
    form: Json = {"host": gateway["host"], "local": "", "live_power": True} | access
    entries = await home_assistant.rows("config_entries/get", domain=DOMAIN)
    start: Json | None = None if entries else {"handler": DOMAIN}
    while True:
        if start:
            result = await home_assistant.finish_flow(start, form)
            if result["type"] != "create_entry" and result.get("reason") != "reconfigure_successful":
                raise Stop(f"the config flow of the component failed: {result.get('errors') or result.get('reason')}")
        entries = await home_assistant.rows("config_entries/get", domain=DOMAIN)
        if not entries:
            raise Stop("the gateway was added, but Home Assistant does not list it")
        entry = entries[0]
        if entry["state"] == "loaded":
            return
        if entry["state"] not in ("not_loaded", "setup_in_progress"):
            if start:
                raise Stop(f"the component is not set up ({entry['state']}): {entry['reason']}")
            # Stored with another port or an old token.
            log(f"the stored entry can't be loaded ({entry['reason']}): setting the new address")
            start = {"handler": DOMAIN, "entry_id": entry["entry_id"]}
        else:
            start = None
            await asyncio.sleep(0.3)


async def read_values(home_assistant: Instance) -> str:
    """Return a table of sensors, devices and entities as soon as a sensor has a value."""
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
        (str(enabled), "", f"entities, and {len(entities) - enabled} more that are disabled by default"),
    ]
    return format_table([*values, *counts])


async def fill_dashboard(home_assistant: Instance) -> None:
    """Add missing sources to the Energy dashboard with the component's options flow."""
    path = "/api/config/config_entries/options/flow"
    (entry,) = await home_assistant.rows("config_entries/get", domain=DOMAIN)
    menu = await home_assistant.post(path, {"handler": entry["entry_id"]})
    shown = await home_assistant.post(f"{path}/{menu['flow_id']}", {"next_step_id": "energy_dashboard"})
    if shown["type"] == "form":
        defaults = {field["name"]: field["default"] for field in shown["data_schema"]}
        await home_assistant.post(f"{path}/{shown['flow_id']}", defaults)


async def add_array_dashboard(home_assistant: Instance) -> None:
    """Add a dashboard with the array card, unless it exists."""
    if any(row["url_path"] == ARRAY_DASHBOARD for row in await home_assistant.rows("lovelace/dashboards/list")):
        return
    await home_assistant.command(
        "lovelace/dashboards/create", url_path=ARRAY_DASHBOARD, title="Solar panels", icon="mdi:solar-panel-large"
    )
    card = {"type": "custom:enphase-array-card"}
    await home_assistant.command(
        "lovelace/config/save",
        url_path=ARRAY_DASHBOARD,
        config={"views": [{"title": "Solar panels", "type": "panel", "cards": [card]}]},
    )


async def while_running[T](work: Coroutine[Any, Any, T], running: Mapping[asyncio.Task[int], Child]) -> T:
    """Wait for work while all children run. Raises Stop when one of them exits."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task, *running), return_when=asyncio.FIRST_COMPLETED)
        for ended, child in running.items():
            if ended.done():
                raise Stop(f"{child.name} has exited (exit code {ended.result()}); its output is in {child.log}")
        return await task
    finally:
        task.cancel()


class DevelopmentInstance:
    """A simulated gateway and a Home Assistant that polls it."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Prepare both; no process is started yet."""
        self.folder: Path = options.state / options.profile
        self._options = options
        self._gateway: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._gateway_output: list[str] = []
        self.log = Log()
        python = (sys.executable, "-u", "-m")
        self._state = self.folder / "gateway.json"
        #: A copy of the state from before the start, because the simulator updates its file.
        self._previous_state = self.folder / "gateway-before.json"
        simulator = ["--profile", options.profile, "--port", str(options.gateway_port), "--json"]
        simulator += {"password": ["--cloud"], "code": ["--code"]}.get(options.account, [])
        self.gateway = Child(
            "the simulated gateway",
            (*python, "tests.simulator", *simulator, "--lively", "--state", str(self._state), *options.simulator),
            self.folder / "gateway.log",
            self._on_gateway_line,
        )
        self.home_assistant = Child(
            "Home Assistant",
            # scripts/setup has installed all packages. What another integration needs could replace the component's.
            (*python, "homeassistant", "--skip-pip", "--log-no-color", "--config", str(self.folder / "config")),
            self.folder / "home-assistant.log",
            self.log.add,
            # In the folder of the checkout it would load custom components from there only.
            self.folder / "config",
        )
        self._running: dict[asyncio.Task[int], Child] = {}

    def _on_gateway_line(self, line: str) -> None:
        """Read the line with address and credentials."""
        if line.startswith("{") and not self._gateway.done():
            self._gateway.set_result(json.loads(line))
        self._gateway_output.append(line)
        del self._gateway_output[:-3]

    async def run(self) -> None:
        """Start both, connect them, print the values, and continue until interrupted. Raises Stop."""
        start = time.monotonic()
        gateway = await self._start_gateway()
        first = write_configuration(
            self.folder / "config", self._options.port, gateway.get("cloud"), time_zone=self._options.time_zone
        )
        log(f"waiting for Home Assistant{' (its first start takes longer)' if first else ''}")
        self._start(self.home_assistant)
        async with aiohttp.ClientSession() as session:
            home_assistant = Instance(session, f"http://127.0.0.1:{self._options.port}")
            try:
                async with asyncio.timeout(READY_WITHIN):
                    table = await while_running(self._set_up(home_assistant, gateway, first=first), self._running)
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
        log(f"ready after {time.monotonic() - start:.0f} s; all files are in {self.folder}")
        if not self._options.once:
            log("Press Ctrl-C to stop")
            self.log.shown = True
            await while_running(asyncio.Event().wait(), self._running)

    def _start(self, child: Child) -> None:
        self._running[asyncio.create_task(child.run())] = child

    async def _start_gateway(self) -> Json:
        """Start the simulator and return its address and credentials. Raises Stop."""
        log(f"waiting for the simulated gateway (profile {self._options.profile})")
        self._previous_state.unlink(missing_ok=True)
        if self._state.exists():
            shutil.copyfile(self._state, self._previous_state)
        self._start(self.gateway)
        waits: tuple[asyncio.Future[Any], ...] = (self._gateway, *self._running)
        await asyncio.wait(waits, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if not self._gateway.done():
            raise Stop(f"the simulated gateway does not start: {' '.join(self._gateway_output) or 'no output'}")
        return self._gateway.result()

    async def _set_up(self, home_assistant: Instance, gateway: Json, *, first: bool) -> str:
        """Set up Home Assistant while it starts, and return a table of the gateway's values."""

        async def pause() -> None:
            await asyncio.sleep(0.2)

        if first:
            await retry_until_up(lambda: home_assistant.create_user(USER, PASSWORD), pause)
        await retry_until_up(lambda: home_assistant.log_in(USER, PASSWORD), pause)
        # The frontend works from here on; other interfaces answer long before.
        await retry_until_up(lambda: home_assistant.command("get_services"), pause)
        log("waiting for the component")
        await add_or_update_entry(home_assistant, gateway)
        log("waiting for the first values")
        table = await read_values(home_assistant)
        if history := await asyncio.to_thread(self._history):
            log("importing statistics")
            await import_history(home_assistant, gateway["serial"], history)
        await add_array_dashboard(home_assistant)
        if not self._options.empty_dashboard:
            await fill_dashboard(home_assistant)
        return table

    def _history(self) -> History | None:
        """Return the history of the house, simulated again from the simulator's start. None for a recording."""
        options = simulator_arguments(
            ["--profile", self._options.profile, *self._options.simulator, "--state", str(self._previous_state)]
        )
        if options.recording:
            return None
        house = simulated(options).house
        polled_until = (
            json.loads(self._previous_state.read_text())["saved_at"] if self._previous_state.exists() else None
        )
        return History(house, time.time(), days=7 * self._options.weeks, polled_until=polled_until)

    async def stop(self) -> None:
        """Stop both, Home Assistant first, so that it does not log a missing gateway."""
        for task, child in reversed(self._running.items()):
            await child.stop()
            task.cancel()
            await asyncio.wait((task,))


def time_zone(text: str) -> str:
    """Check the name of a time zone."""
    try:
        return ZoneInfo(text).key
    except (ValueError, KeyError) as err:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time zone") from err


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="scripts/develop", description=__doc__)
    parser.add_argument("--profile", default="full_battery", help="system to simulate (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8123, help="port of Home Assistant; 0 selects a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--gateway-port",
        type=int,
        default=8124,
        help="port of the gateway; 0 selects a free one (default: %(default)s)",
    )
    parser.add_argument("--state", type=Path, default=ROOT / ".develop", help="folder of the state")
    parser.add_argument("--fresh", action="store_true", help="delete the state of this profile first")
    parser.add_argument(
        "--weeks",
        type=int,
        default=4,
        help="weeks of statistics to import at the first start (default: %(default)s)",
    )
    parser.add_argument(
        "--time-zone", type=time_zone, default=TIME_ZONE, help="time zone of Home Assistant (default: %(default)s)"
    )
    parser.add_argument(
        "--empty-dashboard",
        action="store_true",
        help="do not fill the Energy dashboard",
    )
    parser.add_argument(
        "--account",
        choices=("password", "code"),
        help="use an account of a simulated cloud, with a password or also a one-time code for battery settings",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="print the values and stop; fails when the log contains an error, or a warning about the component",
    )
    parser.add_argument(
        "simulator", nargs="*", help="after --: further arguments for the simulator, such as --start ISO"
    )
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\w[\w.-]*", options.profile):
        parser.error(f"{options.profile!r} is not the name of a profile")
    options.state = options.state.absolute()
    options.port = options.port or free_port()
    options.gateway_port = options.gateway_port or free_port()
    return options


async def main(arguments: list[str] | None = None) -> int:
    """Run an instance until interrupted, and return an exit code. Raises Stop."""
    options = parse(arguments)
    check_port(options.port, "Home Assistant", "--port")
    check_port(options.gateway_port, "the gateway", "--gateway-port")
    instance = DevelopmentInstance(options)
    if options.fresh and instance.folder.exists():
        shutil.rmtree(instance.folder)
    instance.folder.mkdir(parents=True, exist_ok=True)
    running = asyncio.create_task(instance.run())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        print(flush=True)
        return 130 if options.once else 0
    finally:
        log("stopping")
        instance.log.shown = False
        await instance.stop()
        if not (instance.folder / "config").exists():
            shutil.rmtree(instance.folder)
    if options.once and instance.log.errors:
        raise Stop(f"the log of Home Assistant contains {instance.log.summary()} (see above)")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except Stop as stop:
        print(f"develop: {stop}", file=sys.stderr)
        sys.exit(2)

"""Home Assistant with an onboarded user and a simulated system, without an entry of the component."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
import json
from pathlib import Path
import re
import subprocess
import sys
import threading
import time
from typing import Any, Final

import aiohttp

from scripts.develop import free_port, write_configuration
from scripts.instance import DOMAIN, PASSWORD, USER, Instance, Json, retry_until_up

from .system import WITHIN, System, simulated_system

FOLDER: Final = Path(__file__).parent
#: Milliseconds until a page is a failure: on a busy machine it may take minutes.
LONGEST_WAIT: Final = 180_000
#: Home Assistant warns of every custom integration, and of what takes long, which depends on the machine.
_NO_PROBLEM: Final = (
    r"We found a custom integration| took \d+\.\d+ seconds| is taking over \d+ seconds|Waiting for integrations"
)
_PROBLEM: Final = re.compile(rf"^Traceback |^\S+ \S+ (?:ERROR|CRITICAL|WARNING) \((?!.*(?:{_NO_PROBLEM}))")


@dataclass
class Home:
    """A running Home Assistant and the simulated system."""

    address: str
    system: System
    log: Path
    #: Tokens for the frontend.
    tokens: Json

    def __post_init__(self) -> None:
        """Read addresses and credentials of the system."""
        self.facts = self.system.facts()

    def call[T](self, work: Callable[[Instance], Awaitable[T]]) -> T:
        """Return the result of work with a client."""

        async def connected() -> T:
            async with aiohttp.ClientSession() as session:
                instance = Instance(session, self.address)
                instance.use(self.tokens)
                return await work(instance)

        return run_in_thread(connected())

    def wait_until[T](self, work: Callable[[Instance], Awaitable[T]]) -> T:
        """Repeat work until its result is true, and return it."""

        async def repeated(instance: Instance) -> T:
            async with asyncio.timeout(WITHIN):
                while True:
                    if result := await work(instance):
                        return result
                    await asyncio.sleep(0.2)

        return self.call(repeated)

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        """Wait until a condition is true."""

        async def work(_instance: Instance) -> bool:
            return await asyncio.to_thread(is_true)

        self.wait_until(work)

    def rows(self, kind: str, **fields: object) -> list[Json]:
        """Return the rows of a command."""
        return self.call(lambda instance: instance.rows(kind, **fields))

    def entries(self) -> list[Json]:
        """Return the entries of the component."""
        return self.rows("config_entries/get", domain=DOMAIN)

    def remove_entries(self) -> None:
        """Delete all entries of the component."""

        async def remove(instance: Instance) -> None:
            for entry in await instance.rows("config_entries/get", domain=DOMAIN):
                await instance.delete(f"/api/config/config_entries/entry/{entry['entry_id']}")

        self.call(remove)

    def loaded_entry(self, token: str | None = None) -> Json:
        """Return the entry of the gateway once it is loaded; it is added if it is missing, with a token or account."""
        facts = self.facts
        access = {"token": token} if token else {"account": "", "username": facts["username"]}
        form: Json = {"host": facts["host"], "password": facts["password"], "live_power": False, **access}

        async def loaded(instance: Instance) -> Json | None:
            (entry,) = await instance.rows("config_entries/get", domain=DOMAIN)
            return entry if entry["state"] == "loaded" else None

        if not self.entries():
            self.call(lambda instance: instance.finish_flow({"handler": DOMAIN}, form))
        entry = self.wait_until(loaded)
        assert entry
        return entry

    def stored_entry(self) -> Json:
        """Return the stored entry, without data while it is not stored yet: Home Assistant writes it after a second."""
        stored: Json = json.loads((self.log.parent / "config" / ".storage" / "core.config_entries").read_text())
        nothing: Json = {"data": {}, "options": {}}
        return next((entry for entry in stored["data"]["entries"] if entry["domain"] == DOMAIN), nothing)

    def wait_for_stored(self, **data: str) -> None:
        """Wait until the stored entry has these data."""
        self.wait_for(lambda: self.stored_entry()["data"].items() >= data.items())

    def is_reauthenticating_after_poll(self, entity_id: str) -> bool:
        """Poll the gateway of an entity, and return whether new credentials are requested."""
        service: Json = {"domain": "homeassistant", "service": "update_entity"}
        target = {"entity_id": entity_id}
        self.call(lambda instance: instance.command("call_service", **service, target=target))
        flows = self.rows("config_entries/flow/progress")
        return any(flow["handler"] == DOMAIN and flow["context"]["source"] == "reauth" for flow in flows)

    def devices(self) -> list[Json]:
        """Return the devices of the component."""
        ids = {entry["entry_id"] for entry in self.entries()}
        return [row for row in self.rows("config/device_registry/list") if ids & set(row["config_entries"])]

    def entity_id(self, unique_id: str) -> str:
        """Return the entity id of a unique id of the component."""
        rows = self.rows("config/entity_registry/list")
        ids: dict[str, str] = {row["unique_id"]: row["entity_id"] for row in rows if row["platform"] == DOMAIN}
        return ids[unique_id]

    def reload(self, entry: Json) -> None:
        """Reload an entry."""
        self.call(lambda instance: instance.post(f"/api/config/config_entries/entry/{entry['entry_id']}/reload", {}))

    def import_counter(self, entity_id: str, start: int, energies: list[float]) -> None:
        """Import hours of a counter: recorded energies in kWh, while its states rise to the current one by 2 kWh."""
        state = next(row for row in self.rows("get_states") if row["entity_id"] == entity_id)
        unit, last = state["attributes"]["unit_of_measurement"], float(state["state"])
        factor = {"Wh": 1000, "kWh": 1, "MWh": 0.001}[unit]
        rows = [
            {
                "start": start + 3600 * hour,
                "state": last - 2 * factor * (len(energies) - hour),
                # The sums that the recorder has calculated itself begin at zero.
                "sum": (total - sum(energies)) * factor,
            }
            for hour, total in enumerate(accumulate(energies))
        ]
        metadata = {
            "has_sum": True,
            "mean_type": 0,
            "name": None,
            "source": "recorder",
            "statistic_id": entity_id,
            "unit_class": "energy",
            "unit_of_measurement": unit,
        }
        # The recorder goes on from its last row of five minutes, and begins at zero where there is none yet.
        recent = int(time.time()) // 300 * 300 - 600
        periods = {"hour": rows, "5minute": [{"start": recent, "state": last, "sum": 0.0}]}

        async def write(instance: Instance) -> None:
            for period, listed in periods.items():
                await instance.command("statistics_import/import", metadata=metadata, period=period, rows=listed)

        self.call(write)

    def problems(self) -> list[str]:
        """Return the warnings and errors in the log."""
        return [line for line in self.log.read_text().splitlines() if _PROBLEM.search(line)]


@contextmanager
def running_home(folder: Path, profile: str = "full_battery") -> Generator[Home]:
    """Run both with all files in a folder."""
    config, port = folder / "config", free_port()
    write_configuration(config, port)
    (config / "custom_components" / "announce_gateway").symlink_to(FOLDER / "announce_gateway")
    with (config / "configuration.yaml").open("a") as configuration:
        configuration.write("announce_gateway:\n")
    address, log = f"http://127.0.0.1:{port}", folder / "home-assistant.log"
    with simulated_system(profile) as system, log.open("w") as output:
        facts = system.facts()
        command = [sys.executable, str(FOLDER / "start_home_assistant.py"), facts["login_url"], facts["token_url"]]
        with subprocess.Popen(
            [*command, "--log-no-color", "--config", str(config)],
            # In the folder of the checkout it would load custom components from there only.
            cwd=config,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                yield Home(address, system, log, run_in_thread(_create_user(address, process)))
            finally:
                timer = threading.Timer(WITHIN, process.kill)
                timer.start()
                process.terminate()
                code = process.wait()
                timer.cancel()
        assert code == 0, f"Home Assistant exits with {code}; its log is {log}"


def run_in_thread[T](work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work in an event loop of its own: the browser's runs in the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _create_user(address: str, process: subprocess.Popen[bytes]) -> Json:
    """Wait until Home Assistant is up, create its user, and return tokens for the frontend."""

    async def pause() -> None:
        assert process.poll() is None, "Home Assistant does not start"
        await asyncio.sleep(0.2)

    async with asyncio.timeout(WITHIN), aiohttp.ClientSession() as session:
        instance = Instance(session, address)
        await retry_until_up(lambda: instance.create_user(USER, PASSWORD), pause)
        tokens = await retry_until_up(lambda: instance.log_in(USER, PASSWORD), pause)
        await retry_until_up(lambda: instance.command("get_services"), pause)
        return tokens

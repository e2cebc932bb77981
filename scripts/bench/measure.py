"""One run in a process of its own: `python -m scripts.bench.measure ours battery --all`. Prints a `Run` as JSON."""

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
import cProfile
from dataclasses import asdict, dataclass
from functools import partial, wraps
import gc
import importlib.metadata
from importlib.util import find_spec
import itertools
import json
import logging
from pathlib import Path
import resource
import sys
from tempfile import TemporaryDirectory
import time
from typing import TYPE_CHECKING, Any, Protocol
from unittest.mock import patch

from .gateway import Remote
from .plan import POLLS, SUBJECTS, SYSTEMS, Run, Subject

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant

MINUTE = 60.0
#: Polls before the measured ones: the interpreter adapts to what runs often.
WARM_UP = 3
DOMAIN = "enphase_envoy"
#: Platforms that an installation of Home Assistant has loaded before the integration.
PLATFORMS = ("binary_sensor", "button", "number", "select", "sensor", "switch", "time")


class LibraryTime:
    """CPU time during which at least one call of the library is in progress.

    Only polls run, so this is the cost of the library and of the network below it.
    """

    def __init__(self) -> None:
        """Start without a call in progress."""
        self.total = 0.0
        self._open = 0
        self._since = 0.0

    def __enter__(self) -> None:
        """Start a call."""
        if self._open == 0:
            self._since = time.process_time()
        self._open += 1

    def __exit__(self, *_exc: object) -> None:
        """End a call."""
        self._open -= 1
        if self._open == 0:
            self.total += time.process_time() - self._since

    def watch(self, cls: type, name: str) -> None:
        """Count the calls of a coroutine function of a class."""
        setattr(cls, name, self._watched(getattr(cls, name)))

    def _watched[**P, T](self, original: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @wraps(original)
        async def watched(*args: P.args, **kwargs: P.kwargs) -> T:
            with self:
                return await original(*args, **kwargs)

        return watched

    def watch_library(self) -> None:
        """Count requests, reading of answers and parsing, independent of the caller."""
        import aiohttp  # noqa: PLC0415
        from pyenphase import Envoy  # noqa: PLC0415
        from pyenphase.updaters.base import EnvoyUpdater  # noqa: PLC0415

        # The component makes and reads its requests in a class of its own, so that answers have a limit.
        envoys: list[type] = [Envoy, *Envoy.__subclasses__()]
        for envoy in envoys:
            if "_request" in vars(envoy):
                self.watch(envoy, "_request")
        self.watch(aiohttp.ClientResponse, "read")
        updaters = EnvoyUpdater.__subclasses__()
        for updater in updaters:
            updaters += updater.__subclasses__()
            if "update" in vars(updater) and updater.__module__.startswith("pyenphase."):
                self.watch(updater, "update")


class Client(Protocol):
    """A client of a gateway."""

    async def set_up(self) -> None:
        """Connect and poll once."""

    async def tear_down(self) -> None:
        """Undo the set-up."""

    async def poll(self) -> None:
        """Poll, and wait for all state writes."""

    def entities(self) -> int:
        """Return the number of entities with a value."""

    def count_writes(self) -> Counter[str]:
        """Return a counter of state writes from now on."""


class Bare:
    """The library alone."""

    def __init__(self, access: dict[str, Any]) -> None:
        """Create the client."""
        from pyenphase import Envoy  # noqa: PLC0415

        self._access = access
        self._envoy = Envoy(access["host"])

    async def set_up(self) -> None:
        """Connect and poll once."""
        await self._envoy.setup()
        await self._envoy.authenticate(self._access["username"], self._access["password"], self._access["token"])
        await self._envoy.update()

    async def tear_down(self) -> None:
        """Close its connections."""
        await self._envoy.close()

    async def poll(self) -> None:
        """Poll."""
        await self._envoy.update()

    def entities(self) -> int:
        """Return 0: there are none."""
        return 0

    def count_writes(self) -> Counter[str]:
        """Return an empty counter: no state is written."""
        return Counter()


class Integration:
    """A config entry of either component in a Home Assistant made for tests."""

    def __init__(self, hass: HomeAssistant, access: dict[str, Any]) -> None:
        """Create an entry with the data that both components store."""
        from pytest_homeassistant_custom_component.common import MockConfigEntry  # noqa: PLC0415

        self._hass = hass
        title = f"Envoy {access['serial']}"
        data = {key: value for key, value in access.items() if key != "serial" and value is not None}
        self._entry = MockConfigEntry(
            domain=DOMAIN, title=title, unique_id=access["serial"], data={"name": title, **data}, options={}
        )
        self._entry.add_to_hass(hass)

    async def set_up(self) -> None:
        """Set the entry up."""
        if not await self._hass.config_entries.async_setup(self._entry.entry_id):
            raise RuntimeError(f"the entry is not set up: {self._entry.state}, {self._entry.reason}")
        await self._hass.async_block_till_done()

    async def tear_down(self) -> None:
        """Unload the entry."""
        await self._hass.config_entries.async_unload(self._entry.entry_id)
        await self._hass.async_block_till_done()

    async def poll(self) -> None:
        """Poll as the coordinator's timer would."""
        coordinator = self._entry.runtime_data
        await coordinator.async_refresh()
        await self._hass.async_block_till_done()
        if not coordinator.last_update_success:
            raise RuntimeError(f"a poll failed: {coordinator.last_exception}")

    def set_options(self, **options: object) -> None:
        """Set options before the set-up."""
        self._hass.config_entries.async_update_entry(self._entry, options=options)

    async def read_live(self) -> None:
        """Read live power as its timer would."""
        await self._entry.runtime_data.gateway.read_live()
        await self._hass.async_block_till_done()

    async def request(self, path: str) -> None:
        """Request an endpoint, and do nothing with the answer."""
        await self._entry.runtime_data.gateway.envoy.get(path)

    def watts(self, unique_id: str) -> float:
        """Return the power that a sensor shows."""
        from homeassistant.helpers import entity_registry as er  # noqa: PLC0415

        entity_id = er.async_get(self._hass).async_get_entity_id("sensor", DOMAIN, unique_id)
        state = self._hass.states.get(entity_id or "")
        if state is None:
            raise RuntimeError(f"{unique_id} has no state")
        return float(state.state) * (1000 if state.attributes["unit_of_measurement"] == "kW" else 1)

    def entities(self) -> int:
        """Return the number of entities with a value."""
        return sum(state.state not in ("unavailable", "unknown") for state in self._hass.states.async_all())

    def count_writes(self) -> Counter[str]:
        """Count writes that changed something, and those that did not."""
        from homeassistant.const import EVENT_STATE_CHANGED, EVENT_STATE_REPORTED  # noqa: PLC0415
        from homeassistant.core import callback  # noqa: PLC0415

        writes: Counter[str] = Counter()

        @callback
        def count(kind: str, _data: object) -> bool:
            writes[kind] += 1
            return False

        @callback
        def never(_event: object) -> None:
            """Never called: the filter counts and rejects all events."""

        for kind in (str(EVENT_STATE_CHANGED), str(EVENT_STATE_REPORTED)):
            self._hass.bus.async_listen(kind, never, event_filter=callback(partial(count, kind)))
        return writes


@asynccontextmanager
async def client_of(
    subject: Subject, gateway: Remote, access: dict[str, Any], *, all_enabled: bool
) -> AsyncIterator[Client]:
    """Yield the client of a subject, with all other modules loaded."""
    if subject == "bare":
        yield Bare(access)
        return
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="benchmark-"))
        hass = await stack.enter_async_context(home_assistant(folder))
        await load_component(hass, subject)
        if subject == "ours":
            from custom_components.enphase_envoy.client.gateway import Gateway  # noqa: PLC0415

            # A minute between polls, without waiting for it.
            with_clock = partial(Gateway, clock=lambda: time.monotonic() + gateway.now)
            stack.enter_context(patch("custom_components.enphase_envoy.Gateway", with_clock))
        if all_enabled:
            stack.enter_context(patch("homeassistant.helpers.entity.Entity.entity_registry_enabled_default", new=True))
        yield Integration(hass, access)
        await hass.async_stop(force=True)


@asynccontextmanager
async def home_assistant(folder: str) -> AsyncIterator[HomeAssistant]:
    """Run a Home Assistant with the platforms that any installation has loaded.

    Each state write creates an id, with compiled code in every installation. Where that could not be compiled, as in
    some development environments, its replacement would be a fifth of the cost of a write: ids are then just counted.
    """
    import homeassistant  # noqa: F401, I001, PLC0415 - first: it selects modules that others import
    from aiohttp.resolver import ThreadedResolver  # noqa: PLC0415
    from homeassistant.helpers import aiohttp_client  # noqa: PLC0415
    from homeassistant.setup import async_setup_component  # noqa: PLC0415
    from pytest_homeassistant_custom_component.common import async_test_home_assistant  # noqa: PLC0415

    class Resolver(ThreadedResolver):
        """Home Assistant's resolver starts mDNS, which loopback does not need."""

        async def real_close(self) -> None:
            await self.close()

    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(aiohttp_client, "_async_make_resolver", lambda _hass: Resolver()))
        if find_spec("ulid_transform._ulid_impl") is None:
            count = itertools.count()
            stack.enter_context(patch("homeassistant.core.ulid_at_time", lambda _timestamp: f"{next(count):026}"))
        hass = await stack.enter_async_context(async_test_home_assistant(config_dir=folder))
        for platform in PLATFORMS:
            await async_setup_component(hass, platform, {})
        await hass.async_block_till_done()
        yield hass


async def load_component(hass: HomeAssistant, subject: Subject) -> None:
    """Let Home Assistant load the component of this repository, or its own integration."""
    from homeassistant import loader  # noqa: PLC0415

    # With an empty entry Home Assistant does not search for custom components.
    if subject == "ours":
        hass.data.pop(loader.DATA_CUSTOM_COMPONENTS, None)
    integration = await loader.async_get_integration(hass, DOMAIN)
    if integration.is_built_in != (subject == "own"):
        raise RuntimeError(f"Home Assistant loaded {integration.file_path} for {subject}")


@dataclass
class Meter:
    """Wall and CPU time of a block, in seconds."""

    cpu: float = 0.0
    wall: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure a block."""
    meter = Meter()
    cpu, wall = time.process_time(), time.perf_counter()
    yield meter
    meter.cpu, meter.wall = time.process_time() - cpu, time.perf_counter() - wall


async def metered_set_up(client: Client) -> Meter:
    """Measure a set-up, without garbage of what came before, and leave none for the polls.

    A full collection takes longer than the set-up of a small system or many polls, and is due now and then: otherwise
    it would be measured with the set-up of some runs, and with the polls of others.
    """
    gc.collect()
    with metered() as meter:
        await client.set_up()
    gc.collect()
    return meter


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


async def measure(subject: Subject, system: str, polls: int, profile: Path | None, *, all_enabled: bool) -> Run:
    """Measure one subject at one system."""
    logging.disable(logging.CRITICAL)
    kind = SYSTEMS[system]
    library = LibraryTime()
    with Remote(kind.profile, kind.inverters) as gateway:
        access = gateway.receive()
        async with client_of(subject, gateway, access, all_enabled=all_enabled) as client:
            before = peak()
            setup = await metered_set_up(client)
            library.watch_library()
            for _ in range(WARM_UP):
                gateway.advance(MINUTE)
                await client.poll()
            gateway.advance(MINUTE)

            profiler = cProfile.Profile() if profile else None
            cpu, library_cpu, answered, paths = [], [], 0, Counter[str]()
            for _ in range(polls):
                begin = library.total
                if profiler:
                    profiler.enable()
                with metered() as poll:
                    await client.poll()
                if profiler:
                    profiler.disable()
                cpu.append(poll.cpu)
                library_cpu.append(library.total - begin)
                requests = gateway.advance(MINUTE)
                answered += requests["bytes"]
                paths.update(requests["paths"])
            if profiler:
                profiler.dump_stats(str(profile))
            most = peak()

            # Listeners cost CPU: the same number of polls again, only to count writes.
            writes = client.count_writes()
            for _ in range(polls):
                await client.poll()
                gateway.advance(MINUTE)
            entities = client.entities()
            counted = writes.copy()
            await client.tear_down()
            again = None
            if subject != "bare":
                again = await metered_set_up(client)
                await client.tear_down()
    return Run(
        subject=subject,
        system=system,
        all_enabled=all_enabled,
        setup_cpu=setup.cpu,
        setup_wall=setup.wall,
        again_cpu=again.cpu if again else None,
        cpu=cpu,
        library_cpu=library_cpu,
        requests=paths.total(),
        bytes=answered,
        paths=dict(paths),
        changed=counted["state_changed"] / polls,
        reported=counted["state_reported"] / polls,
        entities=entities,
        peak=most,
        added=most - before,
        versions={name: importlib.metadata.version(name) for name in ("homeassistant", "pyenphase", "aiohttp")},
    )


def main() -> None:
    """Measure the subject and system of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--all", action="store_true", help="enable every entity")
    parser.add_argument("--polls", type=int, default=POLLS)
    parser.add_argument("--profile", type=Path, help="file for a cProfile of the measured polls")
    options = parser.parse_args()
    run = asyncio.run(measure(options.subject, options.system, options.polls, options.profile, all_enabled=options.all))
    print(json.dumps(asdict(run)))


if __name__ == "__main__":
    main()

"""Faults of the simulator: each changes the requested paths only, and only as long as it is active."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from pyenphase.exceptions import EnvoyError
import pytest

from tests.helpers.virtual_time import virtual_time
from tests.simulator import (
    NAN,
    PROFILES,
    Body,
    Change,
    Clock,
    Drop,
    EmptyList,
    EmptyObject,
    Held,
    Html,
    LifetimeWraps,
    Missing,
    NightlyRestart,
    Null,
    Replace,
    Silent,
    Simulator,
    Slow,
    Status,
    Step,
    StorageCtHalves,
    TodayIsLifetime,
    TodayNotReset,
    TodayPlus32Bits,
    TodayResetsAbove,
    TotalIsNet,
    Truncated,
    Zeros,
)
from tests.simulator.client import connected
from tests.simulator.faults import Fault, find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.usefixtures("socket_enabled")

NOON = "2026-06-21T12:00:00+02:00"
PRODUCTION = "/production.json?details=1"


@pytest.fixture
async def sim(socket_enabled: None) -> AsyncIterator[Simulator]:
    """Serve the default system with a standing clock at noon."""
    async with Simulator(clock=Clock(NOON, running=False)) as simulator:
        yield simulator


async def read(sim: Simulator, path: str = PRODUCTION, timeout: float = 5) -> tuple[int, bytes]:  # noqa: ASYNC109
    """Request a path on a connection of its own."""
    scheme = "https" if sim.uses_tokens else "http"
    headers = {"Authorization": f"Bearer {sim.token()}"}
    limit = aiohttp.ClientTimeout(total=timeout)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.get(f"{scheme}://{sim.host}{path}", ssl=False, headers=headers) as response,
    ):
        return response.status, await response.read()


async def document(sim: Simulator, path: str = PRODUCTION) -> Any:
    """Read JSON."""
    return json.loads((await read(sim, path))[1])


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        (Status(503), 503, b""),
        (Status(429, "slow down"), 429, b"slow down"),
        (Null(), 200, b"null"),
        (EmptyObject(), 200, b"{}"),
        (EmptyList(), 200, b"[]"),
        (Body("not JSON"), 200, b"not JSON"),
    ],
)
async def test_status_and_body_faults(sim: Simulator, fault: Fault, status: int, body: bytes) -> None:
    """Status and body are those of the fault, only for its path and only while it is active."""
    with sim.fault("/production.json", fault) as active:
        assert await read(sim) == (status, body)
        assert (await read(sim, "/ivp/meters"))[1] != body
    assert active.hits == 1
    assert (await document(sim))["production"]


async def test_html_and_truncated_faults(sim: Simulator) -> None:
    """An HTML page instead of JSON; truncated JSON."""
    with sim.fault("/ivp/*", Html()):
        assert (await read(sim, "/ivp/meters"))[1].startswith(b"<!DOCTYPE html>")
    whole = (await read(sim, "/ivp/meters"))[1]
    with sim.fault("/ivp/meters", Truncated(0.5)):
        status, part = await read(sim, "/ivp/meters")
    assert status == 200
    assert part == whole[: len(whole) // 2]


async def test_drop_breaks_the_connection(sim: Simulator) -> None:
    """Before the first byte, and within the body."""
    with sim.fault("/production.json", Drop()), pytest.raises(aiohttp.ServerDisconnectedError):
        await read(sim)
    with sim.fault("/production.json", Drop(0.5)), pytest.raises(aiohttp.ClientPayloadError):
        await read(sim)
    assert (await read(sim))[0] == 200


async def test_slow_and_silent(sim: Simulator) -> None:
    """`Slow` delays the answer, `Silent` never sends one."""
    loop = asyncio.get_running_loop()
    with virtual_time(loop):
        with sim.fault("/production.json", Slow(3)):
            start = loop.time()
            assert (await read(sim))[0] == 200
            assert 3 <= loop.time() - start < 4
        with sim.fault("*", Silent()), pytest.raises(TimeoutError):
            await read(sim)
        assert (await read(sim))[0] == 200


async def test_held_answers_are_sent_on_release(sim: Simulator) -> None:
    """`Held` keeps the answers of one path; other paths answer, and a closing gateway breaks the connection."""
    with sim.fault("/production.json", held := Held()):
        first, second = (asyncio.create_task(read(sim)) for _ in range(2))
        await held.waiting.wait()
        assert (await read(sim, "/ivp/meters"))[0] == 200
        assert not first.done()
        held.release()
        assert [(await task)[0] for task in (first, second)] == [200, 200]
        assert (await read(sim))[0] == 200
    with sim.fault("/production.json", held := Held()):
        waiting = asyncio.create_task(read(sim))
        await held.waiting.wait()
        await sim.go_away()
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_faults_end_after_seconds_or_a_count(sim: Simulator) -> None:
    """A fault ends after seconds of simulated time, or after a number of requests."""
    sim.faults.add("/production.json", Status(500), seconds=60)
    assert (await read(sim))[0] == 500
    sim.clock.advance(61)
    assert (await read(sim))[0] == 200
    sim.faults.add("/production.json", Status(500), count=2)
    assert [(await read(sim))[0] for _ in range(3)] == [500, 500, 200]
    assert not sim.faults.active
    sim.faults.add("*", Status(500))
    sim.faults.clear()
    assert (await read(sim))[0] == 200


async def test_pattern_with_a_query_matches_that_query_only(sim: Simulator) -> None:
    """The same path with another query is not affected."""
    with sim.fault(PRODUCTION, Status(500)):
        assert (await read(sim))[0] == 500
        assert (await read(sim, "/production.json"))[0] == 200


@pytest.mark.parametrize("value", [None, "seven", 1e18, -1, [], True])
async def test_replace_sets_a_value_of_any_type(sim: Simulator, value: Any) -> None:
    """The value at a path is replaced."""
    with sim.fault("/production.json", Replace("production.1.wNow", value)):
        assert (await document(sim))["production"][1]["wNow"] == value
    with sim.fault("/production.json", Replace("production.1.lines.*.wNow", value)):
        assert [line["wNow"] for line in (await document(sim))["production"][1]["lines"]] == [value, value]


async def test_replace_missing_and_change_faults(sim: Simulator) -> None:
    """NaN, which is not JSON; a missing field and a missing device; the result of a function."""
    with sim.fault("/production.json", Replace("production.1.wNow", NAN)):
        assert b'"wNow": NaN' in (await read(sim))[1]
    with sim.fault("/production.json", Missing("production.1.wNow")):
        assert "wNow" not in (await document(sim))["production"][1]
    with sim.fault("/api/v1/production/inverters", Missing("0")):
        assert len(await document(sim, "/api/v1/production/inverters")) == 23
    with sim.fault("/ivp/meters", Change(lambda meters: meters[:1])):
        assert len(await document(sim, "/ivp/meters")) == 1
    with sim.fault("/production.json", Replace("production.1.wNow", lambda watts: watts / 2)):
        half = (await document(sim))["production"][1]["wNow"]
    assert (await document(sim))["production"][1]["wNow"] == pytest.approx(2 * half)


def test_find_yields_matches_of_a_path() -> None:
    """Names, indices from both ends, wildcards; no match for a missing path."""
    tree = {"a": [{"b": 1}, {"b": 2}]}
    assert [place[key] for place, key in find(tree, "a.*.b")] == [1, 2]
    assert [place[key] for place, key in find(tree, "a.-1.b")] == [2]
    assert not list(find(tree, "a.7.b"))
    assert not list(find(tree, "c.b"))


def eim(production: Any, key: str) -> list[float]:
    """Return a field of the metered production and its phases."""
    return [production["production"][1][key], *(line[key] for line in production["production"][1]["lines"])]


COUNTER_FAULTS: list[tuple[Fault, str, Callable[[float, float], float]]] = [
    (TodayPlus32Bits(), "whToday", lambda today, _lifetime: today + 2**32),
    (TodayIsLifetime(), "whToday", lambda _today, lifetime: lifetime),
    (TodayResetsAbove(500), "whToday", lambda today, _lifetime: today + 500),
    (LifetimeWraps(), "whLifetime", lambda _today, lifetime: lifetime % 1_193_046),
    (Step(-2_000_000), "whLifetime", lambda _today, lifetime: lifetime - 2_000_000),
    (Zeros(), "whLifetime", lambda _today, _lifetime: 0),
]


@pytest.mark.parametrize(("fault", "key", "expected"), COUNTER_FAULTS)
async def test_counter_faults(
    sim: Simulator, fault: Fault, key: str, expected: Callable[[float, float], float]
) -> None:
    """They change the total and the phases, not the house."""
    original = await document(sim)
    counters = sim.house.snapshot()
    with sim.fault("/production.json", fault):
        changed = await document(sim)
    for value, today, lifetime in zip(
        eim(changed, key), eim(original, "whToday"), eim(original, "whLifetime"), strict=True
    ):
        assert value == pytest.approx(expected(today, lifetime))
    assert sim.house.snapshot() == counters
    assert await document(sim) == original


async def test_counter_faults_apply_to_v1() -> None:
    """The counters of systems without CTs are in /api/v1/production."""
    async with Simulator("standard_7_6", clock=Clock(NOON, running=False)) as sim:
        path = "/api/v1/production"
        original = await document(sim, path)
        with sim.fault(path, TodayPlus32Bits()), sim.fault(path, Step(5)):
            changed = await document(sim, path)
        assert changed["wattHoursToday"] == original["wattHoursToday"] + 2**32
        assert changed["wattHoursLifetime"] == original["wattHoursLifetime"] + 5
        wrapped = (await document(sim))["production"][0]["whLifetime"]
        assert wrapped == pytest.approx(original["wattHoursLifetime"] % 1_193_046, abs=400)
        await sim.upgrade("D8.2.4382")
        whole = (await document(sim))["production"][0]["whLifetime"]
        assert whole == pytest.approx(original["wattHoursLifetime"], abs=400)


async def test_today_not_reset(sim: Simulator) -> None:
    """Not reset at midnight, or too late."""
    sim.clock.set("2026-06-22T00:10:00+02:00")
    with sim.fault("/production.json", TodayNotReset(seconds=900)):
        assert eim(await document(sim), "whToday")[0] > 5000
        sim.clock.advance(301)
        assert eim(await document(sim), "whToday")[0] == 0
    with sim.fault("/production.json", TodayNotReset()):
        assert eim(await document(sim), "whToday")[0] > 5000


async def test_storage_ct_halves(sim: Simulator) -> None:
    """The sum is the reading of the other phase, which is half of it."""
    path = "/ivp/meters/readings"
    original = (await document(sim, path))[2]
    with sim.fault(path, StorageCtHalves(), count=1):
        changed = (await document(sim, path))[2]
    assert changed["channels"][1]["actEnergyDlvd"] == 0
    assert changed["actEnergyDlvd"] == original["channels"][0]["actEnergyDlvd"] < original["actEnergyDlvd"]
    assert changed["actEnergyRcvd"] == original["channels"][0]["actEnergyRcvd"]
    assert (await document(sim, path))[2] == original


async def test_total_is_net(sim: Simulator) -> None:
    """The library corrects this fault of firmware 8.3.5433."""
    await sim.upgrade("D8.3.5433")
    with sim.fault("/production.json", TotalIsNet()):
        total, net = (await document(sim))["consumption"]
        assert (total["whLifetime"], total["wNow"]) == (net["whLifetime"], net["wNow"])
        assert total["lines"][0]["wNow"] == net["lines"][0]["wNow"]
        async with connected(sim) as envoy:
            assert envoy.data is not None
            assert envoy.data.system_consumption is not None
            grid = sim.house.total("imported") - sim.house.total("exported")
            expected = grid + sim.house.total("production")
            assert envoy.data.system_consumption.watt_hours_lifetime == pytest.approx(expected, abs=2)


async def test_zeros_of_the_oldest_firmware() -> None:
    """For the first minutes all numbers are zero, which the library rejects."""
    async with Simulator("legacy_3_9", clock=Clock(NOON, running=False)) as sim, connected(sim) as envoy:
        with sim.fault("/api/v1/production", Zeros()), pytest.raises(EnvoyError, match="zero"):
            await envoy.update()
        await envoy.update()


async def test_nightly_restart(sim: Simulator) -> None:
    """Connections break for some minutes after 23:00 local time, every night."""
    sim.faults.add("*", NightlyRestart(minutes=3))
    for day in (21, 22):
        sim.clock.set(f"2026-06-{day}T22:59:59+02:00")
        assert (await read(sim))[0] == 200
        sim.clock.advance(2)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await read(sim)
        sim.clock.advance(180)
        assert (await read(sim))[0] == 200


async def test_gateway_stops_and_starts_listening(sim: Simulator) -> None:
    """Meanwhile connections are refused, existing ones break; afterwards it answers at the same address."""
    host = sim.host
    await sim.go_away()
    with pytest.raises(aiohttp.ClientConnectorError):
        await read(sim)
    sim.clock.advance(600)
    await sim.come_back()
    assert sim.host == host
    assert (await read(sim))[0] == 200
    with sim.fault("*", held := Held()):
        waiting = asyncio.create_task(read(sim))
        await held.waiting.wait()
        await sim.go_away()
        with pytest.raises(aiohttp.ClientError):
            await waiting
    await sim.come_back()


async def test_rejected_sessions(sim: Simulator) -> None:
    """A revoked token is rejected, another one is accepted."""
    async with connected(sim) as envoy:
        assert envoy.auth is not None
        sim.revoke(envoy.auth.headers["Authorization"].removeprefix("Bearer "))
        with pytest.raises(EnvoyError):
            await envoy.update()
    async with connected(sim):
        pass


async def test_firmware_upgrades() -> None:
    """From 8.2 to 8.3 with a new certificate; from 5 (HTTP, digest) to 7 (HTTPS, token) at the same address."""
    async with Simulator("metered_1phase", clock=Clock(NOON, running=False)) as sim:
        host, certificate = sim.host, sim.certificate
        await sim.upgrade("D8.3.5433")
        assert (sim.host, sim.firmware) == (host, "8.3.5433")
        assert sim.certificate != certificate
        async with connected(sim) as envoy:
            assert str(envoy.firmware) == "8.3.5433"
    async with Simulator("legacy_5", clock=Clock(NOON, running=False)) as sim:
        async with connected(sim) as envoy:
            assert envoy.data is not None
            before = envoy.data.system_production
        await sim.upgrade("D7.6.175")
        assert sim.username == "owner@example.com"
        async with connected(sim) as envoy:
            assert envoy.data is not None
            assert envoy.data.system_production == before


def test_profiles_declare_faults_of_their_firmware() -> None:
    """Profiles with a faulty firmware have a field for it."""
    assert [name for name, profile in PROFILES.items() if profile.wraps] == ["standard_7_6"]
    assert [name for name, profile in PROFILES.items() if profile.cloud_owns_tariff] == ["collar"]

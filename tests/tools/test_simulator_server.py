"""The simulator's server: authentication, saved state, the command line, and the cloud."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from envoy_utils.envoy_utils import EnvoyUtils
from pyenphase import Envoy
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.const import SupportedFeatures
from pyenphase.exceptions import EnvoyAuthenticationError, EnvoyAuthenticationRequired
import pytest

from tests.simulator import Clock, Cloud, OtherServer, Simulator
from tests.simulator.access import read_token
from tests.simulator.client import connected
from tests.simulator.other_server import ANSWERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("socket_enabled")

NOON = "2026-06-21T12:00:00+02:00"
ROOT = Path(__file__).parents[2]


def standing(start: str = NOON) -> Clock:
    """Return a standing clock."""
    return Clock(start, running=False)


async def status(sim: Simulator, path: str, authorization: str | None, **kwargs: Any) -> int:
    """Return the status of an answer."""
    scheme = "https" if sim.uses_tokens else "http"
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{scheme}://{sim.host}{path}", ssl=False, headers=headers, **kwargs) as response,
    ):
        await response.read()
        return response.status


async def test_token_authentication() -> None:
    """Only a valid token for this gateway is accepted; /info needs none."""
    async with Simulator(clock=standing()) as sim:
        path = "/ivp/meters"
        assert await status(sim, path, f"Bearer {sim.token()}") == 200
        bad = (sim.token(days=-1), sim.token(serial="122000000000"), "x.y.z", "", "e30.e30.e30")
        assert [await status(sim, path, f"Bearer {token}") for token in bad] == [401] * 5
        assert await status(sim, path, f"Basic {sim.token()}") == 401
        assert await status(sim, path, None) == 401
        assert await status(sim, "/info", None) == 200
        assert [request.status for request in sim.requests][:2] == [200, 401]
        claims = read_token(sim.token(days=2, user="installer"))
        assert claims is not None
        assert (claims["aud"], claims["enphaseUser"]) == (sim.serial, "installer")
        short = sim.token(days=1)
        sim.clock.advance(400 * 86400)
        assert await status(sim, path, f"Bearer {short}") == 401


async def test_check_jwt_sets_a_session_cookie() -> None:
    """A valid token is confirmed with a cookie, an invalid one is rejected."""
    async with Simulator(clock=standing()) as sim, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {sim.token()}"}
        async with session.get(f"https://{sim.host}/auth/check_jwt", ssl=False, headers=headers) as response:
            assert "Valid token." in await response.text()
            assert response.cookies["sessionId"].value
        assert await status(sim, "/auth/check_jwt", f"Bearer {sim.token(days=-1)}") == 401
        envoy = Envoy(sim.host)
        try:
            await envoy.setup()
            with pytest.raises(EnvoyAuthenticationError):
                await envoy.authenticate(token=sim.token(serial="122000000000"))
        finally:
            await envoy.close()


async def test_digest_authentication() -> None:
    """Both local users are accepted with their passwords only; some documents need no authentication."""
    async with Simulator("legacy_5", clock=standing()) as sim:
        path = f"http://{sim.host}/api/v1/production/inverters"
        logins = {
            ("envoy", sim.serial[-6:]): 200,
            ("installer", EnvoyUtils.get_password(sim.serial, "installer")): 200,
            ("envoy", "000000"): 401,
            ("root", sim.serial[-6:]): 401,
        }
        for login, expected in logins.items():
            digest = aiohttp.DigestAuthMiddleware(*login)
            async with aiohttp.ClientSession(middlewares=(digest,)) as session, session.get(path) as response:
                assert response.status == expected, login
        assert await status(sim, "/api/v1/production/inverters", None) == 401
        assert await status(sim, "/api/v1/production/inverters", f"Bearer {sim.token()}") == 401
        assert await status(sim, "/api/v1/production", None) == 200
        envoy = Envoy(sim.host)
        try:
            await envoy.setup()
            await envoy.authenticate("envoy", "000000")
            await envoy.update()
            assert SupportedFeatures.INVERTERS not in envoy.supported_features
            with pytest.raises(EnvoyAuthenticationRequired):
                await envoy.request("/api/v1/production/inverters")
        finally:
            await envoy.close()


async def test_state_file_restores_the_system(tmp_path: Path) -> None:
    """Counters, charge, settings, certificate and hardware are restored; the time in between is simulated."""
    state = tmp_path / "house.json"
    async with Simulator(clock=standing(), state=state) as sim:
        sim.clock.advance(3600)
        sim.house.settings.reserve = 33.0
        sim.house.switch_relay(sim.house.relay("NC2"), closed=False)
        serial = sim.house.add_inverter().serial
        await sim.upgrade("D8.3.5433")
        before, stored, certificate = sim.house.snapshot(), sim.house.stored, sim.certificate
        today = sim.house.today("load")
    async with Simulator(clock=standing(), state=state) as sim:
        assert sim.clock.now == before.at
        assert sim.house.snapshot() == before
        assert (sim.house.stored, sim.house.settings.reserve, sim.certificate) == (stored, 33.0, certificate)
        assert (sim.firmware, sim.house.relay("NC2").closed) == ("8.3.5433", False)
        assert sim.house.roof[serial].serial == serial
        assert sim.house.today("load") == today
    later = standing()
    later.advance(5 * 3600)
    async with Simulator(clock=later, state=state) as sim:
        gap = sim.house.snapshot().since(before, "load")
        assert 4 * 200 < gap < 4 * 5000
        assert not sim.house.relay("NC2").closed
        assert (state.stat().st_mode & 0o777) == 0o600
    with pytest.raises(ValueError, match="profile full_battery"):
        Simulator("collar", state=state)


async def test_restored_system_equals_one_that_ran_through(tmp_path: Path) -> None:
    """A system that was saved and restored ends in the same state as one that was not."""
    state = tmp_path / "house.json"
    async with Simulator("three_phase", clock=standing(), state=state) as sim:
        sim.clock.advance(1234.5)
    clock = standing()
    clock.advance(40_000)
    through = Simulator("three_phase", clock=clock)
    async with Simulator("three_phase", clock=standing(), state=state) as sim:
        sim.clock.set(clock.now)
        resumed = sim.house.snapshot()
    whole = Simulator("three_phase", clock=standing())
    whole.clock.set(clock.now)
    assert resumed.total("production") == pytest.approx(whole.house.total("production"), abs=0.01)
    assert resumed.total("imported") == pytest.approx(whole.house.total("imported"), abs=0.01)
    assert through.house.total("production") == pytest.approx(whole.house.total("production"), rel=0.01)


async def run(*arguments: str) -> asyncio.subprocess.Process:
    """Start the command."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulator", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.slow
async def test_command_line(tmp_path: Path) -> None:
    """It prints one line of JSON when ready, one line when the port is in use; SIGTERM saves the state."""
    state = tmp_path / "state" / "house.json"
    process = await run(
        "--profile", "metered_1phase", "--json", "--state", str(state), "--start", NOON, "--speed", "60"
    )
    try:
        assert process.stdout is not None
        facts = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert set(facts) == {"host", "serial", "firmware", "profile", "token", "username", "password"}
        envoy = Envoy(facts["host"])
        try:
            await envoy.setup()
            await envoy.authenticate(token=facts["token"])
            assert (await envoy.update()).system_production
        finally:
            await envoy.close()
        second = await run("--port", facts["host"].rpartition(":")[2])
        out, error = await asyncio.wait_for(second.communicate(), 20)
        assert (second.returncode, out) == (2, b"")
        assert error.decode().startswith("Cannot listen on 127.0.0.1:")
        assert error.count(b"\n") == 1
    finally:
        process.send_signal(signal.SIGTERM)
        out, error = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, error) == (0, b"", b"")
    assert json.loads(state.read_text())["profile"] == "metered_1phase"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "castle"), "There is no profile castle"),
        (("--start", "yesterday"), "--start needs an ISO time"),
        (("--inverters", "0"), "at least one inverter"),
        (("--port", "99999"), "99999 is not a port"),
    ],
)
@pytest.mark.slow
async def test_command_line_reports_invalid_arguments_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    """No traceback, exit code 2."""
    process = await run(*arguments)
    _out, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert message in error.decode()
    assert error.count(b"\n") == 1


@pytest.fixture
async def cloud(socket_enabled: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """Serve the cloud at the addresses that the library uses."""
    async with Cloud() as service:
        monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", service.login_url)
        monkeypatch.setattr(EnvoyTokenAuth, "TOKEN_URL", service.token_url)
        yield service


async def log_in(sim: Simulator, password: str | None = None) -> EnvoyTokenAuth:
    """Log in with the account."""
    envoy = Envoy(sim.host)
    try:
        await envoy.setup()
        await envoy.authenticate(sim.username, password or sim.password)
        assert isinstance(envoy.auth, EnvoyTokenAuth)
        return envoy.auth
    finally:
        await envoy.close()


@pytest.mark.parametrize(("user", "hours"), [("owner", 365 * 24), ("installer", 12)])
async def test_cloud_issues_tokens(cloud: Cloud, user: str, hours: int) -> None:
    """They are valid for a year or half a day, depending on the account; the gateway accepts them."""
    cloud.user = user
    async with Simulator() as sim:
        auth = await log_in(sim)
        assert auth.token_type == user
        assert auth.expire_timestamp - sim.clock.now == pytest.approx(hours * 3600, abs=60)
        assert auth.token == cloud.tokens[-1]
        assert dict(cloud.requests) == {"login": 1, "tokens": 1}


async def test_cloud_failures(cloud: Cloud) -> None:
    """A wrong password, a multi-factor account and failures of the services raise errors."""
    async with Simulator() as sim:
        with pytest.raises(EnvoyAuthenticationError, match="Unable to login"):
            await log_in(sim, "moonlight")
        for trouble, message in (
            ("mfa", "No session id"),
            ("error", "Unable to login"),
            ("html", "Unable to decode"),
            ("refused", "Unable to obtain token"),
        ):
            cloud.trouble = trouble  # type: ignore[assignment]
            with pytest.raises(EnvoyAuthenticationError, match=message):
                await log_in(sim)
        cloud.trouble = None
        cloud.token_trouble = "error"
        with pytest.raises(EnvoyAuthenticationError, match="Unable to obtain token"):
            await log_in(sim)
        cloud.token_trouble = None
        cloud.login_trouble = "hang"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await log_in(sim)
        cloud.login_trouble = None
        assert await log_in(sim)
        assert not cloud.tokens[1:]


@pytest.mark.parametrize("answer", sorted(ANSWERS))
async def test_other_servers_are_not_gateways(answer: str) -> None:
    """They give the same answer to all requests, and record credentials that they receive."""
    async with OtherServer(answer) as server, aiohttp.ClientSession() as session:
        async with session.get(f"http://{server.host}/info", headers={"Authorization": "Digest x"}) as response:
            assert (await response.text(), response.content_type) == ANSWERS[answer]
        assert server.credentials == ["Digest x"]


async def test_two_clients_read_the_same_values() -> None:
    """Two clients poll at the same time."""
    async with Simulator(clock=standing()) as sim, connected(sim) as one, connected(sim) as two:
        assert one.data is not None
        assert two.data is not None
        assert one.data.system_production == two.data.system_production
        assert len({request.path for request in sim.requests}) > 10


async def test_system_saved_a_moment_ago_is_restored(tmp_path: Path) -> None:
    """Its time may be slightly ahead of a running clock, which is not an error."""
    state = tmp_path / "house.json"
    for _ in range(5):
        async with Simulator("legacy_5", clock=Clock(), state=state) as sim:
            before = sim.house.total("production")
        saved = json.loads(state.read_text())
        saved["house"]["now"] = saved["saved_at"] = time.time()
        state.write_text(json.dumps(saved))
        async with Simulator("legacy_5", clock=Clock(), state=state) as sim:
            assert sim.house.total("production") >= before

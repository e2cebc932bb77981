"""Functions of scripts/develop, scripts/pictures and scripts/screenshot that need no Home Assistant."""

import asyncio
from datetime import UTC, datetime, timedelta
import json
from pathlib import Path
import socket
import sys
from typing import Any
from zoneinfo import ZoneInfo

from homeassistant.core import HomeAssistant
from pyenphase.auth import EnvoyTokenAuth
import pytest

from custom_components.enphase_envoy.cloud import client
from scripts import simulated_cloud
from scripts.develop import (
    Child,
    DevelopmentInstance,
    Log,
    Stop,
    check_port,
    format_table,
    live_values,
    main,
    parse,
    while_running,
    write_configuration,
)
from scripts.frontend_requirements import development_requirements, requirements
from scripts.pictures import port_or_free, zone_at_noon
from scripts.screenshot import chosen_pages


def entity(key: str, name: str | None, precision: int | None = None) -> dict[str, Any]:
    """Return a row of the entity registry as the websocket lists it."""
    options = {} if precision is None else {"sensor": {"suggested_display_precision": precision}}
    return {
        "entity_id": f"sensor.{key}",
        "unique_id": f"1234_{key}",
        "original_name": name,
        "options": options,
    }


def state(value: str, unit: str = "kW") -> dict[str, Any]:
    """Return a state as the websocket lists it."""
    return {"state": value, "attributes": {"unit_of_measurement": unit, "friendly_name": "Envoy 1234"}}


def test_table_aligns_states_to_the_right_and_names_to_the_left() -> None:
    """Values of one column are aligned."""
    rows = [("1.714", "kW", "Production"), ("21", "%", "Battery"), ("16", "", "devices")]
    assert format_table(rows).splitlines() == [
        "  1.714 kW  Production",
        "     21 %   Battery",
        "     16     devices",
    ]


def test_table_without_rows_is_empty() -> None:
    """A system without values has no rows."""
    assert format_table([]) == ""


def test_live_values_have_a_fixed_order_and_the_display_precision() -> None:
    """Values are sorted, and one that is not listed is left out."""
    entities = [entity("battery_level", None), entity("frequency", "Frequency"), entity("production", "Production", 2)]
    states = {
        "sensor.battery_level": state("21", "%"),
        "sensor.frequency": state("50"),
        "sensor.production": state("1.71432"),
    }
    assert live_values(entities, states) == [("1.71", "kW", "Production"), ("21", "%", "Envoy 1234")]


def test_live_values_leave_out_disabled_entities_and_keep_text_states() -> None:
    """An entity without a state is disabled."""
    entities = [entity("production", "Production", 2), entity("consumption", "Consumption", 2)]
    assert live_values(entities, {"sensor.production": state("unavailable")}) == [("unavailable", "kW", "Production")]


def test_used_port_stops_with_one_line_that_names_the_option(socket_enabled: None) -> None:
    """Another socket listens on the port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Stop, match=rf"^port {port}, needed for Home Assistant, is in use .*--port$"):
            check_port(port, "Home Assistant", "--port")


async def test_used_port_stops_before_files_are_written(socket_enabled: None, tmp_path: Path) -> None:
    """The folder of the state is not created."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        arguments = ["--port", str(other.getsockname()[1]), "--state", str(tmp_path / "state")]
        with pytest.raises(Stop):
            await main(arguments)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("profile", ["../elsewhere", "/etc", "", ".hidden"])
def test_profile_must_be_a_name_and_not_a_path(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A path would be outside of the folder of the state."""
    with pytest.raises(SystemExit):
        parse(["--profile", profile])
    assert "is not the name of a profile" in capsys.readouterr().err


def test_configuration_has_port_and_component_and_detects_the_first_start(tmp_path: Path) -> None:
    """It is written twice, with the files of a first start in between."""
    assert write_configuration(tmp_path, 4711)
    assert json.loads((tmp_path / ".storage" / "http").read_text())["data"]["server_port"] == 4711
    assert (tmp_path / "custom_components" / "enphase_envoy" / "manifest.json").exists()

    (tmp_path / ".storage" / "auth").touch()
    assert not write_configuration(tmp_path, 4712)
    assert json.loads((tmp_path / ".storage" / "http").read_text())["data"]["server_port"] == 4712


def test_configuration_has_the_time_zone(tmp_path: Path) -> None:
    options = parse(["--time-zone", "Etc/GMT+5"])
    write_configuration(tmp_path, 4711, time_zone=options.time_zone)
    assert "  time_zone: Etc/GMT+5\n" in (tmp_path / "configuration.yaml").read_text()


@pytest.mark.parametrize("zone", ["Mars/X", "Europe", "", "/etc/localtime", "../UTC"])
def test_time_zone_must_exist(zone: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With another one, Home Assistant would start in recovery mode."""
    with pytest.raises(SystemExit):
        parse(["--time-zone", zone])
    assert "is not a time zone" in capsys.readouterr().err


def test_buttons_are_pressed_on_the_page_of_the_integration_unless_paths_are_given() -> None:
    """The pages of devices have other buttons."""
    device = {"id": "1", "via_device_id": None, "name_by_user": None, "name": "Envoy 1234", "model": "IQ Gateway"}
    names = [name for name, _, _ in chosen_pages([], [device], is_pressed=False)]
    assert names == ["integration", "gateway"]
    assert [name for name, _, _ in chosen_pages([], [device], is_pressed=True)] == ["integration"]
    assert chosen_pages(["/energy", "/"], [device], is_pressed=True) == [
        ("energy", "/energy", None),
        ("start", "/", None),
    ]


def test_port_on_a_picture_is_a_free_one_only_if_it_is_in_use(socket_enabled: None) -> None:
    """The address of the gateway should be the same on the pictures of two runs."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert port_or_free(port) != port
    assert port_or_free(port) == port


def test_pictures_are_made_at_noon() -> None:
    """Whenever scripts/pictures runs, at most half an hour is missing."""
    for minutes in range(0, 24 * 60, 7):
        now = datetime(2026, 11, 27, tzinfo=UTC) + timedelta(minutes=minutes)
        local = now.astimezone(ZoneInfo(zone_at_noon(now)))
        assert abs(local.hour * 60 + local.minute - 12 * 60) <= 30, now


async def test_component_uses_the_simulated_cloud(
    hass: HomeAssistant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "http://127.0.0.1:4713"
    write_configuration(tmp_path, 4711, address)
    assert f"\nsimulated_cloud: {address}\n" in (tmp_path / "configuration.yaml").read_text()
    assert (tmp_path / "custom_components" / "simulated_cloud" / "manifest.json").exists()
    monkeypatch.setattr(client, "BASE_URL", client.BASE_URL)
    monkeypatch.setattr(EnvoyTokenAuth, "JSON_LOGIN_URL", EnvoyTokenAuth.JSON_LOGIN_URL)
    monkeypatch.setattr(EnvoyTokenAuth, "TOKEN_URL", EnvoyTokenAuth.TOKEN_URL)
    assert await simulated_cloud.async_setup(hass, {"simulated_cloud": address})
    assert {url.removeprefix(address) for url in (client.BASE_URL, EnvoyTokenAuth.TOKEN_URL)} == {"", "/tokens"}


@pytest.mark.parametrize(
    ("line", "errors"),
    [
        ("2026-11-21 12:00:00.000 ERROR (MainThread) [homeassistant.setup] Setup failed", 1),
        ("Traceback (most recent call last):", 1),
        ("2026-11-21 12:00:00.000 WARNING (MainThread) [a] the gateway answered ERROR", 0),
        ("2026-11-21 12:00:00.000 WARNING (MainThread) [custom_components.enphase_envoy.coordinator] HTTP 500", 1),
        (
            "2026-11-21 12:00:00.000 WARNING (a) [frame] Detected that custom integration 'enphase_envoy' uses x",
            1,
        ),
        ("2026-11-21 12:00:00.000 WARNING (a) [loader] We found a custom integration enphase_envoy which has not", 0),
    ],
)
def test_log_collects_errors(line: str, errors: int) -> None:
    """Errors, tracebacks, and warnings about the component are collected, other messages are not."""
    log = Log()
    log.add(line)
    assert len(log.errors) == errors


def test_summary_of_the_log_has_the_kinds() -> None:
    log = Log()
    log.add("2026-11-21 12:00:00.000 ERROR (MainThread) [homeassistant.setup] Setup failed")
    log.add("2026-11-21 12:00:00.000 WARNING (MainThread) [pyenphase.envoy] retry")
    log.add("2026-11-21 12:00:00.000 WARNING (MainThread) [custom_components.enphase_envoy.coordinator] HTTP 500")
    assert log.summary() == "1 errors, and 2 warnings about the component or pyenphase"


async def test_recovery_mode_stops(tmp_path: Path) -> None:
    """In recovery mode Home Assistant loads its own integration instead of the component."""
    message = "Unable to set up core integrations. Activating recovery mode"
    line = f"2026-11-21 12:00:00.000 WARNING (MainThread) [homeassistant.bootstrap] {message}"
    child = Child("Home Assistant", (sys.executable, "-c", f"print({line!r})"), tmp_path / "log", Log().add)
    with pytest.raises(Stop, match=message):
        await while_running(asyncio.Event().wait(), {asyncio.create_task(child.run()): child})
    await child.stop()


async def test_home_assistant_installs_no_packages(tmp_path: Path) -> None:
    """Those of another integration could replace the packages of the component."""
    instance = DevelopmentInstance(parse(["--state", str(tmp_path)]))
    assert "--skip-pip" in instance.home_assistant.command


def test_requirements_include_dependencies_and_after_dependencies() -> None:
    """Manifests may depend on each other."""
    manifests = {
        "page": {"requirements": ["page==1"], "dependencies": ["server"], "after_dependencies": ["voice"]},
        "server": {"requirements": ["server==2"], "dependencies": ["page"]},
        "voice": {"requirements": ["voice==3"]},
        "unused": {"requirements": ["unused==4"]},
    }
    assert requirements(["page", "not_there"], manifests) == {"page==1", "server==2", "voice==3"}


def test_requirements_of_the_installed_home_assistant_include_frontend_and_component() -> None:
    """They are read from the manifests of the installed release."""
    found = development_requirements()
    names = {requirement.partition("==")[0] for requirement in found}
    assert names >= {"home-assistant-frontend", "hassil", "pymicro-vad", "pyspeex-noise", "ha-ffmpeg", "PyTurboJPEG"}
    assert names >= {"PyQRCode", "pyotp"}, "two-factor login needs these, which are in no manifest"
    manifest = json.loads(Path("custom_components/enphase_envoy/manifest.json").read_text())
    assert found >= set(manifest["requirements"])

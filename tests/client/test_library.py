"""Contract tests of what the component uses of pyenphase beyond its public interface, checked before each upgrade."""

from importlib.metadata import version
import inspect
import json
from pathlib import Path

import aiohttp
from pyenphase import Envoy
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.firmware import EnvoyFirmware
from pyenphase.updaters.base import EnvoyUpdater
import pytest

MANIFEST = Path(__file__).parents[2] / "custom_components" / "enphase_envoy" / "manifest.json"


def parameters(function: object) -> list[str]:
    """Return the names of a function's parameters, ignoring decorators."""
    assert callable(function)
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def test_installed_pyenphase_is_the_version_of_the_manifest() -> None:
    assert json.loads(MANIFEST.read_text())["requirements"] == [f"pyenphase=={version('pyenphase')}"]


@pytest.mark.parametrize(
    ("library_class", "name", "expected"),
    [
        (Envoy, "probe_request", ["self", "endpoint"]),
        (Envoy, "request", ["self", "endpoint", "data", "method"]),
        (Envoy, "_request", ["self", "endpoint", "data", "method"]),
        (Envoy, "_make_cached_request", ["self", "request_func", "endpoint"]),
        (Envoy, "_validate_update", ["self", "data"]),
        (Envoy, "probe", ["self"]),
        (EnvoyUpdater, "update", ["self", "envoy_data"]),
        (EnvoyUpdater, "probe", ["self", "discovered_features"]),
        (EnvoyFirmware, "_get_info", ["self"]),
        (EnvoyTokenAuth, "_obtain_token", ["self"]),
        (EnvoyTokenAuth, "_check_jwt", ["self", "client"]),
        (EnvoyTokenAuth, "_post_json_with_cloud_client", ["self", "cloud_client", "url", "data", "json"]),
    ],
)
def test_parameters_of_overridden_or_called_methods(library_class: type, name: str, expected: list[str]) -> None:
    assert parameters(getattr(library_class, name)) == expected


def test_get_info_can_be_unwrapped_from_its_retries() -> None:
    assert inspect.unwrap(EnvoyFirmware._get_info) is not EnvoyFirmware._get_info


async def test_attributes_that_are_read_or_replaced() -> None:
    async with aiohttp.ClientSession() as session:
        envoy = Envoy("127.0.0.1", session)
        assert envoy._updaters == []
        assert isinstance(envoy._firmware, EnvoyFirmware)
        assert envoy._client is session
        assert envoy.data is None
        assert envoy.auth is None
        auth = EnvoyTokenAuth("127.0.0.1", "user", "password", "123", "token")
        assert (auth._token, auth._cookies) == ("token", {})
        assert (auth.cloud_username, auth.cloud_password, auth.envoy_serial) == ("user", "password", "123")

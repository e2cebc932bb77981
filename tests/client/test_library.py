"""What we lean on in pyenphase beyond its public interface: a new version is a decision, not a surprise."""

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
    """Return the names of the parameters of a function, whatever it is wrapped by."""
    assert callable(function)
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def test_the_version_is_the_one_in_the_manifest() -> None:
    assert json.loads(MANIFEST.read_text())["requirements"] == [f"pyenphase=={version('pyenphase')}"]


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
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
def test_methods_that_we_override_or_call(owner: type, name: str, expected: list[str]) -> None:
    assert parameters(getattr(owner, name)) == expected


def test_the_look_at_info_can_be_had_without_its_repetitions() -> None:
    assert inspect.unwrap(EnvoyFirmware._get_info) is not EnvoyFirmware._get_info


async def test_attributes_that_we_read_or_replace() -> None:
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

"""Contract with pyenphase: what is used beyond its public interface, so that a new version is a decision."""

import ast
from importlib.metadata import version
import inspect
import json
from pathlib import Path
from typing import Final

import aiohttp
from pyenphase import Envoy
from pyenphase.auth import EnvoyTokenAuth
from pyenphase.firmware import EnvoyFirmware
from pyenphase.updaters.base import EnvoyUpdater
import pytest

from custom_components.enphase_envoy.client.envoy import LibraryEnvoy
from custom_components.enphase_envoy.client.login import Firmware, TokenAuth

COMPONENT: Final = Path(__file__).parents[2] / "custom_components" / "enphase_envoy"
MANIFEST: Final = COMPONENT / "manifest.json"
#: The library's client, and its identification and authentication.
ADAPTERS: Final = (COMPONENT / "client" / "envoy.py", COMPONENT / "client" / "login.py")

#: Private methods that are called or overridden, with their parameters.
METHODS: Final = {
    (Envoy, "_request"): ["self", "endpoint", "data", "method"],
    (Envoy, "_json_request"): ["self", "end_point", "data", "method"],
    (EnvoyUpdater, "_json_request"): ["self", "end_point"],
    (EnvoyUpdater, "_json_probe_request"): ["self", "end_point"],
    (Envoy, "_validate_update"): ["self", "data"],
    (EnvoyFirmware, "_get_info"): ["self"],
    (EnvoyTokenAuth, "_obtain_token"): ["self"],
    (EnvoyTokenAuth, "_check_jwt"): ["self", "client"],
    (EnvoyTokenAuth, "_post_json_with_cloud_client"): ["self", "cloud_client", "url", "data", "json"],
}
#: Private attributes that are read or replaced, as a new object has them.
ATTRIBUTES: Final[dict[str, dict[str, type]]] = {
    "envoy": {
        "_client": aiohttp.ClientSession,
        "_common_properties": object,
        "_firmware": EnvoyFirmware,
        "_interface_settings": type(None),
        "_supported_features": type(None),
        "_timeout": aiohttp.ClientTimeout,
        "_updaters": list,
        "_v2_acb_mode": bool,
    },
    "firmware": {
        "_firmware_version": object,
        "_host": str,
        "_metered": bool,
        "_part_number": object,
        "_serial_number": object,
        "_url": str,
    },
    "auth": {"_token": str, "_cookies": dict},
}
#: Private names of the library's base class that its documentation offers to updaters.
FOR_UPDATERS: Final = {"_json_request", "_json_probe_request"}


def parameters(function: object) -> list[str]:
    """Return the names of the parameters of a function, without its decorators."""
    assert callable(function)
    return list(inspect.signature(inspect.unwrap(function)).parameters)


def private_names(file: Path) -> set[str]:
    """Return the private names that a file uses as attributes or defines in classes."""
    tree = ast.parse(file.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {
        child.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    return {name for name in used | defined if name.startswith("_") and not name.startswith("__")}


def library_names() -> set[str]:
    """Return the private names of the library's classes."""
    classes = (Envoy, EnvoyFirmware, EnvoyTokenAuth, EnvoyUpdater)
    methods = {name for kind in classes for name in vars(kind) if name.startswith("_") and not name.startswith("__")}
    return methods | {name for names in ATTRIBUTES.values() for name in names}


def test_version_is_the_one_in_the_manifest() -> None:
    assert json.loads(MANIFEST.read_text())["requirements"] == [f"pyenphase=={version('pyenphase')}"]


@pytest.mark.parametrize(("library_class", "name"), METHODS)
def test_private_methods_have_the_expected_parameters(library_class: type, name: str) -> None:
    assert parameters(getattr(library_class, name)) == METHODS[library_class, name]


@pytest.mark.parametrize(
    ("library_class", "name", "expected"),
    [
        (Envoy, "probe", ["self"]),
        (EnvoyUpdater, "update", ["self", "envoy_data"]),
        (EnvoyUpdater, "probe", ["self", "discovered_features"]),
    ],
)
def test_overridden_methods_have_the_expected_parameters(library_class: type, name: str, expected: list[str]) -> None:
    assert parameters(getattr(library_class, name)) == expected


async def test_private_attributes_exist() -> None:
    async with aiohttp.ClientSession() as session:
        envoy = Envoy("127.0.0.1", session, aiohttp.ClientTimeout(1))
        library_objects = {
            "envoy": envoy,
            "firmware": envoy._firmware,
            "auth": EnvoyTokenAuth("127.0.0.1", "user", "password", "123", "token"),
        }
        for library_class, attributes in ATTRIBUTES.items():
            for name, kind in attributes.items():
                assert isinstance(getattr(library_objects[library_class], name), kind), name
        assert (envoy.data, envoy.auth) == (None, None)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda file: file.name)
def test_adapter_uses_no_private_name_that_is_not_listed(adapter: Path) -> None:
    """A name that is neither listed nor the adapter's own would go unnoticed in a new version."""
    own = {name for kind in (LibraryEnvoy, TokenAuth, Firmware) for name in vars(kind)} | {
        *("_access", "_timeouts", "_lists_meters", "_has_valid_meters")
    }
    listed = {name for _, name in METHODS} | {name for names in ATTRIBUTES.values() for name in names}
    assert private_names(adapter) & library_names() <= listed
    assert private_names(adapter) <= listed | own


def test_private_names_of_the_library_are_used_in_the_adapters_alone() -> None:
    """Elsewhere a private name is the component's own."""
    for file in COMPONENT.rglob("*.py"):
        if file in ADAPTERS:
            continue
        tree = ast.parse(file.read_text())
        foreign = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in library_names()
            and not (isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr not in FOR_UPDATERS)
        }
        allowed = FOR_UPDATERS if file.name in ("inverters.py", "production.py", "updaters.py") else set()
        assert foreign <= allowed, file

"""Imports between parts of the component have one direction, so that each part can be tested by itself."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

COMPONENT: Final = Path(__file__).parents[2] / "custom_components" / "enphase_envoy"
PLATFORMS: Final = ("binary_sensor", "button", "number", "select", "sensor", "switch", "time")

#: What each part must not import: `homeassistant`, a part of the component, or `.` for all of the component but itself.
FORBIDDEN: Final = {
    "model": ("homeassistant", "."),
    "client": ("homeassistant", "energy", "statistics", "descriptions", "coordinator", "entity", "const"),
    "energy": ("homeassistant", "client", "statistics", "descriptions", "coordinator", "entity", "const"),
    "roof": ("homeassistant", "client", "energy", "statistics", "descriptions", "coordinator", "entity", "const"),
    "statistics": ("issues", "coordinator", "entity", "client"),
    "descriptions": ("entity", "coordinator", "devices", *PLATFORMS),
    "issues": ("statistics", "coordinator"),
    "frontend": ("client", "energy", "statistics", "descriptions", "coordinator", "entity", *PLATFORMS),
    "session": ("coordinator",),
    "services": ("config_flow", "repairs"),
}


def part_of(module: str) -> str:
    """Return the part of the component that a module belongs to, `homeassistant` for the framework."""
    own = "custom_components.enphase_envoy."
    return module.removeprefix(own).split(".")[0]


def imports(file: Path) -> Iterator[str]:
    """Yield the full names of what a file imports, wherever in it."""
    package = ("custom_components", "enphase_envoy", *file.relative_to(COMPONENT).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*parents, *filter(None, [node.module])))
            yield from (f"{module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("part", FORBIDDEN)
def test_forbidden_imports(part: str) -> None:
    files = [*COMPONENT.glob(f"{part}.py"), *COMPONENT.glob(f"{part}/**/*.py")]
    assert files
    found = {(file.name, module) for file in files for module in imports(file)}
    own = {(name, part_of(module)) for name, module in found if module.startswith("custom_components.")}
    own = {(name, other) for name, other in own if other != part}
    framework = {(name, "homeassistant") for name, module in found if module.split(".")[0] == "homeassistant"}
    never = FORBIDDEN[part]
    assert not [pair for pair in own | framework if pair[1] in never or ("." in never and pair in own)]

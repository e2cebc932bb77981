"""Print the packages that the integrations of the development instance ask for, with the pins of the installed release.

Home Assistant would install them at its first start; installed beforehand, that start takes seconds. What they are is
read from the manifests, so a new Home Assistant brings its own.
"""

import json
from pathlib import Path

import homeassistant

INTEGRATIONS = ("frontend", "config", "energy", "history", "logbook", "recorder", "zeroconf", "diagnostics")


def requirements(names: tuple[str, ...]) -> set[str]:
    """Return the requirements of integrations and of all they depend on."""
    components = Path(homeassistant.__file__).parent / "components"
    found: set[str] = set()
    todo, seen = list(names), set(names)
    while todo:
        manifest = json.loads((components / todo.pop() / "manifest.json").read_text())
        found.update(manifest.get("requirements", ()))
        for name in (*manifest.get("dependencies", ()), *manifest.get("after_dependencies", ())):
            if name not in seen and (components / name / "manifest.json").exists():
                seen.add(name)
                todo.append(name)
    return found


if __name__ == "__main__":
    constraints = Path(homeassistant.__file__).parent / "package_constraints.txt"
    print("-c", constraints)
    print(*sorted(requirements(INTEGRATIONS)), sep="\n")

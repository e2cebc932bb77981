"""Print the packages that a development instance requires, with the pins of the installed Home Assistant.

Home Assistant would install them one by one at its first start; installed beforehand, that start takes seconds. They
are collected from the manifests in the same way as at a start, so that a new release needs no change here.
"""

from collections.abc import Iterable, Mapping
import json
from pathlib import Path

import homeassistant
from homeassistant.auth.mfa_modules import totp
from homeassistant.bootstrap import CORE_INTEGRATIONS, DEFAULT_INTEGRATIONS
from homeassistant.const import BASE_PLATFORMS

from .instance import CONFIGURED, DOMAIN, ROOT

HOME_ASSISTANT = Path(homeassistant.__file__).parent
COMPONENT = ROOT / "custom_components" / DOMAIN


def requirements(domains: Iterable[str], manifests: Mapping[str, Mapping[str, list[str]]]) -> set[str]:
    """Return the requirements of integrations and of all their dependencies."""
    found: set[str] = set()
    todo, done = list(domains), set[str]()
    while todo:
        if (domain := todo.pop()) in done or domain not in manifests:
            continue
        done.add(domain)
        manifest = manifests[domain]
        found.update(manifest.get("requirements", ()))
        todo += [*manifest.get("dependencies", ()), *manifest.get("after_dependencies", ())]
    return found


def development_requirements() -> set[str]:
    """Return the requirements of a development instance, and of two-factor login, which is not an integration."""
    folders = (*(HOME_ASSISTANT / "components").iterdir(), COMPONENT)
    manifests = {
        path.name: json.loads(file.read_text()) for path in folders if (file := path / "manifest.json").exists()
    }
    domains = {*CORE_INTEGRATIONS, *DEFAULT_INTEGRATIONS, *BASE_PLATFORMS, *CONFIGURED, COMPONENT.name}
    return requirements(domains, manifests) | set(totp.REQUIREMENTS)


if __name__ == "__main__":
    print("-c", HOME_ASSISTANT / "package_constraints.txt")
    print(*sorted(development_requirements(), key=str.lower), sep="\n")

"""Packaging: the rules by which hassfest and the HACS action validate the repository on GitHub.

Sources: home-assistant/core `script/hassfest` and hacs/integration `custom_components/hacs/validate`, restated.
"""

import ast
from importlib.util import find_spec
import json
from pathlib import Path
import re
import string
from typing import Any
import zipfile

from awesomeversion import AwesomeVersion, AwesomeVersionStrategy
from homeassistant.const import Platform
from homeassistant.helpers import config_validation as cv, selector
from homeassistant.util.yaml import load_yaml_dict
import pytest
import voluptuous as vol

from custom_components.enphase_envoy.const import DOMAIN
from scripts.release import create_archive

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "custom_components" / DOMAIN
LANGUAGES = sorted(path.stem for path in (COMPONENT / "translations").glob("*.json"))

MANIFEST_KEYS = {
    *(
        "domain",
        "name",
        "after_dependencies",
        "codeowners",
        "config_flow",
        "dependencies",
        "documentation",
        "integration_type",
    ),
    *("iot_class", "issue_tracker", "loggers", "requirements", "version", "zeroconf"),
}
# Integrations that may be imported without being in the manifest, of those that a component of this kind could use.
ALLOWED_IMPORTS = {
    *Platform,
    "frontend",
    "homeassistant",
    "persistent_notification",
    "sun",
    "system_health",
    "websocket_api",
    "zone",
}
URL = re.compile(r"(ftp|https?|mqtts?|socket)://|www\.")
TRANSLATION_KEY = re.compile(r"^(?!.+[_-]{2})(?![_-])[a-z0-9-_]+(?<![_-])$")
RULES_OF_THE_QUALITY_SCALE = 52


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


MANIFEST = read_json(COMPONENT / "manifest.json")


def test_manifest_has_valid_keys_in_the_order_of_hassfest() -> None:
    keys = list(MANIFEST)
    assert set(keys) <= MANIFEST_KEYS
    assert keys == ["domain", "name", *sorted(keys[2:])]
    assert MANIFEST["domain"] == COMPONENT.name
    assert all(account.startswith("@") for account in MANIFEST["codeowners"])
    assert MANIFEST["codeowners"]


def test_version_and_addresses_of_the_manifest_are_valid() -> None:
    strategies = [AwesomeVersionStrategy.SEMVER, AwesomeVersionStrategy.CALVER]
    assert AwesomeVersion(MANIFEST["version"], ensure_strategy=strategies)
    for key in ("documentation", "issue_tracker"):
        assert MANIFEST[key].startswith("https://")
        cv.url(MANIFEST[key])


def test_requirements_are_pinned_to_the_versions_that_are_tested() -> None:
    tested = (ROOT / "requirements_test.txt").read_text(encoding="utf-8").splitlines()
    oldest = (ROOT / "requirements_test_oldest.txt").read_text(encoding="utf-8").splitlines()
    for requirement in MANIFEST["requirements"]:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", requirement)
        assert requirement in tested
        assert requirement in oldest


def imported_integrations(path: Path) -> set[str]:
    """Return the integrations of Home Assistant that a module imports at runtime."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "homeassistant.components":
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name.split(".")[2] for name in found if name.startswith("homeassistant.components.")}


def test_integrations_that_are_imported_are_in_the_manifest() -> None:
    declared = {*MANIFEST.get("dependencies", ()), *MANIFEST["after_dependencies"]}
    assert not set(MANIFEST.get("dependencies", ())) & set(MANIFEST["after_dependencies"])
    for name in declared:
        assert find_spec(f"homeassistant.components.{name}"), name
    for path in COMPONENT.rglob("*.py"):
        # A module of an integration's name is its platform, as repairs.py.
        platform = {path.relative_to(COMPONENT).parts[0].removesuffix(".py")}
        platforms = {name for name in ("repairs", "diagnostics") if (COMPONENT / f"{name}.py").exists()}
        assert imported_integrations(path) <= declared | ALLOWED_IMPORTS | platform | platforms, path


def texts(node: dict[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Return the paths and texts of a tree of translations."""
    found: list[tuple[str, str]] = []
    for key, value in node.items():
        found += texts(value, f"{path}/{key}") if isinstance(value, dict) else [(f"{path}/{key}", value)]
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_plain_and_have_valid_placeholders(language: str) -> None:
    for path, text in texts(read_json(COMPONENT / "translations" / f"{language}.json")):
        assert cv.string_with_no_html(text) == text.strip(), path
        assert not re.search(r"'{\w+}'", text), path
        assert not URL.search(text), path
        assert all(field is None or field.isidentifier() for _, field, _, _ in string.Formatter().parse(text)), path


def test_structure_of_the_texts() -> None:
    tree = read_json(COMPONENT / "translations" / "en.json")
    fix_flows = [issue["fix_flow"] for issue in tree["issues"].values() if "fix_flow" in issue]
    for flow in (tree["config"], tree["options"], *fix_flows):
        assert set(flow) <= {"flow_title", "step", "error", "abort", "progress", "create_entry"}
        for step in flow["step"].values():
            assert set(step) <= {
                *(
                    "title",
                    "description",
                    "data",
                    "data_description",
                    "menu_options",
                    "menu_option_descriptions",
                    "submit",
                    "sections",
                )
            }
            assert set(step.get("data_description", ())) <= set(step.get("data", ()))
    for issue in tree["issues"].values():
        assert "title" in issue
        assert ("description" in issue) != ("fix_flow" in issue)
    assert all(set(text) == {"message"} for text in tree["exceptions"].values())
    for platform in tree["entity"].values():
        for key, entity in platform.items():
            assert TRANSLATION_KEY.match(key)
            assert set(entity) <= {"name", "state", "state_attributes", "unit_of_measurement"}
            assert all(TRANSLATION_KEY.match(state) for state in entity.get("state", ())), key


def test_actions_have_valid_fields_texts_and_icons() -> None:
    services = load_yaml_dict(str(COMPONENT / "services.yaml"))
    tree = read_json(COMPONENT / "translations" / "en.json")
    icons = read_json(COMPONENT / "icons.json")
    assert set(icons["services"]) == set(services)
    for name, service in services.items():
        assert {"name", "description"} <= set(tree["services"][name])
        for key, field in service["fields"].items():
            assert set(field) <= {"example", "default", "required", "advanced", "selector"}, key
            selector.validate_selector(field["selector"])
            assert {"name", "description"} <= set(tree["services"][name]["fields"][key])
            kind, settings = next(iter(field["selector"].items()))
            if kind == "select":
                assert set(tree["selector"][settings["translation_key"]]["options"]) == set(settings["options"])


def test_icons_are_valid_and_have_states_of_the_same_entities() -> None:
    tree = read_json(COMPONENT / "translations" / "en.json")["entity"]
    for platform, entities in read_json(COMPONENT / "icons.json")["entity"].items():
        for key, icons in entities.items():
            assert set(icons) <= {"default", "state", "state_attributes", "range"}
            for icon in (icons.get("default", "mdi:"), *icons.get("state", {}).values()):
                assert icon.startswith("mdi:"), key
            assert set(icons.get("state", ())) <= {*tree[platform].get(key, {}).get("state", ()), "on", "off"}, key


def test_quality_scale_lists_every_rule_with_its_status() -> None:
    rules = load_yaml_dict(str(COMPONENT / "quality_scale.yaml"))["rules"]
    assert len(rules) == RULES_OF_THE_QUALITY_SCALE
    for rule, status in rules.items():
        assert status in ("done", "todo") or {"status", "comment"} == set(status), rule


def test_hacs_finds_one_integration_with_its_brand() -> None:
    schema = vol.Schema(
        {
            vol.Required("name"): str,
            vol.Optional("homeassistant"): str,
            vol.Optional("render_readme"): bool,
            vol.Optional("zip_release"): bool,
            vol.Optional("filename"): str,
            vol.Optional("hide_default_branch"): bool,
        }
    )
    schema(hacs := read_json(ROOT / "hacs.json"))
    assert [path.name for path in (ROOT / "custom_components").iterdir() if path.name != "__pycache__"] == [DOMAIN]
    assert (COMPONENT / "brand" / "icon.png").read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "README.md").exists()
    assert AwesomeVersion(hacs["homeassistant"]) <= AwesomeVersion("2026.8.1")
    assert hacs["filename"] == f"{DOMAIN}.zip"
    assert hacs["zip_release"]


def test_workflows_use_actions_by_commit() -> None:
    """A tag of an action can be moved to other code, a commit can't."""
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action}"


def test_packages_for_tests_have_versions_and_are_kept_up_to_date() -> None:
    for path in ROOT.glob("requirements_*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+", line), f"{path.name}: {line}"
    updated = load_yaml_dict(str(ROOT / ".github" / "dependabot.yml"))["updates"]
    assert {entry["package-ecosystem"] for entry in updated} == {"github-actions", "pip"}


def test_tools_of_the_scripts_have_versions() -> None:
    for path in (*(ROOT / "scripts").iterdir(), *(ROOT / ".ci").iterdir()):
        if path.is_file() and path.suffix != ".png":
            for command in re.findall(r"(?:bin/pip install|tool run) .*", path.read_text(encoding="utf-8")):
                assert re.search(r"[a-z]+(?:==|@)\d[\d.]+ ", command), f"{path.name}: {command}"


def test_archive_of_a_release_has_the_component_with_its_version(tmp_path: Path) -> None:
    archive = create_archive("v1.2.3", tmp_path)
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
        manifest = json.loads(content.read("manifest.json"))
    assert archive.name == f"{DOMAIN}.zip"
    assert manifest == MANIFEST | {"version": "1.2.3"}
    assert list(manifest) == list(MANIFEST)
    assert {"__init__.py", "translations/en.json", "brand/icon.png", "client/gateway.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("/", ".."))]
    assert read_json(COMPONENT / "manifest.json") == MANIFEST


@pytest.mark.parametrize("version", ["", "v", "main", "1.2.3; rm", "../1"])
def test_a_release_needs_a_valid_version(version: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version"):
        create_archive(version, tmp_path)
    assert not list(tmp_path.iterdir())


def test_changelog_describes_the_version_of_the_manifest() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(MANIFEST['version'])}\b", changelog, re.MULTILINE)

"""Texts: every language has the texts of English, and English has all texts that the code refers to."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import combinations
import json
from pathlib import Path
import re
from typing import Any

from homeassistant.config_entries import SOURCE_USER
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.util import yaml
import pytest
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.enphase_envoy import issues
from custom_components.enphase_envoy.client.errors import Reason
from custom_components.enphase_envoy.cloud.errors import CloudReason
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy.settings_monitor import SettingOutcome, SettingResult
from custom_components.enphase_envoy.roof.health import Problem
from custom_components.enphase_envoy.statistics.recorder import Correction
from scripts.entity_names import COMPLETE, documents, merged
from tests.helpers.texts import TextCheck

TRANSLATIONS = Path(__file__).parents[2] / "custom_components" / DOMAIN / "translations"
ALL = {path.stem for path in TRANSLATIONS.glob("*.json")}
#: Languages with all texts; the others have names of entities alone.
LANGUAGES = sorted(COMPLETE - {"en"})
NAMES_ONLY = sorted(ALL - COMPLETE)
PLACEHOLDER = re.compile(r"\{\w+\}")

in_every_language = pytest.mark.parametrize("language", LANGUAGES)


def tree(language: str) -> dict[str, Any]:
    """Return the texts of a language as in the file."""
    texts: dict[str, Any] = json.loads((TRANSLATIONS / f"{language}.json").read_text(encoding="utf-8"))
    return texts


def items(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text with its path."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from items(value, f"{path}{key}/")
        else:
            yield f"{path}{key}", value


def flat(language: str) -> dict[str, str]:
    """Return the texts of a language by their paths."""
    return dict(items(tree(language)))


def names(language: str) -> dict[str, str]:
    """Return the names of entities by their paths."""
    return {path: text for path, text in flat(language).items() if re.fullmatch(r"entity/\w+/\w+/name", path)}


ENGLISH = flat("en")


def test_there_are_five_languages_beside_english() -> None:
    assert set(LANGUAGES) >= {"de", "es", "fr", "it", "nl"}


@in_every_language
def test_a_language_has_the_keys_of_english_in_the_same_order(language: str) -> None:
    assert list(flat(language)) == list(ENGLISH)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_a_file_is_written_in_one_way(language: str) -> None:
    written = (TRANSLATIONS / f"{language}.json").read_text(encoding="utf-8")
    assert written == json.dumps(tree(language), ensure_ascii=False, indent=2) + "\n"


@in_every_language
def test_a_text_has_the_placeholders_and_links_of_english(language: str) -> None:
    for path, text in flat(language).items():
        english = ENGLISH[path]
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(english)), path
        assert text.count("`") == english.count("`"), path
        assert text.count("\n") == english.count("\n"), path
        assert re.findall(r"\]\(.*?\)", text) == re.findall(r"\]\(.*?\)", english), path


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_placeholder_is_broken(language: str) -> None:
    """The frontend takes an apostrophe before a brace, or two in a row, for the beginning of literal text."""
    for path, text in flat(language).items():
        assert not re.search(r"[{}]", PLACEHOLDER.sub("", text)), path
        assert not re.search(r"'[{}<>']", text), path


@in_every_language
def test_no_text_is_empty_or_far_longer_than_the_english_one(language: str) -> None:
    for path, text in flat(language).items():
        assert text == text.strip() != "", path
        assert len(text) <= 2.5 * len(ENGLISH[path]) + 40, path


@in_every_language
def test_names_that_differ_in_english_differ(language: str) -> None:
    """Also on different devices: what is called the same should be the same."""
    for (one, one_name), (other, other_name) in combinations(names(language).items(), 2):
        assert one_name != other_name or ENGLISH[one] == ENGLISH[other], f"{one} and {other} are both {one_name}"


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_a_phase_is_called_like_the_total_with_its_phase(language: str) -> None:
    named = names(language)
    phases = {path: name for path, name in named.items() if path.endswith("_phase/name")}
    assert phases
    for path, name in phases.items():
        assert name == named[path.replace("_phase/name", "/name")] + " {phase}"


@in_every_language
def test_most_texts_are_translated(language: str) -> None:
    translated = [path for path, text in flat(language).items() if text != ENGLISH[path]]
    assert len(translated) > len(ENGLISH) / 2


def test_every_reason_has_a_text_wherever_it_is_shown() -> None:
    texts = tree("en")
    assert set(Reason) <= set(texts["config"]["error"])
    assert set(Reason) <= set(texts["issues"][issues.TOKEN_ENDS]["fix_flow"]["error"])
    assert {*Reason, *CloudReason, "action_failed", "gateway_busy", "relay_action_ignored"} <= set(texts["exceptions"])


async def test_every_field_of_the_dialogs_has_a_text(hass: HomeAssistant) -> None:
    entry = MockConfigEntry(domain=DOMAIN, data={"token": "x"})
    entry.add_to_hass(hass)
    texts = tree("en")
    connect = await hass.config_entries.flow.async_init(DOMAIN, context={"source": SOURCE_USER})
    options = await hass.config_entries.options.async_init(entry.entry_id)
    for flow, form in (("config", connect), ("options", options)):
        schema, step = form["data_schema"], form["step_id"]
        assert schema is not None
        assert step is not None
        fields = {str(field) for field in schema.schema}
        assert fields
        assert fields == set(texts[flow]["step"][step]["data"])
        assert fields == set(texts[flow]["step"][step]["data_description"])


def test_every_field_of_an_action_has_a_text() -> None:
    actions = yaml.load_yaml_dict(str(TRANSLATIONS.parent / "services.yaml"))
    texts = tree("en")["services"]
    assert {name: set(action["fields"]) for name, action in actions.items()} == {
        name: set(text["fields"]) for name, text in texts.items()
    }


def create_issues(hass: HomeAssistant) -> list[ir.IssueEntry]:
    """Create an issue of each kind."""
    entry = MockConfigEntry(domain=DOMAIN)
    entry.add_to_hass(hass)
    issues.async_report_token_ends(hass, entry, 0)
    issues.async_report_certificate(hass, entry, "envoy.local")
    issues.async_report_address(hass, entry, "envoy.local", "192.0.2.1")
    issues.async_report_old_firmware(hass, entry, "envoy.local", "5.0.62")
    for key in (issues.CLOUD_OFFER, issues.CLOUD_CODE, issues.CLOUD_ACCOUNT):
        issues.async_report_cloud(hass, entry, key)
    issues.async_report_unconfirmed(hass, entry, "reserve", ("number.reserve", 30, 20))
    issues.async_report_local_password(hass, entry, "192.0.2.1")
    issues.async_report_no_successor(hass, entry, {"inverters": ["sensor.inverters"]})
    for setting, outcome in (("reserved_soc", SettingOutcome.OVERWRITTEN), ("mode", SettingOutcome.IGNORED)):
        issues.async_report_setting(hass, entry, "8.2.4225", SettingResult(setting, "number.reserve", outcome, 1, 2))
    for problem in Problem:
        issues.async_report_panels(hass, entry, problem, ["Inverter 1"])
    issues.async_report_slow_reports(hass, entry, 15)
    issues.async_report_step(hass, entry, asdict(Correction("sensor.solar", 0, -19e6)), 65e6, 84e6)
    return [issue for (domain, _), issue in ir.async_get(hass).issues.items() if domain == DOMAIN]


async def test_every_issue_has_a_text_and_fills_its_placeholders(hass: HomeAssistant) -> None:
    texts = tree("en")["issues"]
    created = create_issues(hass)
    assert {issue.translation_key for issue in created} == set(texts)
    for issue in created:
        text = texts[issue.translation_key]
        filled = {f"{{{key}}}" for key in issue.translation_placeholders or ()}
        assert set(PLACEHOLDER.findall(text["title"] + text.get("description", ""))) <= filled
        assert issue.is_fixable == ("fix_flow" in text)


async def test_every_issue_links_to_a_section_of_the_readme(hass: HomeAssistant) -> None:
    manifest = json.loads((TRANSLATIONS.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["documentation"].startswith(issues.README)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", readme, re.MULTILINE)}
    for issue in create_issues(hass):
        assert issue.learn_more_url
        assert issue.learn_more_url.removeprefix(issues.README) in anchors


@pytest.mark.parametrize("linked", [False, True])
async def test_an_issue_is_linked_to_its_entry_where_home_assistant_can(
    hass: HomeAssistant, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    entry = MockConfigEntry(domain=DOMAIN)
    created: list[dict[str, Any]] = []
    monkeypatch.setattr(ir, "async_create_issue", lambda *_arguments, **options: created.append(options))
    monkeypatch.setattr(issues, "_LINKED_TO_ENTRY", linked)
    issues.async_report_token_ends(hass, entry, 0)
    assert created[0].get("config_entry_id") == (entry.entry_id if linked else None)


def test_a_placeholder_that_is_not_given_is_found(shown_texts: TextCheck) -> None:
    shown_texts.check({"name": "Envoy"}, "config", "flow_title")
    shown_texts.check({}, "config", "abort", "none")
    findings, shown_texts.findings = shown_texts.findings, []
    assert findings == ["config/flow_title is not given {host}", "config/abort/none is missing"]


def test_the_table_of_sensors_has_names_of_entities() -> None:
    named = re.findall(r"\*([A-Z][^*]+)\*", (Path(__file__).parents[2] / "docs" / "sensors.md").read_text("utf-8"))
    assert len(named) > 20
    assert set(named) <= set(names("en").values())


@pytest.mark.parametrize("language", NAMES_ONLY)
def test_a_language_without_all_texts_has_names_of_entities(language: str) -> None:
    texts = flat(language)
    assert texts
    for path, name in texts.items():
        assert re.fullmatch(r"entity/\w+/\w+/name", path)
        assert set(PLACEHOLDER.findall(name)) == set(PLACEHOLDER.findall(ENGLISH[path])), path
    assert list(texts) == [path for path in ENGLISH if path in texts]
    written = (TRANSLATIONS / f"{language}.json").read_text(encoding="utf-8")
    assert written == json.dumps(tree(language), ensure_ascii=False, indent=2) + "\n"


def test_languages_of_home_assistants_own_integration_keep_their_names() -> None:
    """Texts of a custom component replace the integration's."""
    complete = {"cs", "et", "ga", "hu", "ko", "lt", "pt", "sk", "sr-Latn", "sv", "tr", "zh-Hant"}
    assert complete | {"da", "nb", "pl", "pt-BR", "ja", "zh-Hans", "ru", "el", "fi", "ca"} <= set(NAMES_ONLY)
    for language in complete:
        assert len(flat(language)) > 150, language


def test_the_own_names_are_kept_when_names_are_added() -> None:
    english = {"sensor": {"new": {"name": "New"}, "old": {"name": "Old"}, "old_phase": {"name": "Old {phase}"}}}
    own = {"sensor": {"new": {"name": "Neu"}}}
    other = {"sensor": {"old": {"name": "Alt"}, "new": {"name": "x"}, "other": {"name": "y"}}}
    names = {"new": {"name": "Neu"}, "old": {"name": "Alt"}, "old_phase": {"name": "Alt {phase}"}}
    assert merged(english, own, other) == {"sensor": names}


def test_the_files_have_all_names_that_home_assistant_has() -> None:
    """Fails after a new entity, or a new Home Assistant: run `.venv/bin/python -m scripts.entity_names`."""
    found = documents()
    assert found
    for path, names in found.items():
        assert path.stem in NAMES_ONLY
        assert tree(path.stem) == {"entity": names}, path.name

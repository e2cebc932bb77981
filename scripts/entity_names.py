"""Add the names of entities in languages that have no texts of their own here: those of Home Assistant.

Entities of its integration have names, or are named after their device class. Texts of a custom component replace
those of the integration of the same domain: without these names, users of these languages would see English ones.
Names that are in a file already are kept, so that the component's own entities can be named there; all other texts are
English.
"""

from importlib.resources import files
import json
from pathlib import Path
import re
from typing import Any

from .instance import DOMAIN, ROOT

#: Languages with all texts.
COMPLETE = frozenset({"en", "de", "fr", "nl", "es", "it"})
TRANSLATIONS = ROOT / "custom_components" / DOMAIN / "translations"
_PLACEHOLDER = re.compile(r"\{\w+\}")

type Names = dict[str, dict[str, dict[str, Any]]]


def entities(file: Any) -> Names:  # noqa: ANN401
    """Return the texts of entities in a file, none if it does not exist."""
    # The placeholder of phases has another name here.
    text = file.read_text("utf-8").replace("{phase_name}", "{phase}") if file.is_file() else "{}"
    names: Names = json.loads(text).get("entity", {})
    return names


def renamed(english: Names, original: Names, other: Names) -> Names:
    """Return the names of the other component under the keys here: those of the entity with the same English name."""
    keys = {(platform, text.get("name")): key for platform, texts in original.items() for key, text in texts.items()}
    return {
        platform: {
            key: other.get(platform, {}).get(keys.get((platform, text.get("name")), key), {})
            for key, text in texts.items()
        }
        for platform, texts in english.items()
    }


def named_by_class(english: Names, language: str) -> Names:
    """Return the names of the entities that are named like a device class of their platform in English."""

    def classes(platform: str, language: str) -> dict[str, str]:
        file = files("homeassistant.components") / platform / "translations" / f"{language}.json"
        texts = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        return {key: text["name"] for key, text in texts.get("entity_component", {}).items() if "name" in text}

    found: Names = {}
    for platform, texts in english.items():
        other = classes(platform, language)
        names = {name: other[key] for key, name in classes(platform, "en").items() if key in other}
        found[platform] = {
            key: {"name": names[text["name"]]} for key, text in texts.items() if text.get("name") in names
        }
    return found


def merged(english: Names, own: Names, other: Names) -> Names:
    """Return the names of the entities of English, in its order: own ones before those of the other component."""
    found: Names = {}
    for platform, keys in english.items():
        for key, text in keys.items():
            name = next((each[platform][key]["name"] for each in (own, other) if has_name(each, platform, key)), None)
            base = found.get(platform, {}).get(key.removesuffix("_phase"), {}).get("name")
            if name is None and key.endswith("_phase") and base:
                name = f"{base} {{phase}}"
            if name and set(_PLACEHOLDER.findall(name)) == set(_PLACEHOLDER.findall(text.get("name", ""))):
                found.setdefault(platform, {})[key] = {"name": name}
    return found


def has_name(names: Names, platform: str, key: str) -> bool:
    """Return whether an entity has a name."""
    return bool(names.get(platform, {}).get(key, {}).get("name"))


def documents() -> dict[Path, Names]:
    """Return the names of each file of a language that has names of entities alone."""
    source = files("homeassistant.components") / DOMAIN / "translations"
    english = entities(TRANSLATIONS / "en.json")
    found: dict[Path, Names] = {}
    for file in sorted(source.iterdir(), key=lambda file: file.name):
        language = Path(file.name).stem
        if language in COMPLETE or language == "en-GB":
            continue
        target = TRANSLATIONS / file.name
        other = renamed(english, entities(source / "en.json"), entities(file))
        for platform, classes in named_by_class(english, language).items():
            other[platform] = classes | {key: text for key, text in other.get(platform, {}).items() if text.get("name")}
        if names := merged(english, entities(target), other):
            found[target] = names
    return found


def main() -> None:
    """Write the files."""
    for target, names in documents().items():
        target.write_text(json.dumps({"entity": names}, ensure_ascii=False, indent=2) + "\n", "utf-8")
        print(f"{target.stem}: {sum(map(len, names.values()))} names")


if __name__ == "__main__":
    main()

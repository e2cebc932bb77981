"""The checker of words: what it reads of a file, and how a line is exempt."""

from pathlib import Path

import pytest

from scripts.check_words import DEFAULT_PATHS, ROOT, check, main, words_of


def found(folder: Path, name: str, text: str) -> list[tuple[int, str]]:
    """Return lines and words that are found in a file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return [(finding.line, finding.word) for finding in check(path, name)]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("# Ask the gateway", "ask"),
        ("told = 1", "told"),
        ("def is_told() -> None: ...", "told"),
        ("class Bookkeeper: ...", "bookkeeper"),
        ("class KnownLiar: ...", "liar"),
        ('"""What the gateway\nsays."""', "says"),
        ('def f():\n    """Nobody."""', "nobody"),
        ('LOGGER.debug("%s: gone", name)', "gone"),
        ('raise ValueError(f"{name} is nonsense")', "nonsense"),
        ('print("all is well")', "all is well"),
    ],
)
def test_comments_identifiers_docstrings_and_messages_are_checked(tmp_path: Path, line: str, word: str) -> None:
    assert [text for _, text in found(tmp_path, "module.py", f"{line}\n")] == [word]


@pytest.mark.parametrize(
    "line",
    [
        "known = tolling = basket = 1",
        'DATA = {"told": "nobody"}',
        "# The known value of a house; lookup.",
        "async_get_known_entry(tell_me)  # words: allow tell",
    ],
)
def test_data_other_words_and_exempt_lines_are_not_found(tmp_path: Path, line: str) -> None:
    assert found(tmp_path, "module.py", f"{line}\n") == []


def test_an_exemption_is_for_one_word(tmp_path: Path) -> None:
    assert found(tmp_path, "module.py", "told = asked = 1  # words: allow told\n") == [(1, "asked")]


def test_prose_of_markdown_is_checked(tmp_path: Path) -> None:
    prose = "# It lies\n\n`told` and [text](told.md)\n\nTold. <!-- words: allow told -->\n"
    code = "\n```python\ntold\n```\n\n    told\n"
    text = f"{prose}{code}\nTold.\n"
    assert found(tmp_path, "page.md", text) == [(1, "lies"), (13, "told")]


def test_texts_of_the_user_interface_are_checked_without_names_of_entities(tmp_path: Path) -> None:
    text = '{\n  "told": "a",\n  "entity": {\n    "sensor": "told"\n  },\n  "services": {\n    "a": "told"\n  }\n}\n'
    assert found(tmp_path, "en.json", text) == [(7, "told")]


def test_shell_scripts_and_yaml_are_checked(tmp_path: Path) -> None:
    assert found(tmp_path, "script", "#!/usr/bin/env bash\necho told\n") == [(2, "told")]
    assert found(tmp_path, "blueprint.yaml", "blueprint:\n  name: told\n") == [(2, "told")]


def test_each_finding_has_its_place_and_a_replacement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "module.py"
    path.write_text("# Mend it\n", encoding="utf-8")
    assert main([str(path)]) == 1
    assert capsys.readouterr().out == f"{path}:1: 'mend': use repair, fix\n"
    path.write_text("# Repair it\n", encoding="utf-8")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == ""


def test_identifiers_are_split_into_words() -> None:
    assert words_of("_isKnown_toBe2Told") == " is Known to Be2 Told"


def test_default_paths_exist() -> None:
    assert all((ROOT / path).exists() for path in DEFAULT_PATHS)


def test_all_pages_at_the_root_are_checked() -> None:
    assert {path.name for path in ROOT.glob("*.md")} <= set(DEFAULT_PATHS)

"""Texts of a gateway are printable, in one line and short, and have no meaning in Markdown."""

from hypothesis import given, strategies as st
import pytest

from custom_components.enphase_envoy.model.text import LONGEST, LONGEST_NAME, clean, escape_markdown


@pytest.mark.parametrize(
    "text",
    [
        "Wärmepumpe (EG)",
        "Kühlschrank",
        "Pool 🏊\u200d♂️",
        "Sauna ♨️",
        "冷蔵庫",
        "Chauffe-eau n° 2",
        "A/C",
        "8.2.4345_rel/22.11",
    ],
)
def test_a_true_name_is_kept(text: str) -> None:
    assert clean(text, LONGEST_NAME) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Pool\n", "Pool"),
        ("a\u202eb", "ab"),
        ("\u2066a\u2069\u200f", "a"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("line\r\nline\u2028line", "line line line"),
        ("\ud800x", "x"),
        ("\ue000", ""),
        ("x" * 5000, "x" * 63 + "…"),
    ],
)
def test_what_is_no_text_is_removed(text: str, cleaned: str) -> None:
    assert clean(text, LONGEST_NAME) == cleaned


@given(st.text())
def test_a_text_is_bounded_and_cleaned_once(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= LONGEST
    assert clean(cleaned) == cleaned
    assert "\n" not in cleaned


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("[click](https://x.example)", r"\[click\](https\://x.example)"),
        ("<img src=x>", r"\<img src=x\>"),
        ("www.x.example", r"www\.x.example"),
        ("**bold** `code`", r"\*\*bold\*\* \`code\`"),
        ("Wärmepumpe 2.5 kW (EG)", "Wärmepumpe 2.5 kW (EG)"),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped

"""Text that a gateway reports, or a device that pretends to be one: made fit to be shown."""

import re
from typing import Final
import unicodedata

#: Characters of a text, as of a state of Home Assistant, and of a name.
LONGEST: Final = 255
LONGEST_NAME: Final = 64
#: Joins the parts of an emoji. All other format characters, as those that change the direction, are removed.
_JOINER: Final = "\u200d"
#: Characters with a meaning in Markdown, or that make a link of an address.
_MARKDOWN: Final = re.compile(r"[\\`*_\[\]<>!#|~:@]|(?<=www)\.", re.IGNORECASE)


def clean(text: str, longest: int = LONGEST) -> str:
    """Return a text without control and format characters, in one line, and with a limited length."""
    if not text.isprintable():
        kept = (char if _is_shown(char) else " " if char.isspace() else "" for char in text[: 16 * longest])
        text = " ".join("".join(kept).split())
    text = text.strip()
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _is_shown(char: str) -> bool:
    return char == _JOINER or unicodedata.category(char)[0] not in "CZ" or char == " "


def escape_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def grouped(number: float, decimals: int = 0) -> str:
    """Return a number with groups of three digits, as ISO 80000 writes them: the same in all languages."""
    return f"{number:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")

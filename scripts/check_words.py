"""Reports words that do not belong in plain technical English, each with the words to use instead.

Checked are comments, docstrings, identifiers and texts of log lines, exceptions and prints in Python files, all text of
shell scripts and YAML files, the English texts of the user interface, and prose in Markdown (code blocks are skipped).

A line is exempt from a word with a comment on the same line, `words: allow WORD` in Python and shell and
`<!-- words: allow WORD -->` in Markdown. ALLOWED holds the exemptions for which a file has no place for a comment, or
that apply to many lines.
"""

import argparse
import ast
from collections.abc import Iterable, Iterator, Sequence
import io
import json
from pathlib import Path
import re
import sys
import tokenize
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
#: Everything that is checked when no path is given.
DEFAULT_PATHS: Final = (
    *("custom_components", "tests", "scripts", ".ci", ".github", "blueprints", "docs"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
)
#: Files that must contain the words: this list, and the test of it.
OWN_FILES: Final = ("scripts/check_words.py", "tests/tools/test_words.py")

#: Regular expressions of words (matched as whole words, in any case) and what to write instead.
FORBIDDEN: Final[tuple[tuple[str, str], ...]] = (
    ("who|whom|whoever", "the component, caller or user that …"),
    (
        "nobody|anybody|somebody|everybody|no one|anyone|someone|everyone",
        "the user, the caller, or the component's name",
    ),
    ("tells?|telling|told", "report, return, contain, publish"),
    ("says?|saying|said", "report, return, contain, log, describe"),
    ("believ\\w+|disbelie\\w+", "accept, hold back, plausible"),
    ("lie|lies|lied|lying|liars?", "wrong reading, implausible; is in"),
    ("truth\\w*|truly", "actual value, actually"),
    ("honest\\w*", "correct, plausible"),
    ("trust\\w* (?:a |the |its )?(?:readings?|values?|counters?|figures?|documents?)", "accept"),
    ("doubt\\w*", "reject, hold back, unconfirmed"),
    ("remember\\w*", "store, cache, restore"),
    ("forget\\w*|forgot\\w*", "discard, remove"),
    ("know|knows|knew|knowing", "has, contains, supports"),
    ("asks?|asked|asking|askers?", "request, poll, read, prompt"),
    ("looks?|looked|looking", "check, read, inspect, search"),
    ("mends?|mended|mending", "repair, fix"),
    ("knock\\w*", "check that it is reachable"),
    ("hush\\w*", "suppress, filter"),
    ("scrub\\w*", "redact"),
    ("upkeep", "maintenance"),
    ("book|books|booked|bookings?|bookkeep\\w*", "record, add; energy manager, pipeline"),
    ("ledgers?", "virtual meters"),
    ("patience|patient|patiently", "timeout"),
    ("chores?", "task"),
    ("life|lives|lived|living", "lifetime, validity, session; is in"),
    ("gone", "missing, unavailable, removed"),
    ("mad", "implausible"),
    ("odd (?:documents?|objects?|values?|answers?)", "invalid"),
    ("nonsense", "invalid"),
    ("lea(?:f|ves of)", "object, timed value"),
    ("what (?:came|comes|became|becomes) of", "the result of"),
    ("what (?:is there|it makes)", "name the thing: the objects, the entities"),
    ("it is so|all is well", "rephrase"),
    ("owners?", "user; you in the user interface"),
)
_PATTERNS: Final = tuple((re.compile(rf"\b(?:{words})\b", re.IGNORECASE), advice) for words, advice in FORBIDDEN)


class Exemption(NamedTuple):
    """Words that files may contain."""

    #: Pattern of the file's path in the repository.
    path: str
    #: Pattern of the matched word.
    word: str
    reason: str


ALLOWED: Final = (
    Exemption(r".*/repairs\.py", "book", "name of a step: its translation key is stored in open dialogs"),
    Exemption(r".*/quality_scale\.yaml", "owner", "name of a rule of Home Assistant"),
)


class Finding(NamedTuple):
    """A forbidden word in a file."""

    path: str
    line: int
    word: str
    advice: str

    def __str__(self) -> str:
        """Return the finding as compilers print theirs."""
        return f"{self.path}:{self.line}: {self.word!r}: use {self.advice}"


def words_of(identifier: str) -> str:
    """Return an identifier as words separated by spaces."""
    return re.sub(r"(?<=[a-z\d])(?=[A-Z])|_", " ", identifier)


def _python(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of comments, identifiers, docstrings and messages."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.NAME:
            yield token.start[0], words_of(token.string)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as text):
                yield from _strings(text)
            case ast.Raise(exc=ast.expr() as text) | ast.Assert(msg=ast.expr() as text):
                yield from _strings(text)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="LOGGER" | "_LOGGER")) | ast.Name(id="print")):
                yield from _strings(node)


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each line of the string constants in an expression."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for offset, text in enumerate(part.value.splitlines()):
                yield part.lineno + offset, text


def _markdown(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of prose, without code and without the targets of links."""
    in_code = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("    "):
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)


def _translations(source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of the values, without the names of entities, which are compatibility."""
    entities = source.partition('\n  "entity": {')[0].count("\n") + 1
    exempt = range(entities, entities + len(json.dumps(json.loads(source).get("entity"), indent=2).splitlines()) + 1)
    for number, line in enumerate(source.splitlines(), 1):
        if number not in exempt:
            yield number, line.partition('": ')[2]


def _texts(path: Path, source: str) -> Iterator[tuple[int, str]]:
    """Yield what is checked of a file, with line numbers."""
    if path.suffix == ".py" or (source.startswith("#!") and "python" in source.partition("\n")[0]):
        yield from _python(source)
    elif path.suffix == ".md":
        yield from _markdown(source)
    elif path.name == "en.json":
        yield from _translations(source)
    elif source.startswith("#!") or path.suffix in (".yaml", ".yml"):
        yield from enumerate(source.splitlines(), 1)


def check(path: Path, name: str) -> list[Finding]:
    """Return the forbidden words of a file; `name` is its path in the repository."""
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    lines = source.splitlines()
    found = set()
    for number, text in _texts(path, source):
        for pattern, advice in _PATTERNS:
            for match in pattern.finditer(text):
                word = match[0].lower()
                line = lines[number - 1] if number <= len(lines) else ""
                if not _is_allowed(name, line, word):
                    found.add(Finding(name, number, word, advice))
    return sorted(found)


def _is_allowed(name: str, line: str, word: str) -> bool:
    if (marker := re.search(r"words: allow ([\w ,]+)", line)) and word in re.split(r"[ ,]+", marker[1]):
        return True
    return any(re.fullmatch(exempt.path, name) and re.fullmatch(exempt.word, word) for exempt in ALLOWED)


def files(paths: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files at some paths of the repository and below them, with their names in it."""
    for given in paths:
        start = ROOT / given
        for path in sorted(start.rglob("*")) if start.is_dir() else (start,):
            name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
            if path.is_file() and "__pycache__" not in path.parts and name not in OWN_FILES:
                yield path, name


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings; return 1 if there are any."""
    parser = argparse.ArgumentParser(description="Check the words of the project's texts.")
    parser.add_argument("paths", nargs="*", default=DEFAULT_PATHS, help="files and folders of the repository")
    found = [finding for path, name in files(parser.parse_args(arguments).paths) for finding in check(path, name)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

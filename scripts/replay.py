"""Convert a downloaded diagnostics file to a recorded gateway."""

import argparse
import json
from pathlib import Path
import sys

from tests.simulator.recording import write


def main(argv: list[str] | None = None) -> int:
    """Write the folder, and print the command that serves it."""
    parser = argparse.ArgumentParser(prog="scripts/replay", description=__doc__)
    parser.add_argument("file", type=Path, help="diagnostics file with fixtures")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="folder to write (default: next to the file, with its name)"
    )
    options = parser.parse_args(argv)
    folder = options.folder or options.file.with_suffix("")
    try:
        document = json.loads(options.file.read_text(encoding="utf-8"))
        fixtures = document.get("data", document).get("fixtures")
        if not fixtures:
            print(
                f"{options.file} contains no fixtures. Enable 'Collect test fixtures in diagnostics' in the"
                " options of the entry, and download the file again.",
                file=sys.stderr,
            )
            return 2
        count = len(list(write(folder, fixtures)))
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as err:
        print(f"{options.file} cannot be read as diagnostics: {err}", file=sys.stderr)
        return 2
    print(f"{count} endpoints are in {folder}")
    print(f"Serve them with: .venv/bin/python -m tests.simulator --recording {folder}")
    print(f"Or in Home Assistant: scripts/develop --state FOLDER -- --recording {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

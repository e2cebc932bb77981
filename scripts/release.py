"""Creates the archive of a release, which HACS downloads: the component with the version in its manifest.

python -m scripts.release v1.2.3 --into DIRECTORY
"""

import argparse
import json
from pathlib import Path
import re
import subprocess
import zipfile

ROOT = Path(__file__).parents[1]
COMPONENT = ROOT / "custom_components" / "enphase_envoy"
VERSION = re.compile(r"v?(\d+\.\d+\.\d+(?:(?:a|b|rc|-beta\.?)\d+)?)")


def create_archive(tag: str, directory: Path) -> Path:
    """Write enphase_envoy.zip with the files that git has of the component.

    Raises ValueError if the tag is no version.
    """
    if not (match := VERSION.fullmatch(tag)):
        raise ValueError(f"{tag!r} is not a version such as v1.2.3")
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=COMPONENT, check=True, capture_output=True, text=True)
    archive = directory / f"{COMPONENT.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for name in sorted(filter(None, listed.stdout.split("\0"))):
            data = (COMPONENT / name).read_bytes()
            if name == "manifest.json":
                manifest = json.loads(data) | {"version": match[1]}
                data = json.dumps(manifest, indent=2).encode() + b"\n"
            content.writestr(name, data)
    return archive


def main() -> None:
    """Create the archive that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="tag of the release, such as v1.2.3")
    parser.add_argument("--into", type=Path, default=ROOT, help="directory of the archive")
    arguments = parser.parse_args()
    print(create_archive(arguments.version, arguments.into))


if __name__ == "__main__":
    main()

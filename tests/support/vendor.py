"""Updates the browser libraries in `adapters/web/vendor/`: `make vendor`.

`packages.json` there pins each package by its version and by the registry's checksum of its
archive, and each file taken from it by a separate checksum. To update a package, write the new
version there, empty its `integrity`, and run this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[2] / "adapters" / "web" / "vendor"
LOCK = VENDOR / "packages.json"
SECONDS = 300.0
"""Limit of one download; archives are up to 20 MB."""


def main() -> None:
    """Download every package in the lock, check it and write its files."""
    lock: dict[str, dict[str, Any]] = json.loads(LOCK.read_text("utf-8"))
    for name, package in lock.items():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(name, package["version"], Path(folder))
            integrity = _integrity(archive)
            if package["integrity"] not in ("", integrity):
                raise SystemExit(f"{name}: the archive is {integrity}, not the pinned one.")
            package["integrity"] = integrity
            package["sha256"] = _extract(archive, package["folder"], package["files"])
    LOCK.write_text(json.dumps(lock, indent=2) + "\n", "utf-8")


def _download(name: str, version: str, folder: Path) -> Path:
    command = ["npm", "pack", "--silent", f"{name}@{version}"]
    subprocess.run(command, cwd=folder, check=True, timeout=SECONDS, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def _integrity(archive: Path) -> str:
    digest = hashlib.sha512(archive.read_bytes()).digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _extract(archive: Path, folder: str, patterns: list[str]) -> dict[str, str]:
    """Write the files that match; returns their checksums, keyed by their names in `folder`."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as packed:
        for member in sorted(packed, key=lambda each: each.name):
            inside = Path(member.name).relative_to("package")
            source = packed.extractfile(member) if member.isfile() else None
            if source is None or not any(fnmatch(str(inside), pattern) for pattern in patterns):
                continue
            name = inside.relative_to("dist") if inside.parts[0] == "dist" else inside
            content = source.read()
            (VENDOR / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (VENDOR / folder / name).write_bytes(content)
            found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


if __name__ == "__main__":
    main()

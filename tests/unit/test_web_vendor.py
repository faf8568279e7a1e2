"""The browser libraries beside the page: the pinned files, and how they are served."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapters.web.assets import VENDOR
from adapters.web.diagrams import _diagram_document

ROOT = Path(__file__).parents[2]
LOCK: dict[str, dict[str, Any]] = json.loads((VENDOR / "packages.json").read_text("utf-8"))


@pytest.mark.parametrize("package", LOCK)
def test_each_file_is_the_pinned_one(package: str) -> None:
    """Its licence is there too; `make vendor` writes files and checksums."""
    pinned = LOCK[package]
    folder = VENDOR / pinned["folder"]
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == pinned["sha256"]
    assert "LICENSE" in found
    assert pinned["integrity"].startswith("sha512-")


def test_every_vendored_file_is_part_of_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["adapters.web"]
    packed = {path for pattern in patterns for path in VENDOR.parent.glob(pattern)}
    assert packed >= {path for path in VENDOR.rglob("*") if path.is_file()}


def test_the_styles_of_formulas_load_only_vendored_fonts() -> None:
    """A browser takes the first format it knows, and the other two are not vendored."""
    styles = (VENDOR / "katex" / "katex.min.css").read_text("utf-8")
    addresses = re.findall(r"src:url\(([^)]+)\) format\(\"woff2\"\)", styles)
    assert len(addresses) == len(list((VENDOR / "katex" / "fonts").iterdir()))
    assert all((VENDOR / "katex" / each).is_file() for each in addresses)
    assert not re.search(r"url\((?!fonts/)", styles)


def test_the_document_of_diagrams_can_load_and_reach_nothing() -> None:
    document = _diagram_document()
    rules = dict(rule.strip().partition(" ")[::2] for rule in document.policy.split(";"))
    scripts = re.findall(rb"<script>(.*?)</script>", document.plain, re.DOTALL)
    assert rules["sandbox"] == "allow-scripts"
    assert rules["default-src"] == "'none'"
    assert len(scripts) == 2 == rules["script-src"].count("'sha256-")
    assert not {"connect-src", "img-src", "font-src", "frame-src"} & set(rules)
    assert "unsafe" not in rules["script-src"]

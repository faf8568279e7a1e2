"""The page's files as browsers get them: few requests, cached for good, without a build step.

The files on disk are what people edit. At the start this module reads them once and
- gives all of them one address that changes with any of them, so that browsers never ask again;
- joins the style sheets, and puts their icons into them;
- tells browsers which modules `app.js` will import, so that all are requested in one round trip.

Invariant: what a browser gets under one version is one version: no file of another one is cached
under its address.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

STYLES = "page.css"
"""The joined style sheets. No file has this name."""

SMALL_ICON = 1_500
"""The largest icon, in bytes, to embed in the style sheet; a separate request costs more than
that."""

_LINK = re.compile(r'<link rel="stylesheet" href="/static/([\w.-]+)">\n')
_MODULE = re.compile(r'<script type="module" src="/static/([\w.-]+)"></script>')
_ADDRESS = re.compile(r'"/static/([\w./-]+\.(?:css|js|svg))"')
_ICON = re.compile(r"url\(([\w-]+\.svg)\)")
# Imports begin a line and end with the first semicolon, as the formatter writes them.
_IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"\./([\w./-]+\.js)";', re.MULTILINE)
_TEXT = ("text/", "application/manifest", "image/svg")
_KINDS = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class PageFile:
    """One file: its bytes, and what a response says about them."""

    name: str
    data: bytes

    @cached_property
    def media_type(self) -> str:
        """The type; texts are UTF-8."""
        kind = _KINDS.get(Path(self.name).suffix) or mimetypes.guess_type(self.name)[0]
        kind = kind or "application/octet-stream"
        return f"{kind}; charset=utf-8" if kind.startswith(_TEXT) else kind

    @cached_property
    def etag(self) -> str:
        """Identifies the bytes."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:20]}"'

    @cached_property
    def compressed(self) -> bytes | None:
        """As gzip, if that is smaller; once, because nothing here changes."""
        if not self.media_type.startswith(_TEXT):
            return None
        packed = gzip.compress(self.data, 9, mtime=0)
        return packed if len(packed) < len(self.data) else None


class PageFiles:
    """The files of a folder by name, with the joined style sheets, and the page itself."""

    def __init__(self, folder: Path) -> None:
        names = sorted(path for path in folder.rglob("*") if path.is_file())
        read = {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}
        index = read["index.html"].decode()
        styles = [(name, read[name].decode()) for name in _LINK.findall(index)]
        read[STYLES] = "".join(_with_icons(text, read) for _, text in styles).encode()
        self.version = _digest(read)
        self.modules = _imported(_MODULE.findall(index), read)
        page = self._page(index).encode()
        self._files = {name: PageFile(name, data) for name, data in read.items()}
        self.index = PageFile("index.html", page)

    def find(self, name: str) -> PageFile | None:
        """The file with this name, which may have folders."""
        return self._files.get(name)

    def _page(self, index: str) -> str:
        """The page with the version's addresses, one style sheet, and the modules' names."""
        joined = f'<link rel="stylesheet" href="/static/{STYLES}">\n'
        index = _LINK.sub("", _LINK.sub(lambda _: joined, index, count=1).replace(joined, "\0"))
        hints = "".join(
            f'<link rel="modulepreload" href="/static/{name}" fetchpriority="low">\n'
            for name in self.modules  # low: the style sheet comes first, or the first paint waits
        )
        index = index.replace("\0", joined)
        index = _MODULE.sub(lambda found: f"{found[0]}\n{hints.rstrip()}", index)
        return _ADDRESS.sub(lambda found: f'"/static/{self.version}/{found[1]}"', index)


def _digest(files: dict[str, bytes]) -> str:
    """The version: the same on each process that has the same files."""
    whole = hashlib.sha256()
    for name, data in sorted(files.items()):
        whole.update(f"{name}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()[:16]


def _with_icons(text: str, files: dict[str, bytes]) -> str:
    """A style sheet with its small icons in it."""

    def place(found: re.Match[str]) -> str:
        data = files.get(found[1])
        if data is None or len(data) > SMALL_ICON:
            return found[0]
        return f"url(data:image/svg+xml;base64,{base64.b64encode(data).decode()})"

    return _ICON.sub(place, text)


def _imported(entries: list[str], files: dict[str, bytes]) -> list[str]:
    """The modules that these import, directly or not, without themselves: nearest first."""
    found = list(entries)
    for name in found:
        folder = Path(name).parent
        for imported in _IMPORT.findall(files[name].decode()):
            module = (folder / imported).as_posix()
            if module in files and module not in found:
                found.append(module)
    return found[len(entries) :]

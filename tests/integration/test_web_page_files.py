"""The page's files: their size, the round trips to load them, and how they are cached."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import pytest_asyncio
from PIL import Image

from adapters.web.assets import PAGE
from adapters.web.page_files import PageFiles
from tests.support.web_kit import Person, Site, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BYTES = 150_000
"""Compressed size of everything that the page loads at its start, without what it loads on
demand."""

ADDRESSES = re.compile(r'(?:src|href)="(/static/[^"]+)"')
IMPORTS = re.compile(r'(?:\bfrom|^import)\s*"(\.[^"]+)"', re.MULTILINE)
IN_STYLES = re.compile(r"url\(\"?(?!data:)([^)\"]+)")
APART = ("webmanifest", "png")  # an installed app's, which no visit waits for


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with serving(tmp_path_factory.mktemp("files")) as running:
        yield running


class Visit:
    """A browser's first visit, which counts what arrives on the wire."""

    def __init__(self, person: Person) -> None:
        self.person, self.bytes, self.seen = person, 0, set[str]()

    async def load(self, address: str) -> str:
        """The text of a file."""
        self.seen.add(address)
        async with self.person.http.get(address, headers={"Accept-Encoding": "gzip"}) as response:
            assert response.status == 200, address
            if address != "/":
                assert "immutable" in response.headers["Cache-Control"], address
            self.bytes += int(response.headers["Content-Length"])
            return (await response.read()).decode()

    def named(self, address: str, text: str) -> set[str]:
        """The files that a browser loads because of this one."""
        pattern = IN_STYLES if address.endswith(".css") else IMPORTS
        found = ADDRESSES.findall(text) if address == "/" else pattern.findall(text)
        return {urljoin(address, each) for each in found if not each.endswith(APART)}


async def test_the_page_is_light_and_there_in_two_round_trips(site: Site) -> None:
    """The page names everything: no file is named only in another file."""
    async with site.person() as person:
        visit = Visit(person)
        index = await visit.load("/")
        trips, wanted = 1, visit.named("/", index)
        assert len(wanted) > 20
        while wanted:
            trips += 1
            texts = {address: await visit.load(address) for address in sorted(wanted)}
            named = (visit.named(address, text) for address, text in texts.items())
            wanted = set().union(*named) - visit.seen
        assert trips == 2
        assert visit.bytes < MOST_BYTES
        blocking = re.findall(r'<link rel="stylesheet"|<script src=', index)
        assert len(blocking) == 2  # the first paint waits for these
        # On the next visit, only the page itself is requested.
        tag = {"If-None-Match": (await person.http.get("/")).headers["ETag"]}
        async with person.http.get("/", headers=tag) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["Cache-Control"] == "no-cache"
            assert "trusted-types" in response.headers["Content-Security-Policy"]


async def test_a_file_is_kept_only_under_the_version_that_it_belongs_to(site: Site) -> None:
    """A page from before an update gets the current files, but must revalidate them."""
    async with site.person() as person:
        index = await (await person.http.get("/")).text()
        found = re.search(r'"/static/(\w+)/app\.js"', index)
        assert found is not None
        for path, kept in ((f"{found[1]}/", True), ("", False), ("0123456789abcdef/", False)):
            async with person.http.get(f"/static/{path}app.js") as response:
                assert response.status == 200
                assert response.content_type == "text/javascript"
                assert ("immutable" in response.headers["Cache-Control"]) is kept
        for path in (
            f"{found[1]}/nothing.js",
            "nothing.js",
            f"{found[1]}/../auth.py",
            "a/b/app.js",
        ):
            async with person.http.get(f"/static/{path}") as response:
                assert response.status == 404, path
        for encoding, sent in (("gzip", "gzip"), ("identity", None)):
            headers = {"Accept-Encoding": encoding}
            async with person.http.get("/static/page.css", headers=headers) as response:
                assert response.headers.get("Content-Encoding") == sent
                assert "Accept-Encoding" in response.headers["Vary"]
                assert "url(data:image/svg+xml" in await response.text()


async def test_the_version_changes_with_any_file(tmp_path: Path) -> None:
    for path in PAGE.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = PageFiles(tmp_path)
    assert before.version == PageFiles(PAGE).version
    for name in ("app.js", "logo.svg", "style.css"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\n")
        assert PageFiles(tmp_path).version != before.version
        before = PageFiles(tmp_path)


async def test_every_kind_of_import_is_found(tmp_path: Path) -> None:
    """Imports in folders are found too; lazy ones are not, and none is found twice."""
    (tmp_path / "deep").mkdir()
    files = {
        "index.html": '<script type="module" src="/static/app.js"></script>\n',
        "app.js": 'import { a,\n  b } from "./one.js";\nimport "./deep/two.js";\n'
        'const later = () => import("./later.js");\n',
        "one.js": 'import * as two from "./deep/two.js";\nexport { c } from "./three.js";\n',
        "deep/two.js": 'import { x } from "../one.js";\nimport d from "./four.js";\n',
        "deep/four.js": "",
        "three.js": "",
        "later.js": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = PageFiles(tmp_path).modules
    assert found == ["one.js", "deep/two.js", "three.js", "deep/four.js"]


async def test_the_manifest_names_icons_that_exist(site: Site) -> None:
    """They have their sizes, one may be cropped by the system, all are small, and none needs a
    sign-in."""
    async with site.person() as person:
        index = await (await person.http.get("/")).text()
        address = re.search(r'rel="manifest" href="([^"]+)"', index)
        assert address is not None
        async with person.http.get(address[1]) as response:
            assert response.content_type == "application/manifest+json"
            manifest = json.loads(await response.text())
        assert (manifest["id"], manifest["start_url"], manifest["scope"]) == ("/", "/", "/")
        assert manifest["shortcuts"][0]["url"].startswith("/#")
        assert "maskable" in {icon.get("purpose") for icon in manifest["icons"]}
        apple = re.findall(r'rel="apple-touch-icon" href="([^"]+)"', index)
        for path, size in [(each["src"], each["sizes"]) for each in manifest["icons"]] + [
            (apple[0], "180x180")
        ]:
            data = await (await person.http.get(path)).read()
            assert len(data) < 8_000
            if path.endswith(".png"):
                width, height = Image.open(io.BytesIO(data)).size
                assert f"{width}x{height}" == size

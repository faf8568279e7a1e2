"""Event streams and responses as they are on the wire: changes, resumption, compression."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.sims.model.client import ModelSim
from tests.support.web_kit import Person, Site, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "One sentence after the other, all in one paragraph of the answer. " * 20
PATH = "/app/events?protocol=2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(server: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with serving(tmp_path_factory.mktemp("streams"), server) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def model(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=400, first_delay=0.001)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def page(site: Site) -> AsyncIterator[Person]:
    async with site.person() as person:
        yield person


class Stream:
    """One connection's events as bytes, decompressed here, and the replies that growth.js makes of
    them."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.encoding = response.headers.get("Content-Encoding")
        self._unpacked = zlib.decompressobj(31) if self.encoding else None
        self._rest = b""
        self.names: list[str] = []
        self.last = ""
        self.size = 0
        self.reply: dict[str, Any] = {}

    async def read(self, *, state: str = "", text: str = "") -> None:
        """Follow the events until a reply has this state or contains this text."""
        async with asyncio.timeout(30):
            while not (self.reply and self._is(state, text)):
                await self._event()

    def _is(self, state: str, text: str) -> bool:
        return state in ("", self.reply["state"]) and text in self.reply["text"]

    async def ready(self) -> None:
        """Read the first event."""
        await self._event()

    async def _event(self) -> None:
        while b"\n\n" not in self._rest:
            data = await self._response.content.readany()
            assert data, "the stream ended"
            self.size += len(data)
            self._rest += self._unpacked.decompress(data) if self._unpacked else data
        one, _, self._rest = self._rest.partition(b"\n\n")
        if one.startswith(b":"):
            return
        fields = dict(line.split(": ", 1) for line in one.decode().splitlines())
        self.last = fields["id"]
        self._take(fields["event"], json.loads(fields["data"]))

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name in ("reply", "change"):
            self.names.append(name)
        if name == "reply":
            self.reply = data
        elif name == "change":
            assert data["at"][0] == self.reply["version"]
            text = self.reply["text"] + data["text"]
            self.reply = {**self.reply, "text": text, "version": data["at"][1]}


class Tab:
    """A stream of the page; `encoding` is what the browser accepts."""

    def __init__(self, page: Person, encoding: str = "gzip", last: str = "") -> None:
        headers = {"Accept-Encoding": encoding, **({"Last-Event-ID": last} if last else {})}
        self._http = aiohttp.ClientSession(page.url, headers=headers, auto_decompress=False)

    async def __aenter__(self) -> Stream:
        self._response = await self._http.get(PATH)
        stream = Stream(self._response)
        await stream.ready()
        return stream

    async def __aexit__(self, *_: object) -> None:
        self._response.close()
        await self._http.close()


async def test_two_tabs_follow_changes_compressed_and_not(page: Person, model: ModelSim) -> None:
    await model.say(TEXT)
    async with Tab(page) as packed, Tab(page, "identity") as plain:
        await page.say("@threadline follow")
        await asyncio.gather(packed.read(state="done"), plain.read(state="done"))
        assert (packed.encoding, plain.encoding) == ("gzip", None)
        for stream in (packed, plain):
            assert stream.reply["text"] == TEXT.strip()
            assert stream.names[0] == stream.names[-1] == "reply"
            assert set(stream.names[2:-1]) == {"change"}
        assert packed.size < 0.7 * plain.size < 0.7 * 20 * len(TEXT)


async def test_each_event_arrives_before_the_next_one(page: Person, model: ModelSim) -> None:
    """A compressed stream is flushed, so nothing waits for more text."""
    await model.say("Half of it, and the other half.", wait_at=2)
    async with Tab(page) as stream:
        await page.say("@threadline half")
        await stream.read(text="Half of")
        assert stream.reply["state"] == "writing"
        await until(model.release)
        await stream.read(state="done")


async def test_a_tab_that_reconnects_in_mid_reply_gets_the_whole_reply_first(
    page: Person, model: ModelSim
) -> None:
    """Changes follow; the stream resumes after the last event, without a reload."""
    await model.say(TEXT, wait_at=100)
    async with Tab(page) as stream:
        await page.say("@threadline reconnect")
        await stream.read(text=TEXT[:40])
        last = stream.last
        half = stream.reply["text"]
    await until(model.release)
    async with Tab(page, last=last) as again:
        await again.read(text=TEXT[:600])
        assert again.names[0] == "reply"
        assert again.reply["text"].startswith(half)
        await again.read(state="done")
        assert again.reply["text"] == TEXT.strip()


@pytest.mark.parametrize(("path", "least"), [("/app/threads", 3.0), ("/static/app.js", 2.0)])
async def test_responses_are_compressed_where_the_client_accepts_it(
    page: Person, model: ModelSim, path: str, least: float
) -> None:
    await model.say(TEXT)
    await page.say("@threadline " + "the same question again " * 40)
    sizes = {}
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        async with (
            aiohttp.ClientSession(page.url, headers=headers, auto_decompress=False) as http,
            http.get(path) as response,
        ):
            body = await response.read()
            sizes[encoding] = len(body)
            assert response.headers.get("Content-Encoding", "identity") == encoding
            assert "Accept-Encoding" in response.headers.get("Vary", "Accept-Encoding")
            plain = gzip.decompress(body) if encoding == "gzip" else body
            assert plain.startswith((b"{", b"//"))
    assert sizes["identity"] > least * sizes["gzip"]


async def test_an_older_page_gets_each_state_whole(page: Person, model: ModelSim) -> None:
    """The page was loaded before an upgrade, and does not understand changes."""
    await model.say(TEXT)
    async with page.stream("GET", "/app/events", None) as events:
        await page.say("@threadline older")
        async for event in events:
            assert event.name != "change"
            if event.name == "reply":
                assert "<p>" in event.data["html"] or not event.data["text"]
                if event.data["state"] == "done":
                    break

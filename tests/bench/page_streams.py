"""Cost of a streamed reply on the page: bytes on the wire, the bot's CPU and the browser tab's.

An update has eight characters: 40 tokens a second, 20 updates a second. "Before" is a reader that
gets each state whole and uncompressed, as older pages do, from a renderer that never splits a
block.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession, async_playwright

from adapters.web import block_cuts
from adapters.web.event_encoder import FOLLOWS_CHANGES, EventEncoder
from adapters.web.hub import Feed, LiveReply
from adapters.web.sse import GZIP, MEMORY_LEVEL, WINDOW_BITS
from tests.bench.api_streams import cpu_seconds
from tests.bench.table import show
from tests.sims.model import Answer, ModelSim
from tests.support.browser import CHROMIUM, FLAGS, House, Visitor

STEP, RATE = 8, 20  # characters per update; updates per second
SIZES = (1_000, 4_000, 10_000, 100_000)
SAMPLES = 30  # updates to measure of an answer whose complete measurement would take minutes
SECONDS = 10.0  # seconds of watching a tab
CHUNK = 11  # bytes that frame each part of a chunked response

_WORDS = "Most of these sentences have nothing but words in them, and commas; and full stops. "
_SENTENCE = f"{_WORDS * 3}Some have *emphasis*, `code` and a [link](https://e.org/x), too. "


def _repeat(head: str, piece: str, size: int) -> str:
    return (head + piece * (size // len(piece) + 1))[:size]


KINDS = {
    "prose": lambda size: (f"{_SENTENCE * 4}\n\n" * (size // 600 + 1))[:size],
    "code": lambda size: _repeat("```python\n", "value = other(value) < 3  # a comment\n", size),
    "table": lambda size: _repeat("|one|two|three|\n|-|-|-|\n", "|some words|`more`|12|\n", size),
    "one paragraph": lambda size: _repeat("", _SENTENCE, size),
}  # fmt: skip


@contextlib.contextmanager
def uncut() -> Iterator[None]:
    """Render whole blocks, as before."""
    known, block_cuts.SHORTEST = block_cuts.SHORTEST, 1 << 62
    try:
        yield
    finally:
        block_cuts.SHORTEST = known


class Stream:
    """A growing reply and one reader of it."""

    def __init__(self, protocol: int) -> None:
        self._live = LiveReply(1, 1, "local", "6f1c9d1e-0d6c-4a3c-8a84-9f2a43e0f2d7", 0.0)
        self._feed, self._encoder = Feed(), EventEncoder("1a2b3c4d", protocol)
        self._packer = zlib.compressobj(wbits=GZIP + WINDOW_BITS, memLevel=MEMORY_LEVEL)
        self._compresses = protocol >= FOLLOWS_CHANGES
        self._number = 0

    def update(self, text: str) -> tuple[int, int, float]:
        """Bytes of the event as written and on the wire, and CPU seconds."""
        began = time.thread_time()
        self._live.source, self._live.version = text, self._live.version + 1
        self._live._rest_until = 0.0  # each update is measured
        self._feed.push("reply", dict, key="reply", live=self._live)
        events = self._feed.since(self._number) or []
        data, self._number, _ = self._encoder.encode(events, self._number)
        packed = data
        if self._compresses:
            packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        return len(data) + CHUNK, len(packed) + CHUNK, time.thread_time() - began


def whole(text: str) -> tuple[int, int]:
    """Bytes of all events of an answer now, plain and compressed."""
    stream, plain, packed = Stream(FOLLOWS_CHANGES), 0, 0
    for end in range(STEP, len(text) + STEP, STEP):
        one, other, _ = stream.update(text[:end])
        plain, packed = plain + one, packed + other
    return plain, packed


def whole_before(text: str) -> int:
    """The bytes that an answer took before, estimated from a sample of the updates."""
    ends = range(STEP, len(text) + STEP, STEP)
    sample = ends[:: max(1, len(ends) // SAMPLES)]
    with uncut():
        sizes = [Stream(1).update(text[:end])[0] for end in sample]
    return sum(sizes) * len(ends) // len(sample)


def share(protocol: int, text: str) -> float:
    """Percent of a core for rendering and encoding the last updates of an answer."""
    stream, took = Stream(protocol), []
    begin = max(STEP, len(text) - 2 * SAMPLES * STEP)
    for end in range(begin, len(text) + 1, STEP):
        took.append(stream.update(text[:end])[2])
    last = took[-SAMPLES:]  # the renderer catches up before these
    return sum(last) / len(last) * RATE * 100


def rows() -> Iterator[list[object]]:
    for kind, make in KINDS.items():
        for size in SIZES:
            text = make(size)
            with uncut():
                before = share(1, text)
            plain, packed = whole(text)
            yield [
                f"{kind}, {size // 1000} kB",
                *(f"{each / 1000:,.0f}" for each in (whole_before(text), plain, packed)),
                f"{before:.1f}",
                f"{share(FOLLOWS_CHANGES, text):.2f}",
            ]


# ── a real tab ────────────────────────────────────────────────────────────────────────────────
async def tab_share(house: House, tab: Any, cdp: CDPSession, kind: str) -> list[object]:
    """Percent of a core that the tab and the bot use while the end of a long answer arrives."""
    text, tail = KINDS[kind](100_000), int(4 * 40 * (SECONDS + 30))
    words = [text[at : at + 4] for at in range(len(text) - tail, len(text), 4)]
    begin = [text[:-tail]]
    await house.model.script(Answer(match=kind, chunks=begin + words, rate=40, times=1))
    await tab.mention(f"measure {kind}")
    shown = "document.querySelector('#thread .feed').textContent.length"
    while await tab.page.evaluate(shown) < len(text) / 2:
        await asyncio.sleep(0.2)
    await asyncio.sleep(2)  # the long beginning has been drawn
    before, bot = await _renderer_seconds(cdp), cpu_seconds(house.bot.process.pid)
    began = time.monotonic()
    await asyncio.sleep(SECONDS)
    seconds = time.monotonic() - began
    spent, bot = await _renderer_seconds(cdp) - before, cpu_seconds(house.bot.process.pid) - bot
    await tab.say("/stop")
    await tab.page.goto(f"{house.origin}/")
    return [f"{kind}, 100 kB", f"{100 * spent / seconds:.1f}", f"{100 * bot / seconds:.1f}"]


async def _renderer_seconds(cdp: CDPSession) -> float:
    found = (await cdp.send("Performance.getMetrics"))["metrics"]
    return float(next(each["value"] for each in found if each["name"] == "ProcessTime"))


async def tabs() -> list[list[object]]:
    """One tab for each kind of answer, in turn."""
    async with ModelSim() as model, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        with tempfile.TemporaryDirectory() as folder:
            house = House(model, Path(folder), users=0)
            async with house.bot:
                visitor = await Visitor.arrive(browser, house.origin)
                tab = await visitor.tab()
                cdp = await visitor.context.new_cdp_session(tab.page)
                await cdp.send("Performance.enable")
                return [await tab_share(house, tab, cdp, kind) for kind in KINDS]


async def run() -> None:
    """Print both tables."""
    show(
        "A streamed answer of the page: kB of all its updates, and CPU at its end",
        ("", "before", "changes", "compressed", "% of a core before", "now"),
        rows(),
        "Goals: 4 kB of answer take at most 40 kB; at most 2 % of a core per reader at 100 kB.",
    )
    if CHROMIUM is not None:
        show(
            "40 tokens a second at the end of a long answer: % of a core",
            ("", "the tab", "the bot, all of it"),
            await tabs(),
            "Goal: less than 15 % for the tab.",
        )

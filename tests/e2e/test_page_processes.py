"""One page at two processes: a reply grows on both, and survives its writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import psycopg

from bot.ports.cluster import LEASE_SECONDS
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.postgres_server import SharedServer
from tests.support.web_kit import Person, Said, events

WORDS = [f"word{n} " for n in range(400)]


@asynccontextmanager
async def two_processes(
    folder: Path, url: str, model: ModelSim
) -> AsyncIterator[tuple[BotProcess, BotProcess]]:
    settings = {
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "DATABASE_URL": url,
        "HTTP_TOKENS": "ann:0123456789abcdef0123456789abcdef",
    }
    async with AsyncExitStack() as stack:
        bots = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            bots.append(await stack.enter_async_context(BotProcess(folder / name, settings)))
        yield bots[0], bots[1]


def person(bot: BotProcess) -> Person:
    return Person(f"http://127.0.0.1:{bot.http_port}", "0123456789abcdef0123456789abcdef")


class Shown:
    """The page's view of the only running reply, built from its events."""

    def __init__(self) -> None:
        self.text, self.version, self.states = "", -1, 0
        self.state = ""

    def take(self, said: Said) -> None:
        if said.name == "reply":
            self.text, self.state = said.data["text"], said.data["state"]
            self.version, self.states = said.data.get("version", -1), self.states + 1
        elif said.name == "change":
            begin, self.version = said.data["at"]
            self.text += said.data["text"]
            self.states += 1
            assert begin < self.version


async def watch(source: AsyncIterator[Said], shown: Shown) -> None:
    async for said in source:
        shown.take(said)


async def until(
    condition: Callable[[], bool], seconds: float = 60.0, what: Callable[[], object] = lambda: ""
) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, what()
        await asyncio.sleep(0.05)


async def test_a_reply_grows_on_the_pages_of_another_process_and_survives_its_writer(
    postgres: SharedServer, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """The page connects late, so the beginning arrives in one piece."""
    with postgres.database() as url:
        async with ModelSim() as model, two_processes(tmp_path, url, model) as (first, second):
            await model.script(
                Answer(match="", text="".join(WORDS), rate=30, wait_at=200, times=1),
                Answer(match="", text="".join(WORDS), rate=200),
            )
            async with person(first) as ann, person(second) as elsewhere:
                sent = await ann.say("@threadline tell me")
                thread, shown = sent["thread"], Shown()
                writer = await holder(url, first, second)
                reader = elsewhere if writer is first else ann
                path, limit = "/app/events?protocol=2", aiohttp.ClientTimeout(total=None)
                async with reader.http.get(path, timeout=limit) as response:
                    task = asyncio.create_task(watch(events(response), shown))
                    await until(lambda: "word20 " in shown.text, what=lambda: vars(shown))
                    assert "".join(WORDS).startswith(shown.text.rstrip())
                    assert shown.state == "writing"
                    [reply] = await reader.replies(thread)
                    assert "word15" in reply["text"], "a page that reloads shows it too"
                    before = shown.states
                    await until(lambda: "word100 " in shown.text)
                    assert shown.states - before < 60, "half a second between two states"
                    await writer.kill()
                    await until(lambda: shown.state != "writing", LEASE_SECONDS + 60)
                    task.cancel()
                    await asyncio.wait({task})
                    [reply] = await reader.replies(thread)
                    assert reply["text"].split() == "".join(WORDS).split()


async def holder(url: str, first: BotProcess, second: BotProcess) -> BotProcess:
    """The process that is writing the only reply."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        async with asyncio.timeout(60):
            while True:
                rows = await (await db.execute("SELECT holder FROM turns")).fetchall()
                if rows and rows[0][0]:
                    break
                await asyncio.sleep(0.05)
    joined = [bot.events("joined the other processes")[-1]["process"] for bot in (first, second)]
    return (first, second)[joined.index(rows[0][0])]

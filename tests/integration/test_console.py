"""The terminal with the whole core behind it: commands in words, and the replies they bring."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

from adapters.console.adapter import ConsoleAdapter
from adapters.console.lines import make_private
from bot.app import open_core
from bot.common.clock import SystemClock
from bot.config.settings import load
from bot.domain import texts
from bot.ports.platform import Adapter


class Lines:
    """What somebody types, line by line; each reply is awaited by the adapter itself."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[str]:
        for line in self._lines:
            yield line


class Screen(io.StringIO):
    """Output that a person looks at."""

    def isatty(self) -> bool:
        return True


async def pipe(folder: Path, line: str, out: io.StringIO) -> str:
    """`echo LINE | threadline chat`."""
    clock = SystemClock()
    console = ConsoleAdapter(
        conversation="main", lines=Lines(line), clock=clock, out=out, piped=True
    )
    adapters: dict[str, Adapter] = {console.name: console}
    settings = load({"LLM": "echo", "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}"}, None)
    async with open_core(settings, adapters, clock) as core, asyncio.timeout(20):
        await console.run(core.intake)
        await core.scheduler.drain(5)
        assert console.turn is not None
        reply = await core.library.reply(console.turn)
        assert reply is not None
        console.finish(reply.content)
    return out.getvalue()


async def test_an_answer_to_a_pipe_is_written_once_and_takes_nothing_over(tmp_path: Path) -> None:
    """On a screen with its emphasis, in a file without; in both without control characters."""
    for out, bold in ((Screen(), "\x1b[1mhi\x1b[22m"), (io.StringIO(), "**hi**")):
        said = await pipe(tmp_path, "**hi** \x1b[31mred\u2028 \x07end", out)
        assert said.count(f"{bold} [31mred end") == 1
        assert said.count("I only repeat") == 1


async def talk(folder: Path, *lines: str) -> str:
    out, clock = io.StringIO(), SystemClock()
    console = ConsoleAdapter(conversation="main", lines=Lines(*lines), clock=clock, out=out)
    adapters: dict[str, Adapter] = {console.name: console}
    settings = load({"LLM": "echo", "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}"}, None)
    async with open_core(settings, adapters, clock) as core, asyncio.timeout(20):
        await console.run(core.intake)
        await core.scheduler.drain(5)
    return out.getvalue()


async def test_retry_and_continue_bring_a_reply_before_the_next_line(tmp_path: Path) -> None:
    said = await talk(tmp_path, "hello there", "/retry", "/continue", "last")
    assert said.count("hello there") == 2
    assert said.index(texts.GO_ON) < said.index("last")


async def test_reset_and_undo_in_words(tmp_path: Path) -> None:
    said = await talk(tmp_path, "hello", "/reset", "/undo", "/undo")
    answers = [texts.RESET_DONE, texts.UNDO_DONE, texts.NOTHING_TO_UNDO]
    assert [said.index(text) for text in answers] == sorted(said.index(text) for text in answers)


async def test_what_cannot_be_done_is_said_and_the_next_line_is_taken(tmp_path: Path) -> None:
    said = await talk(tmp_path, "/retry", "/stop", "hello")
    assert texts.NOTHING_TO_RETRY in said
    assert texts.NOTHING_TO_STOP in said
    assert "hello" in said


def test_only_the_person_can_read_what_they_typed(tmp_path: Path) -> None:
    """In a new file, and in one of an earlier version."""
    for history in (tmp_path / "new", tmp_path / "old"):
        if history.name == "old":
            history.write_text("+hello\n")
            history.chmod(0o644)
        make_private(history)
        assert history.stat().st_mode & 0o777 == 0o600
    assert history.read_text() == "+hello\n"

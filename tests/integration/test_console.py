"""The terminal with the whole core: commands as words, and their replies."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.console.adapter import ConsoleAdapter
from adapters.console.lines import make_private
from bot.common.clock import SystemClock
from bot.config.loader import load
from bot.core import build_core
from bot.domain import texts
from bot.domain.errors import AnswerFailed
from bot.resources import open_resources
from tests.support.catalog import offering


class Lines:
    """A person's lines; the adapter awaits each reply before the next line."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[str]:
        for line in self._lines:
            yield line


class Screen(io.StringIO):
    """Output that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


async def pipe(folder: Path, line: str, out: io.StringIO) -> str:
    """`echo LINE | threadline chat`."""
    clock = SystemClock()
    console = ConsoleAdapter(
        conversation="main", lines=Lines(line), clock=clock, models=offering(), out=out, piped=True
    )
    settings = load({"LLM": "echo", "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}"}, None)
    async with open_resources(settings, clock) as resources, asyncio.timeout(60):
        core = build_core(settings, resources, {console.name: console}, clock)
        await console.run(core.inbox)
        await core.scheduler.drain(5)
        assert console.turn is not None
        reply = await resources.store.library().reply(console.turn)
        assert reply is not None
        console.finish(reply.content)
    return out.getvalue()


async def test_a_piped_answer_is_written_once_without_control_characters(tmp_path: Path) -> None:
    """A terminal gets emphasis, a file plain text."""
    for out, bold in ((Screen(), "\x1b[1mhi\x1b[22m"), (io.StringIO(), "**hi**")):
        said = await pipe(tmp_path, "**hi** \x1b[31mred\u2028 \x07end", out)
        assert said.count(f"{bold} [31mred end") == 1
        assert said.count("I only repeat") == 1


async def chat(folder: Path, *lines: str) -> str:
    out, clock = io.StringIO(), SystemClock()
    console = ConsoleAdapter(
        conversation="main", lines=Lines(*lines), clock=clock, models=offering(), out=out
    )
    settings = load({"LLM": "echo", "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}"}, None)
    async with open_resources(settings, clock) as resources, asyncio.timeout(60):
        core = build_core(settings, resources, {console.name: console}, clock)
        await console.run(core.inbox)
        await core.scheduler.drain(5)
    return out.getvalue()


async def test_retry_and_continue_reply_before_the_next_line(tmp_path: Path) -> None:
    said = await chat(tmp_path, "hello there", "/retry", "/continue", "last")
    assert said.count("hello there") == 2
    assert said.index(texts.GO_ON) < said.index("last")


async def test_reset_and_undo_answer_each_line(tmp_path: Path) -> None:
    said = await chat(tmp_path, "hello", "/reset", "/undo", "/undo")
    answers = [texts.RESET_DONE, texts.UNDO_DONE, texts.NOTHING_TO_UNDO]
    assert [said.index(text) for text in answers] == sorted(said.index(text) for text in answers)


async def test_an_impossible_command_is_answered_before_the_next_line(tmp_path: Path) -> None:
    said = await chat(tmp_path, "/retry", "/stop", "hello")
    assert texts.NOTHING_TO_RETRY in said
    assert texts.NOTHING_TO_STOP in said
    assert "hello" in said


def test_only_the_owner_can_read_the_history(tmp_path: Path) -> None:
    """This applies to a new file and to one from an earlier version."""
    for history in (tmp_path / "new", tmp_path / "old"):
        if history.name == "old":
            history.write_text("+hello\n")
            history.chmod(0o644)
        make_private(history)
        assert history.stat().st_mode & 0o777 == 0o600
    assert history.read_text() == "+hello\n"


async def test_a_person_who_may_not_ask_is_told_so_for_each_line(tmp_path: Path) -> None:
    """A pipe ends with the reason as its error."""
    (tmp_path / "threadline.toml").write_text("block = 'everyone'")
    environ = {"LLM": "echo", "DATABASE_URL": f"sqlite:///{tmp_path / 'threadline.db'}"}
    settings, clock = load(environ, tmp_path / ".env"), SystemClock()
    for piped in (False, True):
        out, lines = io.StringIO(), Lines("hello", "/retry", "/help")
        console = ConsoleAdapter(
            conversation="main", lines=lines, clock=clock, models=offering(), out=out, piped=piped
        )
        async with open_resources(settings, clock) as resources, asyncio.timeout(60):
            core = build_core(settings, resources, {console.name: console}, clock)
            if piped:
                with pytest.raises(AnswerFailed, match="you are blocked here"):
                    await console.run(core.inbox)
            else:
                await console.run(core.inbox)
                assert out.getvalue().count("you are blocked here") == 2
                assert "/help" in out.getvalue()
            await core.inbox.aclose()

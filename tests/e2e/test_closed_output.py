"""Output that nothing reads to the end, as in `threadline config | head -1`, and other troubles."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.fork_server import SWITCH
from tests.support.harness import ROOT, BotProcess, command, spawn

STORY = "Once there was a thread. "


async def run_until_first_line(
    *words: str, folder: Path, environ: Mapping[str, str]
) -> tuple[int, str]:
    """Run a command whose stdout is closed after the first bytes; returns exit code and stderr."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # no output here fits: the command still writes
    asking = "chat" in words
    stdin = os.open(folder / "question.txt", os.O_RDONLY) if asking else os.open(os.devnull, 0)
    with TemporaryFile() as err:
        process = await spawn(
            *("bot", *words),
            folder=folder,
            environ={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
            stdin=stdin,
            stdout=writing,
            stderr=err.fileno(),
        )
        os.close(writing)
        os.close(stdin)
        begun = await asyncio.to_thread(os.read, reading, 4)
        os.close(reading)
        code = await asyncio.wait_for(process.wait(), 60)
        err.seek(0)
        said = err.read().decode()
        assert begun, said
        return code, said


async def test_output_in_a_locale_without_the_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The greeting, the menus and the answers contain characters that ASCII lacks."""
    monkeypatch.setenv(SWITCH, "0")  # a forked process has its parent's encoding
    environ = {"LLM": "echo", "HOME": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    code, out, err = await command("chat", "5 \u20ac", folder=tmp_path, environ=environ, piped="x")
    assert (code, err) == (0, "") and "5 ?" in out


async def test_command_ends_silently_when_its_reader_ends(tmp_path: Path) -> None:
    ended = await run_until_first_line("completion", "bash", folder=tmp_path, environ={})
    assert ended == (1, "")


@pytest.mark.parametrize("beside_a_bot", [False, True])
async def test_answer_stops_when_its_reader_ends(
    model: ModelSim, tmp_path: Path, *, beside_a_bot: bool
) -> None:
    """No traceback, the model is not paid for the rest, and no question is left waiting."""
    await model.script(Answer(match="story", text=STORY * 20_000, rate=2_000))
    environ = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "HOME": str(tmp_path)}
    (tmp_path / "question.txt").write_text("a story")

    async def has_disconnected() -> bool:
        return (await model.last("story")).outcome == "disconnected"

    if beside_a_bot:
        async with BotProcess(tmp_path, environ) as bot:
            environ["HTTP_PORT"] = str(bot.http_port)
            ended = await run_until_first_line("chat", folder=tmp_path, environ=environ)
            await model.until(has_disconnected)
    else:
        ended = await run_until_first_line("chat", folder=tmp_path, environ=environ)
    assert ended == (1, "")
    assert await has_disconnected()
    with closing(sqlite3.connect(tmp_path / "threadline.db")) as database:
        assert database.execute("SELECT state FROM turns").fetchall() == [("done",)]

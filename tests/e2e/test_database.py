"""A database that fails while the bot runs or starts, and backups of a running bot.

The conditions are real: a full file system, a write limit set in the kernel, another program's
lock, a read-only mount, overwritten bytes.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support import harness
from tests.support.harness import BotProcess
from tests.support.platform_driver import (
    DiscordDriver,
    PlatformDriver,
    SlackDriver,
    ThreadRef,
    at_rest,
)
from tests.support.store_kit import check_invariants, look

STORY = "Once upon a time there was a thread that went on and on and on."


# ── real conditions ───────────────────────────────────────────────────────────────────────────
@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """A separate file system; only root can mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill the disk completely."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    yield
    filler.unlink()


@contextmanager
def failing_writes(bot: BotProcess, database: Path) -> Iterator[None]:
    """The kernel refuses every write beyond the current size of the write-ahead log."""
    size = Path(f"{database}-wal").stat().st_size
    forever = resource.RLIM_INFINITY
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (size, forever))
    yield
    resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (forever, forever))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program holds a write transaction open."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
async def discord() -> Any:
    async with DiscordSim() as sim:
        yield DiscordDriver(sim)


@pytest.fixture
async def slack() -> Any:
    async with SlackSim() as sim:
        yield SlackDriver(sim)


def bot_of(folder: Path, driver: PlatformDriver, model: ModelSim, database: Path) -> BotProcess:
    return BotProcess(
        folder,
        {
            **driver.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "SYSTEM_PROMPT": "Be brief.",
            "DATABASE_URL": f"sqlite:///{database}",
            "LOG_LEVEL": "INFO",  # a log longer than the database would make the database fail too
        },
    )


async def until(
    check: Callable[[], Awaitable[Any]], driver: PlatformDriver, what: str, seconds: float = 60
) -> Any:
    try:
        return await driver.sim.until(check, seconds)
    except AssertionError as error:
        raise AssertionError(f"not within {seconds} s: {what}") from error


async def shows(
    driver: PlatformDriver, thread: ThreadRef, text: str, *, ended: bool = True
) -> None:
    """Wait until the newest message contains `text` and, if `ended`, is no longer being written."""

    async def check() -> bool:
        seen = await driver.seen(thread)
        found = bool(seen) and text in seen[-1].text
        return found and not (ended and seen[-1].working)

    await until(check, driver, f"{text!r} in {thread}")


async def count_apologies(driver: PlatformDriver) -> int:
    """How often people were told that messages cannot be saved."""
    if isinstance(driver, SlackDriver):
        texts = await driver.whispers()
    else:
        texts = [m["content"] for m in await driver.sim.messages()]  # type: ignore[attr-defined]
    return sum("cannot save messages right now" in text for text in texts)


async def health(bot: BotProcess) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bot.http_port}/healthz") as response,
    ):
        return response.status, (await response.json())["parts"]["database"]


async def fails_and_recovers(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess, failing: Callable[[], Any], words: str
) -> None:
    """The database begins to fail while a reply is being written; then a person asks a question."""
    await model.script(
        Answer(match="story", text=STORY, rate=0, wait_at=3), Answer(match="", text="Here I am.")
    )
    if isinstance(driver.sim, SlackSim):
        await driver.sim.delivery(retry_scale=0.1)  # retries after 0, 6 and 30 s
    writing = await driver.mention("tell me a story")
    await shows(driver, writing, "Once", ended=False)
    with failing():
        asked = await driver.mention("are you there?")
        again = await driver.mention("hello?")

        async def is_apology_shown() -> bool:
            return await count_apologies(driver) == 1

        await until(is_apology_shown, driver, "an apology")
        await bot.wait_for_log("a message could not be stored", 2)
        status, part = await health(bot)
        assert status == 503
        assert words in part["trouble"]
        assert str(bot.folder) not in part["trouble"]
        await model.release("story")
        await shows(driver, writing, STORY, ended=False)  # it continues as far as it can
    await until(bot.healthy, driver, "health again")
    await shows(driver, writing, STORY)
    for thread in (asked, again):  # no question had to be repeated
        await shows(driver, thread, "Here I am.")
    assert len(await driver.seen(writing)) == 1
    assert len(await model.streams(match="tell me a story")) == 1
    assert await count_apologies(driver) == 1
    # A small write may still succeed between two failures, and then the log reports the failure
    # twice.
    failed, *_ = bot.events("the database fails")
    assert words in failed["error"]
    assert len(bot.events("the database works again")) == 1
    await at_rest(driver)


async def test_a_full_disk(driver: PlatformDriver, model: ModelSim, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        bot = bot_of(tmp_path, driver, model, disk / "threadline.db")
        async with bot:
            words = "cannot grow, the disk is full: free some space"
            await fails_and_recovers(driver, model, bot, lambda: full(disk), words)
            await bot.terminate()


async def test_a_disk_that_refuses_writes(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    database = tmp_path / "threadline.db"
    async with bot_of(tmp_path, discord, model, database) as bot:
        failing, words = lambda: failing_writes(bot, database), "the disk reports an error"
        await fails_and_recovers(discord, model, bot, failing, words)


async def test_a_locked_database(slack: SlackDriver, model: ModelSim, tmp_path: Path) -> None:
    database = tmp_path / "threadline.db"
    async with bot_of(tmp_path, slack, model, database) as bot:
        words = "is locked by another program: close what else has it open"
        await fails_and_recovers(slack, model, bot, lambda: locked(database), words)


# ── the command line ──────────────────────────────────────────────────────────────────────────
async def command(*words: str, database: Path, **environ: str) -> tuple[int, str, str]:
    """Run `python -m bot WORDS`; returns exit code, stdout, stderr."""
    settings = {"DATABASE_URL": f"sqlite:///{database}", "HTTP_PORT": "0", **environ}
    return await harness.command(*words, folder=database.parent, environ=settings)


async def run_refused(*words: str, database: Path) -> str:
    """The one line that a failing command prints."""
    code, out, err = await command(*words, database=database, LOG_LEVEL="ERROR")
    assert (code, out) == (1, ""), err
    *before, last = err.splitlines()
    assert [line for line in before if "Traceback" in line or line.startswith(" ")] == []
    assert last.startswith("threadline: ")
    return last


@pytest.fixture
async def database_with_history(tmp_path: Path) -> Path:
    """A database created by the bot."""
    database = tmp_path / "threadline.db"
    assert (await command("migrate", database=database))[0] == 0
    return database


async def test_a_start_on_a_damaged_database_says_what_to_do(database_with_history: Path) -> None:
    _overwrite(
        database_with_history,
        look(database_with_history, "SELECT rootpage FROM sqlite_schema WHERE name = 'turns'"),
    )
    assert "is damaged: restore a backup with `python -m bot restore" in await run_refused(
        "run", database=database_with_history
    )


async def test_a_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk, full(disk):
        line = await run_refused("run", database=disk / "threadline.db")
        assert "the disk is full" in line or "No space left" in line


async def test_a_start_on_a_read_only_disk_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        database = disk / "threadline.db"
        assert (await command("migrate", database=database))[0] == 0
        await asyncio.to_thread(_make_read_only, disk)
        assert "(Read-only file system)" in await run_refused("run", database=database)


async def test_a_second_process_is_refused_in_one_line(
    discord: DiscordDriver, model: ModelSim, tmp_path: Path
) -> None:
    """The lock is checked first: nothing is logged and no platform is contacted."""
    database = tmp_path / "threadline.db"
    async with bot_of(tmp_path, discord, model, database) as bot:
        before = len(await discord.sim.requests())
        code, out, err = await command(
            "run", database=database, **discord.settings(), LLM="echo", LOG_LEVEL="INFO"
        )
        assert (code, out) == (1, "")
        assert err == (
            f"threadline: The database {database} is in use by another Threadline "
            f"(process {bot.pid}): stop it, or name another file in DATABASE_URL.\n"
        )
        asked = await discord.sim.requests("users/@me", before)
        assert asked == []


# ── backups ───────────────────────────────────────────────────────────────────────────────────
async def test_a_backup_while_a_reply_streams_and_its_restore(
    driver: PlatformDriver, model: ModelSim, tmp_path: Path
) -> None:
    """The running reply is unaffected; the restored bot has its history and repeats no answer."""
    database, copy = tmp_path / "threadline.db", tmp_path / "copy.db"
    await model.script(
        Answer(match="story", text=STORY, rate=0, wait_at=3), Answer(match="", text="Noted.")
    )
    async with bot_of(tmp_path, driver, model, database) as bot:
        first = await driver.mention("remember the milk")
        await shows(driver, first, "Noted.")
        writing = await driver.mention("tell me a story")
        await shows(driver, writing, "Once", ended=False)
        code, out, err = await command("backup", str(copy), database=database)
        assert (code, err) == (0, ""), err
        assert out.startswith(f"backed up {database} to {copy} (")
        with closing(sqlite3.connect(copy)) as db:
            check_invariants(db)
        await model.release("story")
        await shows(driver, writing, STORY)
        await driver.say(first, "and forget the bread")
        await shows(driver, first, "Noted.")
        await until(lambda: _count(driver, first, 2), driver, "two replies")
        assert f"(process {bot.pid})" in await run_refused("restore", str(copy), database=database)
        assert "exists: name another file" in await run_refused(
            "backup", str(copy), database=database
        )
        assert await bot.terminate() == 0
    code, out, err = await command("restore", str(copy), database=database)
    assert (code, err) == (0, ""), err
    kept = Path(out.strip().rpartition(" ")[2])
    assert look(kept, "SELECT count(*) FROM messages WHERE content LIKE '%bread%'") == [(1,)]
    asked = len(await model.streams(match="bread"))
    await model.script(Answer(match="story", text=STORY, rate=0))
    async with bot_of(tmp_path, driver, model, database):
        await shows(driver, writing, STORY)
        await driver.say(first, "what did I say?")
        await until(lambda: _count(driver, first, 3), driver, "three replies")
        messages = (await model.last("what did I say")).body["messages"]
        assert [m["content"] for m in messages[1:]] == [
            f"{driver.speaker}: remember the milk",
            "Noted.",
            f"{driver.speaker}: what did I say?",
        ]
        assert len(await model.streams(match="bread")) == asked, "it was taken for missed"
        assert len(await driver.seen(writing)) == 1


async def _count(driver: PlatformDriver, thread: ThreadRef, count: int) -> bool:
    return len(await driver.seen(thread)) == count


def _make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def _overwrite(database: Path, found: list[tuple[Any, ...]]) -> None:
    (size,) = look(database, "PRAGMA page_size")[0]
    with database.open("r+b") as file:
        for (page,) in found:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)

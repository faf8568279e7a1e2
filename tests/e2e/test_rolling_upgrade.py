"""A rolling upgrade: processes of two releases on one PostgreSQL, and what is refused afterwards.

The next release is this code plus one migration, so that a clone without history can build it too.
`make soak` also runs the release before the newest migration, taken from git, beside this one.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import ROOT, BotProcess
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import PostgresPlace, change, check, look
from tests.support.web_kit import Person, until

PARTS = ("bot", "adapters", "migrations", "pyproject.toml")
NEWER = "was written by a newer Threadline"


class ReleaseProcess(BotProcess):
    """A bot whose code is in `tree`."""

    def __init__(self, tree: Path, folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir()
        super().__init__(folder, {**environ, "PYTHONPATH": str(tree)})

    async def start(self) -> None:
        """Start it with a new interpreter, since the fork server has already imported this code."""
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(  # type: ignore[assignment]
                *(sys.executable, "-m", "bot", "run"),
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def next_release(folder: Path) -> tuple[Path, Path]:
    """This release, and one that adds a table and a column."""
    new = folder / "next"
    new.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, new / part)
    number = 1 + max(int(path.name[:4]) for path in (new / "migrations").glob("*.sql"))
    for place, kind in (("migrations", "INTEGER"), ("migrations/postgres", "BIGINT")):
        (new / place / f"{number:04d}_next.sql").write_text(
            "CREATE TABLE next_table (id TEXT PRIMARY KEY);\n"
            f"ALTER TABLE turns ADD COLUMN next_column {kind} NOT NULL DEFAULT 0;\n"
        )
    return ROOT, new


def previous_release(folder: Path) -> tuple[Path, Path]:
    """The code before the newest migration that has statements, and this release."""
    old, git = folder / "previous", ["git", "-C", str(ROOT)]
    newest = max((ROOT / "migrations/postgres").glob("*.sql"))
    log = [*git, "log", "--diff-filter=A", "--format=%H", "--", str(newest)]
    found = subprocess.run(log, capture_output=True, text=True, check=False).stdout.split()
    if not found:
        pytest.skip("this clone has no commit that added the newest migration")
    archive = subprocess.run(
        [*git, "archive", f"{found[-1]}^", *PARTS], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip("this clone has no commit before the newest migration")
    old.mkdir()
    subprocess.run(["tar", "xf", "-", "-C", str(old)], input=archive.stdout, check=True)
    return old, ROOT


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "releases",
    [next_release, pytest.param(previous_release, marks=pytest.mark.soak)],
    ids=["next", "previous"],
)
async def test_processes_are_replaced_one_by_one(
    releases: object, postgres: SharedServer, tmp_path: Path
) -> None:
    """The first new process migrates while an old one waits for an answer. Both serve, but old ones
    can no longer start."""
    old_tree, new_tree = releases(tmp_path)  # type: ignore[operator]
    with postgres.database() as url:
        change(PostgresPlace(url), "DROP SCHEMA public CASCADE")
        change(PostgresPlace(url), "CREATE SCHEMA public")  # the old release creates the tables
        async with ModelSim() as model:
            await model.script(
                Answer(match="story", text="Once upon a time.", rate=0, wait_at=0),
                Answer(match="", text="Here I am."),
            )
            settings = {
                "LLM": "openai:sim",
                "OPENAI_BASE_URL": model.base_url,
                "DATABASE_URL": url,
            }
            old = ReleaseProcess(old_tree, tmp_path / "a", settings)
            new = ReleaseProcess(new_tree, tmp_path / "b", settings)
            async with old:
                await converse(old, new, model, url)
                assert await old.terminate() == 0
                await old.start()
                assert await old.wait_exit() == 1, old.log_tail()
                assert NEWER in old.log_text()
                assert await new.terminate() == 0
        check(PostgresPlace(url))


async def converse(old: BotProcess, new: BotProcess, model: ModelSim, url: str) -> None:
    """Have one conversation with both releases; the new process starts while the old one writes."""
    async with Person(f"http://127.0.0.1:{old.http_port}") as before:
        first = await before.say("@threadline tell me a story")
        thread = first["thread"]

        async def is_writing() -> bool:
            return bool(look(PostgresPlace(url), "SELECT 1 FROM turns WHERE state = 'running'"))

        await until(is_writing)
        await new.start()
        await new.ready()
        await model.release("story")
        async with Person(f"http://127.0.0.1:{new.http_port}") as after:
            for number, person in enumerate((before, after, before), start=2):
                await wait_ended(before, thread, number - 1)
                await person.say(f"and {number}?", thread)
            await wait_ended(after, thread, 4)
            texts = [reply["text"] for reply in await after.replies(thread)]
    assert texts == ["Once upon a time.", *["Here I am."] * 3]
    assert look(PostgresPlace(url), "SELECT max(attempt), max(deaths) FROM turns") == [(1, 0)]


async def wait_ended(person: Person, thread: str, count: int) -> None:
    """Wait until the thread has this number of replies, and all have ended."""

    async def all_ended() -> bool:
        replies = await person.replies(thread)
        return len(replies) == count and all(reply["state"] == "done" for reply in replies)

    await until(all_ended)

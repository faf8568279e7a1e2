"""Every released schema is migrated, with its data, to the current schema.

After a new migration, run `python -m tests.support.store_kit` once and commit its fixture.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.attachments import AttachmentState, Omission
from bot.domain.errors import CommandDone
from bot.store.migrate import MIGRATIONS, load, migrate, status
from tests.support.store_kit import (
    ANSWER,
    FIXTURES,
    check_invariants,
    claim_next,
    key,
    look,
    opened,
)

SCHEMA = (
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
)
BROUGHT = '["image", "voice message"]'
FIXED = sorted(FIXTURES.glob("*.sql"))


@pytest.fixture(params=FIXED, ids=lambda file: file.stem)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database as that release wrote it."""
    path = tmp_path / "older.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(request.param.read_text(encoding="utf-8"))
    return path


def test_every_migration_has_a_fixture_of_its_schema() -> None:
    assert [file.stem for file in FIXED] == [file.name for file in load(MIGRATIONS)]


def test_an_older_database_gets_the_schema_of_a_new_one(older: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.db"
    assert migrate(blank) == [file.name for file in load(MIGRATIONS)]
    migrate(older)
    assert look(older, SCHEMA) == look(blank, SCHEMA)
    assert status(older) == status(blank)


async def test_an_older_database_resumes_where_it_stopped(older: Path) -> None:
    """The running turn, the concluded turn and the waiting question are still there."""
    with closing(sqlite3.connect(older)) as db, db:  # an older record would be deleted
        db.execute("UPDATE commands SET done_at = strftime('%s', 'now')")
    async with opened(older) as store:
        talking, concluded = await store.list_unfinished("sim")
        claim = await claim_next(store, talking)
        assert (claim.fence.attempt, [q.text for q in claim.questions]) == (2, ["and?"])
        assert [page.message_id for page in claim.pages] == ["r3", None]
        rows = await store.history(talking, epoch=1, before=claim.reply_index, limit=9)
        assert [row.content for row in rows] == ["and?", "Forty-two.", "why?", "so"]
        assert (await claim_next(store, concluded)).result == ANSWER
        reset = await store.find(key("t3"))
        assert reset is not None
        assert (reset.epoch, reset.model) == (2, "openai:gpt-5")
        with pytest.raises(CommandDone):
            await store.record_command("sim/w1/c1/m7")
    with closing(sqlite3.connect(older)) as db:
        check_invariants(db)


@pytest.mark.parametrize(
    "older",
    [file for file in FIXED if file.stem < "0007"],
    indirect=True,
    ids=lambda file: file.stem,
)
async def test_files_that_older_releases_could_not_use_become_attachments(older: Path) -> None:
    """The sentence under an answer names it like any other omitted attachment."""
    with closing(sqlite3.connect(older)) as db, db:
        db.execute("UPDATE messages SET unusable = ? WHERE source LIKE '%m3'", (BROUGHT,))
    async with opened(older) as store:
        (talking, _) = await store.list_unfinished("sim")
        claim = await claim_next(store, talking)
        rows = await store.history(talking, epoch=1, before=claim.reply_index, limit=9)
        assert [row.content for row in rows if row.has_attachments] == ["and?", "why?"]
        found = await store.attachments().of_messages([row.id for row in rows])
        assert [[each.name for each in group] for group in found.values()] == [
            ["image", "voice message"], ["image"],
        ]  # fmt: skip
        for each in (attachment for group in found.values() for attachment in group):
            assert (each.state, each.omission) == (AttachmentState.REFUSED, Omission.UNSUPPORTED)
            assert each.is_voice is (each.name == "voice message")
        assert await store.attachments().pending("sim", limit=9) == []

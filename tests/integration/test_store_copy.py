"""Moving a team between SQLite and PostgreSQL, in both directions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bot.common.clock import SystemClock
from bot.domain.attachments import Download, IncomingAttachment
from bot.domain.errors import InUse, StoreError
from bot.domain.inbox import Address, Receipt
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.privacy import Person
from bot.domain.records import RecordScope
from bot.domain.search import parse_query
from bot.store.postgres import copy_postgres, copying
from bot.store.postgres.copying import copy_database
from bot.store.sqlite import SqliteStore
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import (
    BEN,
    Place,
    PostgresPlace,
    answer_next,
    change,
    chat,
    check,
    claim_next,
    key,
    look,
    opened,
    said,
)

COUNTS = (
    *("conversations", "messages", "turns", "pages", "attachments", "chunks", "commands"),
    "leftovers",
)


@pytest.fixture
def empty(postgres: SharedServer) -> Iterator[PostgresPlace]:
    with postgres.database() as url:
        yield PostgresPlace(url)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A database with one row of each kind, a large file, and people who were erased."""
    path = tmp_path / "team.db"
    asyncio.run(_fill(path))
    return path


async def _fill(path: Path) -> None:
    await chat(path)
    async with SqliteStore.open(path, clock=SystemClock()) as store:
        photo = IncomingAttachment(name="a.png", locator={"url": "https://files.example/a"})
        asked = said(20, "look", where=key("t9"), attachments=[photo], author=BEN)
        conversation = (await store.accept(asked)).conversation
        assert conversation is not None
        await store.add_leftover(Leftover(conversation, LeftoverKind.STATUS, "c1", "t9"))
        [(attachment,)] = look(path, "SELECT max(id) FROM attachments")
        await store.attachments().save_bytes(attachment, Download(b"\0\xff" * 400_000))
        await store.accept(said(30, "gone", where=key("t10")))
        uid = look(path, "SELECT uid FROM conversations ORDER BY id DESC LIMIT 1")[0][0]
        await store._write(lambda db: db.execute("DELETE FROM conversations WHERE uid = ?", (uid,)))
        await store.privacy().list_erasure(Person("sim", "w1", "U9"))
    with_nul = "UPDATE messages SET content = 'a' || char(0) || 'b' WHERE content = 'look'"
    change(path, with_nul)


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def counts(place: Place) -> dict[str, int]:
    return {name: look(place, f"SELECT count(*) FROM {name}")[0][0] for name in COUNTS}


async def test_a_team_moves_to_postgresql_and_works_there(team: Path, empty: PostgresPlace) -> None:
    told: list[str] = []
    copy_database(sqlite_url(team), empty.url, tell=lambda table, _: told.append(table))
    assert counts(empty) == counts(team)
    assert {"messages", "chunks", "audit"} <= set(told)
    [(known,)] = look(empty, "SELECT reltuples FROM pg_class WHERE relname = 'messages'")
    assert known == counts(empty)["messages"]  # queries are planned for the new rows
    check(empty)
    [(highest,)] = look(team, "SELECT seq FROM sqlite_sequence WHERE name = 'conversations'")
    async with opened(empty) as store:
        assert (await store.accept(said(20, where=key("t9")))).receipt is Receipt.KNOWN
        accepted = await store.accept(said(40, where=key("new")))
        assert accepted.conversation == highest + 1  # never given twice, even after a deletion
        await answer_next(store, accepted.conversation)
        running = await claim_next(store, 1)
        assert running.fence.attempt == 2
        old = said(41, where=key("new"), address=Address.FOLLOW_UP)
        assert (await store.accept(old)).receipt is Receipt.QUESTION
        digest = look(empty, "SELECT digest FROM files ORDER BY size DESC LIMIT 1")[0][0]
        assert await store.attachments().read_bytes(digest) == b"\0\xff" * 400_000
    assert look(empty, "SELECT content FROM messages WHERE content LIKE 'a_b'") == [("a\ufffdb",)]
    assert look(empty, "SELECT count(*) FROM threadline_erased.people") == [(1,)]


async def test_a_team_moves_back(team: Path, empty: PostgresPlace, tmp_path: Path) -> None:
    copy_database(sqlite_url(team), empty.url)
    back = tmp_path / "back.db"
    copy_database(empty.url, sqlite_url(back))
    assert counts(back) == counts(team)
    check(back)
    query = "SELECT * FROM turns ORDER BY id"
    assert look(back, query) == look(team, query)
    triggers = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
    assert look(back, triggers) == look(team, triggers)
    sequences = "SELECT * FROM sqlite_sequence ORDER BY name"
    assert look(back, sequences) == look(team, sequences)
    erased = [path.with_suffix(".erased").read_text() for path in (team, back)]
    assert erased[0] == erased[1]
    async with opened(back) as store:
        assert (await store.accept(said(50))).receipt is Receipt.QUESTION


async def test_a_copy_indexes_searchable_texts_again(tmp_path: Path, empty: PostgresPlace) -> None:
    """This happens in both directions, since the index itself is not copied."""
    path, back, scope = tmp_path / "from.db", tmp_path / "back.db", RecordScope("web", "w1")
    async with opened(path) as store:
        await store.accept(said(1, "a walrus", where=key("t1", platform="web")))
        await store.search_indexer.finish()
    for source, target in ((sqlite_url(path), empty), (empty.url, back)):
        copy_database(source, target.url if isinstance(target, PostgresPlace) else sqlite_url(back))
        async with opened(target) as store:
            await store.search_indexer.finish()
            [(words,)] = look(target, "SELECT tokens FROM search_documents WHERE document = 1")
            assert "walrus" in words.split()
            store.search().seconds = 60.0
            page = await store.search().search([scope], parse_query("walrus"))
            assert [hit.message is None for hit in page.hits] == [True, False]


async def test_a_new_team_moves(tmp_path: Path, empty: PostgresPlace) -> None:
    """Most tables have no rows and have assigned no ids."""
    path = tmp_path / "new.db"
    async with opened(path) as store:
        await store.accept(said(1))
    copy_database(sqlite_url(path), empty.url)
    async with opened(empty) as store:
        assert (await store.accept(said(2))).conversation == 1
        assert (await store.accept(said(3, where=key("t2")))).conversation == 2


def test_a_target_with_rows_is_refused(team: Path, empty: PostgresPlace, tmp_path: Path) -> None:
    copy_database(sqlite_url(team), empty.url)
    with pytest.raises(StoreError, match="The target has rows in"):
        copy_database(sqlite_url(team), empty.url)
    with pytest.raises(StoreError, match="The target has rows in"):
        copy_database(empty.url, sqlite_url(team))
    with pytest.raises(StoreError, match="There is no database"):
        copy_database(sqlite_url(tmp_path / "none.db"), empty.url)


def test_a_bot_that_has_just_ended_is_waited_for(team: Path, empty: PostgresPlace) -> None:
    """PostgreSQL lists its connections for a moment longer."""
    connection = psycopg.connect(empty.url, application_name="threadline")
    ending = threading.Timer(3 * copy_postgres.LOOK_SECONDS, connection.close)
    ending.start()
    copy_database(sqlite_url(team), empty.url)
    ending.join()
    assert counts(empty) == counts(team)


async def test_a_database_that_the_bot_uses_is_refused(
    team: Path, empty: PostgresPlace, tmp_path: Path
) -> None:
    async with opened(team):
        with pytest.raises(InUse):
            copy_database(sqlite_url(team), empty.url)
    async with opened(empty) as store:
        await store.accept(said(1))
        with pytest.raises(StoreError, match="stop all of its processes"):
            copy_database(empty.url, sqlite_url(tmp_path / "copy.db"))
    assert not (tmp_path / "copy.db").exists()


def test_a_copy_that_differs_is_not_kept(
    team: Path, empty: PostgresPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target changes a value during the copy, as a broken client would."""
    original = copying.SqliteEnd.rows

    def broken(self: copying.SqliteEnd, table: str, columns: list[str]):  # type: ignore[no-untyped-def]
        rows = list(original(self, table, columns))
        if table == "messages":
            wrong = columns.index("withheld")
            rows[0] = [*rows[0][:wrong], 1 - rows[0][wrong], *rows[0][wrong + 1 :]]
        return iter(rows)

    copy_database(sqlite_url(team), empty.url)
    monkeypatch.setattr(copying.SqliteEnd, "rows", broken)
    target = tmp_path / "copy.db"
    with pytest.raises(StoreError, match="The copy of messages differs"):
        copy_database(empty.url, sqlite_url(target))
    assert not target.exists()

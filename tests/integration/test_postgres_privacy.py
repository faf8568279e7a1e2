"""An erased person is gone from PostgreSQL's rows, and a restored backup does not bring them
back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreError
from bot.domain.inbox import Receipt as Delivery
from bot.domain.privacy import Person, Receipt
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.retention import RetentionKeeper
from bot.store.postgres.copying import copy_database
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.postgres_server import SharedServer, binaries
from tests.support.privacy_kit import BOB, EVE, Filler, key, rows_with_traces, texts_of_bob
from tests.support.store_kit import PostgresPlace, change, check, look, opened, said

EVERY = Person("sim", "w1", EVE.id)
DATA = "--schema=public"


@pytest.fixture
def place(postgres: SharedServer) -> Iterator[PostgresPlace]:
    with postgres.database() as url:
        yield PostgresPlace(url)


async def forget(store: SqlStore) -> Receipt:
    forgetter = Forgetter(store=store.privacy(), audit=store.audit())
    return await forgetter.forget(EVERY, by="admin", key=key("c1", ""))


def run(program: str, *arguments: str) -> None:
    subprocess.run([f"{binaries()}/{program}", *arguments], check=True, capture_output=True)


async def test_nothing_of_a_person_is_left_in_the_rows(place: PostgresPlace) -> None:
    async with opened(place) as store:
        await Filler(store).fill()
        before = texts_of_bob(place)
        assert len(rows_with_traces(place)) > 50
        exporter = Exporter(store=store.privacy(), audit=store.audit())
        lines = [line async for line in exporter.lines(EVERY, by=EVE.id, key=key("c1", ""))]
        assert len([line for line in lines if '"message"' in line]) == 30
        receipt = await forget(store)
        assert receipt.erased.messages == 30
        assert receipt.erased.conversations == 10
        assert receipt.erased.files >= 10
        assert receipt.erased.replies >= 30
        assert rows_with_traces(place) == []
        assert {text for text in before if "wrote:" not in text} <= texts_of_bob(place)
    assert rows_with_traces(place) == []
    check(place)
    vacuumed = "SELECT relname FROM pg_stat_user_tables WHERE last_vacuum IS NOT NULL"
    assert {("messages",), ("turns",), ("chunks",)} <= set(look(place, vacuumed))


async def test_a_restored_backup_does_not_bring_the_person_back(
    place: PostgresPlace, tmp_path: Path
) -> None:
    """Uses the commands of docs/postgresql.md."""
    async with opened(place) as store:
        await Filler(store).fill(8)
        run("pg_dump", "--format=custom", f"--file={tmp_path}/backup", place.url)
        await forget(store)
    run("pg_restore", "--clean", "--if-exists", DATA, f"--dbname={place.url}", f"{tmp_path}/backup")
    assert rows_with_traces(place)
    async with opened(place) as store:
        assert rows_with_traces(place) == []
        late = said(1, "evelynmark again", where=key("c9", "t9"), author=EVE)
        assert (await store.accept(late)).receipt is Delivery.KNOWN
        question = said(2, "hello", where=key("c9", "t9"), author=BOB)
        await store.accept(question, [late])
        assert rows_with_traces(place) == []


async def test_a_copy_of_the_list_outlives_the_database(
    place: PostgresPlace, postgres: SharedServer, tmp_path: Path
) -> None:
    """ERASURE_LIST: the server is lost, and an old backup is restored on another one."""
    file = tmp_path / "threadline.erased"
    async with opened(place, erasure_list=file) as store:
        await Filler(store).fill(8)
        run("pg_dump", "--format=custom", f"--file={tmp_path}/backup", place.url)
        await forget(store)
    assert EVE.id not in file.read_text()
    with postgres.database() as url:
        fresh = PostgresPlace(url)
        run("pg_restore", "--clean", "--if-exists", f"--dbname={url}", f"{tmp_path}/backup")
        assert rows_with_traces(fresh)
        async with opened(fresh, erasure_list=file):
            assert rows_with_traces(fresh) == []
    with postgres.database() as url:
        other = PostgresPlace(url)
        change(
            other, "UPDATE threadline_erased.salt SET salt = 'ff'"
        )  # the test databases share one
        async with opened(other) as store:
            await store.privacy().list_erasure(EVERY)
        with pytest.raises(StoreError, match="of another database"):
            async with opened(other, erasure_list=file):
                pass


async def test_a_person_who_was_erased_stays_erased_after_a_move(
    postgres: SharedServer, tmp_path: Path
) -> None:
    path = tmp_path / "team.db"
    async with opened(path) as store:
        await Filler(store).fill(8)
        await forget(store)
    with postgres.database() as url:
        copy_database(f"sqlite:///{path}", url)
        place = PostgresPlace(url)
        async with opened(place) as store:
            late = said(1, "evelynmark again", where=key("c9", "t9"), author=EVE)
            assert (await store.accept(late)).receipt is Delivery.KNOWN
        assert rows_with_traces(place) == []


async def a_month(_: ConversationKey) -> int:
    return 30


async def test_old_conversations_are_erased(place: PostgresPlace) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        await Filler(store).fill(8)
        await clock.advance(40 * 86_400.0)
        keeper = RetentionKeeper(store=store.privacy(), days=a_month, clock=clock)
        erased = await keeper.prune()
        assert erased.conversations == 9
        assert look(place, "SELECT count(*) FROM messages") == [(0,)]
        assert look(place, "SELECT count(*) FROM chunks") == [(0,)]

"""Helpers for the store's tests: messages, direct reads of the file, consistency checks.

`python -m tests.support.store_kit` writes the fixture of the newest schema, for the tests of
upgrades.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from bot.common.clock import SystemClock
from bot.domain.attachments import AttachmentKind, Extract, IncomingAttachment, Omission
from bot.domain.conversations import Author, ConversationKey, ImagePart, Visibility
from bot.domain.inbox import Address, Incoming
from bot.domain.model import Usage
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.store.database import Database
from bot.store.migrate import APPLICATION_ID, MIGRATIONS, load
from bot.store.postgres.dialect import named_rows, register
from bot.store.postgres.server import Server
from bot.store.postgres.session import Session
from bot.store.postgres.store import PostgresStore
from bot.store.sqlite import SqliteStore
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.new_database import create

FIXTURES = Path(__file__).parents[1] / "fixtures" / "store"
ANN, BEN = Author("U1", "Ann"), Author("U2", "Ben")
ANSWER = TurnResult(
    outcome=Outcome.ANSWERED,
    content="Forty-two.",
    display="Forty-two.\n\n*note*",
    model="echo",
    finish_reason="stop",
    usage=Usage(12, 3),
)


def key(thread: str = "t1", channel: str = "c1", platform: str = "sim") -> ConversationKey:
    return ConversationKey(platform, "w1", channel, thread)


def said(
    number: int,
    text: str = "why?",
    *,
    where: ConversationKey | None = None,
    address: Address = Address.MENTION,
    author: Author = ANN,
    visibility: Visibility = Visibility.PRIVATE,
    route: Mapping[str, str] | None = None,
    attachments: Sequence[IncomingAttachment] = (),
) -> Incoming:
    """Message `number` in a channel; the number is its id and its position."""
    where = where or key()
    return Incoming(
        key=where,
        channel=where.channel,
        message_id=f"m{number}",
        position=number,
        author=author,
        text=text,
        address=address,
        sent_at=float(number),
        visibility=visibility,
        route=route or {},
        attachments=tuple(attachments),
    )


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """A database with the newest schema on the tests' PostgreSQL server."""

    url: str


Place = Path | PostgresPlace
"""The location of a store: an SQLite file or a PostgreSQL database. See the fixture `place`."""


def opened(place: Place, **options: Any) -> AbstractAsyncContextManager[SqlStore]:
    options = {"clock": SystemClock()} | options
    if isinstance(place, PostgresPlace):
        return PostgresStore.open(Server.parse(place.url), **options)
    if "migrations" not in options and place.parent.is_dir() and not place.exists():
        create(place)
    return SqliteStore.open(place, **options)


async def claim_next(store: SqlStore, conversation: int | None) -> Claim:
    """Claim the next turn of a conversation, asserting that there is one."""
    assert conversation is not None
    claim = await store.claim(conversation)
    assert claim is not None
    return claim


async def answer_next(
    store: SqlStore, conversation: int | None, result: TurnResult = ANSWER
) -> Claim:
    """Claim a turn, conclude it if it is not concluded, and finish it, shown on one page."""
    claim = await claim_next(store, conversation)
    await store.record_intent(claim.fence, 0)
    await store.record_shown(claim.fence, 0, channel="c1", message_id=f"r{claim.fence.turn}")
    if claim.result is None:
        await store.conclude(claim.fence, result)
    await store.finish(claim.fence)
    return claim


@contextmanager
def connected(place: Place) -> Iterator[Database]:
    """A connection like another process's, inside a transaction that is committed."""
    if isinstance(place, PostgresPlace):
        with psycopg.connect(place.url, row_factory=named_rows) as postgres:
            register(postgres)
            yield Session(postgres)
    else:
        with closing(sqlite3.connect(place)) as db, db:
            db.row_factory = sqlite3.Row
            yield db


def look(place: Place, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Read rows as another process would."""
    with connected(place) as db:
        return [tuple(row) for row in db.execute(sql, parameters).fetchall()]


def change(place: Place, sql: str, *parameters: object) -> None:
    """Change rows as another process would."""
    with connected(place) as db:
        db.execute(sql, parameters)


def check(place: Place) -> None:
    """Assert the invariants, and on SQLite that the file is not damaged."""
    with connected(place) as db:
        check_invariants(db)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that a background task makes true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def check_invariants(db: Database) -> None:
    """Assert the invariants that hold in every database after every transition."""
    check_rows(db)
    if isinstance(db, sqlite3.Connection):
        check_file(db)


def check_rows(db: Database) -> None:
    _indexes_are_dense_and_unique(db)
    _rows_agree(db)


def check_file(db: sqlite3.Connection) -> None:
    """Assert that an SQLite file is not damaged."""
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert db.execute("PRAGMA foreign_key_check").fetchone() is None


def _indexes_are_dense_and_unique(db: Database) -> None:
    for conversation, following in db.execute(
        "SELECT id, next_index FROM conversations"
    ).fetchall():
        # A reply's index is used from the claim on, even if the reply left no message.
        given = db.execute(
            "SELECT idx FROM messages WHERE conversation_id = ? AND kind <> 'reply'"
            " AND idx IS NOT NULL UNION ALL"
            " SELECT reply_idx FROM turns WHERE conversation_id = ? AND reply_idx IS NOT NULL",
            (conversation, conversation),
        )
        assert sorted(row[0] for row in given) == list(range(following))


def _rows_agree(db: Database) -> None:
    contradictions = {
        "a question without its one turn": """
            SELECT messages.id FROM messages LEFT JOIN turns
            ON turns.id = turn_id AND turns.conversation_id = messages.conversation_id
            AND turns.epoch = messages.epoch WHERE kind = 'question' AND turns.id IS NULL""",
        "a turn without a question": """
            SELECT id FROM turns WHERE NOT EXISTS
            (SELECT 1 FROM messages
            WHERE turn_id = coalesce(turns.asks, turns.id) AND kind = 'question')""",
        "two waiting turns, or two held ones (a reply that is taken back does not count)": """
            SELECT conversation_id FROM turns
            WHERE state IN ('waiting', 'running') OR (state = 'concluded' AND display <> '')
            GROUP BY conversation_id, state = 'waiting' HAVING count(*) > 1""",
        "a bound turn with an unbound question, or the other way round": """
            SELECT messages.id FROM messages JOIN turns ON turns.id = turn_id
            WHERE (state = 'waiting') <> (idx IS NULL)""",
        "an unbound message of an epoch that is over": """
            SELECT messages.id FROM messages
            JOIN conversations ON conversations.id = conversation_id
            WHERE idx IS NULL AND messages.epoch <> conversations.epoch""",
        "a reply that is not as its turn says": """
            SELECT messages.id FROM messages JOIN turns ON turns.id = turn_id WHERE kind = 'reply'
            AND (idx IS DISTINCT FROM reply_idx OR messages.content IS DISTINCT FROM turns.content
                 OR messages.epoch <> turns.epoch)""",
        "content that was not kept": """
            SELECT id FROM turns WHERE content <> '' AND NOT EXISTS
            (SELECT 1 FROM messages WHERE turn_id = turns.id AND kind = 'reply')""",
        "what was erased": """
            SELECT id FROM messages WHERE erased_at IS NOT NULL
            AND (content <> '' OR coalesce(parts, '') <> '' OR coalesce(route, '{}') <> '{}')""",
        "a turn that was opened again after its newest attempt": """
            SELECT id FROM turns WHERE opened > attempt""",
        "a message of history or a reply with a link": """
            SELECT a.id FROM attachments a JOIN messages ON messages.id = a.message_id
            WHERE is_link = 1 AND kind <> 'question'""",
        "an attachment of an erased message": """
            SELECT a.id FROM attachments a JOIN messages ON messages.id = a.message_id
            WHERE erased_at IS NOT NULL""",
        "a file that no attachment has": """
            SELECT digest FROM files
            WHERE is_staged = 0 AND digest NOT IN (SELECT coalesce(digest, '') FROM attachments)""",
        "an attachment of a file that may be incomplete": """
            SELECT attachments.id FROM attachments JOIN files USING (digest) WHERE is_staged = 1""",
        "a file whose chunks are not its bytes": """
            SELECT digest FROM files WHERE is_staged = 0 AND size <> (SELECT
            coalesce(sum(length(data)), 0) FROM chunks WHERE file_id = files.id AND part = 0)""",
        "chunks that no file has and that are not discarded": """
            SELECT file_id FROM chunks WHERE file_id NOT IN (SELECT id FROM files)
            AND file_id NOT IN (SELECT file_id FROM discarded_files)""",
        "an address that is not needed any more": """
            SELECT id FROM attachments WHERE is_link = 0 AND locator <> '{}'
            AND (digest IS NOT NULL OR state <> 'pending')""",
        "a reply before its question": """
            SELECT messages.id FROM messages JOIN turns ON turn_id IN (turns.id, turns.asks)
            WHERE kind = 'question' AND idx >= reply_idx""",
        "a reply that is shown, and its turn is not, or the other way round": """
            SELECT messages.id FROM messages JOIN turns ON turns.id = turn_id
            WHERE kind = 'reply' AND messages.parked IS DISTINCT FROM turns.parked""",
        "an unfinished turn that is not shown": """
            SELECT id FROM turns WHERE parked IS NOT NULL AND state IN ('waiting', 'running')""",
        "what is parked with a later version": """
            SELECT id FROM messages WHERE parked > idx
            UNION ALL SELECT id FROM turns WHERE parked > reply_idx""",
        "a question whose versions are all parked with themselves, or several are not": """
            SELECT place FROM messages WHERE place IS NOT NULL GROUP BY conversation_id, place
            HAVING sum(CASE WHEN parked IS NULL OR parked <> idx THEN 1 ELSE 0 END) <> 1""",
        "the same of answers": """
            SELECT coalesce(asks, id) FROM turns WHERE reply_idx IS NOT NULL
            GROUP BY coalesce(asks, id)
            HAVING sum(CASE WHEN parked IS NULL OR parked <> reply_idx THEN 1 ELSE 0 END) <> 1
            AND count(*) > 1""",
    }
    for what, sql in contradictions.items():
        assert db.execute(sql).fetchall() == [], what


# ── the fixture of a schema ───────────────────────────────────────────────────────────────────
async def chat(path: Path) -> None:
    """Store one of each: an answered, running, concluded and waiting turn, and a reset."""
    async with SqliteStore.open(path, clock=ManualClock()) as store:
        done = await store.accept(said(2, route={"a": "b"}, attachments=()), [said(1, "so")])
        await answer_next(store, done.conversation)
        await store.accept(said(3, "and?", address=Address.FOLLOW_UP, author=BEN))
        running = await claim_next(store, done.conversation)
        await store.record_intent(running.fence, 0)
        await store.record_shown(running.fence, 0, channel="c1", message_id="r3")
        await store.record_intent(running.fence, 1)
        await store.accept(said(4, "well?", address=Address.FOLLOW_UP))
        over = await store.accept(said(5, where=key("t2")))
        concluded = await claim_next(store, over.conversation)
        await store.conclude(concluded.fence, ANSWER)
        await store.accept(said(6, where=key("t3")))
        await store.reset(key("t3"))
        await store.choose_model(key("t3"), "openai:gpt-5")
        await store.record_command("sim/w1/c1/m7")
        await _attach(store)


async def _attach(store: SqlStore) -> None:
    """Attach one file that was read, one that waits, one that was omitted, and a link."""
    files = [
        IncomingAttachment(name="a.txt", data=b"alpha", identity="F1"),
        IncomingAttachment(name="b.png", locator={"url": "https://files.example/b"}),
        IncomingAttachment(name="sticker", omission=Omission.UNSUPPORTED),
        IncomingAttachment(name="link", locator={"url": "https://example.com/"}, is_link=True),
    ]
    await store.accept(said(8, where=key("t4"), attachments=files))
    await store.reset(key("t4"))
    digest = hashlib.sha256(b"alpha").hexdigest()
    picture = ImagePart("image/png", b"dots", 2, 2)
    extract = Extract(kind=AttachmentKind.TEXT, media_type="text/plain", text="alpha")
    await store.attachments().save_extract(digest, replace(extract, images=(picture,)))


def dump(path: Path) -> str:
    """The database as a script, including the application id, which SQLite's dump omits."""
    with closing(sqlite3.connect(path)) as db:
        return "\n".join([*db.iterdump(), f"PRAGMA application_id = {APPLICATION_ID};", ""])


def main() -> None:
    newest = load(MIGRATIONS)[-1].name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fixture.db"
        asyncio.run(chat(path))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE migrations SET applied_at = 1000")
        (FIXTURES / f"{newest}.sql").write_text(dump(path), encoding="utf-8")
    sys.stdout.write(f"{FIXTURES / newest}.sql\n")


if __name__ == "__main__":
    main()

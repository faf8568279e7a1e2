"""The core's queries: their results, and the fact that each uses an index."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.common.clock import SystemClock
from bot.domain.attachments import (
    AttachmentKind,
    Download,
    Extract,
    IncomingAttachment,
    Omission,
)
from bot.domain.context import Summary
from bot.domain.conversations import ImagePart
from bot.domain.errors import CommandDone
from bot.domain.inbox import Address, Watermark
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.records import RecordScope
from bot.domain.spending import (
    Booking,
    BudgetLine,
    PeriodSpan,
    Quote,
    Reserved,
    Spender,
    UsageField,
    UsageQuery,
)
from bot.domain.turns import Claim
from bot.store import (
    attachment_contents,
    attachment_rows,
    budget_sums,
    commands,
    contexts,
    conversations,
    daily_usage,
    edits,
    files,
    message_views,
    messages,
    queries,
    spending,
    turns,
    watermarks,
    workload,
)
from bot.store.commands import COMMAND_SECONDS
from bot.store.database import Database
from bot.store.migrate import migrate
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.store_kit import (
    ANN,
    ANSWER,
    BEN,
    Place,
    answer_next,
    claim_next,
    key,
    opened,
    said,
)

UNFINISHED = re.compile(
    r"turns_unfinished|SCAN leftovers|SCAN here|attachments_pending|files_staged|discarded_files"
    r"|SCAN json_each|CONSTANT ROW|SCAN waiting|SCAN \(subquery"
    r"|model_requests_open"
)


async def test_history_is_read_newest_first_in_pages(store: SqlStore) -> None:
    for number in range(5):
        await store.accept(said(number, str(number)))
        await answer_next(store, 1)
    first = await store.history(1, epoch=1, before=10, limit=3)
    rest = await store.history(1, epoch=1, before=first[-1].index, limit=99)
    assert [row.index for row in (*first, *rest)] == list(range(9, -1, -1))
    assert [row.author for row in first] == [None, ANN, None]
    assert await store.history(1, epoch=1, before=0, limit=3) == []
    assert await store.history(2, epoch=1, before=10, limit=3) == []


async def test_history_leaves_out_erased_and_waiting_messages(
    store: SqlStore,
) -> None:
    for number in range(3):
        await store.accept(said(number, str(number)))
    await claim_next(store, 1)
    await store.accept(said(3, "not yet"))
    erase = "UPDATE messages SET erased_at = 1, content = '' WHERE idx = 1"
    await store._write(lambda db: db.execute(erase).rowcount)
    rows = await store.history(1, epoch=1, before=99, limit=9)
    assert [row.content for row in rows] == ["2", "0"]


async def test_unfinished_conversations_of_a_platform_are_sorted_by_their_oldest_turn(
    store: SqlStore,
) -> None:
    for number, thread in enumerate(("a", "b", "c")):
        await store.accept(said(number, where=key(thread)))
    await store.accept(said(9, where=key(platform="other")))
    await answer_next(store, 1)
    await claim_next(store, 2)
    await store.accept(said(10, where=key("a")))
    assert await store.list_unfinished("sim") == [2, 3, 1]
    assert await store.list_unfinished("other") == [4]
    assert await store.list_unfinished("nowhere") == []


async def test_the_load_tells_states_and_the_oldest_question_that_has_no_sign_of_a_reply(
    place: Place,
) -> None:
    clock = ManualClock(100.0)
    async with opened(place, clock=clock) as store:

        async def slack_and_discord() -> list[tuple[str, dict[str, int], float | None]]:
            load = await store.load()
            assert load.size > 4_096
            return [(each.platform, dict(each.by_state), each.oldest_at) for each in load.turns]

        assert await slack_and_discord() == []
        await store.accept(said(1, where=key("a", platform="slack")))
        await clock.advance(10)
        await store.accept(said(2, where=key("b", platform="slack")))
        await store.accept(said(3, where=key("c", platform="discord")))
        first = (await claim_next(store, 1)).fence
        assert await slack_and_discord() == [
            ("discord", {"waiting": 1}, 110.0),
            ("slack", {"running": 1, "waiting": 1}, 100.0),
        ]
        await store.record_intent(first, 0)
        assert (await slack_and_discord())[1][2] == 100.0
        await store.record_shown(first, 0, channel="c1", message_id="r1")
        assert (await slack_and_discord())[1][2] == 110.0
        await store.conclude(first, ANSWER)
        assert (await slack_and_discord())[1][1] == {"concluded": 1, "waiting": 1}
        await store.finish(first)
        await answer_next(store, 2)
        assert await slack_and_discord() == [("discord", {"waiting": 1}, 110.0)]


async def test_a_question_behind_a_reply_that_people_see_has_not_been_left_alone(
    place: Place,
) -> None:
    """If someone writes during a long answer, that is no reason to wake anyone."""
    async with opened(place, clock=ManualClock(100.0)) as store:

        async def oldest() -> float | None:
            (sim,) = (await store.load()).turns
            return sim.oldest_at

        await store.accept(said(1))
        fence = (await claim_next(store, 1)).fence
        await store.accept(said(2, address=Address.FOLLOW_UP))
        assert await oldest() == 100.0
        await store.record_intent(fence, 0)
        await store.record_shown(fence, 0, channel="c1", message_id="r1")
        assert await oldest() is None
        await store.conclude(fence, ANSWER)
        await store.finish(fence)
        assert await oldest() == 100.0


async def test_a_conversation_is_found_by_a_persons_message_and_by_a_page(
    store: SqlStore,
) -> None:
    await store.accept(said(1), [said(0, "before")])
    await store.accept(said(2, where=key("t2")))
    claim = await claim_next(store, 2)
    await store.record_intent(claim.fence, 0)
    await store.record_shown(claim.fence, 0, channel="thread/9", message_id="r1")
    sources = ("m0", "m1", "m2")
    found = [await store.conversation_of(f"sim/w1/c1/{source}") for source in sources]
    assert [conversation and conversation.id for conversation in found] == [1, 1, 2]
    page = await store.conversation_of("sim/w1/thread/9/r1")
    assert page is not None
    assert page.key == key("t2")
    assert await store.conversation_of("other/w1/c1/m1") is None
    await store.record_removal(claim.fence, 0)
    assert await store.conversation_of("sim/w1/thread/9/r1") is None


async def test_a_page_that_a_later_turn_took_over_belongs_to_that_turn(store: SqlStore) -> None:
    for number in (1, 2):
        await store.accept(said(number, where=key(f"t{number}")))
        fence = (await claim_next(store, number)).fence
        await store.record_shown(fence, 0, channel="c1", message_id="r1")
    found = await store.conversation_of("sim/w1/c1/r1")
    assert found is not None
    assert found.id == 2


async def test_recent_conversations_are_those_with_a_message_of_the_person_since_the_reset(
    place: Place,
) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        for number, thread in enumerate("abcde"):
            author = BEN if thread == "c" else ANN
            await store.accept(said(number, where=key(thread), author=author))
            await clock.advance(1)
        await store.accept(said(8, where=key("x", channel="c2")))
        await store.accept(said(9, where=key("b"), address=Address.FOLLOW_UP))
        await store.reset(key("d"))

        async def recent(person: str, limit: int) -> list[str]:
            found = await store.recent(key("any"), person, limit)
            return [conversation.key.thread for conversation in found]

        assert await recent("U1", 9) == ["b", "e", "a"]
        assert await recent("U1", 2) == ["b", "e"]
        assert await recent("U2", 9) == ["c"]
        assert await recent("U3", 9) == []


async def test_a_recorded_command_is_not_executed_again(store: SqlStore) -> None:
    await store.record_command("sim/w1/c1/m1")
    with pytest.raises(CommandDone):
        await store.record_command("sim/w1/c1/m1")
    await store.record_command("sim/w1/c1/m2")


async def test_the_record_of_a_command_is_kept_as_long_as_a_redelivery_is_possible(
    place: Place,
) -> None:
    """Older records are deleted, so that the table does not grow indefinitely."""
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        await store.record_command("old")
    await clock.advance(COMMAND_SECONDS - 1)
    async with opened(place, clock=clock) as store:
        with pytest.raises(CommandDone):
            await store.record_command("old")
        await store.record_command("new")
    await clock.advance(2)
    async with opened(place, clock=clock) as store:
        found = await store._read(lambda db: db.execute("SELECT source FROM commands").fetchall())
        assert [row["source"] for row in found] == ["new"]


async def test_readers_see_complete_turns_while_the_writer_writes(store: SqlStore) -> None:
    """A page of history never has a gap, and has everything acknowledged."""
    await store.accept(said(0))
    await answer_next(store, 1)
    done = asyncio.Event()
    newest = 0

    async def write() -> None:
        nonlocal newest
        for number in range(1, 60):
            await store.accept(said(number, str(number)))
            newest = (await answer_next(store, 1)).reply_index
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set():
            at_least = newest
            rows = await store.history(1, epoch=1, before=1_000, limit=1_000)
            indexes = [row.index for row in rows]
            assert indexes == list(range(indexes[0], -1, -1))
            assert indexes[0] >= at_least
            reads += 1
        return reads

    _, *counts = await asyncio.gather(write(), *(read() for _ in range(4)))
    assert min(counts) > 5


# ── indexes ───────────────────────────────────────────────────────────────────────────────────
def test_every_statement_uses_an_index(tmp_path: Path) -> None:
    """The cost grows with the result, not with the database (invariant 9)."""
    path = tmp_path / "store.db"
    migrate(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        use_everything(db)
        db.set_trace_callback(None)
        # FTS5 reads its underlying tables, one of which has a few rows in any database.
        others = ("--", "SELECT k, v FROM 'main'.'search_index_config'")
        plans = {sql: _plan(db, sql) for sql in statements if not sql.startswith(others)}
    assert len(plans) > 25
    for sql, plan in plans.items():
        # Complete scans are of an index of unfinished turns, attachments, deletions or requests, or
        # of a JSON parameter.
        wide = [step for step in plan if step.startswith("SCAN") or "(platform=?)" in step]
        assert all(UNFINISHED.search(step) for step in wide), (sql, plan)
        sorts = any("TEMP B-TREE" in step for step in plan)
        # Only the questions of a turn and the unfinished turns are sorted in memory. Both are few.
        assert not sorts or re.search(r"turn_id =|position <=|GROUP BY|state <> 'done'", sql), sql


def use_everything(db: Database) -> None:
    """Run the statements that the core runs often, on empty tables."""
    photo = IncomingAttachment(name="a.png", identity="F1", data=b"dots")
    link = IncomingAttachment(name="l", is_link=True, locator={"url": "https://example.com/"})
    messages.accept(db, 1.0, said(1, attachments=[photo, link]), [said(0, attachments=[photo])])
    messages.accept(db, 1.0, said(2, address=Address.ASIDE))
    claim = turns.claim(db, 1.0, 1)
    assert claim is not None
    _use_spending(db, claim)
    turns.claim(db, 1.0, 1)
    fence = turns.Fence(1, 2)
    turns.record_intent(db, fence, 0)
    turns.record_shown(db, 1.0, fence, 0, "c1", "r1")
    turns.record_removal(db, fence, 0)
    turns.conclude(db, 1.0, fence, ANSWER)
    turns.finish(db, 1.0, fence)
    messages.accept(db, SystemClock().time(), said(3))
    conversations.reset(db, 1.0, key())
    conversations.choose_model(db, 1.0, key(), "m")
    commands.record_command(db, 1.0, "s")
    turns.stop(db, 1.0, key(), None)
    queries.list_unfinished(db, "sim")
    workload.read(db)
    queries.history(db, 1, 1, 9, 20)
    _use_attachments(db, photo)
    _use_contexts(db)
    queries.find(db, key())
    queries.conversation_of(db, "s")
    queries.recent(db, key(), "U1", 5)
    watermarks.move(db, [Watermark("sim", "w1", "c1", 1), Watermark("sim", "w1", "", 2)])
    watermarks.read(db, "sim")
    watermarks.active(db, "sim", 5)
    watermarks.last_questions(db, "sim", 0.0, 5)
    watermarks.has_message_after(db, key(), 0)


def _use_spending(db: Database, claim: Claim) -> None:
    budget = Budget(name="b", scope=BudgetScope.PERSON, period=Period.DAY, tokens=1_000)
    line = BudgetLine(budget, "a", PeriodSpan("2026-11-30", 0.0))
    quote = Quote("m", 10, 10, 1, 1.0)
    spender = Spender(key(), ANN, claim.fence)
    for bookings in ([Booking("m", Usage(1, 999), 1)], []):
        reserved = spending.reserve(db, 1.0, spender, [line], quote, "2026-11-30")
        if isinstance(reserved, Reserved):
            spending.record_progress(db, reserved.id, "m", 5)
            spending.settle(db, reserved.id, bookings, [line])
    free = spending.reserve(db, 1.0, Spender(key(), ANN, claim.fence), [], quote, "2026-11-30")
    assert isinstance(free, Reserved)
    spending.settle_turn(db, claim.fence.turn)
    spending.settle_all(db)
    budget_sums.states(db, [line])
    daily_usage.usage(
        db, UsageQuery("2026-11-01", "2026-11-30", "sim", "w1", person="U1"), (), limit=1
    )
    channel = UsageQuery("2026-11-01", "2026-11-30", "sim", "w1", channel="c1")
    daily_usage.usage(db, channel, (UsageField.MODEL,), limit=9)
    daily_usage.usage(db, UsageQuery("2026-11-01"), (UsageField.DAY,), limit=9)
    spending.forget_person(db, "sim", "w1", "U1")
    message_views.latest(db, 1, 10)


def _use_contexts(db: Database) -> None:
    contexts.move_window(db, 1, epoch=1, start=1, stubs_before=1)
    contexts.record_told(db, 1, epoch=1, turn=1)
    contexts.forget_told(db, 1, turn=1)
    summary = Summary("They said hello.", 1, "m")
    contexts.save_summary(db, 1.0, 1, epoch=2, revision=0, summary=summary)
    contexts.read_state(db, 1, epoch=2, model="m")
    contexts.token_counts(db, "m", limit=5)
    contexts.cached_tokens(db, 1, epoch=2)
    contexts.count_messages(db, 1, epoch=2, start=0, before=9)
    conversations.undo_reset(db, 1.0, key(), None)


def _use_attachments(db: Database, photo: IncomingAttachment) -> None:
    digest = files.digest_of(b"dots")
    picture = ImagePart("image/png", b"dots", 2, 2)
    extract = Extract(kind=AttachmentKind.IMAGE, media_type="image/png", images=(picture,))
    edits.edit(db, 1.0, said(1).source, "x", 2.0, [photo])
    attachment_contents.save_bytes(db, 1.0, 1, digest, Download(b"dots"))
    attachment_contents.save_extract(db, digest, extract, files.next_part(db, digest))
    attachment_contents.delete_old_image_chunk(db, digest, 1)
    attachment_contents.read_extract(db, digest)
    attachment_contents.in_scope(db, "uid", RecordScope("sim", "w1"))
    attachment_contents.public(db, "uid")
    attachment_contents.omit(db, 9, Omission.GONE)
    attachment_rows.pending(db, "sim", 9)
    attachment_rows.of_messages(db, [1, 2])
    attachment_rows.records(db, [1, 2])
    attachment_rows.place(db, 1)
    files.read(db, digest)
    files.stage_chunk(db, 1.0, files.digest_of(b"more"), 4, 0, memoryview(b"more"))
    files.stage_image_chunk(db, digest, 9, 0, memoryview(b"more"))
    files.unstage(db, [files.digest_of(b"more")])
    files.unstage_all(db)
    files.purge_chunk(db)
    files.has_discarded(db)
    attachment_rows.delete(db, 1)


def _plan(db: sqlite3.Connection, sql: str) -> list[str]:
    return [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]


def test_history_uses_the_index_of_its_epoch(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        queries.history(db, 1, 1, 9, 20)
        db.set_trace_callback(None)
        plan, *attached = _plan(db, statements[0])
    assert attached[1:] == [  # the EXISTS, which reads no row of a file
        "SEARCH attachments USING COVERING INDEX sqlite_autoindex_attachments_2 (message_id=?)"
    ]
    assert (
        "USING INDEX messages_history (conversation_id=? AND epoch=? AND idx>? AND idx<?)" in plan
    )

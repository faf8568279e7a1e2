"""Windows, summaries and counts through the store's connections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.domain.context import ContextState, Summary, TokenCount
from bot.domain.inbox import Address
from bot.domain.model import Usage
from bot.store import contexts
from bot.store.store import SqlStore
from tests.support.store_kit import ANSWER, answer_next, key, look, opened, said


async def count(store: SqlStore, number: int, model: str, counted: int, thread: str) -> None:
    """Store a turn whose request had `counted` tokens, and twice as many by our estimate."""
    asked = await store.accept(said(number, where=key(thread)))
    result = replace(
        ANSWER, model=model, usage=Usage(counted, 1), estimated_tokens=2 * counted if counted else 0
    )
    await answer_next(store, asked.conversation, result if counted else ANSWER)


async def test_counts_are_read_by_conversation_and_by_model(store: SqlStore) -> None:
    await count(store, 1, "a", 10, "t1")
    await count(store, 2, "a", 20, "t2")
    await count(store, 3, "b", 30, "t1")
    await count(store, 4, "a", 0, "t1")  # no estimate
    contexts = store.contexts()
    state = await contexts.read_state(1, epoch=1, model="a")
    assert state.last == TokenCount(10, 20)
    assert (await contexts.read_state(1, epoch=1, model="c")).last is None
    assert await contexts.token_counts("a", limit=5) == [TokenCount(20, 40), TokenCount(10, 20)]
    assert await contexts.token_counts("a", limit=1) == [TokenCount(20, 40)]


async def test_nothing_is_stored_for_a_conversation_that_is_gone(store: SqlStore) -> None:
    contexts = store.contexts()
    await contexts.move_window(7, epoch=1, start=1, stubs_before=1)
    assert not await contexts.save_summary(7, epoch=1, revision=0, summary=Summary("x", 1, "m"))
    assert await contexts.read_state(7, epoch=1, model="a") == ContextState()


async def test_a_conversations_deletion_deletes_its_window_and_its_summary(
    store: SqlStore,
) -> None:
    await store.accept(said(1))
    await answer_next(store, 1)
    contexts = store.contexts()
    await contexts.move_window(1, epoch=1, start=1, stubs_before=1)
    assert await contexts.save_summary(1, epoch=1, revision=0, summary=Summary("x", 1, "m"))
    await store._write(lambda db: db.execute("DELETE FROM conversations").rowcount)
    left = await store._write(
        lambda db: db.execute(
            "SELECT (SELECT count(*) FROM summaries) + (SELECT count(*) FROM context_windows)"
        ).fetchone()[0]
    )
    assert left == 0


async def test_a_summary_of_text_that_was_edited_meanwhile_is_refused(store: SqlStore) -> None:
    await store.accept(said(1))
    await answer_next(store, 1)
    contexts = store.contexts()
    state = await contexts.read_state(1, epoch=1, model="a")
    await store.edit(said(1).source, "other words", 2.0)
    summary = Summary("x", 1, "m")
    assert not await contexts.save_summary(1, epoch=1, revision=state.revision, summary=summary)
    assert (await contexts.read_state(1, epoch=1, model="a")).summary is None


async def test_history_starts_at_the_window(store: SqlStore) -> None:
    for number in range(4):
        await store.accept(said(number, str(number), address=Address.MENTION))
    await answer_next(store, 1)
    rows = await store.history(1, epoch=1, start=2, before=9, limit=9)
    assert [row.content for row in rows] == ["Forty-two.", "3", "2"]


async def test_a_retry_of_the_reply_that_told_makes_the_sentence_due_again(
    store: SqlStore,
) -> None:
    """A retry of a later reply does not."""
    contexts, told = store.contexts(), []
    for number, tells in enumerate((True, False), 1):
        await store.accept(said(number, where=key()))
        await answer_next(store, 1, replace(ANSWER, tells_summary=tells))
        told.append((await contexts.read_state(1, epoch=1, model="a")).told)
        await store.reopen(key(), None)
        told.append((await contexts.read_state(1, epoch=1, model="a")).told)
        await answer_next(store, 1, replace(ANSWER, tells_summary=tells))
    assert told == [True, False, True, True]


async def test_a_server_that_counts_no_cached_tokens_is_not_one_that_counts_none(
    store: SqlStore,
) -> None:
    found = []
    for number, usage in enumerate((Usage(9, 1), Usage(9, 1, reports_cache=True)), 1):
        await store.accept(said(number))
        await answer_next(store, 1, replace(ANSWER, usage=usage))
        found.append(await store.contexts().read_cached_tokens(1, epoch=1))
    assert found == [None, 0]


async def test_the_last_count_of_a_conversation_is_found_by_an_index(tmp_path: Path) -> None:
    """If a model never answered here, or only long ago, the search scans neither these nor other
    turns."""
    async with opened(tmp_path / "store.db"):
        plan = look(
            tmp_path / "store.db",
            f"EXPLAIN QUERY PLAN {contexts._COUNTS} AND conversation_id = ?"
            " ORDER BY id DESC LIMIT 1",
            "m",
            1,
        )
    assert [row[3] for row in plan] == [
        "SEARCH turns USING INDEX turns_counted_here (conversation_id=? AND model=?)"
    ]

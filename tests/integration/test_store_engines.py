"""Store features that only this test runs on both engines: watermarks, rules, books, and their
reports."""

from __future__ import annotations

from bot.domain.conversations import ConversationKey, Effort
from bot.domain.inbox import Effect, Watermark
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, OverrideName, Period
from bot.domain.privacy import EVERYWHERE, AuditEntry, Person
from bot.domain.spending import (
    Booking,
    BudgetLine,
    NotReserved,
    PeriodSpan,
    Quote,
    Reserved,
    Spender,
    UsageField,
    UsageQuery,
)
from bot.domain.turns import Fence
from bot.privacy.forgetting import Forgetter
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.store_kit import (
    ANN,
    BEN,
    Place,
    answer_next,
    claim_next,
    key,
    look,
    opened,
    said,
)

LINE = BudgetLine(
    Budget(name="all", scope=BudgetScope.ALL, period=Period.DAY, tokens=1_000),
    account="everyone",
    period=PeriodSpan("2026-11-30", 0.0),
)
QUOTE = Quote("echo", input_tokens=100, max_output=390)


async def test_watermarks_never_go_down(store: SqlStore) -> None:
    marks = [Watermark("sim", "w1", channel, 5) for channel in ("", "c1")]
    await store.move_watermarks([*marks, Watermark("sim", "w1", "c2", 9)])
    await store.move_watermarks([Watermark("sim", "w1", "", 3), Watermark("sim", "w1", "c2", 7)])
    known = {(mark.channel, mark.position) for mark in await store.watermarks("sim")}
    assert known >= {("", 5), ("c2", 9)}
    await store.move_watermarks([Watermark("sim", "w1", "", 9)])  # covers the channels
    assert [(m.channel, m.position) for m in await store.watermarks("sim")] == [("", 9)]


async def test_what_a_start_looks_at(store: SqlStore) -> None:
    await store.accept(said(1))
    await answer_next(store, 1)
    await store.accept(said(2, author=BEN, where=key(platform="other")))
    assert [each.key for each in await store.active("sim", 9)] == [key()]
    [asked] = await store.last_questions("sim", -1.0, 9)
    assert (asked.message_id, asked.position) == ("m1", 1)
    assert await store.has_message_after(key(), 0)
    assert not await store.has_message_after(key(), 1)
    assert await store.has_several_workspaces()
    found = await store.recent_questions(0.0)
    assert {(each.key, each.author) for each in found} == {
        (key(), ANN.id),
        (key(platform="other"), BEN.id),
    }
    assert await store.suspects() == []
    assert await store.author_of(said(1).source) == ANN


async def test_choices_stops_and_pins(store: SqlStore) -> None:
    await store.accept(said(1))
    claim = await claim_next(store, 1)
    assert (await store.stop(key(), None)).effect is Effect.STOP
    assert (await claim_next(store, 1)).stopping
    changed = await store.choose_effort(key(), Effort.HIGH)
    assert changed is not None
    assert changed.effort is Effort.HIGH
    assert await store.privacy().pin(key(), pinned=True)
    await store.hold(claim.fence, held=False)


async def test_rules_of_administrators_and_their_audit(store: SqlStore) -> None:
    channel = ConversationKey("sim", "w1", "c1", "")
    rules = store.policies()
    await rules.set_override(channel, OverrideName.MODEL, "echo", by=ANN)
    await rules.set_override(channel, OverrideName.MODEL, "other", by=BEN)
    [override] = await rules.list_overrides()
    assert (override.value, override.set_by) == ("other", BEN)
    await rules.set_override(channel, OverrideName.MODEL, None, by=ANN)
    assert await rules.list_overrides() == []
    await store.audit().record(AuditEntry("conversation.read", channel, ANN.id, subject=BEN.id))
    entries = await store.audit().entries(after=1, since=0.0, limit=9)
    assert [(each.actor, each.details.get("after")) for each in entries] == [
        (BEN.id, "other"),
        (ANN.id, None),
        (ANN.id, None),
    ]


async def spend(store: SqlStore, fence: Fence | None, tokens: int) -> Reserved | NotReserved:
    spender = Spender(key=key(), author=ANN, fence=fence)
    found = await store.spending().reserve(spender, [LINE], QUOTE, "2026-11-30")
    if isinstance(found, Reserved):
        await store.spending().record_progress(found.id, "echo", 5)
        bookings = [
            Booking("echo", Usage(tokens, 1), 7, is_estimate=False),
            Booking("echo-mini", Usage(1, 1), None, is_estimate=True),
        ]
        await store.spending().settle(found.id, bookings, [LINE])
    return found


async def test_the_books_and_the_reports(place: Place) -> None:
    async with opened(place, clock=ManualClock()) as store:
        await store.accept(said(1))
        claim = await claim_next(store, 1)
        assert isinstance(await spend(store, claim.fence, 500), Reserved)
        assert isinstance(await spend(store, claim.fence, 500), Reserved)
        assert isinstance(await spend(store, claim.fence, 500), NotReserved)
        [state] = await store.spending().states([LINE])
        assert (state.spent, state.reserved) == (1_006, 0)
        query = UsageQuery(first_day="2026-11-01", last_day="2026-12-31")
        [total] = await store.spending().usage(query, (), limit=9)
        assert (total.requests, total.cost, total.unpriced) == (4, 14, 2)
        by_model = await store.spending().usage(query, (UsageField.MODEL,), limit=9)
        assert [(row.group, row.requests) for row in by_model] == [
            (("echo",), 2),
            (("echo-mini",), 2),
        ]
        assert await store.recent_questions(0.0)
        await store.privacy().erase_usage(key(), 4e9)
        assert look(place, "SELECT DISTINCT person FROM usage_by_day") == [("",)]


async def test_a_user_of_the_page_is_forgotten_as_a_workspace(place: Place) -> None:
    where = ConversationKey("web", ANN.id, "page", "t1")
    async with opened(place) as store:
        accepted = await store.accept(said(1, where=where))
        claim = await claim_next(store, accepted.conversation)
        spender = Spender(key=where, author=ANN, fence=claim.fence)
        found = await store.spending().reserve(spender, [], QUOTE, "2026-11-30")
        assert isinstance(found, Reserved)
        await store.spending().settle(found.id, [Booking("echo", Usage(1, 1), 1)], [])
        await store.record_command(f"web/{ANN.id}/page/m7")
        await store.erase(f"web/{ANN.id}/page/m8", with_reply=False)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        await forgetter.forget(Person("web", EVERYWHERE, ANN.id), by="admin", key=where)
    for table, column in (
        ("usage_by_day", "workspace"),
        ("model_requests", "workspace"),
        ("commands", "source"),
        ("conversations", "workspace"),
    ):
        assert look(place, f"SELECT 1 FROM {table} WHERE {column} LIKE ?", f"%{ANN.id}%") == []

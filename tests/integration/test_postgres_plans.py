"""PostgreSQL's plans with many rows: frequent statements never read a whole table."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from bot.domain.conversations import ConversationKey
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.privacy import Person
from bot.domain.records import EntryPosition, RecordScope
from bot.domain.spending import (
    Booking,
    BudgetLine,
    PeriodSpan,
    Quote,
    Reserved,
    Spender,
    UsageQuery,
)
from bot.store import (
    access,
    attachment_rows,
    contexts,
    conversations,
    daily_usage,
    edits,
    erasure,
    fairness,
    feedback,
    leases,
    message_views,
    overview,
    process,
    queries,
    retention,
    retries,
    sharing,
    spending,
    thread_list,
    turns,
    watermarks,
    workload,
)
from bot.store.database import Cursor, Database, Parameters
from bot.store.postgres import erasures
from bot.store.postgres.dialect import named_rows, register, translate
from bot.store.postgres.session import Session
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import ANN, ANSWER, key, said

_PLANNED = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE)\b")
_LARGE = re.compile(
    r"Seq Scan on (?:conversations|turns|messages|pages|attachments|files|model_requests|audit"
    r"|usage_by_day|budget_sums|commands|feedback|shares|share_messages|personal_defaults)\b"
)

# 2,000 conversations of ten messages. Triggers are off, because they would take most of the time.
_FILL = """
SET LOCAL session_replication_role = replica;
INSERT INTO conversations (platform, workspace, channel, thread, name, visibility, began_by_id,
    next_index, created_at, updated_at)
SELECT 'old', 'w' || n % 3, 'c' || n % 200, 't' || n, '', 'private', 'U' || n % 500, 20, n, n
FROM generate_series(1, 2000) AS n;
INSERT INTO turns (conversation_id, epoch, state, attempt, reply_idx, outcome, display, content,
    model, input_tokens, estimated_tokens, created_at, concluded_at)
SELECT c, 1, 'done', 1, k * 2 + 1, 'answered', 'd', 'd', 'm' || c % 3, 5, 5, c, c
FROM generate_series(1, 2000) AS c, generate_series(0, 4) AS k;
INSERT INTO messages (conversation_id, turn_id, epoch, idx, role, kind, content, author_id, source,
    channel, message_id, position, route, sent_at, created_at)
SELECT conversation_id, id, 1, reply_idx - 1, 'user', 'question', repeat('q', 80),
    'U' || conversation_id % 500, 'old/' || id, 'c', 'm' || id, id, '{}', id, id FROM turns;
INSERT INTO messages (conversation_id, turn_id, epoch, idx, role, kind, content, created_at)
SELECT conversation_id, id, 1, reply_idx, 'assistant', 'reply', 'd', id FROM turns;
INSERT INTO pages (turn_id, number, state, channel, message_id, source)
SELECT id, 0, 'shown', 'c', 'p' || id, 'old/p' || id FROM turns;
INSERT INTO files (digest, size, is_staged, created_at)
SELECT md5(n::text), 0, 0, 0 FROM generate_series(1, 5000) AS n;
INSERT INTO attachments (uid, message_id, number, identity, name, media_type, locator, transcript,
    is_link, is_paste, is_voice, digest, state, created_at)
SELECT n, n, 0, '', '', '', '{}', '', 0, 0, 0, md5(n::text), 'ready', 0
FROM generate_series(1, 5000) AS n;
INSERT INTO model_requests (state, purpose, turn_id, attempt, platform, workspace, channel, person,
    model, day, input_tokens, output_tokens, held_tokens, held_cost, sums, created_at)
SELECT 'settled', 'answer', id, 1, 'old', 'w' || id % 3, 'c', 'U' || id % 500, 'm', '2026-11-30',
    1, 1, 0, 0, '[]', id FROM turns;
INSERT INTO usage_by_day
SELECT 'old', 'w' || n % 3, 'U' || n, '2026-11-30', 'c' || n, 'm', 'answer',
    1, 0, 0, 1, 1, 0, 0, 0, 1
FROM generate_series(1, 5000) AS n;
INSERT INTO audit (at, action, platform, workspace, channel, actor, details)
SELECT n, 'a', 'old', 'w1', 'c', 'U1', '{}' FROM generate_series(1, 5000) AS n;
INSERT INTO feedback SELECT id, 'U' || id % 500, 'up', '', 1, 1 FROM turns;
INSERT INTO shares (uid, conversation_id, shared_by, messages, created_at, shared_at)
SELECT 'x' || id, id, 'U' || id % 500, 10, id, id FROM conversations;
INSERT INTO share_messages (share_id, message_id)
SELECT shares.id, messages.id FROM shares JOIN messages USING (conversation_id);
INSERT INTO personal_defaults SELECT 'old', 'U' || n, 'm', 1 FROM generate_series(1, 5000) AS n;
INSERT INTO commands SELECT 's' || n, n FROM generate_series(1, 5000) AS n;
INSERT INTO budget_sums (budget, account, period)
SELECT 'b' || n % 3, 'a' || n, '2026-11' FROM generate_series(1, 5000) AS n;
SET LOCAL session_replication_role = origin;
"""


class Explaining(Session):
    """Asks for the plan of each statement before running it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.raw = connection
        self.plans: dict[str, list[str]] = {}

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """Explain and run a statement."""
        if sql not in self.plans and _PLANNED.match(sql):
            rows = self.raw.execute(f"EXPLAIN {translate(sql)}".encode(), parameters).fetchall()
            self.plans[sql] = [row[0] for row in rows]
        return super().execute(sql, parameters)


_KEY = ConversationKey("old", "w1", "c1", "t1")
_CHANNEL, _ENTRY = RecordScope("old", "w1", "c1"), EntryPosition(False, 9.0, "u")
_MONTH = UsageQuery("2026-11-01", "2026-11-30", "old", "w1", person="U1")
_OFTEN: tuple[Callable[[Database], object], ...] = (
    partial(leases.look, platforms=["old"], process="p1", limit=32),
    partial(leases.release, process="p1"),
    leases.reap,
    process.suspects,
    partial(spending.settle_holder, process="p1"),
    partial(fairness.recent_questions, since=9_990.0),
    fairness.has_several_workspaces,
    workload.read,
    partial(overview.list_unfinished_turns, limit=10),
    partial(queries.list_unfinished, platform="old", process="p1"),
    partial(queries.is_busy, conversation=5),
    partial(queries.history, conversation=5, epoch=1, before=9, limit=9),
    partial(queries.history_from, conversation=5, epoch=1, start=0, before=9, limit=9),
    partial(queries.conversation_of, source="old/55"),
    partial(queries.conversation_of, source="old/p55"),
    partial(queries.recent, place=_KEY, author="U1", limit=5),
    partial(thread_list.entries, scope=_CHANNEL, archived=False, after=None, limit=100),
    partial(thread_list.entries, scope=_CHANNEL, archived=True, after=_ENTRY, limit=100),
    partial(thread_list.hidden, before=9.0, limit=100),
    partial(access.took_part, key=_KEY, person="U1"),
    partial(access.askers, key=_KEY, turn=None),
    partial(watermarks.active, platform="old", limit=9),
    partial(watermarks.last_questions, platform="old", since=1_990.0, limit=9),
    partial(contexts.read_state, conversation=5, epoch=1, model="m1"),
    partial(contexts.token_counts, model="m1", limit=9),
    partial(contexts.cached_tokens, conversation=5, epoch=1),
    partial(attachment_rows.pending, platform="old", limit=9),
    partial(attachment_rows.of_messages, messages=[1, 2, 3]),
    partial(feedback.votes, key=_KEY, person="U1"),
    partial(sharing.share, now=1.0, key=_KEY, person="U1"),
    partial(sharing.of_conversation, key=_KEY),
    partial(sharing.of_person, platform="old", person="U1", limit=9),
    partial(sharing.find, uid="x5"),
    partial(sharing.messages, uid="x5", after=-1, limit=9),
    partial(sharing.attachment, uid="x5", attachment="5"),
    partial(sharing.default_model, platform="old", person="U1"),
    partial(daily_usage.usage, query=_MONTH, by=(), limit=1),
    partial(message_views.latest, conversation=5, limit=9),
    partial(retention.old_conversations, before=1_000.0, after=9, limit=9),
    partial(retention.erase_step, now=1e9, conversation=7, before=5.0),
    partial(erasure.erase_in, now=1e9, conversation=9, person=Person("old", "w0", "U9"), until=1e9),
)


def _answer(db: Database) -> None:
    """Run everything that a question needs, from its message to the end; then edit and delete
    it."""
    accepted = erasures.accept(db, 1.0, said(1), [said(0)])
    claim = turns.claim(db, 1.0, accepted.conversation or 0, "p1")
    assert claim is not None
    budget = Budget(name="b1", scope=BudgetScope.PERSON, period=Period.DAY, tokens=1_000)
    line = BudgetLine(budget, "a1", PeriodSpan("2026-11", 0.0))
    spender = Spender(key(), ANN, claim.fence)
    reserved = spending.reserve(db, 1.0, spender, [line], Quote("m", 1, 1), "2026-11-30", "p1")
    assert isinstance(reserved, Reserved)
    spending.settle(db, reserved.id, [Booking("m", Usage(1, 1), None)], [line])
    turns.record_intent(db, claim.fence, 0)
    turns.record_shown(db, 1.0, claim.fence, 0, "c1", "r1")
    turns.conclude(db, 1.0, claim.fence, ANSWER)
    turns.finish(db, 1.0, claim.fence)
    retries.reopen(db, 1.0, key(), None, source="command")
    edits.edit(db, 1.0, said(1).source, "why not?", 2.0)
    edits.erase(db, 1.0, said(1).source, with_reply=True)
    conversations.reset(db, 1.0, key())
    conversations.undo_reset(db, 1.0, key(), None)


def test_what_runs_often_reads_no_large_table_as_a_whole(postgres: SharedServer) -> None:
    with (
        postgres.database() as url,
        psycopg.connect(url, row_factory=named_rows) as connection,
    ):
        register(connection)
        db = Explaining(connection)
        connection.execute(_FILL.encode())
        connection.execute("ANALYZE")
        _answer(db)
        for operation in _OFTEN:
            operation(db)
    assert len(db.plans) > 50
    scans = {sql: plan for sql, plan in db.plans.items() if any(map(_LARGE.search, plan))}
    assert scans == {}

"""Data that operators list: conversations, unfinished turns, and how far budgets are used.

Uses SQL that SQLite and PostgreSQL share, on a read-only connection that may be open while the bot
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.overview import ConversationFilter, ListedConversation
from bot.domain.spending import NEARLY_SPENT
from bot.domain.status import BudgetPeriod, BudgetStatus, TurnStatus
from bot.store import rows
from bot.store.database import Database, Row

_CONVERSATIONS = """
SELECT id, uid, platform, workspace, channel, thread, name, model, visibility, created_at,
    updated_at
FROM conversations
WHERE updated_at >= :since
    AND (:platform = '' OR platform = :platform)
    AND (:place = ''
        OR workspace = :place OR channel = :place OR thread = :place
        OR workspace || '/' || channel = :place OR channel || '/' || thread = :place
        OR workspace || '/' || channel || '/' || thread = :place)
    AND (:person = '' OR EXISTS (
        SELECT 1 FROM messages
        WHERE messages.conversation_id = conversations.id AND author_id = :person
    ))
ORDER BY updated_at DESC, id DESC
"""

_MESSAGES = (
    "SELECT count(*) AS messages FROM messages WHERE conversation_id = ? AND erased_at IS NULL"
)
_NEWEST_TURN = (
    "SELECT state, outcome, model FROM turns WHERE conversation_id = ? ORDER BY id DESC LIMIT 1"
)
# CROSS JOIN and the sum make SQLite start from the index of the few unfinished turns, not from all.
_UNFINISHED = """
SELECT turns.id, platform, state, attempt, turns.created_at
FROM turns
CROSS JOIN conversations
WHERE conversations.id = turns.conversation_id AND state <> 'done'
ORDER BY turns.id + 0
LIMIT ?
"""
_SUMS = """
SELECT budget, period, count(*) AS accounts, max(tokens) AS tokens, max(cost) AS cost,
    CAST(sum(CASE WHEN tokens >= :tokens THEN 1 ELSE 0 END) AS BIGINT) AS by_tokens,
    CAST(sum(CASE WHEN cost >= :cost THEN 1 ELSE 0 END) AS BIGINT) AS by_cost
FROM budget_sums
WHERE budget = :budget AND period = :period
GROUP BY budget, period
"""


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def conversations(db: Database, wanted: ConversationFilter, limit: int) -> list[ListedConversation]:
    """Up to `limit` conversations, the most recently active first."""
    values = {
        "since": wanted.since,
        "platform": wanted.platform,
        "place": wanted.place,
        "person": wanted.person,
    }
    # A single query sorts only once, however many names it takes to find the words. The words are
    # compared here, because SQLite's lower() only handles ASCII.
    matching = (row for row in db.execute(_CONVERSATIONS, values) if wanted.has_words(row["name"]))
    found = list(islice(matching, limit))
    return [_listed(db, row) for row in found]


def _listed(db: Database, row: Row) -> ListedConversation:
    (messages,) = db.execute(_MESSAGES, (row["id"],)).fetchall()[0]
    turn = db.execute(_NEWEST_TURN, (row["id"],)).fetchone()
    return ListedConversation(
        uid=row["uid"],
        key=ConversationKey(row["platform"], row["workspace"], row["channel"], row["thread"]),
        name=row["name"],
        visibility=row["visibility"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        messages=messages,
        model=row["model"],
        answered_by=None if turn is None else turn["model"],
        state="" if turn is None else turn["outcome"] or turn["state"],
    )


def find(db: Database, name: str, limit: int = 10) -> Sequence[tuple[str, Conversation]]:
    """Find conversations by key (PLATFORM/WORKSPACE/CHANNEL/THREAD) or by the beginning of their
    public id. Returns each with its public id."""
    parts = name.split("/", 3)
    if len(parts) == 4:
        found = db.execute(
            "SELECT * FROM conversations"
            " WHERE platform = ? AND workspace = ? AND channel = ? AND thread = ?",
            parts,
        )
    else:
        found = db.execute(
            "SELECT * FROM conversations WHERE uid >= ? AND uid < ? ORDER BY uid LIMIT ?",
            (name.lower(), f"{name.lower()}g", limit),  # g sorts after every digit of an id
        )
    return [(row["uid"], rows.conversation_from(row)) for row in found.fetchall()]


# ── status ────────────────────────────────────────────────────────────────────────────────────
def list_unfinished_turns(db: Database, limit: int) -> list[TurnStatus]:
    """The oldest turns that are waiting, running, or concluded but not completely shown."""
    return [
        TurnStatus(row["id"], row["platform"], row["state"], row["attempt"], row["created_at"])
        for row in db.execute(_UNFINISHED, (limit,)).fetchall()
    ]


def budget_statuses(db: Database, budgets: Sequence[BudgetPeriod]) -> list[BudgetStatus]:
    """How far budgets are used, the most used first. Unused budgets are left out."""
    found = [_budget_status(db, budget) for budget in budgets]
    used = [status for status in found if status is not None]
    return sorted(used, key=lambda status: -status.highest)


def _budget_status(db: Database, budget: BudgetPeriod) -> BudgetStatus | None:
    nearly = max(1, round(budget.limit * NEARLY_SPENT))
    values = {"budget": budget.name, "period": budget.span, "tokens": nearly, "cost": nearly}
    row = db.execute(_SUMS, values).fetchone()
    if row is None:
        return None
    return BudgetStatus(
        name=budget.name,
        scope=budget.scope,
        period=budget.period,
        accounts=row["accounts"],
        nearly_spent=row["by_cost" if budget.in_money else "by_tokens"],
        highest=row["cost" if budget.in_money else "tokens"] / max(1, budget.limit),
    )

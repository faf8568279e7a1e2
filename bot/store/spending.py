"""The books: reservations, what requests cost, and running sums for budgets and reports.

Invariants: a budget's sums are those of the requests that name them, so a check is one look-up for
each line, however many requests there were; a request counts in the period and on the day in which
it was reserved; a settled request never changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership
from bot.domain.model import Usage
from bot.domain.spending import (
    NEARLY_SPENT,
    Booking,
    BudgetLine,
    BudgetState,
    NotReserved,
    Quote,
    Refusal,
    Reserved,
    Spender,
    UsageField,
    UsageQuery,
    UsageRow,
)
from bot.store import rows
from bot.store.operations import Operations, reads, writes, writes_at

MOST_SUMS_DAYS = 70
"""Sums of older periods are deleted at a start: the longest period is a month."""

_SUM = (
    "SELECT id, tokens, cost, reserved_tokens, reserved_cost, told FROM budget_sums"
    " WHERE budget = ? AND account = ? AND period = ?"
)


# ── reserving ─────────────────────────────────────────────────────────────────────────────────
def reserve(
    db: sqlite3.Connection,
    now: float,
    spender: Spender,
    lines: Sequence[BudgetLine],
    quote: Quote,
    day: str,
) -> Reserved | NotReserved:
    _require(db, spender)
    held: NotReserved | None = None
    has_room = True
    for state in states(db, [line for line in lines if line.is_limit]):
        most = (quote.cost or 0) if state.line.in_money else quote.tokens
        has_room = has_room and state.spent + state.reserved + most < state.line.limit
        if state.spent >= state.line.limit:
            return NotReserved(Refusal.SPENT, state.line)
        if held is None and state.spent + state.reserved >= state.line.limit:
            held = NotReserved(Refusal.HELD, state.line)
    if held is not None:
        return held
    sums = [_hold(db, line, quote) for line in lines]
    values = _values(spender, quote, sums, day, now)
    return Reserved(rows.insert_row(db, "model_requests", values), has_room)


def _require(db: sqlite3.Connection, spender: Spender) -> None:
    """Raise LostOwnership if the attempt no longer holds the turn."""
    fence = spender.fence
    if fence is None:
        return
    found = db.execute(
        "SELECT 1 FROM turns WHERE id = ? AND attempt = ? AND state = 'running'",
        (fence.turn, fence.attempt),
    )
    if found.fetchone() is None:
        raise LostOwnership(f"attempt {fence.attempt} no longer holds turn {fence.turn}")


def _hold(db: sqlite3.Connection, line: BudgetLine, quote: Quote) -> int:
    """Add the request's highest cost to what is reserved of a line; returns the sum's id."""
    (identity,) = db.execute(
        "INSERT INTO budget_sums (budget, account, period, reserved_tokens, reserved_cost)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (budget, account, period) DO UPDATE SET"
        " reserved_tokens = reserved_tokens + excluded.reserved_tokens,"
        " reserved_cost = reserved_cost + excluded.reserved_cost RETURNING id",
        (line.budget.name, line.account, line.period.name, quote.tokens, quote.cost or 0),
    ).fetchall()[0]
    return int(identity)


def _values(
    spender: Spender, quote: Quote, sums: Sequence[int], day: str, now: float
) -> dict[str, object]:
    key, fence = spender.key, spender.fence
    return {
        "state": "reserved",
        "purpose": spender.purpose.value,
        "turn_id": None if fence is None else fence.turn,
        "attempt": 0 if fence is None else fence.attempt,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "person": "" if spender.author is None else spender.author.id,
        "model": quote.model,
        "day": day,
        "input_tokens": quote.input_tokens,
        "output_tokens": 0,
        "held_tokens": quote.tokens,
        "held_cost": quote.cost or 0,
        "input_cost": quote.input_cost,
        "output_price": quote.output_price,
        "sums": json.dumps(sums),
        "created_at": now,
    }


def record_progress(
    db: sqlite3.Connection, reservation: int, model: str, output_tokens: int
) -> None:
    db.execute(
        "UPDATE model_requests SET model = ?, output_tokens = ?"
        " WHERE id = ? AND state = 'reserved'",
        (model, output_tokens, reservation),
    )


# ── settling ──────────────────────────────────────────────────────────────────────────────────
def settle(
    db: sqlite3.Connection,
    reservation: int,
    bookings: Sequence[Booking],
    lines: Sequence[BudgetLine],
) -> list[BudgetState]:
    row = db.execute(
        "SELECT * FROM model_requests WHERE id = ? AND state = 'reserved'", (reservation,)
    ).fetchone()
    if row is None:
        return []
    _book(db, row, bookings)
    return _tell(db, lines) if bookings else []


def _book(db: sqlite3.Connection, row: sqlite3.Row, bookings: Sequence[Booking]) -> None:
    """Replace the reservation by the bookings: the first takes its row, others get their own."""
    tokens = sum(booking.usage.total_tokens for booking in bookings)
    cost = sum(booking.cost or 0 for booking in bookings)
    db.execute(
        "UPDATE budget_sums SET reserved_tokens = reserved_tokens - :held_tokens,"
        " reserved_cost = reserved_cost - :held_cost, tokens = tokens + :tokens,"
        " cost = cost + :cost WHERE id IN (SELECT value FROM json_each(:sums))",
        {
            "held_tokens": row["held_tokens"],
            "held_cost": row["held_cost"],
            "tokens": tokens,
            "cost": cost,
            "sums": row["sums"],
        },
    )
    db.execute("DELETE FROM model_requests WHERE id = ?", (row["id"],))
    for booking in bookings:
        values = dict(row) | _booked(booking)
        if booking is not bookings[0]:
            del values["id"]
        rows.insert_row(db, "model_requests", values)
        _count(db, row, booking)


def _booked(booking: Booking) -> dict[str, object]:
    usage = booking.usage
    return {
        "state": "settled",
        "model": booking.model,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost": booking.cost,
        "is_estimate": booking.is_estimate,
        "held_tokens": 0,
        "held_cost": 0,
        "input_cost": None,
        "output_price": None,
        "sums": "[]",
    }


_COUNTED = (
    "requests",
    "estimates",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
)
_ADD = ", ".join(f"{name} = {name} + excluded.{name}" for name in _COUNTED)
_KEYS = ("platform", "workspace", "person", "day", "channel", "model", "purpose")
_ADD_USAGE = (
    f"INSERT INTO usage_by_day ({', '.join((*_KEYS, *_COUNTED))})"  # noqa: S608 - our words
    f" VALUES ({', '.join(f':{name}' for name in (*_KEYS, *_COUNTED))})"
    f" ON CONFLICT ({', '.join(_KEYS)}) DO UPDATE SET {_ADD}"
)


def _count(db: sqlite3.Connection, row: sqlite3.Row, booking: Booking) -> None:
    """Add a booking to the usage of its day."""
    values = {name: row[name] for name in _KEYS} | _booked(booking)
    counts = {
        "requests": 1,
        "estimates": int(booking.is_estimate),
        "unpriced": int(booking.cost is None),
        "cost": booking.cost or 0,
    }
    db.execute(_ADD_USAGE, values | counts)


def _tell(db: sqlite3.Connection, lines: Sequence[BudgetLine]) -> list[BudgetState]:
    """The lines that are nearly spent and not told yet; they count as told."""
    nearly = []
    for line in lines:
        row = _find(db, line)
        if row is None or row["told"]:
            continue
        state = _state(line, row)
        if state.spent >= NEARLY_SPENT * line.limit:
            db.execute("UPDATE budget_sums SET told = 1 WHERE id = ?", (row["id"],))
            nearly.append(state)
    return nearly


# ── what a dead process left ──────────────────────────────────────────────────────────────────
def settle_turn(db: sqlite3.Connection, turn: int) -> None:
    """Settle what earlier attempts at a turn left. Part of a claim."""
    found = db.execute(
        "SELECT * FROM model_requests WHERE turn_id = ? AND state = 'reserved'", (turn,)
    )
    _settle_left(db, found.fetchall())


def settle_all(db: sqlite3.Connection) -> None:
    """Settle all reservations: at a start they are a dead process's."""
    _settle_left(db, db.execute("SELECT * FROM model_requests WHERE state = 'reserved'").fetchall())


def _settle_left(db: sqlite3.Connection, found: Iterable[sqlite3.Row]) -> None:
    """By estimate: the input counts as sent, and the answer as long as it was last known to be.

    A reservation is made directly before its request, so a request that was not sent is a rare
    one; counting it costs a person less than losing all others costs the operator.
    """
    for row in found:
        cost = None
        if row["input_cost"] is not None:
            cost = row["input_cost"] + round(row["output_price"] * row["output_tokens"])
        usage = Usage(row["input_tokens"], row["output_tokens"])
        _book(db, row, [Booking(row["model"], usage, cost, is_estimate=True)])


def forget_old_sums(db: sqlite3.Connection, now: float) -> None:
    """Delete the sums of periods that ended long ago. Part of a start."""
    (before,) = db.execute(
        "SELECT date(?, 'unixepoch', ?)", (now, f"-{MOST_SUMS_DAYS} days")
    ).fetchone()
    db.execute(
        "DELETE FROM budget_sums WHERE period < ? AND reserved_tokens = 0", (str(before)[:7],)
    )


# ── privacy ───────────────────────────────────────────────────────────────────────────────────
def forget_person(db: sqlite3.Connection, platform: str, workspace: str, person: str) -> None:
    """Erase the person's id from the books; the sums of channels and workspaces stay.

    What they used counts as no one's. Their budgets' sums have no id: see `account_of`.
    """
    place = (platform, workspace, person)
    db.execute(
        "UPDATE model_requests SET person = '' WHERE platform = ? AND workspace = ? AND person = ?"
        " AND person <> ''",
        place,
    )
    found = db.execute(
        "SELECT * FROM usage_by_day WHERE platform = ? AND workspace = ? AND person = ?", place
    ).fetchall()
    for row in found:
        db.execute(_ADD_USAGE, dict(row) | {"person": ""})
    db.execute(
        "DELETE FROM usage_by_day WHERE platform = ? AND workspace = ? AND person = ?", place
    )


def rename_workspace(db: sqlite3.Connection, platform: str, workspace: str, name: str) -> None:
    """Give a workspace that is named after an erased person another name."""
    for table in ("model_requests", "usage_by_day"):
        db.execute(
            f"UPDATE {table} SET workspace = ? WHERE platform = ? AND workspace = ?",  # noqa: S608
            (name, platform, workspace),
        )


def forget_channel(
    db: sqlite3.Connection, key: ConversationKey, before_day: str, before: float
) -> None:
    """Erase who used what in a channel until then; the channel's sums stay."""
    place = (key.platform, key.workspace, key.channel)
    where = "platform = ? AND workspace = ? AND channel = ? AND person <> ''"
    db.execute(
        f"UPDATE model_requests SET person = '' WHERE {where} AND created_at < ?",  # noqa: S608
        (*place, before),
    )
    old = f"FROM usage_by_day WHERE {where} AND day < ?"
    for row in db.execute(f"SELECT * {old}", (*place, before_day)).fetchall():
        db.execute(_ADD_USAGE, dict(row) | {"person": ""})
    db.execute(f"DELETE {old}", (*place, before_day))


# ── queries ───────────────────────────────────────────────────────────────────────────────────
def states(db: sqlite3.Connection, lines: Sequence[BudgetLine]) -> list[BudgetState]:
    return [_state(line, _find(db, line)) for line in lines]


def _find(db: sqlite3.Connection, line: BudgetLine) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(
        _SUM, (line.budget.name, line.account, line.period.name)
    ).fetchone()
    return row


def _state(line: BudgetLine, row: sqlite3.Row | None) -> BudgetState:
    if row is None:
        return BudgetState(line, 0, 0)
    unit = "cost" if line.in_money else "tokens"
    return BudgetState(line, row[unit], row[f"reserved_{unit}"])


def usage(
    db: sqlite3.Connection, query: UsageQuery, by: Sequence[UsageField], *, limit: int
) -> list[UsageRow]:
    exact = {
        "platform": query.platform,
        "workspace": query.workspace,
        "channel": query.channel,
        "person": query.person,
    }
    given = {name: value for name, value in exact.items() if value is not None}
    where = " AND ".join(("day BETWEEN :first AND :last", *(f"{name} = :{name}" for name in given)))
    group = ", ".join(field.value for field in by)
    sums = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in _COUNTED)
    found = db.execute(
        f"SELECT {f'{group}, ' if group else ''}{sums} FROM usage_by_day WHERE {where}"  # noqa: S608
        f"{f' GROUP BY {group} ORDER BY {group}' if group else ''} LIMIT :limit",
        given | {"first": query.first_day, "last": query.last_day, "limit": limit},
    )
    return [_usage_row(row, by) for row in found]


def _usage_row(row: sqlite3.Row, by: Sequence[UsageField]) -> UsageRow:
    return UsageRow(
        group=tuple(row[field.value] for field in by),
        requests=row["requests"],
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cached_tokens=row["cached_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
        ),
        cost=row["cost"],
        estimates=row["estimates"],
        unpriced=row["unpriced"],
    )


class SqliteSpending(Operations):
    """Implements `bot.ports.spending.SpendingStore`."""

    reserve = writes_at(reserve)
    record_progress = writes(record_progress)
    settle = writes(settle)
    states = reads(states)
    usage = reads(usage)

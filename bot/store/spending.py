"""The books: what each request to a model has reserved, and what it cost.

Invariants: a request counts towards the period and the day in which it was reserved; a settled
request never changes. The sums of budgets are in `budget_sums`, those of reports in `daily_usage`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.domain.conversations import ConversationKey
from bot.domain.errors import LostOwnership
from bot.domain.model import Usage
from bot.domain.spending import (
    Booking,
    BudgetLine,
    BudgetState,
    NotReserved,
    Quote,
    Refusal,
    Reserved,
    Spender,
)
from bot.store import budget_sums, daily_usage, locks, rows
from bot.store.database import Database, Row
from bot.store.operations import Operations, reads, writes, writes_at


# ── reserving ─────────────────────────────────────────────────────────────────────────────────
def reserve(
    db: Database,
    now: float,
    spender: Spender,
    lines: Sequence[BudgetLine],
    quote: Quote,
    day: str,
    process: str | None = None,
) -> Reserved | NotReserved:
    _require(db, spender)
    held: NotReserved | None = None
    has_room = True
    for state in budget_sums.states(db, [line for line in lines if line.is_limit]):
        most = (quote.cost or 0) if state.line.in_money else quote.tokens
        has_room = has_room and state.spent + state.reserved + most < state.line.limit
        if state.spent >= state.line.limit:
            return NotReserved(Refusal.SPENT, state.line)
        if held is None and state.spent + state.reserved >= state.line.limit:
            held = NotReserved(Refusal.HELD, state.line)
    if held is not None:
        return held
    sums = [budget_sums.hold(db, line, quote) for line in lines]
    values = _values(spender, quote, sums, day, now) | {"holder": process}
    return Reserved(rows.insert_row(db, "model_requests", values), has_room)


def _require(db: Database, spender: Spender) -> None:
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


def record_progress(db: Database, reservation: int, model: str, output_tokens: int) -> None:
    db.execute(
        "UPDATE model_requests SET model = ?, output_tokens = ?"
        " WHERE id = ? AND state = 'reserved'",
        (model, output_tokens, reservation),
    )


# ── settling ──────────────────────────────────────────────────────────────────────────────────
def settle(
    db: Database,
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
    daily_usage.count(db, [(row, booking) for booking in bookings])
    return budget_sums.tell(db, lines) if bookings else []


def _book(db: Database, row: Row, bookings: Sequence[Booking]) -> None:
    """Replace the reservation with the bookings: the first takes over its row, the others get new
    rows."""
    budget_sums.replace_hold(db, row, bookings)
    db.execute("DELETE FROM model_requests WHERE id = ?", (row["id"],))
    for booking in bookings:
        values = dict(row) | _booked(booking)
        if booking is not bookings[0]:
            del values["id"]
        rows.insert_row(db, "model_requests", values)


def _booked(booking: Booking) -> dict[str, object]:
    return {
        "state": "settled",
        "model": booking.model,
        **daily_usage.columns_of(booking.usage),
        "cost": booking.cost,
        "is_estimate": booking.is_estimate,
        "held_tokens": 0,
        "held_cost": 0,
        "input_cost": None,
        "output_price": None,
        "sums": "[]",
    }


# ── what a dead process left ──────────────────────────────────────────────────────────────────
# A turn is settled beside other transactions, with the locks of its budgets. A process is settled
# alone, without them: PostgreSQL may have no room for the locks of all its budgets.
def settle_turn(db: Database, turn: int) -> None:
    """Settle what earlier attempts at a turn left open. Part of a claim."""
    found = db.execute(
        "SELECT * FROM model_requests WHERE turn_id = ? AND state = 'reserved'", (turn,)
    ).fetchall()
    budget_sums.take_locks_of(db, found)
    _settle_left(db, found)


def settle_all(db: Database) -> None:
    """Settle all reservations. At a start they belong to a dead process."""
    _settle_left(db, db.execute("SELECT * FROM model_requests WHERE state = 'reserved'").fetchall())


def settle_holder(db: Database, process: str) -> None:
    """Settle the reservations of a process that has died."""
    found = db.execute(
        "SELECT * FROM model_requests WHERE state = 'reserved' AND holder = ?", (process,)
    )
    _settle_left(db, found.fetchall())


def _settle_left(db: Database, found: Sequence[Row]) -> None:
    """Settle by estimate: the input counts as sent, and the answer with its last known length.

    A reservation is made directly before its request, so a request that was not sent is rare.
    Charging a person for it costs them less than losing all other requests would cost the operator.
    """
    booked: list[tuple[Row, Booking]] = []
    for row in found:
        cost = None
        if row["input_cost"] is not None:
            cost = row["input_cost"] + round(row["output_price"] * row["output_tokens"])
        usage = Usage(row["input_tokens"], row["output_tokens"])
        booking = Booking(row["model"], usage, cost, is_estimate=True)
        _book(db, row, [booking])
        booked.append((row, booking))
    daily_usage.count(db, booked)


# ── privacy ───────────────────────────────────────────────────────────────────────────────────
def forget_person(db: Database, platform: str, workspace: str, person: str) -> None:
    """Erase the person's id from the books; the sums of channels and workspaces stay.

    Their usage becomes anonymous. The sums of their budgets contain no id: see `account_of`.
    """
    place = (platform, workspace, person)
    db.execute(
        "UPDATE model_requests SET person = '' WHERE platform = ? AND workspace = ? AND person = ?"
        " AND person <> ''",
        place,
    )
    daily_usage.forget_person(db, *place)


def rename_workspace(db: Database, platform: str, workspace: str, name: str) -> None:
    """Rename a workspace that is named after an erased person."""
    for table in ("model_requests", "usage_by_day"):
        db.execute(
            f"UPDATE {table} SET workspace = ? WHERE platform = ? AND workspace = ?",  # noqa: S608
            (name, platform, workspace),
        )


def forget_channel(db: Database, key: ConversationKey, before_day: str, before: float) -> None:
    """Erase the record of who used what in a channel before then; the channel's sums stay."""
    place = (key.platform, key.workspace, key.channel)
    db.execute(
        "UPDATE model_requests SET person = '' WHERE platform = ? AND workspace = ? AND channel = ?"
        " AND person <> '' AND created_at < ?",
        (*place, before),
    )
    daily_usage.forget_channel(db, key, before_day)


class SqlSpending(Operations):
    """Implements `bot.ports.spending.SpendingStore`."""

    _reserve = writes_at(reserve, lock=locks.by_spender)

    async def reserve(
        self, spender: Spender, lines: Sequence[BudgetLine], quote: Quote, day: str
    ) -> Reserved | NotReserved:
        """See the port. If the process dies, its request is settled by estimate."""
        return await self._reserve(spender, lines, quote, day, self.process)

    record_progress = writes(record_progress, lock=locks.nothing)
    settle = writes(settle, lock=locks.by_reservation)
    states = reads(budget_sums.states)
    usage = reads(daily_usage.usage)

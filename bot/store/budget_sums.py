"""The running sums of budgets: the spent and reserved amounts of each line.

Invariant: a line's sums match the requests that name it, so a check needs one look-up per line,
however many requests there were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.domain.spending import (
    NEARLY_SPENT,
    Booking,
    BudgetLine,
    BudgetState,
    Quote,
)
from bot.store import rows
from bot.store.database import Database, Locking, Row, batches, marks, take_locks

MOST_SUMS_DAYS = 70
"""Sums of older periods are deleted at a start; the longest period is a month."""

_SUM = (
    "SELECT id, tokens, cost, reserved_tokens, reserved_cost, told FROM budget_sums"
    " WHERE budget = ? AND account = ? AND period = ?"
)


def lock_name(budget: str, account: str, period: str) -> str:
    """The name of the lock on one budget's sum, which is taken before the row; see
    `bot.store.locks`."""
    return f"budget/{budget}/{account}/{period}"


def take_locks_of(db: Database, requests: Sequence[Row]) -> None:
    """Lock all sums in which these requests have reserved something."""
    sums = sorted({each for row in requests for each in json.loads(row["sums"])})
    if not sums or not isinstance(db, Locking):
        return
    names: set[str] = set()
    for some in batches(sums):
        found = db.execute(
            f"SELECT budget, account, period FROM budget_sums WHERE id IN ({marks(some)})",  # noqa: S608
            tuple(some),
        )
        names.update(lock_name(*row) for row in found)
    take_locks(db, *sorted(names))


def hold(db: Database, line: BudgetLine, quote: Quote) -> int:
    """Add the request's highest cost to the reserved amount of a line, and return the sum's id."""
    (identity,) = db.execute(
        "INSERT INTO budget_sums (budget, account, period, reserved_tokens, reserved_cost)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (budget, account, period) DO UPDATE SET"
        " reserved_tokens = budget_sums.reserved_tokens + excluded.reserved_tokens,"
        " reserved_cost = budget_sums.reserved_cost + excluded.reserved_cost RETURNING id",
        (line.budget.name, line.account, line.period.name, quote.tokens, quote.cost or 0),
    ).fetchall()[0]
    return int(identity)


def replace_hold(db: Database, row: Row, bookings: Sequence[Booking]) -> None:
    """Replace what the request of `row` has reserved with the cost of its bookings."""
    sums = json.loads(row["sums"])
    if not sums:
        return
    tokens = sum(booking.usage.total_tokens for booking in bookings)
    cost = sum(booking.cost or 0 for booking in bookings)
    db.execute(
        "UPDATE budget_sums SET reserved_tokens = reserved_tokens - ?,"  # noqa: S608 - our words
        " reserved_cost = reserved_cost - ?, tokens = tokens + ?,"
        f" cost = cost + ? WHERE id IN ({marks(sums)})",
        (row["held_tokens"], row["held_cost"], tokens, cost, *sums),
    )


def tell(db: Database, lines: Sequence[BudgetLine]) -> list[BudgetState]:
    """The lines that are nearly spent and not reported yet; marks them as reported."""
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


def forget_old_sums(db: Database, now: float) -> None:
    """Delete the sums of periods that ended long ago. Runs at a start."""
    month = rows.day_of(now - MOST_SUMS_DAYS * 86_400.0)[:7]
    db.execute("DELETE FROM budget_sums WHERE period < ? AND reserved_tokens = 0", (month,))


def states(db: Database, lines: Sequence[BudgetLine]) -> list[BudgetState]:
    return [_state(line, _find(db, line)) for line in lines]


def _find(db: Database, line: BudgetLine) -> Row | None:
    row: Row | None = db.execute(
        _SUM, (line.budget.name, line.account, line.period.name)
    ).fetchone()
    return row


def _state(line: BudgetLine, row: Row | None) -> BudgetState:
    if row is None:
        return BudgetState(line, 0, 0)
    unit = "cost" if line.in_money else "tokens"
    return BudgetState(line, row[unit], row[f"reserved_{unit}"])

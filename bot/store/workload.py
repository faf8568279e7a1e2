"""How much there is to do, for the person on call: counts and ages of unfinished turns, and of what
the platforms did not remove yet."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

from bot.domain.operation import LeftoverCount, PlatformTurns
from bot.store.database import Database

# CROSS JOIN makes SQLite begin with the index of the few unfinished turns.
_UNFINISHED = """
SELECT
    platform,
    state,
    count(*) AS turns,
    min(
        CASE WHEN conversation_id NOT IN (
            SELECT conversation_id FROM turns
            CROSS JOIN pages
            WHERE pages.turn_id = turns.id AND turns.state <> 'done' AND pages.state = 'shown'
        ) THEN (
            SELECT min(messages.created_at) FROM messages
            WHERE messages.turn_id = turns.id AND kind = 'question' AND erased_at IS NULL
        ) END
    ) AS oldest_at
FROM turns
JOIN conversations ON conversations.id = turns.conversation_id
WHERE state <> 'done'
GROUP BY platform, state
"""

_LEFTOVERS = """
SELECT platform, kind, count(*), min(leftovers.created_at)
FROM leftovers
CROSS JOIN conversations
WHERE conversations.id = conversation_id
GROUP BY platform, kind
ORDER BY platform, kind
"""


def read(db: Database) -> tuple[tuple[PlatformTurns, ...], tuple[LeftoverCount, ...]]:
    """The unfinished turns, and the leftovers."""
    return unfinished(db), leftovers(db)


def leftovers(db: Database) -> tuple[LeftoverCount, ...]:
    """The leftovers of each platform, counted; the table is empty most of the time."""
    return tuple(LeftoverCount(*row) for row in db.execute(_LEFTOVERS))


def unfinished(db: Database) -> tuple[PlatformTurns, ...]:
    """Each platform's turns that are waiting, running, or concluded and not shown completely.

    A question that waits for the end of a reply of which people see something is not among the
    oldest.

    Costs a few look-ups for each of them, however long the history is.
    """
    states: defaultdict[str, dict[str, int]] = defaultdict(dict)
    oldest: defaultdict[str, list[float]] = defaultdict(list)
    for row in db.execute(_UNFINISHED):
        states[row["platform"]][row["state"]] = row["turns"]
        if row["oldest_at"] is not None:
            oldest[row["platform"]].append(row["oldest_at"])
    return tuple(
        PlatformTurns(platform, by_state, min(oldest[platform], default=None))
        for platform, by_state in sorted(states.items())
    )


def file_size(path: Path, _: Database) -> int:
    """The bytes of the SQLite file at `path` and of its write-ahead log."""
    size = 0
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(OSError):
            size += file.stat().st_size
    return size

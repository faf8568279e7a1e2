"""The workload, for the person on call: counts and ages of unfinished turns and of leftovers."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

from bot.domain.operation import LeftoverCount, PlatformTurns
from bot.store.database import Database

# CROSS JOIN makes SQLite start from the index of the few unfinished turns.
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
SELECT coalesce(leftovers.platform, conversations.platform) AS shown_on, kind, count(*),
    min(leftovers.created_at)
FROM leftovers LEFT JOIN conversations ON conversations.id = conversation_id
GROUP BY shown_on, kind
ORDER BY shown_on, kind
"""


def read(db: Database) -> tuple[tuple[PlatformTurns, ...], tuple[LeftoverCount, ...]]:
    """The unfinished turns, and the leftovers."""
    return unfinished(db), leftovers(db)


def leftovers(db: Database) -> tuple[LeftoverCount, ...]:
    """The leftovers of each platform, counted; the table is empty most of the time."""
    return tuple(LeftoverCount(*row) for row in db.execute(_LEFTOVERS))


def unfinished(db: Database) -> tuple[PlatformTurns, ...]:
    """Each platform's turns that are waiting, running, or concluded but not completely shown.

    A question that waits while people already see a part of a running reply does not count as the
    oldest.

    Does a few look-ups for each unfinished turn, however long the history is.
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
    """The size in bytes of the SQLite file at `path` and its write-ahead log."""
    size = 0
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(OSError):
            size += file.stat().st_size
    return size

"""A transaction on PostgreSQL, as the operations see it: a Database that also takes locks.

Invariant: every transaction that writes holds the store's lock, shared or alone, so that what runs
alone runs beside no other. See `bot.store.locks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from bot.domain.conversations import ConversationKey
from bot.store.database import Cursor, Parameters
from bot.store.locks import Locks
from bot.store.postgres.dialect import translate

# Two numbers, as names use one: the locks of both kinds are apart. The first is "Thrd".
_STORE = "1416131172, 1"
SHARED = f"pg_advisory_xact_lock_shared({_STORE})"
ALONE = f"pg_advisory_xact_lock({_STORE})"

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))"
_NAMES = f"{_LOCK} FROM unnest(%s::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place"

_CONVERSATION = (
    f"{_LOCK} FROM (SELECT 'conversation/' || platform || '/' || workspace || '/' || channel"  # noqa: S608
    " || '/' || thread AS name FROM conversations WHERE id = {row}) AS conversation"
)
_ROWS = {
    "id": "%s",
    "uid": "(SELECT id FROM conversations WHERE uid = %s)",
    "turn": "(SELECT conversation_id FROM turns WHERE id = %s)",
    "request": (
        "(SELECT conversation_id FROM turns JOIN model_requests ON turn_id = turns.id"
        " WHERE model_requests.id = %s)"
    ),
    "attachment": (
        "(SELECT conversation_id FROM attachments"
        " JOIN messages ON messages.id = attachments.message_id WHERE attachments.id = %s)"
    ),
    "source": (
        "coalesce((SELECT conversation_id FROM messages WHERE source = %s),"
        " (SELECT conversation_id FROM pages JOIN turns ON turns.id = turn_id"
        "  WHERE source = %s ORDER BY turn_id DESC LIMIT 1))"
    ),
}
_BY = {column: _CONVERSATION.format(row=row) for column, row in _ROWS.items()}
# By the other columns, a conversation cannot begin to be found: sources are locked themselves.
_MUST_FIND = (_BY["id"], _BY["uid"])
_PAGE = (
    f"{_LOCK} FROM (SELECT 'source/' || platform || '/' || workspace || '/' || %s || '/' || %s"  # noqa: S608
    " AS name FROM conversations"
    " WHERE id = (SELECT conversation_id FROM turns WHERE id = %s)) AS page"
)


class Session:
    """A transaction. Implements `Database` and `Locking`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """See `Database`."""
        return self._connection.execute(translate(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> None:
        """See `Database`."""
        rows = list(parameters)
        with self._connection.cursor() as cursor:
            if len(rows) > 1:
                cursor.executemany(translate(sql), rows)
            elif rows:
                cursor.execute(translate(sql), rows[0])

    def lock(self, *names: str) -> None:
        """See `Locking`."""
        self._connection.execute(_NAMES, (list(names),))


class LockPlan:
    """The locks of a transaction, in their order. Implements `Locker`: collects statements."""

    def __init__(self, locks: Locks) -> None:
        self.alone = False
        self._names: list[str] = []
        self._statements: list[tuple[str, Sequence[object]]] = []
        locks(self)
        self._flush()

    def everything(self) -> None:
        """See `Locker`."""
        self.alone = True

    def names(self, *names: str) -> None:
        """See `Locker`."""
        self._names += names

    def conversation(self, key: ConversationKey) -> None:
        """See `Locker`."""
        self.names(f"conversation/{key.platform}/{key.workspace}/{key.channel}/{key.thread}")

    def conversation_with(self, column: str, value: object) -> None:
        """See `Locker`."""
        self._add(_BY[column], (value,) * _BY[column].count("%s"))

    def page_source(self, turn: int, channel: str, message_id: str) -> None:
        """See `Locker`."""
        self._add(_PAGE, (channel, message_id, turn))

    def _add(self, statement: str, parameters: Sequence[object]) -> None:
        self._flush()
        self._statements.append((statement, parameters))

    def _flush(self) -> None:
        """Lock the collected names with one statement."""
        if self._names:
            self._statements.append((_NAMES, (self._names,)))
            self._names = []

    def take(self, connection: psycopg.Connection[Any]) -> bool:
        """Wait for the locks; the transaction has begun, with the store's lock.

        Returns False if there is no such conversation: it could be created before the transition
        looks, so the transition must run alone.
        """
        if self.alone:
            return True
        for statement, parameters in self._statements:
            found = connection.execute(statement, parameters)
            if statement in _MUST_FIND and not found.rowcount:
                self.alone = True
                return False
        return True

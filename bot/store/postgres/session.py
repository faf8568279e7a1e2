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

_NAMES = (
    "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))"
    " FROM unnest(%s::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place"
)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended({name}, 0))"
_CONVERSATION = (  # noqa: S608 - our words and literals
    _LOCK.format(name="name") + " FROM (SELECT 'conversation/' || platform || '/' || workspace"
    " || '/' || channel || '/' || thread AS name FROM conversations WHERE id = {row})"
    " AS conversation"
)
_ROWS = {
    "id": "{value}",
    "uid": "(SELECT id FROM conversations WHERE uid = {value})",
    "turn": "(SELECT conversation_id FROM turns WHERE id = {value})",
    "request": (
        "(SELECT conversation_id FROM turns JOIN model_requests ON turn_id = turns.id"
        " WHERE model_requests.id = {value})"
    ),
    "attachment": (
        "(SELECT conversation_id FROM attachments"
        " JOIN messages ON messages.id = attachments.message_id WHERE attachments.id = {value})"
    ),
    "source": (
        "coalesce((SELECT conversation_id FROM messages WHERE source = {value}),"
        " (SELECT conversation_id FROM pages JOIN turns ON turns.id = turn_id"
        "  WHERE source = {value} ORDER BY turn_id DESC LIMIT 1))"
    ),
}
_BY = {column: _CONVERSATION.format(row=row) for column, row in _ROWS.items()}
# By the other columns, a conversation cannot begin to be found: sources are locked themselves.
_MUST_FIND = ("id", "uid")
_PAGE = (  # noqa: S608
    _LOCK.format(name="name") + " FROM (SELECT 'source/' || platform || '/' || workspace || '/'"
    " || {channel} || '/' || {message} AS name FROM conversations"
    " WHERE id = (SELECT conversation_id FROM turns WHERE id = {turn})) AS page"
)


def literal(value: object) -> str:
    """A text or a whole number as SQL, whatever `standard_conforming_strings` is."""
    if isinstance(value, int):
        return str(int(value))
    text = str(value).replace("\0", "\N{REPLACEMENT CHARACTER}")  # as the dialect stores it
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


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
    """The locks of a transaction, in their order. Implements `Locker`: collects statements.

    They are text without parameters, so that they travel in the message that begins the
    transaction: one round trip for both.
    """

    def __init__(self, locks: Locks) -> None:
        self.alone = False
        self._statements: list[str] = []
        self._must_find: list[int] = []  # which of the statements
        locks(self)
        self.sql = "; ".join(self._statements)

    def everything(self) -> None:
        """See `Locker`."""
        self.alone = True

    def names(self, *names: str) -> None:
        """See `Locker`."""
        self._statements += (_LOCK.format(name=literal(name)) for name in names)

    def conversation(self, key: ConversationKey) -> None:
        """See `Locker`."""
        self.names(f"conversation/{key.platform}/{key.workspace}/{key.channel}/{key.thread}")

    def conversation_with(self, column: str, value: object) -> None:
        """See `Locker`."""
        if column in _MUST_FIND:
            self._must_find.append(len(self._statements))
        self._statements.append(_BY[column].replace("{value}", literal(value)))

    def page_source(self, turn: int, channel: str, message_id: str) -> None:
        """See `Locker`."""
        self._statements.append(
            _PAGE.format(turn=literal(turn), channel=literal(channel), message=literal(message_id))
        )

    def is_complete(self, counts: Sequence[int]) -> bool:
        """Whether the locks were found, by the number of rows of each statement: the store's lock
        and `sql`. If not, the next attempt runs alone.

        A conversation that is not there could be created before the transition looks.
        """
        if self.alone:
            return True
        self.alone = any(not counts[1 + place] for place in self._must_find)
        return not self.alone

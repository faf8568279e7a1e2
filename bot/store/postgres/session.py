"""A transaction on PostgreSQL, as the operations see it: a Database that also takes locks.

Invariant: every writing transaction holds the store's lock, shared or exclusive, so that an
exclusive one runs alone. See `bot.store.locks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import psycopg

from bot.domain.conversations import ConversationKey
from bot.store.database import Cursor, Parameters
from bot.store.locks import Locks
from bot.store.postgres.dialect import translate
from bot.store.values import storable, storable_parameters

# Two numbers, while names use one, to keep the two kinds of locks apart. The first is "Thrd".
_STORE = "1416131172, 1"
SHARED = f"pg_advisory_xact_lock_shared({_STORE})"
ALONE = f"pg_advisory_xact_lock({_STORE})"

_NAMES = (
    "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))"
    " FROM unnest(%s::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place"
)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended({name}, 0))"
_CONVERSATION = (
    "SELECT pg_advisory_xact_lock(hashtextextended('conversation/' || space || place, 0)),"
    " space, place FROM (SELECT platform || '/' || workspace || '/' AS space,"
    " channel || '/' || thread AS place FROM conversations WHERE id = {row}) AS conversation"
)
_MOST_PLACES = 20_000  # a few MB; a turn needs its place for a minute

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
# A conversation that was not found by another column cannot appear later: sources are locked
# themselves.
_MUST_FIND = ("id", "uid")
_PAGE = (
    "SELECT pg_advisory_xact_lock(hashtextextended('source/' || platform || '/' || workspace"
    " || '/' || {message}, 0)) FROM conversations"
    " WHERE id = (SELECT conversation_id FROM turns WHERE id = {turn})"
)
# Ordered as `sorted` orders names: by code point, whatever the database's collation.
_SUMS = (
    "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM (SELECT name FROM"
    " (SELECT 'budget/' || budget || '/' || account || '/' || period AS name FROM budget_sums"
    "  WHERE id IN (SELECT CAST(held.sum AS bigint) FROM model_requests,"
    "   json_array_elements_text(CAST(sums AS json)) AS held (sum)"
    "   WHERE model_requests.id = {request})"
    '  UNION SELECT unnest(ARRAY[{names}]::text[])) AS names ORDER BY name COLLATE "C") AS names'
)


def literal(value: object) -> str:
    """Format a text or an integer as SQL, whatever `standard_conforming_strings` is."""
    (value,) = storable_parameters((value,))
    if isinstance(value, int):
        return str(int(value))
    text = str(value)
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


class Session:
    """A transaction. Implements `Database` and `Locking`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.places: dict[tuple[str, object], tuple[str, str]] = {}
        """The places of conversations that the transaction has changed; valid after its commit."""

    def remember(self, key: ConversationKey, conversation: int, turn: int | None) -> None:
        """Remember that these ids belong to this conversation, so the next transitions need not
        look it up."""
        place = f"{key.platform}/{key.workspace}/", f"{key.channel}/{key.thread}"
        self.places["id", conversation] = place
        if turn is not None:
            self.places["turn", turn] = place

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        """See `Database`."""
        return self._connection.execute(translate(sql), storable_parameters(parameters))

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> None:
        """See `Database`."""
        rows = list(map(storable_parameters, parameters))
        with self._connection.cursor() as cursor:
            if len(rows) > 1:
                cursor.executemany(translate(sql), rows)
            elif rows:
                cursor.execute(translate(sql), rows[0])

    def lock(self, *names: str) -> None:
        """See `Locking`."""
        self._connection.execute(_NAMES, (list(map(storable, names)),))


class KnownPlaces:
    """A cache of the places of conversations, which saves PostgreSQL a query.

    Invariant: a record never moves to another conversation, a conversation never moves, and a
    server never reuses the id of a commit. A server that takes over without the last commits may
    reuse ids, so the cache is cleared when a connection fails. Sources are not cached, because a
    page may come to belong to another turn.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str, object], tuple[str, str]] = {}

    def get(self, what: tuple[str, object]) -> tuple[str, str] | None:
        """The platform and workspace, and the channel and thread."""
        return self._places.get(what)

    def add(self, what: tuple[str, object], place: tuple[str, str]) -> None:
        """Remember a place. If there is no room, clear the cache first."""
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[what] = place

    def update(self, places: Mapping[tuple[str, object], tuple[str, str]]) -> None:
        """Remember several places."""
        for what, place in places.items():
            self.add(what, place)

    def clear(self) -> None:
        """Clear the cache."""
        self._places.clear()


class LockPlan:
    """The locks of a transaction, in order. Implements `Locker` by collecting statements.

    The statements are text without parameters, so that they can be sent in the message that begins
    the transaction: one round trip for both.
    """

    def __init__(self, locks: Locks, known: KnownPlaces, losses: int) -> None:
        self.alone = False
        self._locks, self._known = locks, known
        self.renew(losses)

    def renew(self, losses: int) -> None:
        """Look up unknown places again. `losses` is how many connections have failed so far."""
        self.losses = losses
        self._statements: list[str] = []
        self._asked: dict[int, tuple[str, object]] = {}  # by the number of the statement
        self._locks(self)
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
        place = self._known.get((column, value))
        if place is not None:
            self.names(f"conversation/{''.join(place)}")
            return
        if column != "source":
            self._asked[len(self._statements)] = column, value
        self._statements.append(_BY[column].replace("{value}", literal(value)))

    def sums_of(self, request: int, names: Collection[str]) -> None:
        """See `Locker`."""
        given = ", ".join(map(literal, names))
        self._statements.append(_SUMS.format(request=literal(request), names=given))

    def page_source(self, turn: int, channel: str, message_id: str) -> None:
        """See `Locker`."""
        place = self._known.get(("turn", turn))
        if place is not None:
            self.names(f"source/{place[0]}{channel}/{message_id}")
            return
        message = literal(f"{channel}/{message_id}")
        self._statements.append(_PAGE.format(turn=literal(turn), message=message))

    def is_complete(self, rows: Sequence[Sequence[Any] | None]) -> bool:
        """Whether all locks were found, judging by the first row of each statement: the store's
        lock and `sql`. If not, the next attempt runs alone.

        Otherwise a missing conversation could be created before the transition looks for it.
        """
        if self.alone:
            return True
        for number, (column, value) in self._asked.items():
            row = rows[1 + number]
            if row is not None:
                self._known.add((column, value), (row[1], row[2]))
            elif column in _MUST_FIND:
                self.alone = True
        return not self.alone

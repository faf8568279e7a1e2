"""Reads texts that may match a search, and compares them with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bot.domain.conversations import Role
from bot.domain.records import RecordScope
from bot.domain.search import SearchHit, SearchQuery, Snippet, snippet_of, snippet_of_markdown
from bot.store.database import Database, Row
from bot.store.search_documents import file_names
from bot.store.search_scopes import in_scopes, place_of


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was read: its row id, its time in Unix seconds, and the hit if it matches."""

    number: int
    at: float
    hit: SearchHit | None


class TextReader:
    """The texts of some scopes; a comparison ends without a match once `is_late()`."""

    def __init__(
        self,
        db: Database,
        scopes: Sequence[RecordScope],
        query: SearchQuery,
        is_late: Callable[[], bool],
    ) -> None:
        self._db, self._scopes, self._query, self._is_late = db, scopes, query, is_late

    def titles(self, documents: Sequence[int]) -> Iterator[Text]:
        """The titles of conversations, in the order of their numbers in the index."""
        ids = [-each for each in documents]
        rows = self._read(
            "SELECT id, uid, name, updated_at, platform, workspace, channel"
            " FROM (SELECT id AS number FROM conversations) AS numbers CROSS JOIN conversations"
            " WHERE id = number AND number",
            ids,
        )
        for number in ids:
            row = rows.get(number)
            if row is not None:
                yield Text(number, row["updated_at"], self._title_hit(row))

    def _title_hit(self, row: Row) -> SearchHit | None:
        query, name = self._query, row["name"]
        if query.models or not query.is_in_time(row["updated_at"]) or not query.matches(name):
            return None
        title = snippet_of(name, query.terms)
        return SearchHit(row["uid"], place_of(row), title, row["updated_at"])

    def messages(self, documents: Sequence[int]) -> Iterator[Text]:
        """The messages, in the order of their numbers in the index."""
        rows = self._read(
            "SELECT messages.id, messages.uid, idx, role, kind, messages.content,"
            " messages.created_at, author_id, turn_id, turns.model,"
            " conversations.uid AS conversation, name, platform, workspace, conversations.channel"
            " FROM messages CROSS JOIN conversations LEFT JOIN turns ON turns.id = turn_id"
            " WHERE conversations.id = messages.conversation_id AND erased_at IS NULL"
            " AND messages.parked IS NULL AND messages.id",
            documents,
        )
        names = file_names(self._db, list(rows))
        for number in documents:
            row = rows.get(number)
            if row is not None:
                hit = self._message_hit(row, names.get(number, ()))
                yield Text(number, row["created_at"], hit)

    def _message_hit(self, row: Row, names: Sequence[str]) -> SearchHit | None:
        query, is_reply = self._query, row["kind"] == "reply"
        text = "\n".join([row["content"], *names])
        model = row["model"] if is_reply else None
        if not (query.is_in_time(row["created_at"]) and query.is_of_model(model)):
            return None
        if not query.matches(text, self._is_late):
            return None
        role = Role(row["role"])
        # The page shows people's own messages verbatim.
        snippet = snippet_of_markdown if role is Role.ASSISTANT else snippet_of
        return SearchHit(
            conversation=row["conversation"],
            place=place_of(row),
            title=Snippet(row["name"]),
            created_at=row["created_at"],
            message=row["uid"],
            index=row["idx"],
            role=role,
            author=row["author_id"],
            turn=row["turn_id"],
            is_reply=is_reply,
            model=model,
            snippet=snippet(text, query.terms),
        )

    def _read(self, sql: str, ids: Sequence[int]) -> dict[int, Row]:
        """Read the rows with these ids that lie in the scopes, by id.

        CROSS JOIN tells SQLite to look up the ids and then check the scopes, instead of reading all
        conversations of the person: SQLite expects only ten.
        """
        if not ids:
            return {}
        condition, values = in_scopes(self._scopes)
        named = {f"id{at}": number for at, number in enumerate(ids)}
        rows = self._db.execute(
            f"{sql} IN ({', '.join(f':{name}' for name in named)}) AND {condition}",
            {**named, **values},
        )
        return {row["id"]: row for row in rows}

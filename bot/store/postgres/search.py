"""The search index on PostgreSQL: a GIN index on the words, which needs no extension."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from bot.domain.search_text import Token
from bot.store.database import Database, batches, marks
from bot.store.search_index import Match, OutOfTime

_WORDS = "array_to_tsvector(string_to_array(tokens, ' '))"  # as in migration 0018


class Gin:
    """Implements `bot.store.search_index.Index`."""

    def documents(
        self,
        db: Database,
        match: Match,
        *,
        low: int,
        high: int,
        newest_first: bool,
        limit: int,
        seconds: float,
    ) -> list[int]:
        """See the protocol.

        The planner decides by how common the words are: it either reads the texts in order, or all
        texts that the index names.
        """
        order = "DESC" if newest_first else "ASC"
        db.execute("SAVEPOINT search")
        try:
            # A prepared statement would get one plan for all words, which is wrong for most of
            # them.
            db.execute(
                "SELECT set_config('statement_timeout', ?, true),"
                " set_config('plan_cache_mode', 'force_custom_plan', true)",
                (str(max(1, round(seconds * 1_000))),),
            )
            rows = db.execute(
                f"SELECT document FROM search_documents WHERE {_WORDS} @@ CAST(? AS tsquery)"  # noqa: S608
                f" AND document > ? AND document < ? ORDER BY document {order} LIMIT ?",
                (_expression(match), low, high, limit),
            ).fetchall()
        except psycopg.errors.QueryCanceled as exc:
            raise OutOfTime from exc
        finally:
            db.execute("ROLLBACK TO SAVEPOINT search")  # also resets the time limit
        return [row["document"] for row in rows]

    def claim(self, db: Database, versions: Mapping[tuple[int, int], object]) -> list[int]:
        """See the protocol. Entries that another transaction is changing are left to the next
        step."""
        found: list[int] = []
        for some in batches(list(versions)):
            rows = db.execute(
                "SELECT document, version FROM search_queue"  # noqa: S608 - marks
                f" WHERE document IN ({marks(some)}) FOR UPDATE SKIP LOCKED",
                tuple(number for number, _ in some),
            )
            found += [number for number, version in rows if (number, version) in versions]
        return found

    def overwrite_step(self, db: Database, *, is_first: bool) -> bool:
        """See the protocol. VACUUM takes care of this: see docs/postgresql.md."""
        return False


def _expression(match: Match) -> str:
    """Build the query as a tsquery. Our tokens contain no characters that need further escaping."""
    places = " | ".join(map(_quoted, match.places))
    wanted = [f"({places})", *map(_quoted, match.required)]
    return " & ".join([*wanted, *(f"!{_quoted(token)}" for token in match.excluded)])


def _quoted(token: Token) -> str:
    return f"'{token.text}'{':*' if token.is_prefix else ''}"

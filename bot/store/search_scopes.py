"""Restricts a search to the texts of its scopes.

Invariant: texts that the index names are read again within the scopes, so that a hit never comes
from another place, whatever the index says.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.records import RecordScope
from bot.domain.search_text import Token
from bot.store.database import Row
from bot.store.search_documents import channel_token, owner_token


def tokens_of(scopes: Sequence[RecordScope]) -> tuple[Token, ...]:
    """The index tokens of the scopes; each text in a scope has at least one of them."""
    return tuple(
        owner_token(each) if each.channel is None else channel_token(each, each.channel)
        for each in scopes
    )


def in_scopes(scopes: Sequence[RecordScope]) -> tuple[str, dict[str, object]]:
    """An SQL condition for conversations in one of the scopes that are not deleted, and its
    values."""
    parts, values = [], dict[str, object]()
    for at, scope in enumerate(scopes):
        part = f"platform = :platform{at} AND workspace = :workspace{at}"
        values |= {f"platform{at}": scope.platform, f"workspace{at}": scope.workspace}
        if scope.channel is not None:
            part += f" AND conversations.channel = :channel{at}"
            values[f"channel{at}"] = scope.channel
        parts.append(f"({part})")
    return f"({' OR '.join(parts)}) AND deleted_at IS NULL", values


def place_of(row: Row) -> RecordScope:
    """The place of a conversation, from its row."""
    return RecordScope(row["platform"], row["workspace"], row["channel"])

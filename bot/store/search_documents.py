"""Adds texts from `search_queue` to the search index, in small steps.

Invariant: a text that is changed or erased while it is being indexed is not added in its old form:
by then, its row in the queue has another version or is gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bot.domain.records import RecordScope
from bot.domain.search_text import Token, tokens_of
from bot.store.database import Database, Row, batches, marks
from bot.store.search_index import Index

STEP = 64
"""The most texts in one step. This takes the writer some milliseconds, so that other writes do not
wait."""

TITLE_LIMIT = 2**62
"""Above the number of every text."""

OVERWRITE = 0
"""A queue entry that is not a text: it means that deleted words wait to be overwritten."""

# Private-use characters, which no token of a text contains: see `search_text`.
_OWNER, _CHANNEL, _MODEL = "\ue000", "\ue001", "\ue002"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that waits for the index; `text` is None if it no longer exists."""

    document: int
    version: int
    text: str | None = None
    scope: RecordScope | None = None
    model: str | None = None


# ── tokens ────────────────────────────────────────────────────────────────────────────────────
def owner_token(scope: RecordScope) -> Token:
    """The token that all texts of a workspace have."""
    return Token(_OWNER + _digest(scope.platform, scope.workspace))


def channel_token(scope: RecordScope, channel: str) -> Token:
    """The token that all texts of a channel have."""
    return Token(_CHANNEL + _digest(scope.platform, scope.workspace, channel))


def model_token(token: Token) -> Token:
    """The token that a model's answers have for a part of its name."""
    return replace(token, text=_MODEL + token.text)


def _digest(*names: str) -> str:
    return hashlib.blake2b(json.dumps(names).encode(), digest_size=8).hexdigest()


def document_of(waiting: Waiting) -> str | None:
    """The tokens of a text, as stored in `search_documents`; None without a text."""
    scope = waiting.scope
    if not waiting.text or scope is None:
        return None
    models = [model_token(Token(part)).text for part in tokens_of(waiting.model or "")]
    places = [owner_token(scope).text, channel_token(scope, scope.channel or "").text]
    return " ".join([*places, *models, *tokens_of(waiting.text)])


# ── steps ─────────────────────────────────────────────────────────────────────────────────────
def waiting(db: Database, limit: int = STEP) -> list[Waiting]:
    """Waiting texts: the newest messages, and the titles of the newest conversations."""
    found: dict[int, int] = {}
    for order, least, most in (("DESC", 0, TITLE_LIMIT), ("ASC", -TITLE_LIMIT, 0)):
        rows = db.execute(
            "SELECT document, version FROM search_queue WHERE document > ? AND document < ?"  # noqa: S608
            f" ORDER BY document {order} LIMIT ?",
            (least, most, limit // 2),
        )
        found.update({row["document"]: row["version"] for row in rows})
    texts = _texts(db, [each for each in found if each > 0])
    texts |= _titles(db, [each for each in found if each < 0])
    return [
        replace(texts[document], version=version)
        if document in texts
        else Waiting(document, version)
        for document, version in found.items()
    ]


def _texts(db: Database, messages: Sequence[int]) -> dict[int, Waiting]:
    rows: list[Row] = []
    for some in batches(messages):
        rows += db.execute(
            "SELECT messages.id, kind, messages.content, platform, workspace,"  # noqa: S608 - marks
            " conversations.channel, turns.model FROM messages"
            " JOIN conversations ON conversations.id = messages.conversation_id"
            " LEFT JOIN turns ON turns.id = turn_id"
            f" WHERE erased_at IS NULL AND messages.id IN ({marks(some)})",
            tuple(some),
        ).fetchall()
    names = file_names(db, messages)
    return {
        row["id"]: Waiting(
            row["id"],
            0,
            "\n".join([row["content"], *names.get(row["id"], ())]),
            _scope(row),
            row["model"] if row["kind"] == "reply" else None,
        )
        for row in rows
    }


def file_names(db: Database, messages: Sequence[int]) -> dict[int, list[str]]:
    """The names of the messages' files, in order."""
    names: dict[int, list[str]] = {}
    for some in batches(messages):
        for row in db.execute(
            "SELECT message_id, name FROM attachments"  # noqa: S608 - marks
            f" WHERE message_id IN ({marks(some)}) ORDER BY id",
            tuple(some),
        ):
            names.setdefault(row["message_id"], []).append(row["name"])
    return names


def _titles(db: Database, documents: Sequence[int]) -> dict[int, Waiting]:
    rows: list[Row] = []
    for some in batches(documents):
        rows += db.execute(
            "SELECT id, name, platform, workspace, channel FROM conversations"  # noqa: S608 - marks
            f" WHERE id IN ({marks(some)})",
            tuple(-each for each in some),
        ).fetchall()
    return {-row["id"]: Waiting(-row["id"], 0, row["name"], _scope(row)) for row in rows}


def _scope(row: Row) -> RecordScope:
    return RecordScope(row["platform"], row["workspace"], row["channel"])


def put(db: Database, index: Index, documents: Mapping[tuple[int, int], str | None]) -> None:
    """Add texts to the index, by number and version; None stands for a text that no longer
    exists."""
    ours = sorted(index.claim(db, documents))  # in order, as the index wants them
    by_number = {number: tokens for (number, _), tokens in documents.items()}
    db.executemany("DELETE FROM search_documents WHERE document = ?", [(each,) for each in ours])
    db.executemany(
        "INSERT INTO search_documents (document, tokens) VALUES (?, ?)",
        [(each, by_number[each]) for each in ours if by_number[each] is not None],
    )
    db.executemany("DELETE FROM search_queue WHERE document = ?", [(each,) for each in ours])


def overwrite_due(db: Database) -> int | None:
    """The version of the queue entry OVERWRITE; None if nothing waits to be overwritten."""
    row = db.execute("SELECT version FROM search_queue WHERE document = ?", (OVERWRITE,)).fetchone()
    return None if row is None else int(row["version"])


def overwritten(db: Database, version: int) -> None:
    """Record that everything deleted up to this version was overwritten."""
    db.execute("DELETE FROM search_queue WHERE document = ? AND version = ?", (OVERWRITE, version))


def index_again(db: Database) -> None:
    """Queue all texts again, for a database that was copied without its index."""
    db.execute(
        "INSERT INTO search_queue (document, version) SELECT messages.id, 1 FROM messages"
        " JOIN conversations ON conversations.id = conversation_id"
        " WHERE platform = 'web' AND erased_at IS NULL"
    )
    db.execute(
        "INSERT INTO search_queue (document, version)"
        " SELECT -id, 1 FROM conversations WHERE platform = 'web'"
    )

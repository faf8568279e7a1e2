"""Schemas of search results."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import AT

_MARKS = "start and end of each match, in characters"


class SearchText(BaseModel):
    """A text on one line, with the places that match."""

    text: str
    marks: Annotated[list[tuple[int, int]], Field(description=_MARKS)]


class SearchHit(BaseModel):
    """A title or a message. `message_id`, `role`, `index` and `snippet` are null for a title,
    `model` for all that is not an answer. `channel` is the shared channel's name, null
    for one's own conversations."""

    conversation_id: str
    channel: str | None
    title: SearchText
    message_id: str | None
    role: Literal["system", "user", "assistant", "tool"] | None
    index: int | None
    model: str | None
    created_at: Annotated[str, Field(description=AT)]
    snippet: SearchText | None


class SearchResults(BaseModel):
    """Titles first, then messages, the newest first.

    `next` gives the following ones. `partial`: the search ran out of time; `reached` is the time of
    the last message that it compared, and `next` continues from there.
    `indexing`: older messages are still being prepared and are not found yet.
    """

    hits: list[SearchHit]
    next: str | None
    partial: bool
    reached: str | None
    indexing: bool

"""Votes on answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from bot.domain.feedback import MAX_COMMENT


class Feedback(BaseModel):
    """A vote on an answer, null for none. Only a `down` keeps a comment."""

    vote: Literal["up", "down"] | None
    comment: Annotated[str, Field(max_length=MAX_COMMENT)] = ""

"""The models to choose from, and what one of them will get."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Models(BaseModel):
    """The models that a conversation may choose. `default` answers if none is chosen."""

    default: str
    models: list[str]


class ContextPart(BaseModel):
    """One kind of text in the next request; `count` is the number of messages or files."""

    kind: Literal["prompt", "instructions", "summary", "messages", "files"]
    tokens: int
    count: int


class Context(BaseModel):
    """What the model will get with the next question, in estimated tokens.

    `budget` is the largest request, and `window` the model's window, null if it is unknown. The
    provider's cache had `cached_tokens` of the last request, null if it did not say.
    `summarized` messages are in `summary` only; the model gets nothing of `left_out` ones.
    """

    model: str
    tokens: int
    budget: int
    window: int | None
    parts: list[ContextPart]
    cached_tokens: int | None
    summarized: int
    left_out: int
    summary: str

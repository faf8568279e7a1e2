"""Messages as records, with their files and tokens."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from adapters.web.limits import MODEL_CHARACTERS
from adapters.web.schemas.fields import AT, CurrencyCode, RoleName, Text


class Attachment(BaseModel):
    """A file or link of a message. `size` is in bytes; `problem` says why it could not be read."""

    id: UUID
    name: str
    media_type: str
    size: int | None
    state: Literal[
        "pending", "ready", "too_large", "unreadable", "refused", "skipped", "unavailable"
    ]
    problem: str | None
    is_link: bool


class NewMessage(BaseModel):
    """A message to store as a record; it asks nothing."""

    role: RoleName
    content: Text


class Usage(BaseModel):
    """The tokens of an answer, as counted by the provider.

    `cached_tokens` were read from the provider's prompt cache and `cache_write_tokens` written to
    it: both are part of `input_tokens`. `reasoning_tokens` are part of `output_tokens`.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int


class Record(BaseModel):
    """A message as a record. `index` is null until a turn takes the question.

    An answer has the `model` that wrote it, its `usage`, null if the provider counted nothing, and
    what it did `cost` in `currency`, both null if a price is not known.
    """

    id: UUID
    role: RoleName
    content: str
    index: int | None
    conversation_id: UUID
    created_at: Annotated[str, Field(description=AT)]
    attachments: list[Attachment]
    model: str | None
    usage: Usage | None
    cost: float | None
    currency: CurrencyCode | None


class Version(Record):
    """A version of a question or an answer. `shown`: it is in the conversation as it is now."""

    shown: bool


class NewVersion(BaseModel):
    """Another version of a question, with other `content`, or of an answer, by another `model`.

    `model` null is the conversation's. Only answers have one.
    """

    content: Text | None = None
    model: Annotated[str | None, Field(max_length=MODEL_CHARACTERS)] = None


class RecordChange(BaseModel):
    """The fields to change; omitted or null ones stay."""

    role: RoleName | None = None
    content: Text | None = None

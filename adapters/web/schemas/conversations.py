"""Conversations, with their messages and their choices."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import (
    AT,
    AT_BARE,
    MOST_OPENING,
    EffortName,
    ModelName,
    Name,
    RoleName,
    Text,
)
from adapters.web.schemas.records import NewMessage
from bot.domain.prompts import MAX_INSTRUCTIONS


class Message(BaseModel):
    """A message in a conversation."""

    id: UUID
    author: RoleName
    content: str
    created_at: Annotated[str, Field(description=f"{AT}; in lists {AT_BARE}")]


class Conversation(BaseModel):
    """A conversation with its messages in order."""

    id: UUID
    messages: list[Message]
    created_at: Annotated[str, Field(description=f"{AT}; in lists {AT_BARE}")]


class ConversationDetails(Conversation):
    """A conversation with all its fields. `model`, `effort` and `temperature` are null for the
    default.

    `answering_model` answers the next question: the default if `model` is no longer offered.
    `pinned` and `archived` are its place in the page's list.
    """

    name: str
    model: str | None
    answering_model: str
    effort: EffortName | None
    instructions: Annotated[str, Field(description="what the model gets after the prompt")]
    temperature: float | None
    user_id: str
    updated_at: Annotated[str, Field(description=AT)]
    pinned: bool
    archived: bool


class PublicConversation(ConversationDetails):
    """A conversation of a public channel, with its location."""

    platform: str
    workspace: str
    channel: str


class PublicSummary(BaseModel):
    """A conversation of a public channel, without its messages."""

    id: UUID
    platform: str
    workspace: str
    channel: str
    name: str
    created_at: Annotated[str, Field(description=AT)]


class NewConversation(BaseModel):
    """A new conversation, optionally starting with `messages` or a `template`.

    `input` fills a template. Without it, the placeholder must stand alone in the template's
    last message, and the first question replaces it.
    """

    name: Name | None = None
    model: ModelName | None = None
    effort: EffortName | None = None
    messages: Annotated[list[NewMessage], Field(max_length=MOST_OPENING)] | None = None
    template: Text | None = None
    input: Text | None = None


class ConversationChange(BaseModel):
    """The fields to change; omitted ones stay. A `model`, `effort` or `temperature` of null is the
    default; empty `instructions` are none.

    A `pinned` conversation is at the top of the page's list. An `archived` one is not in the list
    until its next message.
    """

    name: Name | None = None
    model: ModelName | None = None
    effort: EffortName | None = None
    instructions: Annotated[str, Field(max_length=MAX_INSTRUCTIONS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    pinned: bool | None = None
    archived: bool | None = None

"""Conversation templates and the messages that they give."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import MOST_OPENING, RoleName, Text
from adapters.web.schemas.records import NewMessage


class TemplateText(BaseModel):
    """A conversation as a template in either notation; `input` fills it."""

    template: Text
    input: Text | None = None


class TemplateMessages(BaseModel):
    """A conversation as messages."""

    messages: Annotated[list[NewMessage], Field(max_length=MOST_OPENING)]
    input: Text | None = None


class CompletionMessage(BaseModel):
    """A message of a chat completion request."""

    role: RoleName
    content: str


class TemplateAnswer(BaseModel):
    """The conversation in every notation. Unfilled placeholders are empty in `messages`."""

    messages: list[CompletionMessage]
    handlebars: str
    tags: str

"""Answers of the routes that take a whole conversation in one request, or need none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import MOST_OPENING, Text


class AssistantMessage(BaseModel):
    """The assistant's message."""

    role: Literal["assistant"]
    content: str


class ChatAnswer(BaseModel):
    """The answer to a prompt."""

    assistantMessage: AssistantMessage


class ConversationalInputs(BaseModel):
    """Earlier messages in pairs, and the new one."""

    past_user_inputs: Annotated[list[Text], Field(max_length=MOST_OPENING // 2)] = []
    generated_responses: Annotated[list[Text], Field(max_length=MOST_OPENING // 2)] = []
    text: Text


class Conversational(BaseModel):
    """A whole conversation in one request."""

    inputs: ConversationalInputs


class ConversationalHistory(BaseModel):
    """The conversation, ending with the new text and its answer."""

    past_user_inputs: list[str]
    generated_responses: list[str]


class ConversationalOption(BaseModel):
    """One answer."""

    generated_text: str
    conversation: ConversationalHistory


class ConversationalAnswer(BaseModel):
    """The answers; always one."""

    options: list[ConversationalOption]

"""What programs send and get, as their OpenAPI description shows it: the shapes of the API."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool

from adapters.web.limits import MESSAGE_CHARACTERS, NAME_CHARACTERS

RoleName = Literal["system", "user", "assistant"]
Text = Annotated[str, Field(min_length=1, max_length=MESSAGE_CHARACTERS)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
MOST_OPENING = 1_000  # messages that a conversation may begin with

_AT = "UTC, such as 2023-12-04T17:28:52.678004Z"
_AT_BARE = "UTC without saying so, such as 2023-12-04T17:28:52.678004"


# ── errors ────────────────────────────────────────────────────────────────────────────────────
class Error(BaseModel):
    """What went wrong, in one sentence."""

    error: str


class Problem(BaseModel):
    """What is wrong with one field. `loc` is where it is, from the outside in."""

    loc: list[str | int]
    msg: str
    type: str


class Invalid(BaseModel):
    """A request that cannot be understood: the first problem as a sentence, and all by field."""

    error: str
    detail: list[Problem]


# ── conversations ─────────────────────────────────────────────────────────────────────────────
class Message(BaseModel):
    """A message in a conversation."""

    id: UUID
    author: RoleName
    content: str
    created_at: Annotated[str, Field(description=f"{_AT}; in lists {_AT_BARE}")]


class Conversation(BaseModel):
    """A conversation with its messages in order."""

    id: UUID
    messages: list[Message]
    created_at: Annotated[str, Field(description=f"{_AT}; in lists {_AT_BARE}")]


class ConversationDetails(Conversation):
    """A conversation with all that is kept of it. `model` is null where it has the default."""

    name: str
    model: str | None
    user_id: str
    updated_at: Annotated[str, Field(description=_AT)]


class PublicConversation(ConversationDetails):
    """A conversation of a public channel, with the place where it is."""

    platform: str
    workspace: str
    channel: str


class PublicSummary(BaseModel):
    """A conversation of a public channel, without what was said in it."""

    id: UUID
    platform: str
    workspace: str
    channel: str
    name: str
    created_at: Annotated[str, Field(description=_AT)]


class NewMessage(BaseModel):
    """A message to be kept as a record; it asks nothing."""

    role: RoleName
    content: Text


class NewConversation(BaseModel):
    """How a conversation begins. `messages`, or a `template`, are already said in it.

    A template's input is filled with `input`; without it, the input must stand alone in the
    template's last message, and the first question takes its place.
    """

    name: Name | None = None
    model: str | None = None
    messages: Annotated[list[NewMessage], Field(max_length=MOST_OPENING)] | None = None
    template: Text | None = None
    input: Text | None = None


class ConversationChange(BaseModel):
    """What is to be changed; what is left out stays. A `model` of null is the default again."""

    name: Name | None = None
    model: str | None = None


class Question(BaseModel):
    """A message to the assistant, and whether the answer is to be streamed."""

    message: Text
    stream: StrictBool | Literal["true", "false"] = False

    @property
    def streams(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.stream in (True, "true")


# ── messages as records ───────────────────────────────────────────────────────────────────────
class Record(BaseModel):
    """A message as a record. `index` is null until the question is taken up."""

    id: UUID
    role: RoleName
    content: str
    index: int | None
    conversation_id: UUID
    created_at: Annotated[str, Field(description=_AT)]


class RecordChange(BaseModel):
    """What is to be changed; what is left out, or null, stays."""

    role: RoleName | None = None
    content: Text | None = None


# ── one call, one answer ──────────────────────────────────────────────────────────────────────
class Prompt(BaseModel):
    """A prompt; with an `id` it goes on with the conversation of that id, of any form."""

    prompt: Text
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class AssistantMessage(BaseModel):
    """What the assistant says."""

    role: Literal["assistant"]
    content: str


class ChatAnswer(BaseModel):
    """The answer to a prompt."""

    assistantMessage: AssistantMessage


class ConversationalInputs(BaseModel):
    """What was said before, pairwise, and what is said now."""

    past_user_inputs: Annotated[list[Text], Field(max_length=MOST_OPENING // 2)] = []
    generated_responses: Annotated[list[Text], Field(max_length=MOST_OPENING // 2)] = []
    text: Text


class Conversational(BaseModel):
    """A whole conversation in one request."""

    inputs: ConversationalInputs


class ConversationalHistory(BaseModel):
    """The conversation with the new text and its answer at the end."""

    past_user_inputs: list[str]
    generated_responses: list[str]


class ConversationalOption(BaseModel):
    """One answer."""

    generated_text: str
    conversation: ConversationalHistory


class ConversationalAnswer(BaseModel):
    """The answers; there is one."""

    options: list[ConversationalOption]


# ── templates ─────────────────────────────────────────────────────────────────────────────────
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
    """The conversation in every form. What is not filled is empty in `messages`."""

    messages: list[CompletionMessage]
    handlebars: str
    tags: str

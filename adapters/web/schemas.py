"""The schemas of the API's requests and responses, as OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Discriminator, Field, StrictBool, Tag, WithJsonSchema

from adapters.web.limits import MESSAGE_CHARACTERS, MODEL_CHARACTERS, NAME_CHARACTERS

RoleName = Literal["system", "user", "assistant"]
EffortName = Literal["low", "medium", "high"]
Text = Annotated[str, Field(min_length=1, max_length=MESSAGE_CHARACTERS)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARACTERS)]
ModelName = Annotated[
    str, Field(max_length=MODEL_CHARACTERS, description="one of those that `GET /models` lists")
]
ChosenId = Annotated[str, Field(min_length=1, max_length=200)]
MOST_OPENING = 1_000  # messages at the start of a conversation
MOST_PARTS = 100  # texts and files of one message
FILE_NAME_CHARACTERS = 1_000  # names are shortened; a longer one is a mistake

_AT = "UTC, such as 2023-12-04T17:28:52.678004Z"
_AT_BARE = "UTC without saying so, such as 2023-12-04T17:28:52.678004"


# ── errors ────────────────────────────────────────────────────────────────────────────────────
class Error(BaseModel):
    """What went wrong, in one sentence."""

    error: str


class Problem(BaseModel):
    """The problem with one field. `loc` is its path from the outside in."""

    loc: list[str | int]
    msg: str
    type: str


class Invalid(BaseModel):
    """An invalid request: the first problem as a sentence, and all problems by field."""

    error: str
    detail: list[Problem]


# ── a message with files ──────────────────────────────────────────────────────────────────────
class TextPart(BaseModel):
    """A part of a message that is text."""

    type: Literal["text"]
    text: Text


class ImageUrl(BaseModel):
    """An image as a data URL, or the address of something on the web."""

    url: Annotated[str, Field(pattern="^([Dd][Aa][Tt][Aa]:|[Hh][Tt][Tt][Pp][Ss]?://)")]


class ImagePart(BaseModel):
    """A part of a message that is an image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class FileData(BaseModel):
    """A file as a data URL, or its bytes in base64."""

    filename: Annotated[str, Field(max_length=FILE_NAME_CHARACTERS)] | None = None
    file_data: Annotated[str, Field(min_length=1)]


class FilePart(BaseModel):
    """A part of a message that is a file."""

    type: Literal["file"]
    file: FileData


Part = TextPart | ImagePart | FilePart
_Parts = Annotated[
    list[Annotated[Part, Field(discriminator="type")]], Field(min_length=1, max_length=MOST_PARTS)
]
Content = Annotated[
    Annotated[Text, Tag("as_text")] | Annotated[_Parts, Tag("as_parts")],
    Discriminator(lambda value: "as_parts" if isinstance(value, list) else "as_text"),
]
"""A message: its text, or its parts as in OpenAI's chat API."""

FormText = Annotated[str, Field(max_length=MESSAGE_CHARACTERS)]
Files = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"type": "string", "format": "binary"}}),
]


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
    """A conversation with all its fields. `model` and `effort` are null for the default.

    `answering_model` answers the next question: the default if `model` is not offered any more.
    """

    name: str
    model: str | None
    answering_model: str
    effort: EffortName | None
    user_id: str
    updated_at: Annotated[str, Field(description=_AT)]


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
    created_at: Annotated[str, Field(description=_AT)]


class NewMessage(BaseModel):
    """A message to store as a record; it asks nothing."""

    role: RoleName
    content: Text


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
    """The fields to change; omitted ones stay. A `model` or `effort` of null is the default."""

    name: Name | None = None
    model: ModelName | None = None
    effort: EffortName | None = None


class Models(BaseModel):
    """The models that a conversation may choose. `default` answers if none is chosen."""

    default: str
    models: list[str]


class ContextPart(BaseModel):
    """One kind of text in the next request; `count` is the number of messages or files."""

    kind: Literal["prompt", "summary", "messages", "files"]
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


class Question(BaseModel):
    """A question to the assistant, and whether to stream the answer."""

    message: Content
    stream: StrictBool | Literal["true", "false"] = False

    @property
    def streams(self) -> bool:
        """Whether to stream the answer."""
        return self.stream in (True, "true")


class QuestionForm(BaseModel):
    """A question as a form with files; without a file it needs a `message`."""

    message: FormText = ""
    stream: Literal["true", "false"] = "false"
    files: Files = []

    @property
    def streams(self) -> bool:
        """Whether to stream the answer."""
        return self.stream == "true"


# ── messages as records ───────────────────────────────────────────────────────────────────────
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
    the `dollars` that it cost, null if a price is not known.
    """

    id: UUID
    role: RoleName
    content: str
    index: int | None
    conversation_id: UUID
    created_at: Annotated[str, Field(description=_AT)]
    attachments: list[Attachment]
    model: str | None
    usage: Usage | None
    dollars: float | None


# ── usage ─────────────────────────────────────────────────────────────────────────────────────
class UsageAmounts(Usage):
    """What requests used. The money of `requests_without_price` is missing in `dollars`; the tokens
    of `estimated_requests` were not counted by the provider."""

    requests: int
    dollars: float
    requests_without_price: int
    estimated_requests: int


class UsageOfDay(UsageAmounts):
    """The usage of a day, such as 2026-11-30."""

    day: str


class BudgetLeft(BaseModel):
    """A budget that counts you, in its `unit`, and when it is full again."""

    scope: Literal["person", "channel", "workspace", "all"]
    period: Literal["day", "month"]
    unit: Literal["dollars", "tokens"]
    limit: float
    spent: float
    left: float
    full_at: Annotated[str, Field(description=_AT)]


class OwnUsage(BaseModel):
    """What you used. `days` has only days with usage, from `first_day` to `last_day`."""

    today: UsageAmounts
    month: UsageAmounts
    budgets: list[BudgetLeft]
    first_day: str
    last_day: str
    days: list[UsageOfDay]


class UsageGroup(UsageAmounts):
    """What one group used; `group` has the fields of `by`."""

    group: dict[str, str]


class RecordChange(BaseModel):
    """The fields to change; omitted or null ones stay."""

    role: RoleName | None = None
    content: Text | None = None


# ── one call, one answer ──────────────────────────────────────────────────────────────────────
class Prompt(BaseModel):
    """A prompt; an `id` of any form continues the conversation with that id."""

    prompt: Content
    id: ChosenId | None = None


class PromptForm(BaseModel):
    """A prompt as a form with files; without a file it needs a `prompt`."""

    prompt: FormText = ""
    id: ChosenId | None = None
    files: Files = []


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
    """The conversation in every notation. Unfilled placeholders are empty in `messages`."""

    messages: list[CompletionMessage]
    handlebars: str
    tags: str

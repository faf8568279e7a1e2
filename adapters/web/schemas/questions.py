"""Questions to the assistant, with files as parts of the message or in a form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, StrictBool, Tag, WithJsonSchema

from adapters.web.limits import MESSAGE_CHARACTERS
from adapters.web.schemas.fields import Text

MOST_PARTS = 100  # texts and files of one message
FILE_NAME_CHARACTERS = 1_000  # names are shortened; a longer one is a mistake
ChosenId = Annotated[str, Field(min_length=1, max_length=200)]


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


class Prompt(BaseModel):
    """A prompt; an `id` of any form continues the conversation with that id."""

    prompt: Content
    id: ChosenId | None = None


class PromptForm(BaseModel):
    """A prompt as a form with files; without a file it needs a `prompt`."""

    prompt: FormText = ""
    id: ChosenId | None = None
    files: Files = []

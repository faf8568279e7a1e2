"""The file of an exported conversation."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from adapters.web.schemas.fields import EffortName
from adapters.web.schemas.records import Record

_AT = Annotated[str, Field(description="with its zone, such as 2026-11-30T22:10:05+01:00")]


class ExportedConversation(BaseModel):
    """The conversation itself; `model` is null if none was chosen."""

    id: UUID
    name: str
    model: str | None
    answering_model: str
    effort: EffortName | None
    instructions: str
    temperature: float | None
    created_at: _AT
    updated_at: _AT


class ExportedMessage(Record):
    """A message as `GET /conversation/{id}/messages` lists it, with its author. The model gets only
    the messages of the highest `epoch`, which grows with each reset."""

    author: str | None
    epoch: int


class ConversationExport(BaseModel):
    """A whole conversation. `version` changes when a field changes its meaning or disappears; new
    fields may come without that."""

    # "schema" alone would hide a method of BaseModel.
    schema_: Annotated[Literal["threadline.conversation"], Field(alias="schema")]
    version: Literal[1]
    exported_at: _AT
    conversation: ExportedConversation
    messages: list[ExportedMessage]

"""Schemas of receipts and the audit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class Forget(BaseModel):
    """The confirmation: everything of you is deleted for good."""

    confirm: Literal[True]


class ForgetPerson(BaseModel):
    """The person to erase; `*` is every workspace of the platform."""

    platform: str = Field(pattern="^[a-z]{1,20}$")
    workspace: str = Field(min_length=1, max_length=200)
    person: str = Field(min_length=1, max_length=200)
    confirm: Literal[True]


class ForgetReceipt(BaseModel):
    """The amounts that were erased."""

    receipt: str
    at: str
    conversations: int
    messages: int
    files: int
    replies: int


class AuditLine(BaseModel):
    """Who did what, where, to whom; "" is the bot itself, or no one in particular."""

    id: int
    at: str
    action: str
    platform: str
    workspace: str
    channel: str
    actor: str
    subject: str
    details: dict[str, Any]

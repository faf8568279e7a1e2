"""Errors: one sentence each, and for a wrong request also its problems by field."""

from __future__ import annotations

from pydantic import BaseModel


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

"""Uploads: the file parameters of a request, and which refusals concern only the file.

Uploading needs a separate permission, so Discord may refuse a file where it accepts text.
"""

from __future__ import annotations

import io
from typing import Any

import discord

from adapters.discord.errors import NO_PERMISSION
from bot.domain.errors import Gone, Refused
from bot.domain.replies import Request, ShownPage


def post_params(request: Request) -> dict[str, Any]:
    """Parameters of `RestApi.send` that attach the request's file."""
    return {} if request.file is None else {"file": _upload(request)}


def edit_params(request: Request, old: ShownPage | None) -> dict[str, Any]:
    """Parameters of `RestApi.edit` that make the request's file the message's only one.

    Empty if the message already has that file, so that it is uploaded only once.
    """
    if old is not None and old.text is not None and old.file == request.file:
        return {}
    return {"attachments": [] if request.file is None else [_upload(request)]}


def may_concern_file(request: Request, error: Gone | Refused) -> bool:
    """Whether Discord may have refused only the file and would still accept the text."""
    lacking = isinstance(error, Refused) or error.code == NO_PERMISSION
    return request.file is not None and lacking


def _upload(request: Request) -> discord.File:
    """A new file object for each attempt: discord.py closes it."""
    if request.file is None:
        raise ValueError("the request has no file")
    return discord.File(io.BytesIO(request.file.data), filename=request.file.name)

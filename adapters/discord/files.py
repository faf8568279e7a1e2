"""Files in messages of Discord: the parts of a request, and which refusals concern the file alone.

An upload needs a permission of its own, so it may be refused where text is not: the reply goes on.
"""

from __future__ import annotations

import io
from typing import Any

import discord

from adapters.discord.rest import NO_PERMISSION, code_of
from bot.domain.errors import Gone, Refused
from bot.domain.replies import Request, ShownPage


def attached(request: Request) -> dict[str, Any]:
    """What `send` takes to post the file of a request."""
    return {} if request.file is None else {"file": _upload(request)}


def replaced(request: Request, old: ShownPage | None) -> dict[str, Any]:
    """What `edit` takes, so that the message has the file of a request and no other.

    Nothing when it is known to have it: a file that is not named goes up only once.
    """
    if old is not None and old.text is not None and old.file == request.file:
        return {}
    return {"attachments": [] if request.file is None else [_upload(request)]}


def refused(request: Request, error: Gone | Refused) -> bool:
    """Whether it may be the file that was refused, and text would be taken."""
    lacking = isinstance(error, Refused) or code_of(error) == NO_PERMISSION
    return request.file is not None and lacking


def _upload(request: Request) -> discord.File:
    """A new one for each attempt: the library closes it."""
    if request.file is None:
        raise ValueError("the request has no file")
    return discord.File(io.BytesIO(request.file.data), filename=request.file.name)

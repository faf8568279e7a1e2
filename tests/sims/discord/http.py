"""Helpers of the REST handlers: responses, bodies, ids, uploads.

Responses have exactly `Content-Type: application/json`; discord.py parses no other as JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import BodyPartReader, web

from tests.sims.discord import constants as c
from tests.sims.discord.content import Upload, check_uploads
from tests.sims.discord.errors import ApiError, InvalidForm, required
from tests.sims.discord.state import ServerState
from tests.sims.kit import ENTRY

JSON = dict[str, Any]
UPLOADS: web.RequestKey[list[Upload]] = web.RequestKey("uploads", list[Upload])
PREFIX = "/api/v10"


def reply(data: Any = None, status: int = 200, headers: JSON | None = None) -> web.Response:
    """A JSON response, or an empty one if `data` is None."""
    if data is None:
        return web.Response(status=204 if status == 200 else status, headers=headers)
    sent = {"Content-Type": "application/json", **(headers or {})}
    return web.Response(status=status, body=json.dumps(data).encode(), headers=sent)


def number(request: web.Request, key: str) -> int:
    """An id in the path."""
    return int(request.match_info[key])


def body(request: web.Request) -> JSON:
    """A request's JSON object, `payload_json` of a multipart one; 50109 for anything else."""
    found = request[ENTRY].body
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ApiError(400, 50109, "The request body contains invalid JSON.")
    return found


def items(request: web.Request) -> list[JSON]:
    """The JSON array of a request."""
    found = request[ENTRY].body
    if not isinstance(found, list):
        raise ApiError(400, 50109, "The request body contains invalid JSON.")
    return found


def uploads_of(request: web.Request) -> list[Upload]:
    """The files of a multipart request."""
    found: list[Upload] = request.get(UPLOADS, [])
    return found


async def read_multipart(request: web.Request) -> tuple[Any, list[Upload]]:
    """The `payload_json` and the files of a multipart body."""
    payload: Any = {}
    uploads = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)  # no multipart inside a multipart
        data = await part.read()
        if part.name == "payload_json":
            payload = json.loads(data)
        else:
            kind = part.headers.get("Content-Type", "application/octet-stream")
            uploads.append(Upload(part.name or "", part.filename or "file", kind, bytes(data)))
    return payload, uploads


def keep_attachments(
    state: ServerState, sent: JSON, uploads: list[Upload], old: list[JSON]
) -> list[JSON]:
    """A message's future attachments: uploads, and those of `old` that the body keeps."""
    check_uploads(uploads)
    named = sent.get("attachments")
    kept = old if named is None else [a for a in old if a["id"] in [str(x["id"]) for x in named]]
    about = {str(x.get("id")): x for x in named or []}
    added = []
    for upload in uploads:
        index = upload.part.removeprefix("files[").removesuffix("]")
        if named is not None and index not in about:
            raise required(f"attachments.{index}.id")
        added.append(store_file(state, upload.filename, upload.content_type, upload.data))
    return kept + added


def store_file(state: ServerState, filename: str, content_type: str, data: bytes | int) -> JSON:
    """Store a file, as bytes or only its size, and return its attachment object.

    The name loses its special characters, which the title keeps.
    """
    file_id = state.snowflake()
    state.files[file_id] = (content_type, data)
    size = data if isinstance(data, int) else len(data)
    name = re.sub(r"[^\w.-]", "_", filename, flags=re.ASCII)
    known = {"id": str(file_id), "filename": name, "size": size, "content_type": content_type}
    image = {"width": 64, "height": 64} if content_type.startswith("image/") else {}
    title = {"title": filename.rpartition(".")[0] or filename} if name != filename else {}
    return known | image | title


def limit_of(request: web.Request, *, default: int, most: int) -> int:
    """The `limit` of a listing; refused unless between 1 and `most`."""
    limit = int(request.query.get("limit", default))
    if not 1 <= limit <= most:
        code = "NUMBER_TYPE_MAX" if limit > most else "NUMBER_TYPE_MIN"
        raise InvalidForm("limit", code, f"int value should be between 1 and {most}.")
    return limit


def default_flags(sent: JSON, old: int) -> int:
    """An edit's flags: it can only suppress or show previews and turn on Components V2."""
    if sent.get("flags") is None:
        return old & ~c.LOADING
    asked = int(sent["flags"])
    kept = old & ~(c.SUPPRESS_EMBEDS | c.LOADING)
    return kept | asked & (c.SUPPRESS_EMBEDS | c.COMPONENTS_V2)

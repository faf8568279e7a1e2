"""The bytes of attachments, for their owner.

Invariant: nothing sent here can run. Only raster images, recognized by their bytes, may be
displayed inline; everything else is downloaded, as bytes without a type.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Response

from adapters.web.auth import User
from adapters.web.images import raster_type
from adapters.web.openapi import add_route
from adapters.web.places import Places
from bot.domain import http_texts
from bot.domain.names import file_name
from bot.domain.records import AttachmentContent

BYTES = "application/octet-stream"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    # The bytes of an attachment never change; its owner's browser may keep them for some minutes.
    "Cache-Control": "private, max-age=600",
    "Vary": "Authorization, Cookie",
}
_CONTENT = {"schema": {"type": "string", "format": "binary"}}


class AttachmentRoutes:
    """The route for attachments' bytes."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/attachments", tags=["messages"])
        kinds: dict[str, Any] = {BYTES: _CONTENT, "image/*": _CONTENT}
        add_route(router, "GET", "/{attachment_id}", self.read, refuses=(404,), gives_bytes=kinds)
        return router

    async def read(
        self,
        user: User,
        attachment_id: UUID,
        preview: Annotated[
            bool, Query(description="a small picture instead, if there is one")
        ] = False,
    ) -> Response:
        """Return the content of a file that you, or another user of a shared channel, sent."""
        found = await self._places.attachment(str(attachment_id), user)
        if found is None:
            raise HTTPException(404, http_texts.NO_SUCH_FILE)
        return content_response(found, preview=preview)


def content_response(found: AttachmentContent, *, preview: bool) -> Response:
    """The content of an attachment, or its preview. Raises HTTPException 404."""
    data = _preview(found) if preview else found.data
    if data is None:
        raise HTTPException(404, http_texts.FILE_NOT_STORED)
    kind = raster_type(data)
    place = "attachment" if kind is None else "inline"
    name = file_name(found.record.name)
    headers = {**HEADERS, "Content-Disposition": f"{place}; filename*=UTF-8''{quote(name, '')}"}
    return Response(data, media_type=kind or BYTES, headers=headers)


def _preview(found: AttachmentContent) -> bytes | None:
    """The extract's scaled picture, or the original if it is a picture; otherwise None."""
    if found.extract is not None and found.extract.images:
        return found.extract.images[0].data
    return found.data if found.data is not None and raster_type(found.data) else None

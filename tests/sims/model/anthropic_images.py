"""Images in requests of Anthropic's Messages API, with the limits of the guide "Vision"."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any

from tests.sims.model.anthropic_errors import anthropic_error
from tests.sims.model.error_responses import ErrorResponse
from tests.sims.model.images import SIGNATURES

MAX_IMAGE_BYTES = 5 << 20
MAX_SIDE, MANY_IMAGES, MAX_SIDE_OF_MANY = 8_000, 20, 2_000  # pixels, images, pixels


def refuse(message: str) -> ErrorResponse:
    """A 400 for an invalid request."""
    return ErrorResponse(400, anthropic_error("invalid_request_error", message))


def check_image_block(path: str, block: dict[str, Any]) -> None:
    source = block.get("source")
    if not isinstance(source, dict) or source.get("type") != "base64":
        raise refuse(f"{path}.source: Field required")
    path = f"{path}.source.base64"
    for key in source.keys() - {"type", "media_type", "data"}:
        raise refuse(f"{path}.{key}: Extra inputs are not permitted")
    media_type = source.get("media_type")
    if media_type not in SIGNATURES:
        raise refuse(
            f"{path}.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or"
            " 'image/webp'"
        )
    try:
        data = base64.b64decode(source.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise refuse(f"{path}.data: Invalid base64 data") from None
    if len(data) > MAX_IMAGE_BYTES:
        raise refuse(
            f"{path}: image exceeds 5 MB maximum: {len(data)} bytes > {MAX_IMAGE_BYTES} bytes"
        )
    if not data.startswith(SIGNATURES[media_type]):
        raise refuse(f"{path}.data: Could not process image")


def check_image_sides(messages: list[dict[str, Any]]) -> None:
    blocks = [
        (f"messages.{index}.content.{number}.image.source.base64.data", block)
        for index, message in enumerate(messages)
        for number, block in enumerate(
            message["content"] if isinstance(message["content"], list) else ()
        )
        if block["type"] == "image"
    ]
    many = len(blocks) > MANY_IMAGES
    limit = MAX_SIDE_OF_MANY if many else MAX_SIDE
    for path, block in blocks:
        if max(image_size(block)) > limit:
            raise refuse(
                f"{path}: At least one of the image dimensions exceed max allowed size"
                f"{' for many-image requests' * many}: {limit} pixels"
            )


def image_size(block: Mapping[str, Any]) -> tuple[int, int]:
    """The width and height of a PNG; (0, 0) for other images."""
    data = base64.b64decode(block["source"]["data"][:64])
    if data[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return width, height

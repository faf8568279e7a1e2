"""Packs tasks and results into bytes, for the pipe between the bot and the child that reads files.

The format is a JSON head preceded by its length, then raw bytes: the file, or the images one after
another.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Task:
    """A file to read. `pages` limits the pages or sheets."""

    name: str
    media_type: str
    data: bytes
    pages: int


def pack_task(task: Task) -> bytes:
    """Encode a task as bytes."""
    head = {"name": task.name, "media_type": task.media_type, "pages": task.pages}
    return _pack(head, [task.data])


def unpack_task(packed: bytes) -> Task:
    """Decode a packed task."""
    head, data = _unpack(packed)
    return Task(head["name"], head["media_type"], bytes(data), head["pages"])


def pack_extract(extract: Extract) -> bytes:
    """Encode an extract as bytes."""
    fields = {name: getattr(extract, name) for name in _TEXTS}
    images = [
        [image.media_type, image.width, image.height, image.label, len(image.data)]
        for image in extract.images
    ]
    head = {"kind": extract.kind, "notes": extract.notes, "images": images, **fields}
    return _pack(head, [image.data for image in extract.images])


def pack_omission(omission: Omission, detail: str) -> bytes:
    """Encode why a file cannot be used. `detail` is for the log."""
    return _pack({"omission": omission, "detail": detail}, [])


def unpack_extract(packed: bytes) -> Extract:
    """Decode a packed extract. Raises AttachmentError for a packed omission."""
    head, data = _unpack(packed)
    if "omission" in head:
        raise AttachmentError(Omission(head["omission"]), head["detail"])
    texts = {name: str(head[name]) for name in _TEXTS}
    return Extract(
        kind=AttachmentKind(head["kind"]),
        images=tuple(_images(head["images"], data)),
        notes=tuple(head["notes"]),
        **texts,
    )


_TEXTS = ("media_type", "text", "language", "title", "date")


def _images(heads: Sequence[Any], data: memoryview) -> list[ImagePart]:
    images, at = [], 0
    for media_type, width, height, label, size in heads:
        images.append(ImagePart(media_type, bytes(data[at : at + size]), width, height, label))
        at += size
    return images


def _pack(head: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    packed = json.dumps(head, ensure_ascii=False).encode("utf-8", "replace")
    return b"".join((_LENGTH.pack(len(packed)), packed, *parts))


def _unpack(packed: bytes) -> tuple[Mapping[str, Any], memoryview]:
    view = memoryview(packed)
    end = _LENGTH.size + _LENGTH.unpack(view[: _LENGTH.size])[0]
    return json.loads(bytes(view[_LENGTH.size : end])), view[end:]

"""Reads Word, PowerPoint, OpenDocument, RTF and EPUB files as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import anydoc
from PIL import Image

from bot.content.readers import containers, images, text
from bot.content.readers.budget import IMAGES, IMAGES_BYTES
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError


def read(media_type: str, data: bytes) -> Extract:
    """Read an office document. Raises AttachmentError."""
    members = containers.check(data) if data[:2] == b"PK" else ()
    try:
        markdown = anydoc.to_markdown_bytes(data)
    except anydoc.ConvertError as error:
        raise AttachmentError(_omission(error), type(error).__name__) from error
    kept, left_out = text.shorten(markdown)
    kept = text.clean(kept).strip()
    pictures = () if kept else _pictures(data)
    if not kept and not pictures:
        raise AttachmentError(Omission.NO_TEXT)
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type=media_type,
        text=kept,
        images=pictures,
        notes=tuple(_notes(left_out, members, bool(pictures))),
    )


def _notes(left_out: int, members: Iterable[str], pictures_shown: bool) -> Iterator[str]:
    if left_out:
        yield attachment_texts.middle_left_out(left_out)
    if not pictures_shown and any(name.startswith(_PICTURES) for name in members):
        yield attachment_texts.PICTURES_NOT_READ


_PICTURES = ("word/media/", "ppt/media/", "Pictures/")


def _omission(error: anydoc.ConvertError) -> Omission:
    match error:
        case anydoc.EncryptedError():
            return Omission.ENCRYPTED
        case anydoc.ResourceLimitError():
            return Omission.EXPANDS
        case anydoc.UnsupportedError():
            return Omission.UNSUPPORTED
        case anydoc.NeedsOcrError():
            return Omission.NO_TEXT
        case _:
            return Omission.DAMAGED


def _pictures(data: bytes) -> tuple[ImagePart, ...]:
    """The pictures of a document that contains nothing else, such as pasted screenshots."""
    found: list[ImagePart] = []
    for asset in anydoc.to_document(data).assets:
        if len(found) == IMAGES or sum(len(image.data) for image in found) > IMAGES_BYTES * 3 // 4:
            break
        try:
            found.extend(images.read(asset.media_type, asset.data).images)
        except (AttachmentError, KeyError, OSError, ValueError, Image.DecompressionBombError):
            continue  # vector formats and damaged pictures
    return tuple(found)

"""The parts of a message in OpenAI's form, and the bytes in their data URLs."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urlsplit

from adapters.web import schemas
from adapters.web.limits import MESSAGE_CHARACTERS
from adapters.web.openapi import field_error
from bot.domain import http_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.names import file_name

CHUNK = 1_048_576  # characters of base64 decoded in one step, so that other threads run in between
LONGEST_ADDRESS = 2_000
"""The most characters in a link; browsers accept none longer."""

_MEDIA_TYPE = re.compile(r"[a-z0-9][\w.+-]{0,60}/[a-z0-9][\w.+-]{0,60}", re.ASCII)
_BLANKS = " \t\r\n"


def media_type_of(declared: str) -> str:
    """A declared media type without its parameters; "" if it is not one."""
    kind = declared.partition(";")[0].strip().lower()
    return kind if _MEDIA_TYPE.fullmatch(kind) else ""


def decode_parts(
    parts: Sequence[schemas.Part], place: tuple[str, ...]
) -> tuple[str, list[IncomingAttachment]]:
    """The text of the parts and their files.

    Raises RequestValidationError that names the part by its number after `place`.
    """
    texts: list[str] = []
    files: list[IncomingAttachment] = []
    for number, part in enumerate(parts):
        here = (*place, str(number))
        if isinstance(part, schemas.TextPart):
            texts.append(part.text)
        elif isinstance(part, schemas.ImagePart):
            files.append(_image(part.image_url.url, (*here, "image_url", "url")))
        else:
            files.append(_file(part.file, (*here, "file", "file_data")))
    text = "\n\n".join(texts)
    if len(text) > MESSAGE_CHARACTERS:
        raise field_error(place, http_texts.text_too_long(MESSAGE_CHARACTERS), "too_long")
    return text, files


def _image(url: str, place: tuple[str, ...]) -> IncomingAttachment:
    if url[:5].lower() != "data:":
        return _link(url, place)
    media_type, data = _decode_data_url(url, place)
    return _attachment("", media_type, data, "image")


def _file(file: schemas.FileData, place: tuple[str, ...]) -> IncomingAttachment:
    if file.file_data[:5].lower() == "data:":
        media_type, data = _decode_data_url(file.file_data, place)
    else:
        media_type, data = "", _decode_base64(file.file_data, place)
    return _attachment(file.filename or "", media_type, data, "file")


def _attachment(name: str, media_type: str, data: bytes, kind: str) -> IncomingAttachment:
    ending = (mimetypes.guess_extension(media_type) if media_type else None) or ""
    return IncomingAttachment(
        name=file_name(name, otherwise=f"{kind}{ending}"),
        media_type=media_type,
        size=len(data),
        data=data,
    )


def _link(url: str, place: tuple[str, ...]) -> IncomingAttachment:
    """A link that the core reads, from public addresses only."""
    try:
        parts = urlsplit(url)
        known = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known or len(url) > LONGEST_ADDRESS or set(url) & set(_BLANKS):
        raise field_error(place, http_texts.NOT_AN_ADDRESS, "data_url")
    return IncomingAttachment(name=url, locator={"url": url}, is_link=True)


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────
def _decode_data_url(url: str, place: tuple[str, ...]) -> tuple[str, bytes]:
    """The media type and the bytes of `data:[TYPE][;base64],DATA`."""
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise field_error(place, http_texts.NOT_A_DATA_URL, "data_url")
    kind, _, coding = head.rpartition(";")
    if coding.strip().lower() == "base64":
        return media_type_of(kind), _decode_base64(data, place)
    return media_type_of(head) or "text/plain", unquote_to_bytes(data)


def _decode_base64(text: str, place: tuple[str, ...]) -> bytes:
    """The bytes; line breaks are allowed, as in e-mails."""
    for blank in _BLANKS:
        text = text.replace(blank, "")
    pieces = (text[start : start + CHUNK] for start in range(0, len(text), CHUNK))
    try:
        return b"".join(base64.b64decode(piece.encode("ascii"), validate=True) for piece in pieces)
    except (binascii.Error, ValueError) as error:
        raise field_error(place, http_texts.NOT_BASE64, "data_url") from error

"""Reads a response's body within limits: which types, how many bytes, and how far it may expand."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Mapping
from email.message import Message
from pathlib import PurePosixPath

from yarl import URL

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

MAX_RATIO = 100
"""A body that expands more than this is a compression bomb; HTML and logs expand up to 30 times."""

MAX_NAME = 100

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,99}")
_CHARSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,39}")

READABLE = re.compile(
    r"""text/.+
    |image/.+
    |application/(?:.+\+)?(?:json|xml|yaml)
    |application/(?:x-)?(?:ndjson|jsonlines|toml|yaml|javascript|sh|sql|tex|ipynb\+json|rtf)
    |application/(?:pdf|x-pdf|epub\+zip|mbox|msword)
    |application/vnd\.(?:openxmlformats-officedocument|oasis\.opendocument|ms-(?:excel|word|powerpoint|outlook)).*
    |message/rfc822""",
    re.VERBOSE,
)
"""Media types to download. In the sandbox a parser decides what the bytes really are."""

UNKNOWN_TYPES = frozenset(
    {
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-download",
        "application/force-download",
    }
)
"""Types that file stores and repositories send for any file: the name's ending decides."""

READABLE_ENDINGS = re.compile(
    r"""\.(?:c|cfg|conf|cpp|css|csv|diff|docx?|eml|epub|gif|go|h|heic|html?|ini|ipynb|java|jpe?g|js
    |json|jsonl|log|lua|md|od[pst]|patch|pdf|php|png|pptx?|py|rb|rs|rst|rtf|sh|sql|srt|svg|tex|toml
    |ts|tsv|txt|vtt|webp|xlsx?|xml|ya?ml)""",
    re.VERBOSE | re.IGNORECASE,
)


def media_type_of(headers: Mapping[str, str]) -> str:
    """The Content-Type in lower case with its charset ("text/html; charset=utf-8"), or ""."""
    message = Message()
    message["Content-Type"] = headers.get("content-type", "")[:500]
    kind = message["Content-Type"].partition(";")[0].strip().lower()
    if not _MEDIA_TYPE.fullmatch(kind):
        return ""
    charset = message.get_param("charset")
    known = isinstance(charset, str) and _CHARSET.fullmatch(charset)
    return f"{kind}; charset={charset}" if known else kind


def name_of(url: URL, headers: Mapping[str, str]) -> str:
    """The file's name, for its extension: from Content-Disposition or else the URL's path."""
    message = Message()
    message["Content-Disposition"] = headers.get("content-disposition", "")[:1_000]
    try:
        given = message.get_filename() or ""
    except (LookupError, UnicodeError, ValueError):  # an unknown or wrong charset in RFC 2231
        given = ""
    last = re.split(r"[/\\]", given or url.name)[-1]
    return "".join(c if c.isprintable() else " " for c in last).strip(" .")[-MAX_NAME:]


def require_readable(media_type: str, name: str) -> None:
    """Raise AttachmentError for a type that no parser reads."""
    kind = media_type.partition(";")[0]
    if kind in UNKNOWN_TYPES:
        if kind == "" or READABLE_ENDINGS.fullmatch(PurePosixPath(name).suffix):
            return
    elif READABLE.fullmatch(kind):
        return
    raise AttachmentError(Omission.UNSUPPORTED, kind)


async def read_body(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], *, limit: int
) -> bytes:
    """Read and unpack the body. Raises AttachmentError if it is empty or too long."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise AttachmentError(Omission.TOO_LARGE, f"{declared[:20]} bytes")
    unpacker = Unpacker(headers.get("content-encoding", ""), limit=limit)
    async for piece in pieces:
        unpacker.feed(piece)
        if unpacker.is_complete:
            break
    data = unpacker.finish()
    if not data:
        raise AttachmentError(Omission.EMPTY)
    return data


class Unpacker:
    """Undoes the Content-Encoding; never holds more than `limit` bytes of output."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        self._encoding = encoding.strip().lower().removeprefix("x-")
        if self._encoding not in ("", "identity", "gzip", "deflate"):
            raise AttachmentError(Omission.UNSUPPORTED, "an encoding that was not asked for")
        self._limit, self._received = limit, 0
        self._output = bytearray()
        self._zlib: zlib._Decompress | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the compressed data has ended; like browsers, we ignore any bytes after it."""
        return self._zlib is not None and self._zlib.eof

    def feed(self, data: bytes) -> None:
        """Add a piece of the body."""
        self._received += len(data)
        if self._encoding in ("", "identity"):
            self._add(data)
            return
        if self._zlib is None:
            self._zlib = zlib.decompressobj(self._window_bits(data))
        try:
            # Ask for one byte more than there is room for, to notice a body that is too long.
            self._add(self._zlib.decompress(data, self._limit - len(self._output) + 1))
        except zlib.error as error:
            raise AttachmentError(Omission.DAMAGED, str(error)) from error

    def finish(self) -> bytes:
        """Return the body. Raises AttachmentError if the compressed data is incomplete."""
        if self._zlib is not None and not self._zlib.eof:
            raise AttachmentError(Omission.DAMAGED, "compressed data without an end")
        return bytes(self._output)

    def _window_bits(self, data: bytes) -> int:
        """The window bits for zlib. Servers send "deflate" with and without zlib's header."""
        if self._encoding == "gzip":
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS

    def _add(self, data: bytes) -> None:
        if len(self._output) + len(data) > self._limit:
            unread = len(self._zlib.unconsumed_tail) if self._zlib else 0
            expands = self._limit > MAX_RATIO * (self._received - unread)
            raise AttachmentError(Omission.EXPANDS if expands else Omission.TOO_LARGE)
        self._output += data

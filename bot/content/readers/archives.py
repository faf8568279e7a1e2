"""Lists the names in archives. It reads no content, except for a single compressed text."""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from bot.content.readers import text
from bot.content.readers.sniff import BZIP, GZIP, TAR, XZ, ZIP
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

NAMES = 500
UNPACKED_TEXT = 40 * 1024 * 1024
"""The largest unpacked size of a compressed text or tar archive, in bytes."""

_Member = tuple[str, int]
"""A name and a size in bytes."""

_DAMAGED = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError,
            zipfile.BadZipFile, NotImplementedError)  # fmt: skip


def read(name: str, media_type: str, data: bytes) -> Extract:
    """Read an archive's list of names, or a compressed text. Raises AttachmentError."""
    try:
        if media_type == ZIP:
            return _listing(media_type, _zip_members(data))
        unpacked = data if media_type == TAR else _unpack(media_type, data)
        if unpacked[257:262] == b"ustar":
            return _listing(media_type, _tar_members(unpacked))
    except _DAMAGED as error:
        raise AttachmentError(Omission.DAMAGED, type(error).__name__) from error
    stem = name.rpartition(".")[0] if "." in name else name
    return text.read(stem, "", unpacked)


def _listing(media_type: str, members: Iterator[_Member]) -> Extract:
    listed = [member for member, _ in zip(members, range(NAMES + 1), strict=False)]
    if not listed:
        raise AttachmentError(Omission.EMPTY)
    notes = [attachment_texts.ARCHIVE_NOT_UNPACKED]
    if len(listed) > NAMES:
        notes.append(attachment_texts.only_first_names(NAMES))
    lines = [f"- {text.one_line(name) or '?'} ({size:,} bytes)" for name, size in listed[:NAMES]]
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type=media_type,
        text="\n".join(lines),
        notes=tuple(notes),
    )


def _zip_members(data: bytes) -> Iterator[_Member]:
    for member in zipfile.ZipFile(io.BytesIO(data)).infolist():
        if not member.is_dir():
            yield member.filename, member.file_size


def _tar_members(data: bytes) -> Iterator[_Member]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            if not member.isdir():
                yield member.name, member.size


def _unpack(media_type: str, data: bytes) -> bytes:
    """The first stream's content. Raises AttachmentError(EXPANDS) if it is too large."""
    most = UNPACKED_TEXT + 1
    unpacked = {
        GZIP: lambda: zlib.decompressobj(wbits=31).decompress(data, most),
        BZIP: lambda: bz2.BZ2Decompressor().decompress(data, most),
        XZ: lambda: lzma.LZMADecompressor(memlimit=_MEMORY).decompress(data, most),
    }[media_type]()
    if len(unpacked) > UNPACKED_TEXT:
        raise AttachmentError(Omission.EXPANDS)
    if not unpacked:
        raise AttachmentError(Omission.EMPTY)
    return unpacked


_MEMORY = 128 * 1024 * 1024
"""The memory limit for xz, in bytes; its strongest preset needs 65 MB."""

"""Identifies a file by its first bytes; declared types and names only distinguish lookalikes.

Invariant: a file that is valid in two formats (a polyglot) is identified by its first bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import anydoc

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

ZIP, RTF, HTML_TYPE = "application/zip", "application/rtf", "text/html"
MAIL, PDF, PLAIN, SVG = "message/rfc822", "application/pdf", "text/plain", "image/svg+xml"
TAR, GZIP, BZIP, XZ = (
    "application/x-tar",
    "application/gzip",
    "application/x-bzip2",
    "application/x-xz",
)

DOCUMENTS = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "doc": "application/msword",
    "ppt": "application/vnd.ms-powerpoint",
    "xls": "application/vnd.ms-excel",
    "rtf": RTF,
    "epub": "application/epub+zip",
}
"""Media types by anydoc's format names."""


class Family(Enum):
    """Which reader reads a file."""

    TEXT = "text"
    PDF = "pdf"
    OFFICE = "office"
    SHEETS = "sheets"
    HTML = "html"
    MAIL = "mail"
    ARCHIVE = "archive"
    IMAGE = "image"
    AUDIO = "audio"


Sniffed = tuple[Family, str]
"""The family and the media type."""

_Twin = Callable[[bytes, str], Sniffed | None]


def sniff(name: str, media_type: str, data: bytes) -> Sniffed | None:
    """The family and media type of binary data; None if the data may be text.

    `media_type` is the declared type. Raises AttachmentError(UNSUPPORTED) for formats without a
    reader.
    """
    for magic, at, found in _MAGIC:
        if data.startswith(magic, at):
            return found
    for container, sniffed in _CONTAINERS:
        if container(data) and (twin := sniffed(data, _declared(name, media_type))):
            return twin
    if any(data.startswith(magic) for magic in _UNSUPPORTED):
        raise AttachmentError(Omission.UNSUPPORTED, data[:8].hex())
    if b"%PDF-" in data[:1024] and b"\0" in data:
        return Family.PDF, PDF  # PDF readers tolerate bytes before the header
    return None


def _declared(name: str, media_type: str) -> str:
    """ "audio" or "video" by the name or the declared type, for containers that may hold either."""
    ending = name.rpartition(".")[2].lower()
    if ending in {"m4a", "m4b", "weba", "oga", "opus", "mka"} or media_type.startswith("audio/"):
        return "audio"
    return "video"


_MAGIC: tuple[tuple[bytes, int, Sniffed], ...] = (
    (b"%PDF-", 0, (Family.PDF, PDF)),
    (b"\x89PNG\r\n\x1a\n", 0, (Family.IMAGE, "image/png")),
    (b"\xff\xd8\xff", 0, (Family.IMAGE, "image/jpeg")),
    (b"GIF87a", 0, (Family.IMAGE, "image/gif")),
    (b"GIF89a", 0, (Family.IMAGE, "image/gif")),
    (b"II*\0", 0, (Family.IMAGE, "image/tiff")),
    (b"MM\0*", 0, (Family.IMAGE, "image/tiff")),
    (b"{\\rtf", 0, (Family.OFFICE, RTF)),
    *((b"ID3" + bytes([version]), 0, (Family.AUDIO, "audio/mpeg")) for version in (2, 3, 4)),
    (b"\xff\xfb", 0, (Family.AUDIO, "audio/mpeg")),
    (b"\xff\xf3", 0, (Family.AUDIO, "audio/mpeg")),
    (b"\xff\xf2", 0, (Family.AUDIO, "audio/mpeg")),
    (b"\xff\xf1", 0, (Family.AUDIO, "audio/aac")),
    (b"\xff\xf9", 0, (Family.AUDIO, "audio/aac")),
    (b"fLaC", 0, (Family.AUDIO, "audio/flac")),
    (b"#!AMR", 0, (Family.AUDIO, "audio/amr")),
    (b"\x1f\x8b\x08", 0, (Family.ARCHIVE, GZIP)),
    (b"1AY&SY", 4, (Family.ARCHIVE, BZIP)),
    (b"\xfd7zXZ\0", 0, (Family.ARCHIVE, XZ)),
    (b"ustar", 257, (Family.ARCHIVE, TAR)),
)

_UNSUPPORTED = (
    b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe",
    b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"SQLite format 3\0", b"wOFF", b"wOF2", b"OTTO\0",
    b"\0\1\0\0\0", b"FLV\1", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0asm",
    b"\x28\xb5\x2f\xfd", b"MThd\0", b"8BPS\0", b"%!PS", b"\0\0\1\0", b"\xc5\xd0\xd3\xc6",
)  # fmt: skip
"""Formats without a reader: programs, fonts, databases, video, other archives and pictures."""


def _zip(data: bytes, _declared: str) -> Sniffed:
    found = anydoc.format_from_bytes(data)
    if found in ("xlsx", "ods"):
        return Family.SHEETS, DOCUMENTS[found]
    if found in DOCUMENTS:
        return Family.OFFICE, DOCUMENTS[found]
    return Family.ARCHIVE, ZIP


def _ole(data: bytes, _declared: str) -> Sniffed:
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise AttachmentError(Omission.ENCRYPTED)
    found = anydoc.format_from_bytes(data)
    if found == "xlsx":  # anydoc's name for all Excel formats
        return Family.SHEETS, DOCUMENTS["xls"]
    if found in DOCUMENTS:
        return Family.OFFICE, DOCUMENTS[found]
    raise AttachmentError(Omission.UNSUPPORTED, "ole")


def _riff(data: bytes, _declared: str) -> Sniffed | None:
    match data[8:12]:
        case b"WEBP":
            return Family.IMAGE, "image/webp"
        case b"WAVE":
            return Family.AUDIO, "audio/wav"
        case other if b"\0" in data[:64]:
            raise AttachmentError(Omission.UNSUPPORTED, repr(other))
        case _:
            return None


def _iso_media(data: bytes, declared: str) -> Sniffed:
    """Identify MP4 and its relatives by brand; an MP4 may also contain only sound."""
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, min(64, len(data)), 4)}
    if brands & {b"avif", b"avis"}:
        return Family.IMAGE, "image/avif"
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"}:
        return Family.IMAGE, "image/heic"
    if brands & {b"M4A ", b"M4B "} or declared == "audio":
        return Family.AUDIO, "audio/mp4"
    raise AttachmentError(Omission.UNSUPPORTED, "video")


def _matroska(_data: bytes, declared: str) -> Sniffed:
    if declared == "audio":
        return Family.AUDIO, "audio/webm"
    raise AttachmentError(Omission.UNSUPPORTED, "video")


def _ogg(data: bytes, _declared: str) -> Sniffed:
    if b"theora" in data[:256]:
        raise AttachmentError(Omission.UNSUPPORTED, "video")
    return Family.AUDIO, "audio/ogg"


def _bitmap(data: bytes, _declared: str) -> Sniffed | None:
    plausible = data[6:10] == b"\0\0\0\0" and data[14:18] in _BITMAP_HEADERS
    return (Family.IMAGE, "image/bmp") if plausible else None


_BITMAP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}

_CONTAINERS: tuple[tuple[Callable[[bytes], bool], _Twin], ...] = (
    (lambda data: data[:4] in (b"PK\3\4", b"PK\5\6", b"PK\7\x08"), _zip),
    (lambda data: data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _ole),
    (lambda data: data[:4] == b"RIFF", _riff),
    (lambda data: data[4:8] == b"ftyp" and data[0] == 0, _iso_media),
    (lambda data: data[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda data: data[:5] == b"OggS\0", _ogg),
    (lambda data: data[:2] == b"BM", _bitmap),
    (lambda data: data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"),
     lambda _data, _declared: (Family.AUDIO, "audio/aiff")),
)  # fmt: skip

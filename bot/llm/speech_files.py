"""Chooses the file name to send with a recording: servers infer the format from the ending.

People's own file names are not sent, because the provider does not need them.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError

# OpenAI's list (API reference, createTranscription), with the media type of each.
_TYPES: Mapping[str, str] = {
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "webm": "audio/webm",
}

_ENDINGS: Mapping[str, str] = {
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/mp4": "m4a",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/mpga": "mpga",
    "video/mp4": "mp4",
    "audio/ogg": "ogg",
    "application/ogg": "ogg",
    "audio/opus": "ogg",  # in an Ogg container, as Discord and Slack send it
    "audio/vnd.wave": "wav",
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/webm": "webm",
    "video/webm": "webm",
}

# The first bytes of each format, because declared types may be wrong.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"\x1a\x45\xdf\xa3", "webm"),
    (8, b"WAVE", "wav"),
    (0, b"ID3", "mp3"),
    (0, b"\xff\xfb", "mp3"),
    (0, b"\xff\xf3", "mp3"),
    (0, b"\xff\xf2", "mp3"),
    (4, b"ftypM4A", "m4a"),
    (4, b"ftyp", "mp4"),
)


def file_name(name: str, media_type: str, data: bytes) -> tuple[str, str]:
    """The name and the media type to send; raises AttachmentError for an unknown format.

    The content takes precedence, then the declared type, then the ending of `name`.
    """
    declared = media_type.partition(";")[0].strip().lower()
    ending = next((e for at, start, e in _SIGNATURES if data.startswith(start, at)), "")
    ending = ending or _ENDINGS.get(declared, "") or name.rpartition(".")[2].lower()
    if ending not in _TYPES:
        raise AttachmentError(Omission.UNSUPPORTED, declared or ending)
    return f"speech.{ending}", _TYPES[ending]

"""The files of a message, of the messages it forwards, and of the one it replies to.

Pure. Reads the raw payload; any field may be missing or have another type. A file keeps the data
needed to download it: see `downloads`.

Stickers do not count as files: their names say more than their pictures, and people send them
often.

https://docs.discord.com/developers/resources/message#attachment-object
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.discord.payloads import (
    forwarded_messages,
    get_int,
    get_objects,
    get_text,
    is_voice_message,
    read_id,
)
from bot.domain.attachments import IncomingAttachment, Omission
from bot.domain.names import one_line

MAX_FORWARD_DEPTH = 3
MAX_SUFFIX = 16  # characters of a name's ending, dot included, that survive its truncation
PASTE = "message.txt"
"""The name that Discord's client gives to text over 2,000 characters (4,000 with Nitro).

According to reports, its `content_type` is text/plain or missing. No other field marks a paste. A
file to which a person gave the same name is also read as the message, which is harmless.
"""
SPOILER = "SPOILER_"  # the client's prefix of a file that is hidden until it is clicked
# A `.ts` file is TypeScript more often than an MPEG transport stream, whose type it gets.
MAYBE_TEXT = frozenset({"video/mp2t"})


def files_of(raw: Any, channel: int, *, is_own: bool) -> tuple[IncomingAttachment, ...]:
    """The files of a message and its forwards; `channel` is the channel that contains the message.

    `is_own`: the person asking wrote the message, so a paste counts as their own words.
    """
    location = {
        "channel": str(read_id(raw, "channel_id") or channel),
        "message": str(read_id(raw, "id") or ""),
    }
    own = [_file(file, raw, location, is_own=is_own) for file in get_objects(raw, "attachments")]
    return (*own, *_forwarded(raw, location, 0))


def _forwarded(raw: Any, location: Mapping[str, str], depth: int) -> Iterator[IncomingAttachment]:
    """A forward's files; they can be read again along with the message that contains the
    forward."""
    if depth >= MAX_FORWARD_DEPTH:
        return
    for message in forwarded_messages(raw):
        for file in get_objects(message, "attachments"):
            yield _file(file, message, location, is_own=False)
        yield from _forwarded(message, location, depth + 1)


def _file(
    file: Mapping[str, Any], message: Any, location: Mapping[str, str], *, is_own: bool
) -> IncomingAttachment:
    name, media_type, size = file_name(file), media_type_of(file), _size(file)
    identity = read_id(file, "id")
    voice = is_voice_message(message, file)
    optional = {"size": "" if size is None else str(size), "type": media_type}
    return IncomingAttachment(
        name=name,
        media_type=media_type,
        size=size,
        locator={
            **location,
            "attachment": str(identity or ""),
            "url": get_text(file, "url"),
            **{key: value for key, value in optional.items() if value},
        },
        identity=str(identity or ""),
        is_paste=is_own and name == PASTE and media_type in ("", "text/plain"),
        is_voice=voice,
        omission=None if voice or not _is_video(media_type) else Omission.UNSUPPORTED,
    )


def file_name(file: Mapping[str, Any]) -> str:
    """The name that people see, on one line, with its ending.

    `filename` lacks special characters; then `title` has them, but may lack the ending.
    """
    stored, title = get_text(file, "filename"), get_text(file, "title")
    suffix = _suffix(stored)
    name = (title or stored).removeprefix(SPOILER)
    if suffix and not name.lower().endswith(suffix.lower()):
        name += suffix
    shown = one_line(name, otherwise="file")
    if not suffix or shown.lower().endswith(suffix.lower()):
        return shown
    return f"{shown[: -len(suffix)]}{suffix}"  # the ending was truncated


def _suffix(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    suffix = one_line(dot + ending, otherwise="")
    return suffix if stem and dot and len(suffix) <= MAX_SUFFIX else ""


def media_type_of(file: Mapping[str, Any]) -> str:
    """The media type that Discord reports, without parameters, in lower case."""
    return get_text(file, "content_type").partition(";")[0].strip().lower()


def _size(file: Mapping[str, Any]) -> int | None:
    size = file.get("size")
    known = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return get_int(file, "size") if known else None


def _is_video(media_type: str) -> bool:
    return media_type.startswith("video/") and media_type not in MAYBE_TEXT


def urls_in(raw: Any) -> dict[str, str]:
    """The current URLs of a message's files, forwarded ones included, by their ids."""
    return {file.identity: file.locator["url"] for file in files_of(raw, 0, is_own=False)}

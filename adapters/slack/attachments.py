"""A message's files as attachments. Pure; a malformed file never raises.

docs.slack.dev/reference/objects/file-object lists a file's fields. Content that the message already
includes (an e-mail's text, a transcript) is reported with the file; the rest is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adapters.slack.payloads import Payload, ident, items, mapping, text
from adapters.slack.text import name as one_line
from bot.domain.attachments import IncomingAttachment, Omission

MAX_FILES = 50
"""The most files to report, and forwarded messages to search, per message."""

MAX_DEPTH = 3
"""Levels of forwarded messages to search for files."""

MAX_FILE_NAME = 255
"""Maximum length of a file name in characters, as in most file systems."""

MAX_SIZE = 2**53
"""Bytes; a larger size counts as unknown."""

SPEECH = frozenset({"slack_audio", "slack_video"})
"""Subtypes of files that people record in Slack's clients."""

HTML = "text/html"
PAGES = frozenset({"canvas", "docs", "post", "quip", "space"})
"""Modes of posts and canvases, which Slack serves as HTML."""

TOMBSTONE = "tombstone"  # the mode of a deleted file
_STUB = "check_file_info"  # a file from another workspace, which files.info describes
_UNTITLED = frozenset({"", "-", "untitled"})


def attachments(message: Payload, *, has_text: bool = True) -> tuple[IncomingAttachment, ...]:
    """The files of a message and of the messages forwarded in it, except deleted ones.

    `has_text`: the author also wrote text.
    """
    files = {ident(file, "id") or str(n): file for n, file in enumerate(files_in(message))}
    found = list(files.values())[:MAX_FILES]
    is_only = len(found) == 1 and not has_text
    return tuple(attachment(file, is_only=is_only) for file in found)


def files_in(message: Payload, depth: int = 0) -> Iterator[Payload]:
    """The files of a message and of the messages forwarded in it, except deleted ones."""
    for file in items(message, "files")[:MAX_FILES]:
        if text(file, "mode") != TOMBSTONE:
            yield file
    if depth < MAX_DEPTH:
        for forwarded in items(message, "attachments")[:MAX_FILES]:
            yield from files_in(forwarded, depth + 1)


def attachment(file: Payload, *, is_only: bool = False) -> IncomingAttachment:
    """A file as an attachment; `is_only` if its message has nothing else."""
    size = file.get("size")
    found = IncomingAttachment(
        name=file_name(file),
        media_type=media_type(file),
        size=size if type(size) is int and 0 <= size < MAX_SIZE else None,
        identity=ident(file, "id"),
        is_voice=text(file, "subtype") in SPEECH,
        omission=omission(file),
    )
    if found.omission is not None:
        return replace(found, name=found.name or "file")
    if (data := email(file)) is not None:
        return replace(found, media_type="text/plain", size=len(data), data=data)
    is_paste = is_only and _is_pasted(file)
    return replace(found, locator=locator(file), transcript=transcript(file), is_paste=is_paste)


def lost_files(before: Sequence[Payload], after: Sequence[Payload]) -> set[str]:
    """The ids of the files in `before` that are not in `after`."""
    return {ident(file, "id") for file in before} - {ident(file, "id") for file in after} - {""}


# ── fields ────────────────────────────────────────────────────────────────────────────────────
def file_name(file: Payload) -> str:
    """The file name that people see; "" if Slack does not say it."""
    names = (text(file, "name"), text(file, "title"))
    if text(file, "mode") in PAGES | {"email"}:
        names = names[::-1]
    return next(filter(None, (one_line(found, MAX_FILE_NAME) for found in names)), "")


def media_type(file: Payload) -> str:
    """The media type of the downloaded content.

    Slack calls recorded audio video/mp4 or video/webm.
    """
    if text(file, "mode") in PAGES:
        return HTML
    found = text(file, "mimetype").lower()[:MAX_FILE_NAME]
    if not (found.isascii() and found.isprintable() and "/" in found):
        return ""
    if text(file, "subtype") == "slack_audio":
        return found.replace("video/", "audio/", 1)
    return found


def omission(file: Payload) -> Omission | None:
    """Why a file cannot be used, if its fields already say so."""
    access, mode = text(file, "file_access"), text(file, "mode")
    if mode == TOMBSTONE or access == "file_not_found":
        return Omission.GONE
    if access == "access_denied" or mode == "hidden_by_limit":
        return Omission.NO_ACCESS
    if file.get("is_external") is True or mode == "external":
        return Omission.NO_ACCESS  # Google Drive and the like: our token has no rights there
    if mode == "list":
        return Omission.UNSUPPORTED
    return None if ident(file, "id") or url(file) else Omission.GONE


def url(file: Payload) -> str:
    """The content's address; "" if the message does not have it."""
    if text(file, "file_access") == _STUB:
        return ""
    return text(file, "url_private_download") or text(file, "url_private")


def locator(file: Payload) -> dict[str, str]:
    """What `SlackFiles.download` needs: "file", and "url" unless files.info must be asked first.

    "type" is the expected media type, "size" the size in bytes. "speech" is set while Slack may
    still be writing a transcript, "vtt" is the address of a complete one.
    """
    size, speech = file.get("size"), _transcription(file)
    is_exact = type(size) is int and size > 0 and text(file, "mode") not in PAGES
    found = {
        "file": ident(file, "id"),
        "url": url(file),
        "type": media_type(file),
        "size": str(size) if is_exact else "",
        "speech": "yes" if _may_be_transcribed(file) else "",
        "vtt": text(file, "vtt") if text(speech, "status") == "complete" else "",
    }
    return {name: value for name, value in found.items() if value}


def transcript(file: Payload) -> str:
    """Slack's transcript of the speech, if the file's fields contain all of it."""
    found = _transcription(file)
    preview = mapping(found, "preview")
    if text(found, "status") not in ("complete", "") or preview.get("has_more"):
        return ""
    return text(preview, "content").encode(errors="replace").decode().strip()


def _transcription(file: Payload) -> Payload:
    return mapping(file, "transcription")


def _may_be_transcribed(file: Payload) -> bool:
    status = text(_transcription(file), "status")
    return status == "processing" or (not status and text(file, "subtype") in SPEECH)


def email(file: Payload) -> bytes | None:
    """A forwarded e-mail's text with its headers; None if it is not an e-mail, or has no text."""
    if text(file, "mode") != "email" or not (body := text(file, "plain_text").strip()):
        return None
    senders = (text(one, "original") or text(one, "address") for one in items(file, "from"))
    headers = {"Subject": text(file, "subject"), "From": ", ".join(filter(None, senders))}
    lines = [f"{name}: {one_line(value, 1_000)}" for name, value in headers.items() if value]
    return "\n".join([*lines, "", body]).encode(errors="replace")


def _is_pasted(file: Payload) -> bool:
    """Whether a client turned pasted text into a snippet: such a snippet has no title."""
    title = text(file, "title") or text(file, "name")
    stem = title.lower().removesuffix(".txt")
    return text(file, "mode") == "snippet" and stem.strip() in _UNTITLED

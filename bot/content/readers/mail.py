"""Reads e-mails: headers, the body as text, and the names of attached files."""

from __future__ import annotations

import email
import email.errors
import email.header
import email.policy
from collections.abc import Iterator
from email.message import Message

from bot.content.readers import html, text
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

HEADERS = ("From", "To", "Cc", "Date", "Subject")
PARTS = 200
FILES = 100

_POLICY = email.policy.compat32


def read(data: bytes) -> Extract:
    """Read an e-mail. Raises AttachmentError(DAMAGED) if it has neither headers nor text."""
    try:
        message = email.message_from_bytes(data, policy=_POLICY)
    except RecursionError as error:
        raise AttachmentError(Omission.DAMAGED, "nesting") from error
    head = [f"{name}: {value}" for name in HEADERS if (value := _header(message, name))]
    body, files = _contents(message)
    if not head and not body:
        raise AttachmentError(Omission.DAMAGED, "no mail")
    kept, left_out = text.shorten(body)
    notes = [attachment_texts.MAIL_ATTACHMENTS_NOT_READ] if files else []
    if left_out:
        notes.append(attachment_texts.middle_left_out(left_out))
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type="message/rfc822",
        text="\n\n".join(filter(None, ("  \n".join(head), kept, _listed(files)))),
        title=_header(message, "Subject"),
        date=_header(message, "Date"),
        notes=tuple(notes),
    )


def _listed(files: list[str]) -> str:
    return "Attached files:\n" + "\n".join(f"- {name}" for name in files) if files else ""


def _header(message: Message, name: str) -> str:
    raw = message.get(name)
    return _decode_words(str(raw)) if raw is not None else ""


def _decode_words(raw: str) -> str:
    """Decode a header's encoded words; if they are broken, return the header unchanged."""
    try:
        parts = email.header.decode_header(raw[:2_000])
        decoded = "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in parts
        )
    except (LookupError, ValueError, email.errors.HeaderParseError, OSError):
        decoded = raw
    return text.one_line(decoded, 500)


def _contents(message: Message) -> tuple[str, list[str]]:
    """The body, and the names of the attached files."""
    plain: list[str] = []
    rich: list[str] = []
    files: list[str] = []
    for part, _ in zip(_leaves(message), range(PARTS), strict=False):
        name = part.get_filename()
        if name or part.get_content_disposition() == "attachment":
            if len(files) < FILES:
                files.append(_decode_words(name or part.get_content_type()))
        elif part.get_content_type() == "text/plain":
            plain.append(_text_of(part))
        elif part.get_content_type() == "text/html":
            rich.append(html.to_markdown(_text_of(part)))
    body = "\n\n".join(plain).strip() or "\n\n".join(rich).strip()
    return text.clean(body), files


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that contain no further parts, in order and without recursion."""
    stack = [message]
    while stack:
        part = stack.pop()
        inner = part.get_payload()
        if part.get_content_disposition() != "attachment" and isinstance(inner, list):
            stack.extend(reversed([each for each in inner if isinstance(each, Message)]))
        else:
            yield part


def _text_of(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError, OSError):
        return text.decode(payload) or ""

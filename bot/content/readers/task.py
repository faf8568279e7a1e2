"""Runs in the sandbox's child: turns a packed file into its packed extract."""

from __future__ import annotations

import re

from bot.content.readers import (
    archives,
    html,
    images,
    mail,
    office,
    packing,
    pdf,
    sheets,
    sniff,
    text,
)
from bot.content.readers.sniff import Family
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError


def run(packed: bytes) -> bytes:
    """Read a packed `packing.Task`; return a packed extract or omission.

    A parser's errors become DAMAGED, because they concern only this file. The parent sees an error
    only if the process itself dies (of a signal).
    """
    task = packing.unpack_task(packed)
    try:
        return packing.pack_extract(read(task))
    except AttachmentError as error:
        return packing.pack_omission(error.omission, str(error))
    except (MemoryError, RecursionError) as error:
        return packing.pack_omission(Omission.TOO_COSTLY, type(error).__name__)
    except BaseException as error:  # noqa: BLE001 - a panic in Rust is no Exception
        return packing.pack_omission(Omission.DAMAGED, type(error).__name__)


def read(task: packing.Task) -> Extract:
    """Extract a file. Raises AttachmentError, or whatever a parser raises."""
    found = sniff.sniff(task.name, task.media_type, task.data)
    family, media_type = found or _textual(task)
    name, data = task.name, task.data
    match family:
        case Family.PDF:
            return pdf.read(data, task.pages)
        case Family.OFFICE:
            return office.read(media_type, data)
        case Family.SHEETS:
            return sheets.read(media_type, data, task.pages)
        case Family.HTML:
            return html.read(data)
        case Family.MAIL:
            return mail.read(data)
        case Family.ARCHIVE:
            return archives.read(name, media_type, data)
        case Family.IMAGE:
            return images.read(media_type, data)
        case Family.AUDIO:
            return Extract(kind=AttachmentKind.AUDIO, media_type=media_type)
        case Family.TEXT:
            return text.read(name, media_type, data)


_HTML_START = re.compile(
    rb"\s*+(?:<!--(?:(?!-->).){0,2000}+-->\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_MAIL_START = re.compile(
    rb"(?:From [^\n]{1,200}\n)?(?:[A-Za-z][A-Za-z-]{1,40}:[^\n]{0,998}\n(?:[ \t][^\n]*\n)*){3}"
)
_MAIL_HEADERS = re.compile(rb"^(?:received|mime-version|message-id|from|return-path):", re.I | re.M)


def _textual(task: packing.Task) -> sniff.Sniffed:
    """Identify text by the name and the declared type, if it is text."""
    head, declared = (
        task.data[:8_192].removeprefix(b"\xef\xbb\xbf"),
        task.media_type.partition(";")[0].strip().lower(),
    )
    ending = task.name.rpartition(".")[2].lower() if "." in task.name else ""
    if (
        ending in ("eml", "mht", "mhtml")
        or declared == sniff.MAIL
        or _looks_like_mail(head, ending)
    ):
        return Family.MAIL, sniff.MAIL
    declared_html = declared in ("text/html", "application/xhtml+xml") and b"</" in task.data
    if ending not in _SHOWS_SOURCE and (declared_html or _HTML_START.match(head)):
        return Family.HTML, sniff.HTML_TYPE
    if ending == "svg" or declared == sniff.SVG:
        return Family.TEXT, sniff.SVG
    return Family.TEXT, declared if declared.startswith(
        ("text/", "application/")
    ) and "octet" not in declared else sniff.PLAIN


_SHOWS_SOURCE = frozenset(
    {"php", "jinja", "j2", "vue", "jsx", "tsx", "md", "txt", "log", "erb", "tmpl"}
)


def _looks_like_mail(head: bytes, ending: str) -> bool:
    return (
        ending in ("", "msg", "mail")
        and bool(_MAIL_START.match(head))
        and len({found[0].lower() for found in _MAIL_HEADERS.finditer(head)}) >= 3
    )

"""Reads PDFs: each page's text below its page mark, and pages without text as images.

PDFium is built without JavaScript, and forms are not initialized, so no action in a file runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pypdfium2
import pypdfium2.raw as pdfium

from bot.content.readers import images, pdf_notes, text
from bot.content.readers.budget import IMAGE_SIDE, IMAGES, IMAGES_BYTES, TEXT_CHARACTERS, CpuTime
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.conversations import ImagePart
from bot.domain.errors import AttachmentError

DOTS_PER_POINT = 150 / 72
"""150 dots per inch: small print stays legible."""

_TRAILING_MARKS = "\x02\ufffe"  # PDFium's marks for a hyphen at the end of a line


@dataclass(slots=True)
class _Pages:
    """The pages read so far; numbers count from 1."""

    texts: list[str] = field(default_factory=list)
    characters: int = 0
    read: int = 0
    scanned: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    images: list[ImagePart] = field(default_factory=list)


def read(data: bytes, pages: int) -> Extract:
    """Read at most `pages` pages of a PDF.

    Raises AttachmentError: ENCRYPTED, DAMAGED, or NO_TEXT if there is nothing to show.
    """
    with _open(data) as document:
        total = len(document)
        found = _read_pages(document, min(total, pages))
        title = text.one_line(document.get_metadata_value("Title"))
    if not found.texts and not found.images:
        raise AttachmentError(Omission.DAMAGED if found.damaged else Omission.NO_TEXT)
    kept, left_out = text.shorten("\n\n".join(found.texts))
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type="application/pdf",
        text=kept,
        title=title,
        images=tuple(found.images),
        notes=tuple(_notes(found, total, left_out)),
    )


@contextlib.contextmanager
def _open(data: bytes) -> Iterator[pypdfium2.PdfDocument]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        locked = error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY)
        reason = Omission.ENCRYPTED if locked else Omission.DAMAGED
        raise AttachmentError(reason, str(error)) from error
    try:
        yield document
    finally:
        document.close()


def _read_pages(document: pypdfium2.PdfDocument, count: int) -> _Pages:
    found, time = _Pages(), CpuTime()
    for index in range(count):
        if found.characters > TEXT_CHARACTERS or (index and time.is_over()):
            break
        found.read = index + 1
        try:
            _read_page(document, index, found, time)
        except pypdfium2.PdfiumError:
            found.damaged.append(index + 1)
    return found


def _read_page(document: pypdfium2.PdfDocument, index: int, found: _Pages, time: CpuTime) -> None:
    page = document[index]
    try:
        content = _text_of(page)
        if content:
            found.texts.append(f"[Page {index + 1}]\n{content}")
            found.characters += len(content)
        elif pdfium.FPDFPage_CountObjects(page) > 0:  # the page is not blank
            found.scanned.append(index + 1)
            if _has_room(found) and not time.is_over():
                found.images.append(_render(page, f"page {index + 1}"))
    finally:
        page.close()


def _text_of(page: pypdfium2.PdfPage) -> str:
    textpage = page.get_textpage()
    try:
        raw = textpage.get_text_range()
    finally:
        textpage.close()
    for mark in _TRAILING_MARKS:
        raw = raw.replace(f"{mark}\r\n", "").replace(mark, "")
    return text.clean("\n".join(filter(None, (raw, *pdf_notes.read(page))))).strip()


def _has_room(found: _Pages) -> bool:
    """Whether the next scanned page becomes an image: only the first ones do, without a gap."""
    return (
        len(found.images) == len(found.scanned) - 1
        and len(found.images) < IMAGES
        and sum(len(image.data) for image in found.images) < IMAGES_BYTES - 2 * images.PNG_BYTES
    )


def _render(page: pypdfium2.PdfPage, label: str) -> ImagePart:
    width, height = page.get_size()
    longest = max(width, height, 1.0)
    bitmap = page.render(scale=min(DOTS_PER_POINT, IMAGE_SIDE / longest), may_draw_forms=False)
    try:
        image = bitmap.to_pil().convert("RGB")
    finally:
        bitmap.close()
    return images.encode(images.scale(image), photo=True, label=label)


def _notes(found: _Pages, total: int, left_out: int) -> Iterator[str]:
    if found.scanned:
        yield attachment_texts.pages_without_text(found.scanned, shown=len(found.images))
    if found.damaged:
        yield attachment_texts.pages_unreadable(found.damaged)
    if found.read < total:
        yield attachment_texts.only_first_pages(found.read, total)
    if left_out:
        yield attachment_texts.middle_left_out(left_out)

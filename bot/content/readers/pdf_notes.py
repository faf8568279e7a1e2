"""Reads what people added to a PDF's pages: form fields and notes, which are not in its text."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pypdfium2
import pypdfium2.raw as pdfium

ANNOTATIONS = 500
CHARACTERS = 4_000

_NOTES = frozenset({pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_TEXT})


def read(page: pypdfium2.PdfPage) -> Iterator[str]:
    """Yield a line for each filled field ("name: value") and each note."""
    for index in range(min(pdfium.FPDFPage_GetAnnotCount(page), ANNOTATIONS)):
        annotation = pdfium.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            if line := _line(annotation):
                yield line
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _line(annotation: object) -> str:
    kind = pdfium.FPDFAnnot_GetSubtype(annotation)
    if kind == pdfium.FPDF_ANNOT_WIDGET:
        value = _string(annotation, b"V")
        return f"{_string(annotation, b'T') or '?'}: {value}" if value else ""
    return _string(annotation, b"Contents") if kind in _NOTES else ""


def _string(annotation: object, key: bytes) -> str:
    size = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    if not 2 < size <= 2 * CHARACTERS:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    pdfium.FPDFAnnot_GetStringValue(annotation, key, buffer, size)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0").strip()

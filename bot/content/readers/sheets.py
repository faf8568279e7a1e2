"""Reads Excel and OpenDocument workbooks: each sheet as a Markdown table below its name."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import python_calamine

from bot.content.readers import containers, text
from bot.content.readers.budget import TEXT_CHARACTERS, CpuTime
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

SHEET_CHARACTERS = TEXT_CHARACTERS // 2
"""The share of one sheet, so that a long first sheet does not hide the others."""

CELL_CHARACTERS = 2_000
CELLS_IN_ROW = 300


@dataclass(slots=True)
class _Workbook:
    """The sheets read so far."""

    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    characters: int = 0
    read: int = 0
    damaged: list[str] = field(default_factory=list)


def read(media_type: str, data: bytes, pages: int) -> Extract:
    """Read at most `pages` sheets of a workbook. Raises AttachmentError."""
    if data[:2] == b"PK":
        containers.check(data)
    with _open(data) as book:
        names = book.sheet_names
        found = _read_sheets(book, names[:pages])
    if not found.parts:
        raise AttachmentError(Omission.DAMAGED if found.damaged else Omission.EMPTY)
    if found.damaged:
        found.notes.append(attachment_texts.sheets_unreadable(found.damaged))
    if found.read < len(names):
        found.notes.append(attachment_texts.only_first_sheets(found.read, len(names)))
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type=media_type,
        text="\n\n".join(found.parts),
        notes=tuple(found.notes),
    )


def _open(data: bytes) -> python_calamine.CalamineWorkbook:
    try:
        return python_calamine.load_workbook(io.BytesIO(data))
    except python_calamine.PasswordError as error:
        raise AttachmentError(Omission.ENCRYPTED) from error
    except python_calamine.CalamineError as error:
        raise AttachmentError(Omission.DAMAGED, type(error).__name__) from error


def _read_sheets(book: python_calamine.CalamineWorkbook, names: Iterable[str]) -> _Workbook:
    found, time = _Workbook(), CpuTime()
    for name in names:
        if found.read and (found.characters > TEXT_CHARACTERS or time.is_over()):
            break
        found.read += 1
        title = text.one_line(name, 100)
        try:
            sheet = book.get_sheet_by_name(name)
        except (python_calamine.CalamineError, ValueError):
            found.damaged.append(title)  # damaged, or a chart, which has no cells
            continue
        _read_sheet(sheet, title, found)
    return found


def _read_sheet(sheet: python_calamine.CalamineSheet, title: str, found: _Workbook) -> None:
    lines, length, rows = [f"## {title}", ""], 0, 0
    for row in sheet.iter_rows():
        cells = _cells(row)
        rows += 1
        if not cells:
            continue
        line = f"| {' | '.join(cells)} |"
        lines.append(line)
        if len(lines) == 3:
            lines.append("|" + " --- |" * len(cells))
        length += len(line)
        if length > SHEET_CHARACTERS:
            break
    if len(lines) > 2:
        found.parts.append("\n".join(lines))
        found.characters += length
        if rows < sheet.height and length > SHEET_CHARACTERS:
            found.notes.append(attachment_texts.only_first_rows(title, rows, sheet.height))


def _cells(row: Iterable[object]) -> list[str]:
    """The row's cells up to the last non-empty one."""
    cells = [_shown(cell) for _, cell in zip(range(CELLS_IN_ROW), row, strict=False)]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _shown(cell: object) -> str:
    if isinstance(cell, str):
        return _escaped(cell) if cell else ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return f"{cell:.15g}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ") if cell.time() != datetime.time() else cell.date().isoformat()
    return str(cell)


def _escaped(cell: str) -> str:
    cell = text.clean(cell[:CELL_CHARACTERS])
    if "\n" in cell or "|" in cell:
        cell = cell.strip().replace("\n", "<br>").replace("|", "\\|")
    return cell

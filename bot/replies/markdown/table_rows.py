"""Splits table rows into cells without losing text.

GFM splits a row at every pipe without a backslash, even in code, and drops cells beyond the
header's. Models treat a pipe in code or in a formula as content. So in a row with too many cells
such pipes do not divide, and surplus text stays in the last cell.
"""

from __future__ import annotations

import re
from itertools import pairwise

from bot.replies.markdown.code_spans import BacktickRuns
from bot.replies.markdown.math import formula_end

BREAK = re.compile(r"<br\s{0,4}/?>", re.IGNORECASE)
_SEPARATOR = re.compile(r"[|:\-][|:\- \t]*+$")
_DASHES = re.compile(r":?-+:?")
_SPECIAL = re.compile(r"\\.|`+|\$|\|", re.DOTALL)


def alignments(line: str) -> list[str] | None:
    """The alignment of each column ("" for none); None if this is not a delimiter row."""
    bare = line.strip()
    if not _SEPARATOR.match(bare) or bare.startswith("- "):
        return None
    cells = [cell.strip() for cell in bare.strip("|").split("|")]
    if bare == "-" or not all(map(_DASHES.fullmatch, cells)):
        return None
    sides = {(True, True): "center", (True, False): "left", (False, True): "right"}
    return [sides.get((cell[0] == ":", cell[-1] == ":"), "") for cell in cells]


def split_cells(row: str, columns: int) -> list[str]:
    """The source of at most `columns` cells, with `\\|` unescaped."""
    return [row[start:end].strip().replace("\\|", "|") for start, end in cell_bounds(row, columns)]


def cell_bounds(row: str, columns: int) -> list[tuple[int, int]]:
    """Start and end of each of at most `columns` cells."""
    plain = _bounds(row, _pipes(row))
    if len(plain) <= columns:
        return plain
    found = _bounds(row, dividing_pipes(row))
    if len(found) > columns:
        found[columns - 1 :] = [(found[columns - 1][0], found[-1][1])]
    return found


def count_header_cells(row: str, columns: int) -> int:
    """Number of cells in a header row whose delimiter row has `columns`."""
    plain = len(_bounds(row, _pipes(row)))
    return plain if plain == columns else len(_bounds(row, dividing_pipes(row)))


def dividing_pipes(row: str) -> list[int]:
    """Offsets of the pipes outside code and formulas."""
    found, at, runs = [], 0, BacktickRuns(row)
    while (special := _SPECIAL.search(row, at)) is not None:
        at, sign = special.end(), special[0][0]
        if sign == "|":
            found.append(special.start())
        elif sign == "`":
            at = runs.span_end(special) or at
        else:
            at = _formula_end(row, special.start()) or at
    return found


def escape_for_gfm(row: str, columns: int) -> str:
    """Add backslashes to the row, so that a strict GFM parser finds the same cells."""
    if row.count("|") <= columns - 1:
        return row
    found = cell_bounds(row, columns)
    if len(found) < columns or _bounds(row, _pipes(row)) == found:
        return row
    edges = {end for _, end in found} | {start - 1 for start, _ in found}
    return _with_backslashes(row, [at for at in _pipes(row) if at not in edges])


def replace_breaks(row: str, by: str) -> str:
    """The row with `by` for each `<br>` outside code, the only line break that a cell can have."""
    if "<" not in row:
        return row
    parts, at = [], 0
    for start, end in BacktickRuns(row).spans():
        if end is not None:
            parts += [BREAK.sub(by, row[at:start]), row[start:end]]
            at = end
    return "".join([*parts, BREAK.sub(by, row[at:])])


def escape_inner_pipes(row: str) -> str:
    """Escape pipes in code and formulas in the beginning of a row."""
    meant = set(dividing_pipes(row))
    return _with_backslashes(row, [at for at in _pipes(row) if at not in meant])


def last_cell_start(row: str) -> int:
    """Offset of the last cell of a growing row; pipes in open code do not count."""
    open_code = (start for start, end in BacktickRuns(row).spans() if end is None)
    row = row[: next(open_code, None)]
    pipes = dividing_pipes(row)
    return pipes[-1] + 1 if pipes else 0


def _with_backslashes(row: str, pipes: list[int]) -> str:
    parts, at = [], 0
    for pipe in pipes:
        parts.append(row[at:pipe])
        at = pipe
    return "\\".join([*parts, row[at:]])


def _formula_end(row: str, at: int) -> int | None:
    return formula_end(row, at) if row[at] in "$\\" else None


def _pipes(row: str) -> list[int]:
    return [found.start() for found in _SPECIAL.finditer(row) if found[0] == "|"]


def _bounds(row: str, pipes: list[int]) -> list[tuple[int, int]]:
    first = len(row) - len(row.lstrip())
    last = len(row.rstrip())
    edges = [first - 1, *pipes, last]
    found = [(one + 1, other) for one, other in pairwise(edges)]
    if pipes and pipes[0] == first:
        found.pop(0)
    if found and pipes and pipes[-1] == last - 1:
        found.pop()
    return found

"""The cells of a table's row: nothing that stands in a row is lost.

GFM divides a row at every pipe without a backslash, also in code, and drops the cells that the
header lacks. Models mean a pipe in code or in a formula as content. So where a row has too many
cells, those pipes divide nothing; surplus text stays in the last cell.
"""

from __future__ import annotations

import re
from itertools import pairwise

from bot.replies.markdown.inline import CodeRuns
from bot.replies.markdown.math import formula_end

_TICKS = re.compile("`+")
_SEPARATOR = re.compile(r"[|:\-][|:\- \t]*+$")
_DASHES = re.compile(r":?-+:?")
_SPECIAL = re.compile(r"\\.|`+|\$|\|", re.DOTALL)


def alignments(line: str) -> list[str] | None:
    """How each column is aligned; None when this is no line below a header."""
    bare = line.strip()
    if not _SEPARATOR.match(bare) or bare.startswith("- "):
        return None
    cells = [cell.strip() for cell in bare.strip("|").split("|")]
    if bare == "-" or not all(map(_DASHES.fullmatch, cells)):
        return None
    sides = {(True, True): "center", (True, False): "left", (False, True): "right"}
    return [sides.get((cell[0] == ":", cell[-1] == ":"), "") for cell in cells]


def cells_of(row: str, columns: int) -> list[str]:
    """At most `columns` cells, as they are written but for `\\|`."""
    return [row[start:end].strip().replace("\\|", "|") for start, end in bounds(row, columns)]


def bounds(row: str, columns: int) -> list[tuple[int, int]]:
    """Where each of at most `columns` cells begins and ends."""
    plain = _bounds(row, _pipes(row))
    if len(plain) <= columns:
        return plain
    found = _bounds(row, meant_pipes(row))
    if len(found) > columns:
        found[columns - 1 :] = [(found[columns - 1][0], found[-1][1])]
    return found


def count(row: str, columns: int) -> int:
    """How many cells a header has beside a line that divides `columns`."""
    plain = len(_bounds(row, _pipes(row)))
    return plain if plain == columns else len(_bounds(row, meant_pipes(row)))


def meant_pipes(row: str) -> list[int]:
    """The pipes that divide a row when those in code and formulas do not."""
    found, at, runs = [], 0, CodeRuns(row)
    while (special := _SPECIAL.search(row, at)) is not None:
        at, sign = special.end(), special[0][0]
        if sign == "|":
            found.append(special.start())
        elif sign == "`":
            partner = runs.partner(at, len(special[0]))
            at = at if partner is None else partner + len(special[0])
        else:
            at = _formula(row, special.start()) or at
    return found


def escaped(row: str, columns: int) -> str:
    """The same row for a parser that divides it as GFM says."""
    if row.count("|") <= columns - 1:
        return row
    found = bounds(row, columns)
    if len(found) < columns or _bounds(row, _pipes(row)) == found:
        return row
    edges = {end for _, end in found} | {start - 1 for start, _ in found}
    return _with_backslashes(row, [at for at in _pipes(row) if at not in edges])


def closed(row: str) -> str:
    """The beginning of a row, so that no pipe in code or a formula divides it."""
    meant = set(meant_pipes(row))
    return _with_backslashes(row, [at for at in _pipes(row) if at not in meant])


def last_cell(row: str) -> int:
    """Where the last cell begins of a row that has not come to its end."""
    runs, at = CodeRuns(row), 0
    while (run := _TICKS.search(row, at)) is not None:
        partner = runs.partner(run.end(), len(run[0]))
        if partner is None:
            row = row[: run.start()]  # code that is still open has pipes of its own
            break
        at = partner + len(run[0])
    pipes = meant_pipes(row)
    return pipes[-1] + 1 if pipes else 0


def _with_backslashes(row: str, pipes: list[int]) -> str:
    parts, at = [], 0
    for pipe in pipes:
        parts.append(row[at:pipe])
        at = pipe
    return "\\".join([*parts, row[at:]])


def _formula(row: str, at: int) -> int | None:
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

"""A small aligned table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def show(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *notes: str,
) -> None:
    """Print a titled table, first column left-aligned and figures right-aligned, then notes.

    Pass numbers as text if their precision matters; a float gets two decimals.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    print(f"\n{title}")
    for line in (columns, *cells):
        first, *others = (
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join((first, *others)).rstrip())
    for note in notes:
        print(f"  {note}")


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)

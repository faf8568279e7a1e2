"""Writes the metrics into `docs/operating.md`: `python -m tests.support.operating_page`."""

from __future__ import annotations

import re
from pathlib import Path

from bot.operation.reference import metrics_table

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
_TABLE = re.compile(r"(?<=<!-- metrics -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def with_reference(page: str) -> str:
    """`page` with the current reference between its marks."""
    changed, count = _TABLE.subn(lambda _: metrics_table(), page)
    assert count == 1, "docs/operating.md has lost its marks"
    return changed


if __name__ == "__main__":
    PAGE.write_text(with_reference(PAGE.read_text()))

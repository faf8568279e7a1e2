"""Half-written Markdown made whole, so that no raw delimiter is seen that will be markup."""

from __future__ import annotations


def close_open(markdown: str) -> str:
    """`markdown` with what is still open at its end closed, so that more can stand below it."""
    fences = [line for line in markdown.split("\n") if line.lstrip().startswith("```")]
    return markdown + "\n```" if len(fences) % 2 else markdown

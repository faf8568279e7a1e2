"""Generates the reference of metrics in Markdown, for `docs/operating.md`."""

from __future__ import annotations

from collections.abc import Iterator

from bot.operation.definitions import LIBRARY_METRICS, METRICS


def metrics_table() -> str:
    """A table of every metric: name, kind, labels and meaning."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for each in METRICS:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        yield f"| `{each.name}` | {each.kind.value} | {labels} | {each.help} |"
    yield ""
    names = ", ".join(f"`{name}`" for name in LIBRARY_METRICS)
    yield f"The library adds: {names}."

"""Converts Block Kit to text in Slack's stored form, where names are still ids. Pure.

`text.for_model` converts the result for the model. Blocks and elements of unknown types yield the
words that they contain. See docs.slack.dev/reference/block-kit/blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from adapters.slack import payloads, stored_text
from adapters.slack.payloads import Payload, items, label, mapping, text
from adapters.slack.stored_text import escape

MAX_DEPTH = 12
"""Levels of nesting to read; Slack's own clients create six."""

MAX_ROWS = 500
"""Rows of a table to read; an excerpt has no room for more."""

MAX_TEXTS = 1_000
"""Texts to read in a block of unknown type."""

# The visible fields of a block or element of unknown type, in display order.
# fmt: off
_VISIBLE = (
    "rich_text_title", "title", "subtitle", "heading", "author_name", "provider_name", "label",
    "text", "fields", "description", "body", "markdown", "content", "summary", "message",
    "placeholder", "hint", "name", "display_text", "url", "element", "elements", "items",
    "columns", "rows", "cells", "children", "child_blocks", "blocks", "cards", "slides", "tasks",
    "steps", "details", "output", "sources", "options", "initial_value", "initial_option",
    "initial_options", "initial_date", "initial_time", "call", "v1", "hero_image", "accessory",
    "actions", "alt_text", "fallback", "caption", "footer",
)
# fmt: on
# Fields that are invisible, at least until a click.
_HIDDEN = frozenset({"confirm", "metadata", "state", "style", "filter"})


def blocks_text(blocks: Iterable[Payload]) -> str:
    """The visible text of several blocks, each starting on a new line."""
    return "\n".join(filter(None, (block_text(block) for block in blocks)))


def block_text(block: Payload, depth: int = 0) -> str:
    """The visible text of one block."""
    if depth > MAX_DEPTH:
        return ""
    read = _BLOCKS.get(text(block, "type"), _unknown_block)
    return read(block, depth).strip("\n")


def is_rich_text(block: Payload) -> bool:
    """Whether a client created this block from what a person typed."""
    return text(block, "type") == "rich_text"


def is_table(block: Payload) -> bool:
    """Whether the block is a table."""
    return text(block, "type") in ("table", "data_table")


# ── rich text ─────────────────────────────────────────────────────────────────────────────────
def _rich_text(block: Payload, depth: int) -> str:
    parts = (_section(element, depth + 1) for element in items(block, "elements"))
    return "\n".join(part for part in parts if part)


def _section(element: Payload, depth: int) -> str:
    kind = text(element, "type")
    if depth > MAX_DEPTH:
        return ""
    if kind == "rich_text_list":
        return "\n".join(_list(element, depth))
    inner = "".join(_inline(one, depth + 1) for one in items(element, "elements"))
    if kind == "rich_text_preformatted":
        return f"```\n{inner.strip(chr(10))}\n```"
    if kind == "rich_text_quote":
        return "\n".join(f"&gt; {line}" for line in inner.strip("\n").split("\n"))
    return inner.strip("\n") if kind == "rich_text_section" else _inline(element, depth)


def _list(element: Payload, depth: int) -> Iterator[str]:
    indent = "    " * min(_number(element, "indent"), 8)
    number = _number(element, "offset") + 1
    for one in items(element, "elements"):
        mark = f"{number}." if text(element, "style") == "ordered" else "-"
        lines = _section(one, depth + 1).split("\n")
        yield f"{indent}{mark} {lines[0]}"
        yield from (f"{indent}    {line}" for line in lines[1:])
        number += 1


def _inline(element: Payload, depth: int) -> str:
    kind = text(element, "type")
    if kind == "text":
        words = escape(text(element, "text"))
        code = mapping(element, "style").get("code") is True
        return f"`{words}`" if code and words.strip() else words
    if kind == "link":
        return stored_text.link(text(element, "url"), text(element, "text"))
    if kind == "emoji":
        return stored_text.emoji(text(element, "name"), text(element, "unicode"))
    if kind == "date":
        return _date(element)
    if kind == "color":
        return escape(text(element, "value"))
    if kind == "team":
        return "@team"
    if kind in _MENTIONS:
        prefix, key = _MENTIONS[kind]
        return f"<{prefix}{target}>" if (target := payloads.ident(element, key)) else ""
    return _unknown_block(element, depth)


_MENTIONS = {
    "user": ("@", "user_id"),
    "channel": ("#", "channel_id"),
    "broadcast": ("!", "range"),
    "usergroup": ("!subteam^", "usergroup_id"),
}


def _date(element: Payload) -> str:
    stamp = element.get("timestamp")
    seconds = stamp if isinstance(stamp, int) and not isinstance(stamp, bool) else None
    return stored_text.date(seconds, text(element, "fallback"))


# ── other blocks ──────────────────────────────────────────────────────────────────────────────
def _no_text(_block: Payload, _depth: int) -> str:
    return ""


def _section_block(block: Payload, depth: int) -> str:
    parts = [label(block, "text"), *(label({"x": one}, "x") for one in items(block, "fields"))]
    parts.append(block_text(mapping(block, "accessory"), depth + 1))
    return "\n".join(filter(None, parts))


def _inline_elements(block: Payload, depth: int) -> str:
    """Elements that Slack shows side by side: a context, or buttons."""
    parts = (block_text(one, depth + 1) for one in items(block, "elements"))
    return " ".join(filter(None, parts))


def _text_object(block: Payload, _depth: int) -> str:
    return label(block, "text")


def _button(block: Payload, _depth: int) -> str:
    shown = label(block, "text")
    return f"[{shown}]" if shown else ""


def _image(block: Payload, _depth: int) -> str:
    parts = dict.fromkeys((label(block, "title"), text(block, "alt_text")))
    shown = ", ".join(filter(None, parts))
    return f"[image: {shown}]" if shown else "[image]"


def _file(block: Payload, _depth: int) -> str:
    shown = label(block, "title") or text(block, "name")
    return f"[file: {shown}]" if shown else "[file]"


def _markdown_table(block: Payload, depth: int) -> str:
    """A Markdown table; its header is the columns' labels, or else the first row."""
    rows = [_cells(row, depth) for row in _rows(block)[:MAX_ROWS]]
    header = [label(column, "label") or label(column, "name") for column in items(block, "columns")]
    if header and all(header):
        rows.insert(0, header)
    return stored_text.markdown_table(rows)


def _rows(block: Payload) -> list[Any]:
    rows = block.get("rows")
    return rows if isinstance(rows, list) else []


def _cells(row: Any, depth: int) -> list[str]:
    if isinstance(row, Mapping):
        row = row.get("cells")
    return [_cell(one, depth) for one in row] if isinstance(row, list) else []


def _cell(cell: Any, depth: int) -> str:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Mapping):
        return ""
    if not isinstance(cell, Mapping):
        return escape(str(cell))
    if text(cell, "type") == "rich_text":
        return _rich_text(cell, depth)
    if text(cell, "type").startswith("raw_"):
        value = cell.get("text", cell.get("value", cell.get("number")))
        return _cell(value, depth) if not isinstance(value, Mapping) else label(cell, "text")
    return block_text(cell, depth + 1)


def _number(element: Payload, key: str) -> int:
    value = element.get(key)
    return value if isinstance(value, int) and 0 <= value < 1_000 else 0


# ── charts ────────────────────────────────────────────────────────────────────────────────────
def _chart(block: Payload, _depth: int) -> str:
    """A chart's numbers: one line for each pie slice or each series."""
    chart = mapping(block, "chart")
    axes = mapping(chart, "axis_config")
    lines = [label(block, "title"), *(text(axes, name) for name in ("x_label", "y_label"))]
    lines += [_point(segment) for segment in items(chart, "segments")]
    for series in items(chart, "series"):
        points = ", ".join(filter(None, map(_point, items(series, "data"))))
        lines.append(": ".join(filter(None, (label(series, "name"), points))))
    return "\n".join(filter(None, lines))


def _point(point: Payload) -> str:
    value = _cell(point.get("value"), 0)
    return " ".join(filter(None, (label(point, "label"), value)))


# ── unknown blocks ────────────────────────────────────────────────────────────────────────────
def _unknown_block(block: Payload, depth: int) -> str:
    """The words in a block of unknown type."""
    return "\n".join(dict.fromkeys(islice(_texts(block, depth + 1), MAX_TEXTS)))


def _texts(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, Mapping):
        if text(value, "type") in _BLOCKS and depth > 1:
            yield from filter(None, [block_text(value, depth)])
            return
        for key in _VISIBLE:
            found = value.get(key)
            if isinstance(found, str) and found.strip():
                yield found if key != "url" else f"<{escape(found)}>"
            elif isinstance(found, list | Mapping):
                yield from _texts(found, depth + 1)
        yield from _texts_under_unknown_keys(value, depth)
    elif isinstance(value, str) and value.strip():
        yield value


def _texts_under_unknown_keys(value: Payload, depth: int) -> Iterator[str]:
    """The texts of nested objects only: a bare string under an unknown key may be an id."""
    for key, found in value.items():
        if key in _VISIBLE or key in _HIDDEN:
            continue
        for one in payloads.objects(found if isinstance(found, list) else [found]):
            yield from _texts(one, depth + 1)


_BLOCKS: Mapping[str, Callable[[Payload, int], str]] = {
    "rich_text": _rich_text,
    "rich_text_section": _section,
    "rich_text_list": _section,
    "rich_text_quote": _section,
    "rich_text_preformatted": _section,
    "section": _section_block,
    "header": _text_object,
    "markdown": _text_object,
    "mrkdwn": _text_object,
    "plain_text": _text_object,
    "context": _inline_elements,
    "actions": _inline_elements,
    "context_actions": _inline_elements,
    "button": _button,
    "workflow_button": _button,
    "icon_button": _button,
    "feedback_buttons": _no_text,
    "divider": _no_text,
    "image": _image,
    "file": _file,
    "table": _markdown_table,
    "data_table": _markdown_table,
    "data_visualization": _chart,
}

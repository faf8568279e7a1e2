"""From Block Kit to text in Slack's stored form, where names are still ids: pure.

`text.for_model` translates it afterwards. Blocks and elements that are unknown here still give the
words in them. See docs.slack.dev/reference/block-kit/blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from adapters.slack import payloads
from adapters.slack.payloads import Payload, items, label, table, text

MOST_DEPTH = 12
"""Levels of nesting that are read: Slack's own clients make six."""

MOST_ROWS = 500
"""Rows read of a table; an excerpt has no room for more."""

MOST_WORDS = 1_000
"""Texts read of a block that is unknown here."""

# What people see of a block or element that is unknown here, in the order in which it is shown.
# fmt: off
_SHOWN = (
    "rich_text_title", "title", "subtitle", "heading", "author_name", "provider_name", "label",
    "text", "fields", "description", "body", "markdown", "content", "summary", "message",
    "placeholder", "hint", "name", "display_text", "url", "element", "elements", "items",
    "columns", "rows", "cells", "children", "child_blocks", "blocks", "cards", "slides", "tasks",
    "steps", "details", "output", "sources", "options", "initial_value", "initial_option",
    "initial_options", "initial_date", "initial_time", "call", "v1", "hero_image", "accessory",
    "actions", "alt_text", "fallback", "caption", "footer",
)
# fmt: on
_UNSEEN = frozenset({"confirm", "metadata", "state", "style", "filter"})  # or not until a click
_PIPE = re.compile(r"<([^<>|]*)\|([^<>]*)>|\|")


def escaped(literal: str) -> str:
    """Text that is meant literally, in Slack's stored form."""
    return literal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def of_blocks(blocks: Iterable[Payload]) -> str:
    """All that the blocks show, each on lines of its own."""
    return "\n".join(filter(None, (of_block(block) for block in blocks)))


def of_block(block: Payload, depth: int = 0) -> str:
    """What one block shows."""
    if depth > MOST_DEPTH:
        return ""
    read = _BLOCKS.get(text(block, "type"), _anything)
    return read(block, depth).strip("\n")


def is_rich_text(block: Payload) -> bool:
    """Whether clients made this block of what a person typed."""
    return text(block, "type") == "rich_text"


def is_table(block: Payload) -> bool:
    """Whether it is a table."""
    return text(block, "type") in ("table", "data_table")


# ── rich text ─────────────────────────────────────────────────────────────────────────────────
def _rich_text(block: Payload, depth: int) -> str:
    parts = (_section(element, depth + 1) for element in items(block, "elements"))
    return "\n".join(part for part in parts if part)


def _section(element: Payload, depth: int) -> str:
    kind = text(element, "type")
    if depth > MOST_DEPTH:
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
        words = escaped(text(element, "text"))
        code = table(element, "style").get("code") is True
        return f"`{words}`" if code and words.strip() else words
    if kind == "link":
        return _link(text(element, "url"), text(element, "text"))
    if kind == "emoji":
        return _emoji(element)
    if kind == "date":
        return _date(element)
    if kind == "color":
        return escaped(text(element, "value"))
    if kind == "team":
        return "@team"
    if kind in _MENTIONS:
        prefix, key = _MENTIONS[kind]
        return f"<{prefix}{target}>" if (target := payloads.ident(element, key)) else ""
    return _anything(element, depth)


_MENTIONS = {
    "user": ("@", "user_id"),
    "channel": ("#", "channel_id"),
    "broadcast": ("!", "range"),
    "usergroup": ("!subteam^", "usergroup_id"),
}


def _link(url: str, shown: str) -> str:
    target = escaped(url).replace("|", "%7C")
    if not target:
        return escaped(shown)
    return f"<{target}|{escaped(shown)}>" if shown else f"<{target}>"


def _emoji(element: Payload) -> str:
    """The character, or of a workspace's own emoji its name."""
    try:
        codes = [int(code, 16) for code in text(element, "unicode").split("-") if code]
        character = "".join(map(chr, codes))
        character.encode()
    except (ValueError, OverflowError):
        character = ""
    return character or f":{text(element, 'name')}:"


def _date(element: Payload) -> str:
    stamp = element.get("timestamp")
    seconds = stamp if isinstance(stamp, int) and not isinstance(stamp, bool) else ""
    return f"<!date^{seconds}^x|{escaped(text(element, 'fallback'))}>"


# ── other blocks ──────────────────────────────────────────────────────────────────────────────
def _nothing(_block: Payload, _depth: int) -> str:
    return ""


def _section_block(block: Payload, depth: int) -> str:
    parts = [label(block, "text"), *(label({"x": one}, "x") for one in items(block, "fields"))]
    parts.append(of_block(table(block, "accessory"), depth + 1))
    return "\n".join(filter(None, parts))


def _row(block: Payload, depth: int) -> str:
    """Elements beside each other: of a context, or buttons."""
    parts = (of_block(one, depth + 1) for one in items(block, "elements"))
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
    """A Markdown table; the first row is its head."""
    rows = [_cells(row, depth) for row in _rows(block)[:MOST_ROWS]]
    head = [[label(column, "label") or label(column, "name")] for column in items(block, "columns")]
    if head and all(cell for (cell,) in head):
        rows.insert(0, [_in_cell(cell) for (cell,) in head])
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def _rows(block: Payload) -> list[Any]:
    rows = block.get("rows")
    return rows if isinstance(rows, list) else []


def _cells(row: Any, depth: int) -> list[str]:
    if isinstance(row, Mapping):
        row = row.get("cells")
    return [_in_cell(_cell(one, depth)) for one in row] if isinstance(row, list) else []


def _cell(cell: Any, depth: int) -> str:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Mapping):
        return ""
    if not isinstance(cell, Mapping):
        return escaped(str(cell))
    if text(cell, "type") == "rich_text":
        return _rich_text(cell, depth)
    if text(cell, "type").startswith("raw_"):
        value = cell.get("text", cell.get("value", cell.get("number")))
        return _cell(value, depth) if not isinstance(value, Mapping) else label(cell, "text")
    return of_block(cell, depth + 1)


def _in_cell(stored: str) -> str:
    """Text on one line, with its pipes escaped, but for those of Slack's control sequences."""
    line = " ".join(stored.split())
    return _PIPE.sub(_piped, line)


def _piped(match: re.Match[str]) -> str:
    if match[1] is None:
        return r"\|"
    return f"<{match[1]}|{match[2].replace('|', chr(92) + '|')}>"


def _number(element: Payload, key: str) -> int:
    value = element.get(key)
    return value if isinstance(value, int) and 0 <= value < 1_000 else 0


# ── charts ────────────────────────────────────────────────────────────────────────────────────
def _chart_block(block: Payload, _depth: int) -> str:
    """A chart's numbers, a line for each slice of a pie or each line of a graph."""
    chart = table(block, "chart")
    axes = table(chart, "axis_config")
    lines = [label(block, "title"), *(text(axes, name) for name in ("x_label", "y_label"))]
    lines += [_point(segment) for segment in items(chart, "segments")]
    for series in items(chart, "series"):
        points = ", ".join(filter(None, map(_point, items(series, "data"))))
        lines.append(": ".join(filter(None, (label(series, "name"), points))))
    return "\n".join(filter(None, lines))


def _point(point: Payload) -> str:
    value = _cell(point.get("value"), 0)
    return " ".join(filter(None, (label(point, "label"), value)))


# ── anything else ─────────────────────────────────────────────────────────────────────────────
def _anything(block: Payload, depth: int) -> str:
    """The words in a block that is not known here."""
    return "\n".join(dict.fromkeys(islice(_words(block, depth + 1), MOST_WORDS)))


def _words(value: Any, depth: int) -> Iterator[str]:
    if depth > MOST_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _words(one, depth + 1)
    elif isinstance(value, Mapping):
        if text(value, "type") in _BLOCKS and depth > 1:
            yield from filter(None, [of_block(value, depth)])
            return
        for key in _SHOWN:
            found = value.get(key)
            if isinstance(found, str) and found.strip():
                yield found if key != "url" else f"<{escaped(found)}>"
            elif isinstance(found, list | Mapping):
                yield from _words(found, depth + 1)
        yield from _elsewhere(value, depth)
    elif isinstance(value, str) and value.strip():
        yield value


def _elsewhere(value: Payload, depth: int) -> Iterator[str]:
    """The words in objects under names that are not known; a bare string may be an id."""
    for key, found in value.items():
        if key in _SHOWN or key in _UNSEEN:
            continue
        for one in payloads.objects(found if isinstance(found, list) else [found]):
            yield from _words(one, depth + 1)


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
    "context": _row,
    "actions": _row,
    "context_actions": _row,
    "button": _button,
    "workflow_button": _button,
    "icon_button": _button,
    "feedback_buttons": _nothing,
    "divider": _nothing,
    "image": _image,
    "file": _file,
    "table": _markdown_table,
    "data_table": _markdown_table,
    "data_visualization": _chart_block,
}

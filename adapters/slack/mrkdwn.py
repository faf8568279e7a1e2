"""Converts Markdown to Slack's mrkdwn, for the `text` in notifications, screen readers and search.

Every `&`, `<` and `>` is escaped exactly once; the only control sequences are the links that this
module writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from markdown_it.tree import SyntaxTreeNode

from adapters.slack import stored_text
from adapters.slack.literal_text import BREAK
from adapters.slack.render import defuse_mentions, utf16_length
from adapters.slack.stored_text import escape
from bot.replies.markdown.dialect import make_parser

# chat.update refuses a `text` over 4,000 (`msg_too_long`).
MAX_UNITS = 3_900
# The parsing time grows with the square of the number of brackets, and other marks cost 10 µs each.
# Text with more of them than prose or code ever has is not converted, so that no text takes 10 ms.
MAX_BRACKETS, _MARKED, MAX_MARKS = 200, "*_~`<|&", 600
LINKED = ("http://", "https://", "mailto:")
_MARKS = {"strong": "*", "em": "_", "s": "~"}
_BULLETS = ("•", "◦", "▪")


class Mrkdwn:
    """The converter. Its parser keeps no state from one text to the next."""

    def __init__(self) -> None:
        self._parser = make_parser()

    def summarize(self, markdown: str, limit: int = MAX_UNITS) -> str:
        """The beginning of `markdown` as mrkdwn, in at most `limit` UTF-16 units.

        Only the beginning is parsed, since parsing takes about 3 µs per character.
        """
        part = markdown[:limit]
        text = self.convert(part)
        while (size := utf16_length(text) + 1) > limit:
            part = part[: min(len(part) - 1, len(part) * limit // size)]
            text = self.convert(part)
        return text if len(part) == len(markdown) else text + "…"

    def convert(self, markdown: str) -> str:
        """All of `markdown` as mrkdwn.

        Mentions are defused again at the end, because parsing decodes entities and joins text.
        """
        plain = markdown.replace(f"<{BREAK}", "<")  # `escape` suffices here, except for mentions
        if markdown.count("[") > MAX_BRACKETS or sum(map(markdown.count, _MARKED)) > MAX_MARKS:
            return escape(defuse_mentions(plain))
        tree = SyntaxTreeNode(self._parser.parse(defuse_mentions(plain)))
        return defuse_mentions(_blocks(tree.children, depth=0).strip("\n"))


def _blocks(nodes: Iterable[SyntaxTreeNode], depth: int, gap: str = "\n\n") -> str:
    return gap.join(filter(None, (_block(node, depth) for node in nodes)))


def _block(node: SyntaxTreeNode, depth: int) -> str:
    match node.type:
        case "heading":
            title = _plain_text(node).strip()
            return f"*{escape(title)}*" if title else ""
        case "fence" | "code_block":
            return _code(node.content)
        case "blockquote":
            return _prefix_lines(_blocks(node.children, depth), "> ", "> ")
        case "bullet_list" | "ordered_list":
            return _list(node, depth)
        case "table":
            return _table(node)
        case "hr":
            return "─" * 12
        case "math_block":
            return _code(node.content)
        case _:
            return "".join(_inline(child) for child in node.children)


def _code(content: str) -> str:
    # Slack ends a code block at the first three backticks, so lines that contain them go outside.
    parts: list[str] = []
    for ticks, lines in groupby(content.rstrip("\n").split("\n"), lambda line: "```" in line):
        text = escape("\n".join(lines))
        parts.append(text if ticks else f"```\n{text}\n```")
    return "\n".join(parts)


def _prefix_lines(text: str, first: str, others: str) -> str:
    lines = text.split("\n")
    return "\n".join([first + lines[0], *(others + line if line else line for line in lines[1:])])


def _list(node: SyntaxTreeNode, depth: int) -> str:
    start = int(node.attrs.get("start", 1))
    bullet = _BULLETS[depth % len(_BULLETS)]
    items = []
    for number, item in enumerate(node.children, start):
        mark = f"{bullet} " if node.type == "bullet_list" else f"{number}. "
        items.append(_prefix_lines(_blocks(item.children, depth + 1, "\n"), mark, "    "))
    return "\n".join(items)


def _table(node: SyntaxTreeNode) -> str:
    """A table as aligned columns in a code block, since mrkdwn has no tables."""
    rows = [[_plain_text(cell).strip() for cell in row.children] for row in _rows(node)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=False)]
    lines = [_row(row, widths) for row in rows]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return _code("\n".join(lines))


def _rows(node: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    return [row for part in node.children for row in part.children]


def _row(cells: list[str], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
    return " | ".join(padded).rstrip()


def _inline(node: SyntaxTreeNode) -> str:
    match node.type:
        case "inline":
            return _join(node.children)
        case "strong" | "em" | "s":
            inner = _join(node.children)
            return f"{_MARKS[node.type]}{inner}{_MARKS[node.type]}" if inner.strip() else inner
        case "code_inline" | "math_inline":
            return f"`{escape(node.content)}`"
        case "link":
            return _link(str(node.attrs.get("href", "")), _plain_text(node))
        case "image":
            return _link(str(node.attrs.get("src", "")), node.content)
        case "softbreak" | "hardbreak":
            return "\n"
        case _:
            return escape(node.content)


def _join(nodes: Sequence[SyntaxTreeNode]) -> str:
    """Adjacent nodes as text; a mark inside a word gets an invisible boundary."""
    text, was_marked = "", False
    for node in nodes:
        shown = _inline(node)
        marked = node.type in _MARKS or node.type in ("code_inline", "math_inline")
        if (marked and text[-1:].isalnum()) or (was_marked and shown[:1].isalnum()):
            text += BREAK
        text += shown
        was_marked = marked
    return text


def _link(url: str, label: str) -> str:
    """A link with a web or mail address; other targets could notify people: `[x](!channel)`."""
    label = label.replace("\n", " ")
    if not url.lower().startswith(LINKED):
        return escape(f"{label} ({url})" if url and url != label else label)
    return stored_text.link(url, label if label.strip() and label != url else "")


def _plain_text(node: SyntaxTreeNode) -> str:
    """The node's text without formatting."""
    if node.type in ("softbreak", "hardbreak"):
        return " "
    if node.type in ("text", "text_special", "code_inline", "math_inline", "image"):
        return node.content
    return "".join(_plain_text(child) for child in node.children)

"""Markdown → Slack's mrkdwn, for the `text` that notifications, screen readers and search use.

Every `&`, `<` and `>` is escaped exactly once; the only control sequences are links that we made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from markdown_it.tree import SyntaxTreeNode

from adapters.slack.markdown import BREAK
from adapters.slack.render import harmless, units
from bot.replies.markdown.dialect import make_parser

# chat.update refuses a `text` over 4,000 (`msg_too_long`).
MOST = 3_900
# The parser's time grows with the square of the brackets, and others cost 10 µs each: a text with
# more of them than prose or code ever has stays as it is written. So it takes no 10 ms.
MOST_BRACKETS, _MARKED, MOST_MARKS = 200, "*_~`<|&", 600
LINKED = ("http://", "https://", "mailto:")
_MARKS = {"strong": "*", "em": "_", "s": "~"}
_BULLETS = ("•", "◦", "▪")


class Mrkdwn:
    """Converts; holds a parser, which keeps nothing between texts."""

    def __init__(self) -> None:
        self._parser = make_parser()

    def short(self, markdown: str, most: int = MOST) -> str:
        """The beginning of `markdown` as mrkdwn, at most `most` UTF-16 units long.

        Only that beginning is read: parsing costs about 3 µs for each character.
        """
        part = markdown[:most]
        text = self.convert(part)
        while (size := units(text) + 1) > most:
            part = part[: min(len(part) - 1, len(part) * most // size)]
            text = self.convert(part)
        return text if len(part) == len(markdown) else text + "…"

    def convert(self, markdown: str) -> str:
        """All of it; parsing decodes and joins, so what could call people is broken last."""
        plain = markdown.replace(f"<{BREAK}", "<")  # `escaped` is enough here, but for calls
        if markdown.count("[") > MOST_BRACKETS or sum(map(markdown.count, _MARKED)) > MOST_MARKS:
            return escaped(harmless(plain))
        tree = SyntaxTreeNode(self._parser.parse(harmless(plain)))
        return harmless(_blocks(tree.children, depth=0).strip("\n"))


def escaped(text: str) -> str:
    """`text` with Slack's three entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(nodes: Iterable[SyntaxTreeNode], depth: int, gap: str = "\n\n") -> str:
    return gap.join(filter(None, (_block(node, depth) for node in nodes)))


def _block(node: SyntaxTreeNode, depth: int) -> str:
    match node.type:
        case "heading":
            return f"*{escaped(_plain(node).strip())}*" if _plain(node).strip() else ""
        case "fence" | "code_block":
            return _code(node.content)
        case "blockquote":
            return _prefixed(_blocks(node.children, depth), "> ", "> ")
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
    # Slack ends a code block at the first three backticks: lines that have them stand outside.
    parts: list[str] = []
    for ticks, lines in groupby(content.rstrip("\n").split("\n"), lambda line: "```" in line):
        text = escaped("\n".join(lines))
        parts.append(text if ticks else f"```\n{text}\n```")
    return "\n".join(parts)


def _prefixed(text: str, first: str, others: str) -> str:
    lines = text.split("\n")
    return "\n".join([first + lines[0], *(others + line if line else line for line in lines[1:])])


def _list(node: SyntaxTreeNode, depth: int) -> str:
    start = int(node.attrs.get("start", 1))
    bullet = _BULLETS[depth % len(_BULLETS)]
    items = []
    for number, item in enumerate(node.children, start):
        mark = f"{bullet} " if node.type == "bullet_list" else f"{number}. "
        items.append(_prefixed(_blocks(item.children, depth + 1, "\n"), mark, "    "))
    return "\n".join(items)


def _table(node: SyntaxTreeNode) -> str:
    """Columns of equal width in a code block: mrkdwn has no tables."""
    rows = [[_plain(cell).strip() for cell in row.children] for row in _rows(node)]
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
            return _joined(node.children)
        case "strong" | "em" | "s":
            inner = _joined(node.children)
            return f"{_MARKS[node.type]}{inner}{_MARKS[node.type]}" if inner.strip() else inner
        case "code_inline" | "math_inline":
            return f"`{escaped(node.content)}`"
        case "link":
            return _link(str(node.attrs.get("href", "")), _plain(node))
        case "image":
            return _link(str(node.attrs.get("src", "")), node.content)
        case "softbreak" | "hardbreak":
            return "\n"
        case _:
            return escaped(node.content)


def _joined(nodes: Sequence[SyntaxTreeNode]) -> str:
    """The nodes in a row; a mark inside a word needs a boundary, which may be invisible."""
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
    """A link that only http, https and mail may be: `[x](!channel)` would ping."""
    label = label.replace("\n", " ")
    if not url.lower().startswith(LINKED):
        return escaped(f"{label} ({url})" if url and url != label else label)
    target = escaped(url.replace("|", "%7C"))
    return f"<{target}|{escaped(label)}>" if label.strip() and label != url else f"<{target}>"


def _plain(node: SyntaxTreeNode) -> str:
    """The words alone."""
    if node.type in ("softbreak", "hardbreak"):
        return " "
    if node.type in ("text", "text_special", "code_inline", "math_inline", "image"):
        return node.content
    return "".join(_plain(child) for child in node.children)

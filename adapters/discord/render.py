"""Renders the models' Markdown (`bot.replies.markdown.dialect`) in Discord's dialect. Pure.

Elements that Discord lacks are replaced: tables by aligned code blocks, deep headings by bold
lines, images by links. Nothing that the model writes becomes a mention.

Discord limits a message to 2,000 code points. The renderer counts UTF-16 units, of which a text
never has fewer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markdown_it.tree import SyntaxTreeNode
from rich.cells import cell_len

from adapters.discord.inline_markdown import InlineRenderer, Style, add_checkbox, code_span
from bot.ports.platform import Renderer
from bot.replies.markdown.dialect import make_parser
from bot.replies.markdown.fences import contains_markdown, language_of

LIMIT = 2_000  # documented: the most characters of a message's content
DEEPEST_HEADING = 3  # Discord supports #, ## and ###
RULE = "─" * 10  # Discord has no horizontal rule

# Discord accepts these names of code block languages; any other would become the first line.
_LANGUAGE = re.compile(r"[A-Za-z0-9_+\-.#]+")
# Marks lines that lists must not indent: Discord would show the indentation in a code block, and
# recognizes a quote only at the start of a line. The parser's output never contains NUL.
_FLUSH = "\0"
_BLOCKS_OF_CODE = ("fence", "code_block", "table", "math_block")
_FENCE_LINE = re.compile(r"^([ \t]*)(`{3,})(?=[^`\n]*$)", re.MULTILINE)
_CLOSE_BELOW = ("heading", "hr", *_BLOCKS_OF_CODE)


class DiscordRenderer:
    """`bot.ports.platform.Renderer` for Discord. The measure is UTF-16 units."""

    def __init__(self) -> None:
        self._parser = make_parser(spoilers=True)
        # InlineRenderer parses inline text, block by block and cached, and needs separate escapes.
        self._parser.disable(["inline", "text_join"])
        self._inline = InlineRenderer(self._parser)

    @property
    def limit(self) -> int:
        """The limit of a message, 2,000."""
        return LIMIT

    def render(self, markdown: str) -> str:
        """Text in Discord's dialect."""
        env: dict[str, Any] = {}
        tree = SyntaxTreeNode(self._parser.parse(markdown, env))
        return _Page(self._inline, env, markdown).render(tree)

    def measure(self, markdown: str) -> int:
        """Measures `render(markdown)` in UTF-16 units."""
        return size(self.render(markdown))


def size(text: str) -> int:
    """UTF-16 units of `text`."""
    return len(text) + sum(1 for character in text if character > "\uffff")


def clip(renderer: Renderer, markdown: str) -> str:
    """Renders a short text for one message, cut at the end of a line if it is too long."""
    text = renderer.render(markdown)
    if size(text) <= renderer.limit:
        return text
    cut = text.encode("utf-16-le")[: 2 * (renderer.limit - 1)].decode("utf-16-le", "ignore")
    return (cut.rpartition("\n")[0] or cut) + "…"


class _Page:
    """One page's rendering, with the parser's environment and the source."""

    def __init__(self, inline: InlineRenderer, env: Mapping[str, Any], source: str) -> None:
        self._inline, self._env = inline, env
        self._lines = source.splitlines()

    def render(self, tree: SyntaxTreeNode) -> str:
        return self._blocks(tree.children).replace(_FLUSH, "").strip("\n")

    def _blocks(self, nodes: Sequence[SyntaxTreeNode]) -> str:
        """The blocks' text, with blank lines where the source has them, except around code."""
        out: list[str] = []
        above: SyntaxTreeNode | None = None
        for node in nodes:
            text = self._block(node)
            if not text:
                continue
            if above is not None:
                out.append("\n\n" if self._apart(above, node) else "\n")
            out.append(text)
            above = node
        return "".join(out)

    def _apart(self, above: SyntaxTreeNode, node: SyntaxTreeNode) -> bool:
        if above.type in _CLOSE_BELOW or node.type in _BLOCKS_OF_CODE:
            return False
        line = node.map[0] - 1 if node.map else 0
        return not self._lines[line].strip(" \t>") if 0 <= line < len(self._lines) else True

    def _block(self, node: SyntaxTreeNode) -> str:
        match node.type:
            case "heading":
                return self._heading(node)
            case "bullet_list" | "ordered_list":
                return self._list(node)
            case "blockquote":
                return self._quote(node)
            case "fence" | "code_block":
                return _code_block(node.content, node.info)
            case "table":
                return _code_block(_table(self._rows(node), _alignments(node)))
            case "math_block":
                return _code_block(node.content, "tex")
            case "hr":
                return RULE
            case _:
                return self._text(node)

    def _text(self, node: SyntaxTreeNode, style: Style = Style.FULL) -> str:
        found = (child.content for child in node.children if child.type == "inline")
        return "\n".join(self._inline.render(content, style, self._env) for content in found)

    def _heading(self, node: SyntaxTreeNode) -> str:
        level = int(node.tag[1:])
        in_list = node.parent is not None and node.parent.type == "list_item"
        if level <= DEEPEST_HEADING and not in_list:
            text = self._text(node).replace("\n", " ")
            return f"{'#' * level} {text}" if text.strip() else ""
        text = self._text(node, Style.INSIDE_BOLD).replace("\n", " ")
        return f"**{text}**" if text.strip() else ""

    # ── lists and quotes ──────────────────────────────────────────────────────────────────────
    def _list(self, node: SyntaxTreeNode) -> str:
        first = int(node.attrs.get("start", 1))
        ordered = node.type == "ordered_list"
        return "\n".join(
            self._item(item, f"{first + n}. " if ordered else "- ")
            for n, item in enumerate(node.children)
        )

    def _item(self, item: SyntaxTreeNode, marker: str) -> str:
        """One item, without blank lines, which would end Discord's list."""
        text = "\n".join(filter(None, map(self._block, item.children)))
        lines = [line for line in text.split("\n") if line.strip() or line.startswith(_FLUSH)]
        if not lines or lines[0].startswith(_FLUSH):
            lines.insert(0, "")
        indented = [_indent(line, len(marker)) for line in lines[1:]]
        return "\n".join([(marker + add_checkbox(lines[0])).rstrip(), *indented])

    def _quote(self, node: SyntaxTreeNode) -> str:
        """Render a quote; Discord has only one level."""
        lines = self._blocks(node.children).split("\n")
        bare = (line.removeprefix(_FLUSH).removeprefix("> ") for line in lines)
        return "\n".join(f"{_FLUSH}> {line}" for line in bare)

    # ── tables ────────────────────────────────────────────────────────────────────────────────
    def _rows(self, table: SyntaxTreeNode) -> list[list[str]]:
        rows = [row for part in table.children for row in part.children]
        return [[self._text(cell, Style.PLAIN) for cell in row.children] for row in rows]


def _indent(line: str, width: int) -> str:
    return line if line.startswith(_FLUSH) else " " * width + line


def _code_block(content: str, info: str = "") -> str:
    """A fenced block, with a space if it is empty: Discord would show only the backticks.

    Discord ends a block at the first three backticks anywhere in it. Fences in Markdown code
    therefore become tildes, and any other line with three backticks is shown between two blocks.
    Invisible characters would break code that people copy.
    """
    language = language_of(info)
    if not _LANGUAGE.fullmatch(language):
        language = ""
    if contains_markdown(info):
        content = _FENCE_LINE.sub(lambda fence: fence[1] + "~" * len(fence[2]), content)
    shown: list[str] = []
    inside = False
    for line in (content.removesuffix("\n") or " ").split("\n"):
        if ("```" in line) is inside:
            shown.append("```" if inside else f"```{language}")
            inside = not inside
        shown.append(line if inside else code_span(line))
    return "\n".join(_FLUSH + line for line in [*shown, *["```"] * inside])


def _alignments(table: SyntaxTreeNode) -> list[str]:
    head = table.children[0].children[0].children
    return [str(cell.attrs.get("style", "")).removeprefix("text-align:") for cell in head]


def _table(rows: Sequence[Sequence[str]], alignments: Sequence[str]) -> str:
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    lines = list(_table_lines(rows, widths, alignments))
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join(lines)


def _table_lines(
    rows: Sequence[Sequence[str]], widths: Sequence[int], alignments: Sequence[str]
) -> Iterator[str]:
    for row in rows:
        cells = [_pad(*cell) for cell in zip(row, widths, alignments, strict=True)]
        yield " | ".join(cells).rstrip()


def _pad(cell: str, width: int, alignment: str) -> str:
    missing = width - _columns(cell)
    left = {"right": missing, "center": missing // 2}.get(alignment, 0)
    return " " * left + cell + " " * (missing - left)


def _columns(text: str) -> int:
    """The width of a text in columns of a fixed-width font: an emoji of several characters has
    two."""
    return len(text) if text.isascii() else cell_len(text)

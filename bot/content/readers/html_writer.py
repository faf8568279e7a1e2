"""Writes a web page's elements as Markdown, as they open and close."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from bot.content.readers import text

_OMITTED = frozenset({
    "script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "canvas", "nav",
    "footer", "aside", "button", "select", "input", "textarea", "dialog", "audio", "video",
    "map", "head", "math",
})  # fmt: skip
_BLOCKS = frozenset({
    "p", "div", "section", "article", "main", "header", "ul", "ol", "dl", "dt", "dd", "figure",
    "figcaption", "table", "tbody", "thead", "tfoot", "caption", "address", "details", "summary",
    "fieldset", "center", "body", "html", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?:px)?\s*(?:;|$)"
)
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_LINES = re.compile(r"(?<![ \t])[ \t]*+\n(?:[ \t]*+\n)++[ \t]*+")


class Writer:
    """Markdown from elements that open and close in order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lists: list[int | None] = []  # the next number of each open ordered list
        self._tables: list[_Table] = []
        self._code = 0  # open <pre>

    def open(self, node: LexborNode) -> None:
        """Write the markup before the node's content."""
        if node.is_text_node:
            content = node.text_content or ""
            self._write(content if self._code else _BLANKS.sub(" ", content))
        elif node.is_element_node and not is_omitted(node):
            tag = node.tag or ""
            self._count(tag, opens=True)
            self._write(self._before(tag, node))

    def close(self, node: LexborNode) -> None:
        """Write the markup after the node's content."""
        if node.is_element_node and not is_omitted(node):
            tag = node.tag or ""
            self._write(self._after(tag, node))
            self._count(tag, opens=False)

    def markdown(self) -> str:
        """All text written so far, tidied."""
        joined = text.clean("".join(self._parts))
        pieces = re.split(r"(\n```\n.*?\n```\n)", joined, flags=re.DOTALL)
        pieces[::2] = [_tidy(piece).strip() for piece in pieces[::2]]
        return "\n\n".join(piece.strip("\n") for piece in pieces if piece)

    def _write(self, part: str) -> None:
        if part and self._tables and self._tables[-1].in_cell:
            part = _BLANKS.sub(" ", part)  # each row must stay on one line
        self._parts.append(part)

    def _count(self, tag: str, *, opens: bool) -> None:
        if tag == "pre":
            self._code += 1 if opens else -1
        elif tag in ("ul", "ol"):
            if opens:
                self._lists.append(1 if tag == "ol" else None)
            else:
                self._lists.pop()
        elif tag == "table":
            if opens:
                self._tables.append(_Table())
            else:
                self._tables.pop()
        elif self._tables:
            self._tables[-1].count(tag, opens=opens)

    def _before(self, tag: str, node: LexborNode) -> str:
        if tag == "li":
            return f"\n{'  ' * max(0, len(self._lists[:8]) - 1)}{self._bullet()} "
        if tag in ("ul", "ol"):
            return "\n\n" if len(self._lists) == 1 else ""
        if tag in _HEADINGS:
            return f"\n\n{_HEADINGS[tag]} "
        if tag == "a":
            return "[" if _address(node) else ""
        if tag == "img":
            alt = node.attributes.get("alt")
            return f"![{text.one_line(alt)}]" if alt else ""
        if tag in _INLINE:
            return "" if self._code else _INLINE[tag]
        return _BEFORE.get(tag, "\n\n" if tag in _BLOCKS and not self._code else "")

    def _after(self, tag: str, node: LexborNode) -> str:
        if tag == "a":
            address = _address(node)
            return f"]({address})" if address else ""
        if tag == "tr":
            return self._tables[-1].separator() if self._tables else "\n"
        if tag in ("ul", "ol"):
            return "\n\n" if len(self._lists) == 1 else ""
        if tag in _INLINE:
            return "" if self._code else _INLINE[tag]
        return _AFTER.get(tag, "\n\n" if tag in _BLOCKS and not self._code else "")

    def _bullet(self) -> str:
        number = self._lists[-1] if self._lists else None
        if number is None:
            return "-"
        self._lists[-1] = number + 1
        return f"{number}."


class _Table:
    """The rows and cells of an open table."""

    def __init__(self) -> None:
        self.in_cell = False
        self._rows = 0
        self._cells = 0

    def count(self, tag: str, *, opens: bool) -> None:
        """Note that a row or cell opens or closes."""
        if tag in ("td", "th"):
            self.in_cell = opens
            self._cells += opens
        elif tag == "tr" and opens:
            self.in_cell = False
            self._cells = 0

    def separator(self) -> str:
        """The end of a row; the first row also gets the line that makes it a header."""
        self.in_cell = False
        self._rows += 1
        line = "|" + " --- |" * self._cells + "\n" if self._rows == 1 else ""
        return f" |\n{line}"


_INLINE = {"strong": "**", "b": "**", "code": "`"}
_BEFORE = {
    "br": "\n", "hr": "\n\n---\n\n", "pre": "\n\n```\n", "blockquote": "\n\n> ", "td": " | ",
    "th": " | ", "tr": "\n", "thead": "", "tbody": "", "tfoot": "",
}  # fmt: skip
_AFTER = {"pre": "\n```\n\n", "thead": "", "tbody": "", "tfoot": ""}


def _tidy(prose: str) -> str:
    """Remove empty emphasis, blanks at the ends of lines, and runs of empty lines."""
    prose = _LINES.sub(
        "\n\n", re.sub(r"\*\*[ \n]{0,9}\*\*|\[[ \n]{0,9}\]\([^)\n]{0,2000}\)", "", prose)
    )
    lines = [
        line.rstrip() if line.startswith(("  - ", "    ")) else line.strip()
        for line in prose.split("\n")
    ]
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    joined = re.sub(r"\|\n\n(?=\|)", "|\n", joined)  # blanks between rows
    return re.sub(r"(?m)^\|.*", lambda row: re.sub(" {2,}", " ", row[0]), joined)


def _address(node: LexborNode) -> str:
    """A link's address; "" if it does not lead to another page."""
    address = node.attributes.get("href") or ""
    return address if address.startswith(("http://", "https://")) and len(address) <= 500 else ""


def is_omitted(node: LexborNode) -> bool:
    """Whether the element is invisible on the page, or not part of its text."""
    if not node.is_element_node:
        return False
    if node.tag in _OMITTED:
        return True
    attributes = node.attributes
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or bool(_HIDDEN.search((attributes.get("style") or "").lower()))
    )

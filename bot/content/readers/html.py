"""Web pages: the readable part as Markdown, with title and date.

Invariant: no recursion over the page's tree, so that deep nesting cannot exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bot.content.readers import text
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

NODES = 500_000
"""Elements and texts that are read; the largest ordinary pages have a tenth."""

_OMITTED = frozenset({
    "script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "canvas", "nav",
    "footer", "aside", "form", "button", "select", "input", "textarea", "dialog", "audio", "video",
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
_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n)+[ \t]*")

_DATES = (
    'meta[property="article:published_time"]', 'meta[name="date"]',
    'meta[itemprop="datePublished"]', 'meta[name="dcterms.date"]',
    'meta[name="citation_publication_date"]',
)  # fmt: skip


def read(data: bytes) -> Extract:
    """A web page. Raises AttachmentError(NO_TEXT) if it has only scripts and pictures."""
    source = _decode(data)
    tree = LexborHTMLParser(source)
    markdown = _readable(tree)
    if not markdown:
        raise AttachmentError(Omission.NO_TEXT)
    kept, left_out = text.shorten(markdown)
    return Extract(
        kind=AttachmentKind.DOCUMENT,
        media_type="text/html",
        text=kept,
        title=_title(tree),
        date=_date(tree),
        notes=(attachment_texts.middle_left_out(left_out),) if left_out else (),
    )


def to_markdown(source: str) -> str:
    """The readable part of HTML as Markdown; "" without one."""
    return _readable(LexborHTMLParser(source))


_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}charset\s*=\s*["']?([a-zA-Z0-9_-]{2,20})""", re.IGNORECASE
)


def _decode(data: bytes) -> str:
    named = _CHARSET.search(data[:4_096])
    try:
        if named and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            return data.decode(named[1].decode("ascii"))
    except (UnicodeDecodeError, LookupError, OSError):
        pass  # a wrong charset, or one whose codec is not loaded
    decoded = text.decode(data)
    if decoded is None:
        raise AttachmentError(Omission.UNSUPPORTED, "binary")
    return decoded


def _readable(tree: LexborHTMLParser) -> str:
    body = tree.body or tree.root
    if body is None:
        return ""
    whole = _markdown(body)
    for selector in ("article", "main", '[role="main"]'):
        found = tree.css(selector)
        if len(found) == 1 and len(part := _markdown(found[0])) > max(200, len(whole) // 4):
            return part
    return whole


def _markdown(root: LexborNode) -> str:
    written = _Writer()
    for node, opens in _walk(root):
        if opens:
            written.open(node)
        else:
            written.close(node)
    return written.markdown()


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """The nodes in reading order: each element when it opens and when it closes."""
    stack: list[tuple[LexborNode, bool]] = [(root, True)]
    for _ in range(NODES):
        if not stack:
            return
        node, opens = stack.pop()
        yield node, opens
        if not opens:
            continue
        stack.append((node, False))
        if not _is_omitted(node):
            stack.extend(reversed([(child, True) for child in _children(node)]))


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


def _is_omitted(node: LexborNode) -> bool:
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


class _Writer:
    """Markdown from elements that open and close in order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lists: list[int | None] = []  # the next number of an ordered list
        self._code = 0  # open <pre>

    def open(self, node: LexborNode) -> None:
        if node.is_text_node:
            self._text(node.text_content or "")
        elif node.is_element_node and not _is_omitted(node):
            self._open_element(node)

    def close(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if not node.is_element_node or _is_omitted(node):
            return
        if tag == "pre" and self._code:
            self._code -= 1
            self._parts.append("\n```\n\n")
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._parts.append("\n\n" if not self._lists else "\n")
        elif tag == "tr":
            self._parts.append(" |\n")
        elif tag in ("a",) and (address := _address(node)):
            self._parts.append(f"]({address})")
        elif tag in _BLOCKS and not self._code:
            self._parts.append("\n\n")
        elif tag in ("strong", "b") and not self._code:
            self._parts.append("**")
        elif tag == "code" and not self._code:
            self._parts.append("`")

    def _open_element(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._parts.append(f"\n{'  ' * max(0, len(self._lists[:8]) - 1)}{self._bullet()} ")
        elif tag == "pre":
            self._code += 1
            self._parts.append("\n\n```\n")
        elif tag in _HEADINGS:
            self._parts.append(f"\n\n{_HEADINGS[tag]} ")
        elif tag == "a" and _address(node):
            self._parts.append("[")
        elif tag == "img" and (alt := node.attributes.get("alt")):
            self._parts.append(f"![{text.one_line(alt)}]")
        else:
            self._parts.append(self._mark(tag))

    def _mark(self, tag: str) -> str:
        if tag == "br":
            return "\n"
        if tag in ("td", "th"):
            return " | "
        if self._code:
            return ""
        if tag in ("strong", "b"):
            return "**"
        if tag == "code":
            return "`"
        if tag == "hr":
            return "\n\n---\n\n"
        if tag == "blockquote":
            return "\n\n> "
        return "\n\n" if tag in _BLOCKS else ""

    def _bullet(self) -> str:
        if not self._lists or self._lists[-1] is None:
            return "-"
        number = self._lists[-1]
        self._lists[-1] = number + 1
        return f"{number}."

    def _text(self, content: str) -> None:
        self._parts.append(content if self._code else _BLANKS.sub(" ", content))

    def markdown(self) -> str:
        joined = text.clean("".join(self._parts))
        pieces = re.split(r"(\n```\n.*?\n```\n)", joined, flags=re.DOTALL)
        for index in range(0, len(pieces), 2):
            pieces[index] = _tidy(pieces[index])
        return "".join(pieces).strip()


def _tidy(prose: str) -> str:
    """Prose without empty emphasis, blanks at the ends of lines, and runs of empty lines."""
    prose = _LINES.sub(
        "\n\n", re.sub(r"\*\*[ \n]{0,9}\*\*|\[[ \n]{0,9}\]\([^)\n]{0,2000}\)", "", prose)
    )
    lines = [
        line.rstrip() if line.startswith(("  ", "-")) else line.strip()
        for line in prose.split("\n")
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _address(node: LexborNode) -> str:
    """A link's address; "" if it leads nowhere else."""
    address = node.attributes.get("href") or ""
    return address if address.startswith(("http://", "https://")) and len(address) <= 500 else ""


def _title(tree: LexborHTMLParser) -> str:
    meta = tree.css_first('meta[property="og:title"]')
    if meta is not None and meta.attributes.get("content"):
        return text.one_line(meta.attributes["content"] or "")
    title = tree.css_first("title")
    return text.one_line(title.text()) if title is not None else ""


def _date(tree: LexborHTMLParser) -> str:
    for selector in _DATES:
        meta = tree.css_first(selector)
        if meta is not None and meta.attributes.get("content"):
            return text.one_line(meta.attributes["content"] or "", 40)
    time = tree.css_first("time[datetime]")
    return text.one_line(time.attributes.get("datetime") or "", 40) if time is not None else ""

"""Reads web pages: the readable part as Markdown, with title and date.

Invariant: no recursion over the page's tree, so deep nesting cannot exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bot.content.readers import text
from bot.content.readers.html_writer import Writer, is_omitted
from bot.domain import attachment_texts
from bot.domain.attachments import AttachmentKind, Extract, Omission
from bot.domain.errors import AttachmentError

NODES = 500_000
"""Elements and texts to read: the largest ordinary pages have a tenth of this."""

_DATES = (
    'meta[property="article:published_time"]', 'meta[name="date"]',
    'meta[itemprop="datePublished"]', 'meta[name="dcterms.date"]',
    'meta[name="citation_publication_date"]',
)  # fmt: skip


def read(data: bytes) -> Extract:
    """Read a web page. Raises AttachmentError(NO_TEXT) if it has only scripts and pictures."""
    source = _close_raw_elements(_decode(data))
    tree = LexborHTMLParser(source)
    markdown = _readable(tree)
    if not markdown:  # a menu that is never closed contains the whole page
        tree.unwrap_tags(["nav", "footer", "aside", "dialog"])
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


_XHTML = re.compile(r"<!doctype[^>]{0,200}xhtml|<html[^>]{0,200}xmlns", re.IGNORECASE)
_RAW_ELEMENT = re.compile(
    r"<(iframe|script|style|title|textarea|noscript|noframes)\b([^<>]{0,2000})/>", re.IGNORECASE
)


def _close_raw_elements(source: str) -> str:
    """Close elements that XHTML closes in their own tag; as HTML they would swallow the page."""
    if _XHTML.search(source[:2_048]) is None:
        return source
    return _RAW_ELEMENT.sub(r"<\1\2></\1>", source)


def to_markdown(source: str) -> str:
    """The readable part of HTML as Markdown; "" if there is none."""
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
        pass  # an incorrect charset, or one whose codec is not loaded
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
    written = Writer()
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
        if not is_omitted(node):
            stack.extend(reversed([(child, True) for child in _children(node)]))


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.child
    while child is not None:
        yield child
        child = child.next


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

"""Renders inline Markdown in Discord's dialect: emphasis, code, links and escaped text.

Invariant: text that is plain in the models' Markdown is plain on Discord and mentions no one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.replies.markdown.addresses import addresses
from bot.replies.markdown.dialect import make_parser
from bot.replies.markdown.table_rows import BREAK

ZERO_WIDTH = "\u200b"
# How many rendered blocks are cached: a streamed page is rendered for every edit, and only its last
# block differs.
MAX_CACHED_BLOCKS = 512

# With more unmatched brackets, links are not parsed: for each bracket the parser would search the
# rest of the text.
MAX_UNMATCHED_BRACKETS = 40

# Discord reads these as markup where CommonMark does not: two underscores underline even inside
# words, `**` and `~~` need no flanking, `||` hides text. URLs must stay unchanged. A backslash is
# an escape before everything but ASCII letters, digits and whitespace.
_DIALECT = re.compile(
    r"(?P<url>https?://[^\s<>]+)|\\(?=[^0-9A-Za-z\s])|\\$|\*|`|__+|_(?![0-9A-Za-z])|(?<=\\)_"
    r"|~~|\|\|"
)
_TICKS = re.compile("`+")
_SUBTEXT = re.compile(r"^-(?=# )", re.MULTILINE)
# Mentions of a user, a role or a channel; @everyone and @here.
_MENTION = re.compile(r"(?P<url>https?://[^\s<>]+)|<(?=@[!&]?\d|#\d)|@(?=everyone|here)")
_TASK = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}


class Style(Enum):
    """The context of an inline text: none, bold added by the renderer, or a code block."""

    FULL = "full"
    INSIDE_BOLD = "inside bold"
    PLAIN = "plain"


class InlineRenderer:
    """Renders the inline content of blocks with `parser`, which must be stateless."""

    def __init__(self, parser: MarkdownIt) -> None:
        self._parser = parser
        self._linkless = make_parser(spoilers=True)
        self._linkless.disable(["link", "image", "text_join"])
        self._render_cached = lru_cache(MAX_CACHED_BLOCKS)(self._render)

    def render(self, content: str, style: Style, env: Mapping[str, Any]) -> str:
        """One block's inline source in Discord's dialect."""
        if env.get("references"):  # `[word]` depends on a definition elsewhere on the page
            return self._render(content, style, env)
        return self._render_cached(content, style)

    def _render(self, content: str, style: Style, env: Mapping[str, Any] | None = None) -> str:
        tokens: list[Token] = []
        linkless = _unmatched_brackets(content) > MAX_UNMATCHED_BRACKETS
        parser = self._linkless if linkless else self._parser
        parser.inline.parse(content, parser, dict(env or {}), tokens)
        tokens = [token for token in tokens if token.type != "text" or token.content]
        if style is Style.PLAIN:
            return _plain_text(tokens)
        writer = _Writer(style)
        writer.write(tokens)
        return writer.text()


def _unmatched_brackets(content: str) -> int:
    """A lower bound for the number of unmatched brackets that may begin links."""
    links = content.count("](")
    return max(content.count("[") - content.count("]"), links - content.count(")"))


def add_checkbox(text: str) -> str:
    """A list item's text with a box in place of `[ ]` or `[x]`."""
    box = _TASK.get(text[:4])
    return box + text[4:] if box else text


def defuse_mentions(text: str) -> str:
    """Adds invisible characters so that mentions stay readable but notify no one."""
    return _MENTION.sub(lambda found: found["url"] or found[0] + ZERO_WIDTH, text)


def escape(text: str) -> str:
    """Escapes `text` so that Discord shows it verbatim."""
    parts, at = [], 0
    for start, end in addresses(text) if "://" in text and not text.isascii() else ():
        if _touches(text, end):
            parts += [_escape(text[at:start]), f"<{text[start:end]}>"]
            at = end
    return _SUBTEXT.sub(r"\\-", "".join([*parts, _escape(text[at:])]))


def _escape(text: str) -> str:
    return _DIALECT.sub(
        lambda found: found["url"] or "".join(f"\\{mark}" for mark in found[0]), text
    )


def _touches(text: str, end: int) -> bool:
    """Whether another script follows the address that ends at `end`: Discord would add it."""
    following = text[end:].lstrip(".,:;!?')]}")[:1]
    return following > "\x7f" and not following.isspace()


def code_span(content: str) -> str:
    """A code span in one or two backticks, since three would begin a block.

    Code that contains runs of both lengths becomes escaped text.
    """
    content = content.replace("\n", " ")
    runs = {len(run) for run in _TICKS.findall(content)}
    if not content.strip():
        return content
    marks = next((mark for mark in ("`", "``") if len(mark) not in runs), None)
    if marks is None:
        return defuse_mentions(escape(content))
    apart = " " if content[0] == "`" or content[-1] == "`" or marks == "``" else ""
    return f"{marks}{apart}{content}{apart}{marks}"


def link(text: str, href: str) -> str:
    """A link without a preview, or text and address if Discord would not make a link of them.

    Discord links only web addresses, and never from text that looks like another address.
    """
    address = href.removeprefix("mailto:")
    if urlsplit(href).scheme not in ("http", "https"):
        return text if not address or text in ("", address) else f"{text} ({address})"
    bare = f"<{href}>"
    if not text.strip() or _same_address(text, href):
        return bare
    return f"{text} ({bare})" if "://" in text else f"[{text}]({bare})"


def _same_address(text: str, href: str) -> bool:
    return text.replace("\\", "").rstrip("/") in (
        href.rstrip("/"),
        href.partition("://")[2].rstrip("/"),
    )


class _Writer:
    """Writes tokens; keeps code apart, where Discord recognizes no mentions."""

    def __init__(self, style: Style) -> None:
        self._parts: list[tuple[bool, str]] = []
        self._bold = style is Style.INSIDE_BOLD
        self._drops_strong = self._bold
        self._emphasis: list[str] = []

    def text(self) -> str:
        """Everything written, with mentions defused outside code."""
        out: list[str] = []
        plain: list[str] = []
        for is_code, part in [*self._parts, (True, "")]:
            if not is_code:
                plain.append(part)
                continue
            out.append(defuse_mentions("".join(plain)))
            out.append(part)
            plain = []
        return "".join(out)

    def write(self, tokens: Sequence[Token]) -> None:
        """Append all tokens."""
        n = 0
        while n < len(tokens):
            if tokens[n].type == "link_open":
                n = self._link(tokens, n)
            else:
                self._write_token(tokens, n)
            n += 1

    def _put(self, text: str, *, code: bool = False) -> None:
        self._parts.append((code, text))

    def _write_token(self, tokens: Sequence[Token], n: int) -> None:
        token = tokens[n]
        match token.type:
            case "text":
                self._put(escape(token.content))
            case "text_special":
                escaped = token.info == "escape" and token.markup != token.content
                self._put(token.markup if escaped else escape(token.content))
            case "softbreak" | "hardbreak":
                self._put("\n")
            case "code_inline" | "math_inline":
                self._put(code_span(token.content), code=True)
            case "spoiler_open" | "spoiler_close":
                self._put("||")
            case "image":
                self._put(link(escape(token.content), str(token.attrs.get("src", ""))))
            case "s_open" | "s_close":
                self._put("~~")
            case "strong_open" | "strong_close":
                self._strong(token)
            case "em_open":
                self._open_emphasis(tokens, n)
            case "em_close":
                self._put(self._emphasis.pop())

    def _strong(self, token: Token) -> None:
        if not self._drops_strong:
            self._bold = token.nesting > 0
            self._put("**")

    def _open_emphasis(self, tokens: Sequence[Token], n: int) -> None:
        """Writes `*`, which works inside words, or `_` to avoid an ambiguous run of three stars."""
        opens_strong = n + 1 < len(tokens) and tokens[n + 1].type == "strong_open"
        closes_strong = tokens[n - 1].type == "strong_close" if n else False
        mark = "_" if self._bold or opens_strong or closes_strong else "*"
        self._emphasis.append(mark)
        self._put(mark)

    def _link(self, tokens: Sequence[Token], start: int) -> int:
        """Write the link that begins at `start`; returns the index of its last token."""
        end = next(n for n in range(start, len(tokens)) if tokens[n].type == "link_close")
        href = str(tokens[start].attrs.get("href", ""))
        inside = _Writer(Style.INSIDE_BOLD if self._bold else Style.FULL)
        inside.write([_replace_image(token) for token in tokens[start + 1 : end]])
        is_code = any(part for part, _ in inside._parts)
        self._put(link(inside.text(), href), code=is_code)
        return end


def _replace_image(token: Token) -> Token:
    """Replaces an image inside a link by its description."""
    if token.type != "image":
        return token
    return Token("text", "", 0, content=token.content or "image")


def _plain_text(tokens: Sequence[Token]) -> str:
    """The text without markup, on one line, for a code block."""
    out: list[str] = []
    hrefs: list[str] = []
    for token in tokens:
        if token.type == "text":
            out.append(BREAK.sub(" ", token.content))
        elif token.type in ("text_special", "code_inline", "math_inline", "image"):
            out.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            out.append(" ")
        elif token.type == "link_open":
            hrefs.append(str(token.attrs.get("href", "")))
            out.append("\0")
        elif token.type == "link_close":
            _close_plain_link(out, hrefs.pop())
    return "".join(out).replace("\n", " ").strip()


def _close_plain_link(out: list[str], href: str) -> None:
    start = len(out) - 1 - out[::-1].index("\0")
    text = "".join(out[start + 1 :])
    del out[start:]
    address = href.removeprefix("mailto:")
    out.append(text if not text or text == address else f"{text} ({address})")
    if not text:
        out.append(address)

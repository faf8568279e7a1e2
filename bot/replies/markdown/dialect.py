"""The Markdown that models write, and the one factory of parsers for it.

The dialect is CommonMark with tables and strikethrough, except where CommonMark mangles answers:
emphasis beside wide punctuation (`flanking`), pipes in code (`table_rows`), Markdown in fences
(`fences`), formulas (`math`), names from programs (`code_names`), and `<…>`, where only web and
mail addresses are links. HTML is text. Every renderer uses this parser, so a reply means the same
on all surfaces.

Tokens beyond markdown-it's: `math_inline`, `math_block` and, with `spoilers`, `spoiler_open` and
`spoiler_close`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.image import image
from markdown_it.rules_inline.link import link
from markdown_it.rules_inline.state_inline import Delimiter

from bot.replies.markdown.block_rules import (
    INTERRUPTS,
    definition,
    formula_block,
    nested_fence,
    pipe_table,
    tight_heading,
    underlined_title,
)
from bot.replies.markdown.code_names import keeps_backslash
from bot.replies.markdown.code_spans import BacktickRuns
from bot.replies.markdown.flanking import LONGEST_RUN, flanks
from bot.replies.markdown.math import formula_end

MOST_TEXTS = 8
"""Texts whose bracket pairs are cached: a paragraph and the descriptions of its images."""

MOST_DELIMITERS = 1_000
"""The most emphasis delimiters in one text; the others are plain text, because pairing is slow."""

MOST_LINKS = 2_000
"""The most bracket pairs in one text that may be links; with more, all of them are plain text."""

ADDRESS = re.compile(r"<((?:https?://|mailto:)[^<>\x00-\x20]++)>", re.IGNORECASE)
MAIL = re.compile(r"<([\w.!#$%&'*+/=?^`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+)>")
SPOILER = re.compile(r"\|\|(?![|\s])(?:(?!\|\|)[^\n]){1,1000}(?<![|\s\\])\|\|(?!\|)")
_BRACKET = re.compile(r"\\.|`+|[\[\]]", re.DOTALL)


def make_parser(
    options: Mapping[str, Any] | None = None,
    *,
    renderer: type[RendererHTML] = RendererHTML,
    spoilers: bool = False,
) -> MarkdownIt:
    """Create a parser of the dialect; `options` are passed to markdown-it."""
    parser = MarkdownIt("commonmark", {"html": False, **(options or {})}, renderer_cls=renderer)
    parser.enable("strikethrough")
    parser.disable(["html_block", "html_inline"])
    inline, block = parser.inline.ruler, parser.block.ruler
    inline.before("escape", "formula", _formula)
    inline.before("escape", "path", _path)
    inline.at("emphasis", _emphasis)
    inline.at("strikethrough", _strikethrough)
    inline.at("autolink", _autolink)
    inline.at("link", _link)
    inline.at("image", _image)
    block.before("code", "pipe_table", pipe_table, {"alt": ["paragraph", "reference"]})
    block.before("fence", "nested_fence", nested_fence, INTERRUPTS)
    block.before("fence", "formula_block", formula_block, INTERRUPTS)
    block.at("reference", definition)
    block.at("lheading", underlined_title)
    block.before("heading", "tight_heading", tight_heading, INTERRUPTS)
    if spoilers:
        inline.before("emphasis", "spoiler", _spoiler)
        parser.inline.add_terminator_char("|")
    return parser


# ── inline ────────────────────────────────────────────────────────────────────────────────────
def _run(state: StateInline) -> int:
    """The length of the run of equal characters at the current position."""
    rest = state.src[state.pos : state.posMax]
    return len(rest) - len(rest.lstrip(rest[0]))


def _emphasis(state: StateInline, silent: bool) -> bool:
    if silent or state.src[state.pos] not in "*_":
        return False
    length = _run(state)
    _push_run(state, length, 1, length)
    return True


def _strikethrough(state: StateInline, silent: bool) -> bool:
    if silent or state.src[state.pos] != "~" or (length := _run(state)) < 2:
        return False
    if length != 2:
        return _text(state, length)
    _push_run(state, 2, 2, 0)  # 0: the rule of three does not apply
    return True


def _push_run(state: StateInline, length: int, width: int, counts: int) -> None:
    """Push a run of delimiters as tokens of `width` marks each."""
    start, end = state.pos, state.pos + length
    opens, closes = flanks(state.src, start, end, state.posMax)
    many = length > LONGEST_RUN or len(state.delimiters) + length > MOST_DELIMITERS
    if many or not (opens or closes):
        _text(state, length)
        return
    for at in range(start, end, width):
        token = state.push("text", "", 0)
        token.content = state.src[at : at + width]
        marker = ord(state.src[start])
        last = len(state.tokens) - 1
        state.delimiters.append(Delimiter(marker, counts, last, -1, opens, closes))
    state.pos = end


def _text(state: StateInline, length: int) -> bool:
    state.append_pending(state.src[state.pos : state.pos + length])
    state.pos += length
    return True


def _autolink(state: StateInline, silent: bool) -> bool:
    """`<https://…>`, `<mailto:…>` and `<me@example.org>`; any other `<…>` is text."""
    if state.src[state.pos] != "<":
        return False
    web = ADDRESS.match(state.src, state.pos, state.posMax)
    found = web or MAIL.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    href = state.md.normalizeLink(found[1] if web else f"mailto:{found[1]}")
    if not state.md.validateLink(href):
        return False
    if not silent:
        token = state.push("link_open", "a", 1)
        token.attrs = {"href": href}
        token.markup, token.info = "autolink", "auto"
        state.push("text", "", 0).content = state.md.normalizeLinkText(found[1])
        token = state.push("link_close", "a", -1)
        token.markup, token.info = "autolink", "auto"
    state.pos = found.end()
    return True


def _formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    end = formula_end(state.src, state.pos, state.posMax)
    if end is None:
        return False
    if not silent:
        state.push("math_inline", "", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def _path(state: StateInline, silent: bool) -> bool:
    r"""A backslash of a Windows path, such as `C:\Users\me\.ssh`, and the character after it."""
    if state.src[state.pos] != "\\" or not keeps_backslash(state.src, state.pos):
        return False
    following = state.src[state.pos + 1 : min(state.pos + 2, state.posMax)].strip()
    return _text(state, 1 + len(following)) if not silent else _skip(state, 1 + len(following))


def _spoiler(state: StateInline, silent: bool) -> bool:
    """Discord's `||hidden||`: bars that touch their text, on one line, not inside words."""
    if state.src[state.pos] != "|":
        return False
    found = SPOILER.match(state.src, state.pos, state.posMax)
    if found is None or not _stands_alone(state.src, found.start(), found.end()):
        return False
    if not silent:
        last = state.posMax
        state.pos, state.posMax = found.start() + 2, found.end() - 2
        state.push("spoiler_open", "", 1)
        state.md.inline.tokenize(state)
        state.push("spoiler_close", "", -1)
        state.posMax = last
    state.pos = found.end()
    return True


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no ASCII word touches either side, because `a||b||c` is code."""
    sides = text[start - 1 : start] + text[end : end + 1]
    return not any(side.isascii() and side.isalnum() for side in sides)


def _skip(state: StateInline, length: int) -> bool:
    state.pos += length
    return True


# ── links ─────────────────────────────────────────────────────────────────────────────────────
def _link(state: StateInline, silent: bool) -> bool:
    return state.src[state.pos] == "[" and _may_link(state, state.pos) and link(state, silent)


def _image(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("![", state.pos):
        return False
    return _may_link(state, state.pos + 1) and image(state, silent)


def _may_link(state: StateInline, at: int) -> bool:
    """Whether a link target may follow the bracket's partner.

    Without this check, markdown-it would search the rest of the text for the partner of every
    bracket.
    """
    cache = state.env.setdefault("bracket_pairs", {})
    pairs = cache.get(state.src)
    if pairs is None:
        if len(cache) >= MOST_TEXTS:
            cache.clear()
        pairs = cache[state.src] = _bracket_pairs(state.src)
    end = pairs.get(at)
    if end is None:
        return False
    return state.src.startswith("(", end + 1) or bool(state.env.get("references"))


def _bracket_pairs(text: str) -> dict[int, int]:
    """Map the offsets of opening brackets outside code to their closing brackets."""
    pairs: dict[int, int] = {}
    open_at: list[int] = []
    at, runs = 0, BacktickRuns(text)
    while (sign := _BRACKET.search(text, at)) is not None:
        at = sign.end()
        if sign[0][0] == "`":
            at = runs.span_end(sign) or at
        elif sign[0] == "[":
            open_at.append(sign.start())
        elif sign[0] == "]" and open_at:
            pairs[open_at.pop()] = sign.start()
    return pairs if len(pairs) <= MOST_LINKS else {}

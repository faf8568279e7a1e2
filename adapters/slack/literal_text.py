"""Edits that keep text as it is for the parser of Slack's `markdown` block (see `markdown`). Pure.

Invariant: later text never changes the edits for earlier text.
"""

from __future__ import annotations

import re

from bot.replies.markdown.addresses import whole_addresses
from bot.replies.markdown.code_names import keeps_backslash, names
from bot.replies.markdown.dialect import ADDRESS, MAIL
from bot.replies.markdown.flanking import Flanks, commonmark_flanks, flanks, is_wide
from bot.replies.markdown.inline import Span

BREAK = "\u200b"
HAIR_SPACE = "\u200a"
Edits = dict[int, tuple[int, str]]
"""Replacements in a text: start → (end, replacement)."""

_ANGLE = re.compile(r"<(?=[A-Za-z/!?])")
_MARKS = re.compile(r"\\.|\*+|~+|_{4,}", re.DOTALL)  # an escaped mark does not count


def space(neighbor: str, visible: bool) -> str:
    """The space that keeps markup apart from its neighbor; none if the neighbor's script has
    spaces."""
    if not neighbor or not is_wide(neighbor) or neighbor in (BREAK, HAIR_SPACE):
        return ""
    return HAIR_SPACE if visible else BREAK


def break_angles(text: str, start: int, end: int) -> Edits:
    """Break every `<…>` except addresses, so that Slack sees no tag or control sequence."""
    found = {}
    for angle in _ANGLE.finditer(text, start, end):
        at = angle.start()
        target = text.startswith(("](", "]: "), at - 2) or text.startswith("]: ", at - 3)
        if not (target or ADDRESS.match(text, at) or MAIL.match(text, at)):
            found[at + 1] = (at + 1, BREAK)
    return found


def show_names(text: str, gaps: list[tuple[int, int]], spans: list[Span]) -> Edits:
    """Names such as `__init__` as code, and a second backslash for each one in a Windows path."""
    links = [address for gap in gaps for address in whole_addresses(text, *gap)]
    links += [(span.start, span.end) for span in spans if span.atomic]
    found: Edits = {}
    for begin, end in (name for gap in gaps for name in names(text, *gap)):
        if not any(start <= begin < stop for start, stop in links):
            before, after = space(text[begin - 1 : begin], False), space(text[end : end + 1], False)
            found |= {begin: (begin, f"{before}`"), end: (end, f"`{after}")}
    for mark in (mark for start, end in gaps for mark in _MARKS.finditer(text, start, end)):
        if mark[0][0] == "\\" and keeps_backslash(text, mark.start()):
            more = 2 if mark[0][1] in "\\*_~" else 1  # a mark behind it stays escaped
            found[mark.start()] = (mark.start(), "\\" * more)
    return found


def end_addresses(text: str, gaps: list[tuple[int, int]], spans: list[Span]) -> Edits:
    """A hair space after an address that touches another script, which Slack would add to it."""
    links = [span for span in spans if span.atomic]
    found = {}
    for start, end in (address for gap in gaps for address in whole_addresses(text, *gap)):
        is_target = any(link.start <= start < link.end for link in links)
        if not is_target and space(text[end : end + 1], True):
            found[end] = (end, HAIR_SPACE)
    return found


def keep_stray_marks(text: str, gaps: list[tuple[int, int]], spans: list[Span]) -> Edits:
    """Add hair spaces around literal marks that Slack would read as emphasis (`2**3**4`, `~a and
    b~`).

    Every parser then reads them as text; Slack does not document whether it supports backslashes.
    """
    used = {span.start for span in spans if span.delimiter}
    used |= {span.end - 1 for span in spans if span.delimiter}
    found: Edits = {}
    opened = False
    for run in (run for start, end in gaps for run in _MARKS.finditer(text, start, end)):
        begin, end = run.span()
        strict = commonmark_flanks(text, begin, end)
        if not used.isdisjoint(range(begin, end)):
            continue
        if run[0] == "~":
            if strict.closes and opened:
                found[begin] = (begin, HAIR_SPACE)
            opened = opened or strict.opens
        elif run[0][0] == "_" and strict.opens and text[end : end + 1] not in ("*", "~"):
            found[end] = (end, HAIR_SPACE)  # without an opening run, none can close
        elif run[0][0] == "*" and _only_slack_parses(strict, flanks(text, begin, end)):
            found[begin] = (begin, HAIR_SPACE)
            found[end] = (end, HAIR_SPACE)
    return found


def _only_slack_parses(slack: Flanks, dialect: Flanks) -> bool:
    return (slack.opens and not dialect.opens) or (slack.closes and not dialect.closes)

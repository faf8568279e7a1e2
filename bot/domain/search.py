"""Search queries, and the results of a search.

The query language: words, all of which a text must contain; "words in this order"; -not;
`in:title`; `before:2026-11-01`, `after:2026-11`, `model:gpt-5`. Anything else is treated as text,
so no query is invalid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import takewhile

from bot.domain.conversations import Role
from bot.domain.plain_text import marks_of
from bot.domain.records import RecordScope
from bot.domain.search_text import Term, clean, fold, offsets

MOST_CHARACTERS = 500

CURSOR = r"[mt][0-9]{0,18}"
"""A page's `next`: the kind of the last text that was read, and its number, so that a page follows
also if that text was deleted. Without a number: from the first text of the kind on."""

MOST_TERMS = 24
"""The most terms of a query; further ones are ignored."""

BEFORE_MATCH, SNIPPET = 60, 220
"""Characters of a snippet: before the first match, and in total."""

_WINDOW = 3 * SNIPPET  # characters that a snippet is made from, because it leaves out marks
_MARKED = 18 * _WINDOW  # folded characters of the window: one character becomes up to 18

_QUOTES = str.maketrans(dict.fromkeys("“”„«»", '"'))
_PART = re.compile(r'(-?)(?:(in|before|after|model):([^\s"]++)(?=\s|$)|"([^"]*)"?|([^\s"]+))', re.I)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What a text must contain. `before` and `after` are in Unix seconds; `after` is inclusive.

    With `models`, only answers by a model whose name contains all of them match.
    """

    terms: tuple[Term, ...] = ()
    excluded: tuple[Term, ...] = ()
    models: tuple[Term, ...] = ()
    before: float | None = None
    after: float | None = None
    in_title: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the query asks for nothing; exclusions alone do not count."""
        limits = self.before, self.after
        return not (self.terms or self.models or any(each is not None for each in limits))

    def matches(self, text: str, is_late: Callable[[], bool] = lambda: False) -> bool:
        """Whether a text contains all terms and none of the excluded ones. Gives up and returns
        False once `is_late` returns true."""
        folded = fold(clean(text))
        return all(not is_late() and term.is_in(folded) for term in self.terms) and not any(
            is_late() or term.is_in(folded) for term in self.excluded
        )

    def is_in_time(self, at: float) -> bool:
        """Whether a time lies within the limits."""
        return (self.before is None or at < self.before) and (
            self.after is None or at >= self.after
        )

    def is_of_model(self, name: str | None) -> bool:
        """Whether a model's name contains everything that the query asks for."""
        folded = fold(clean(name or ""))
        return all(term.is_in(folded) for term in self.models)


def parse_query(text: str, zone: tzinfo = UTC) -> SearchQuery:
    """Parse a query that a person typed; days begin in `zone`. Never fails."""
    parser = _Parser(zone)
    for match in _PART.finditer(text[:MOST_CHARACTERS].translate(_QUOTES)):
        parser.take(match)
    return parser.query()


class _Parser:
    """Collects the parts of a query."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._terms: list[Term] = []
        self._excluded: list[Term] = []
        self._models: list[Term] = []
        self._before: float | None = None
        self._after: float | None = None
        self._in_title = False

    def take(self, match: re.Match[str]) -> None:
        """Add one part; a value that its field does not understand is treated as text."""
        minus, field, value, quoted, word = match.groups()
        if field and not minus and self._is_field(field.lower(), value):
            return
        is_open = quoted is None and field is None
        term = Term.of(quoted if quoted is not None else word or match[0], is_open=is_open)
        into = self._excluded if minus else self._terms
        if term.pieces and term not in into and len(into) < MOST_TERMS:
            into.append(term)

    def _is_field(self, field: str, value: str) -> bool:
        if field == "model":
            return self._take_model(value)
        if field == "in":
            self._in_title = self._in_title or value.lower() == "title"
            return value.lower() == "title"
        at = _day(value, self._zone)
        if at is None:
            return False
        if field == "before":
            self._before = at if self._before is None else min(self._before, at)
        else:
            self._after = at if self._after is None else max(self._after, at)
        return True

    def _take_model(self, value: str) -> bool:
        term = Term.of(value, is_open=True)
        if term.pieces and len(self._models) < MOST_TERMS:
            self._models.append(term)
        return bool(term.pieces)

    def query(self) -> SearchQuery:
        """The query made of all parts."""
        return SearchQuery(
            terms=tuple(self._terms),
            excluded=tuple(self._excluded),
            models=tuple(self._models),
            before=self._before,
            after=self._after,
            in_title=self._in_title,
        )


def _day(text: str, zone: tzinfo) -> float | None:
    """The beginning of a day, month or year; None if `text` is not a date."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) if part else 1 for part in match.groups())
    try:
        return datetime(year, month, day, tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        return None


# ── what is found ─────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a text on one line. `marks` are the starts and ends of matches, in characters."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A matching title or message. `created_at` is in Unix seconds.

    `place` belongs to its conversation. `message`, `index`, `role` and `author` are None for a
    title; `author` is the id of the person who wrote the message; `turn` is the turn of the
    question or answer.
    """

    conversation: str
    place: RecordScope
    title: Snippet
    created_at: float
    message: str | None = None
    index: int | None = None
    role: Role | None = None
    author: str | None = None
    turn: int | None = None
    is_reply: bool = False
    model: str | None = None
    snippet: Snippet = Snippet("")


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Hits, best first. `next` fetches the following ones; None on the last page.

    `is_partial`: time ran out, so there may be more hits; `next` continues after the last text that
    was compared. `reached` is that text's time, in Unix seconds, if it is a message. `is_indexing`:
    the index does not contain older texts yet.
    """

    hits: Sequence[SearchHit] = ()
    next: str | None = None
    is_partial: bool = False
    reached: float | None = None
    is_indexing: bool = False


_Marks = Callable[..., Iterable[tuple[int, int]]]  # has the signature of `marks_of`


def snippet_of(text: str, terms: Sequence[Term]) -> Snippet:
    """The part of `text` around the first match, with all matches in that part."""
    return _snippet(text, terms, lambda *_: ())


def snippet_of_markdown(text: str, terms: Sequence[Term]) -> Snippet:
    """Like `snippet_of`, for a Markdown text; its marks are left out."""
    return _snippet(text, terms, marks_of)


def _snippet(text: str, terms: Sequence[Term], marks: _Marks) -> Snippet:
    text = clean(text)
    spans = _spans(text, terms)
    start = _word_start(text, spans[0][0] if spans else 0)
    stop = min(len(text), start + _WINDOW)
    inside = [(begin, min(end, stop)) for begin, end in spans if start <= begin < stop]
    hidden = {at for span in marks(text, start, stop) for at in range(*span)}
    if all(at in hidden for span in inside for at in range(*span)):  # no match would be visible
        hidden = {at for span in marks(text, start, stop, inside) for at in range(*span)}
    line = _Line("…" if start else "")
    for at in range(start, stop):
        line.take("" if at in hidden else text[at])
    return line.snippet(
        [(begin - start, end - start) for begin, end in inside], is_cut=stop < len(text)
    )


def _spans(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """The matches of the `clean` text within the snippet, in order; adjacent ones are merged."""
    folded = fold(text)
    starts = [span[0] for term in terms if (span := next(term.find(folded), None)) is not None]
    last = min(starts, default=-1) + _MARKED
    places = offsets(text) if starts else []
    found = sorted(
        (places[start], places[end - 1] + 1)
        for term in terms
        for start, end in takewhile(lambda span: span[0] <= last, term.find(folded))
    )
    merged: list[tuple[int, int]] = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _word_start(text: str, match: int) -> int:
    """The start of a snippet: up to BEFORE_MATCH characters before the match, at a word if
    possible."""
    start = max(0, match - BEFORE_MATCH)
    if start == 0:
        return 0
    blank = text.find(" ", start, match)
    return start if blank < 0 else blank + 1


class _Line:
    """Collects the characters of a snippet; repeated blanks become one."""

    def __init__(self, before: str) -> None:
        self._kept = list(before)
        self._places: list[int] = []  # the position in the line of each character taken
        self._most = len(before) + SNIPPET
        self._is_cut = False

    def take(self, char: str) -> None:
        """Add a character; "" stands for one that is not shown."""
        self._places.append(len(self._kept))
        is_blank = not char or char.isspace()
        if len(self._kept) >= self._most:
            self._is_cut = self._is_cut or not is_blank
        elif not is_blank:
            self._kept.append(char)
        elif char and self._kept and self._kept[-1] != " ":
            self._kept.append(" ")

    def snippet(self, marks: Sequence[tuple[int, int]], *, is_cut: bool) -> Snippet:
        """Build the snippet; `marks` refer to all characters taken. `is_cut`: the text
        continues."""
        text = "".join(self._kept).rstrip()
        places = [min(each, len(text)) for each in [*self._places, len(self._kept)]]
        moved = [(places[start], places[end]) for start, end in marks]
        after = "…" if is_cut or self._is_cut else ""
        return Snippet(text + after, tuple(mark for mark in moved if mark[0] < mark[1]))

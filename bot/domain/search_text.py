"""Splits text into words for the search, ignoring case and diacritics, in every script.

A word is a run of letters and digits. Scripts without spaces have no words to look up: there each
character counts, and a search finds a run of them at any position.

Invariant: if `Term` matches a text, the index has every token in `Term.tokens` for that text, so
that a search misses nothing. `Term` alone decides whether a text matches, on every database.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

MOST_TOKEN = 40
"""The most characters of a token; longer words (keys, encoded data) are found by their beginning.
"""

PREFIX = 3
"""Words of at least this length also match longer words that begin with them. With shorter words,
almost everything would match."""

MOST_BYTES = 500_000
"""The most bytes of one text's tokens, because PostgreSQL's type allows 1 MB at most. The rest of
the text is not searchable."""

# Thai, Lao, Burmese, Khmer; Japanese, Chinese and Korean. U+30FB, a middle dot, is left out.
_DENSE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_LETTER = rf"[^\W_{_DENSE}]"
_PIECE = re.compile(rf"[{_DENSE}]+|{_LETTER}+")
_IS_DENSE = re.compile(rf"[{_DENSE}]")
# Marks on Latin, Greek, Cyrillic, Hebrew and Arabic letters. In other scripts a mark is part of the
# letter: without it, a Japanese or Indian letter is a different one.
_MARKS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u0652\u0670"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\u200b-\u200d\u00ad]"
)
_MOST_FOLDS = 20_000

_FREQUENT = 500
"""If a text contains a term's first word this often, the pattern alone is faster."""


def clean(text: str) -> str:
    """The text with composed characters (NFC); match offsets refer to this form."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """The `clean` text without case and diacritics, and with compatibility characters unified."""
    return text.lower() if text.isascii() else text.translate(_folds())


def offsets(text: str) -> Sequence[int]:
    """For each character of `fold(text)`, and for its end, the offset in the `clean` text."""
    if text.isascii():
        return range(len(text) + 1)
    folds = _folds()
    places = [at for at, char in enumerate(text) for _ in folds[ord(char)]]
    return [*places, len(text)]


class _Folds(dict[int, str]):
    """A cache of folded characters, limited to _MOST_FOLDS entries."""

    def __missing__(self, code: int) -> str:
        char = unicodedata.normalize("NFKD", chr(code)).casefold()
        folded = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFKD", char)))
        if len(self) < _MOST_FOLDS:
            self[code] = folded
        return folded


@lru_cache(maxsize=1)
def _folds() -> _Folds:
    return _Folds()


def pieces(folded: str) -> list[str]:
    """The words and the runs of scripts without spaces, in order."""
    return _PIECE.findall(folded)


def is_dense(piece: str) -> bool:
    """Whether a piece belongs to a script without spaces."""
    return _IS_DENSE.match(piece) is not None


def tokens_of(text: str) -> list[str]:
    """The distinct tokens of a text for the index."""
    found: dict[str, None] = {}
    left = MOST_BYTES
    for match in _PIECE.finditer(fold(clean(text))):
        for token in _parts(match[0]):
            if token not in found:
                found[token] = None
                left -= len(token.encode("utf-8", "replace")) + 1
        if left < 0:
            break
    return list(found)


def _parts(piece: str) -> Iterator[str]:
    """The word, or each character and each pair of neighbors of a dense run."""
    if not is_dense(piece):
        yield piece[:MOST_TOKEN]
        return
    yield from piece
    for at in range(len(piece) - 1):
        yield piece[at : at + 2]


@dataclass(frozen=True, slots=True)
class Token:
    """A lookup in the index: one token, or all tokens that begin with it."""

    text: str
    is_prefix: bool = False


@dataclass(frozen=True)
class Term:
    """Words that must be consecutive. `is_open`: the last one may be the beginning of a word."""

    pieces: tuple[str, ...]
    is_open: bool = False

    @classmethod
    def of(cls, text: str, *, is_open: bool) -> Term:
        """The term for what a person typed; it has no `pieces` if there is no letter."""
        found = tuple(pieces(fold(clean(text))))
        return cls(found, is_open and bool(found) and _may_continue(found[-1]))

    def tokens(self) -> list[Token]:
        """The tokens that the index has for every text that this term matches."""
        *first, last = self.pieces
        found = [Token(token) for piece in first for token in _needed(piece)]
        if self.is_open:
            return [*found, Token(last[:MOST_TOKEN], is_prefix=True)]
        return [*found, *map(Token, _needed(last))]

    @property
    def is_exact(self) -> bool:
        """Whether a text that has all tokens is certain to match."""
        if len(self.pieces) != 1 or len(self.pieces[0]) > MOST_TOKEN:
            return False
        return not is_dense(self.pieces[0]) or len(self.pieces[0]) <= 2

    def find(self, folded: str) -> Iterator[tuple[int, int]]:
        """The spans of the folded text that match."""
        at = folded.find(self.pieces[0])  # a hundred times as fast as the pattern alone
        for _ in range(_FREQUENT):
            if at < 0:
                return
            match = self._pattern.match(folded, at)
            if match is not None:
                yield match.span()
            at = folded.find(self.pieces[0], at + 1 if match is None else match.end())
        if at >= 0:
            for match in self._pattern.finditer(folded, at):
                yield match.span()

    def is_in(self, folded: str) -> bool:
        """Whether the folded text matches."""
        return next(self.find(folded), None) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = [self._part(piece, is_last=False) for piece in self.pieces[:-1]]
        words = r"[\W_]*+".join([*parts, self._part(self.pieces[-1], is_last=True)])
        return re.compile(words)

    def _part(self, piece: str, *, is_last: bool) -> str:
        if is_dense(piece):
            return re.escape(piece)
        end = "" if is_last and self.is_open else rf"(?!{_LETTER})"
        return rf"(?<!{_LETTER}){re.escape(piece)}{end}"


def _may_continue(piece: str) -> bool:
    return not is_dense(piece) and len(piece) >= PREFIX


def _needed(piece: str) -> list[str]:
    """The tokens to look up for a piece. For a dense run, its pairs: they are rarer than its
    characters."""
    if is_dense(piece) and len(piece) > 1:
        return [piece[at : at + 2] for at in range(len(piece) - 1)]
    return [piece[:MOST_TOKEN]]

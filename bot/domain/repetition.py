"""Checks whether a text repeats a person's words. Pure.

An answer to another person may quote someone whose data is erased. A text counts as a repetition if
it contains six of the person's words in a row, a whole short message, or a single distinctive word
(an address, an identifier).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+(?:[.@\-_]\w+)*", re.UNICODE)
RUN, FEWEST = 6, 3
"""Words in a row that count; a shorter message must match as a whole and have at least three."""
RARE = 10
"""The least length of a word that counts on its own, if it contains a digit or a symbol."""
MOST_CHARACTERS = 1_000_000
"""The most characters of the person's text that are compared: years of messages, or a long file."""

QUOTE_ERASED = "[quote erased]"


class Repetition:
    """Compares texts with those of one person, who goes by these names."""

    def __init__(self, texts: Iterable[str], names: Iterable[str] = ()) -> None:
        self._runs: set[tuple[str, ...]] = set()
        self._sizes: set[int] = set()  # of the runs
        self._rare: set[str] = set()
        self._names = [name.casefold() for name in names if len(name) > 1]
        self._labels = [f"{name} {verb}" for name in self._names for verb in ("wrote",)]
        self._labels += [f"in reply to {name}" for name in self._names]
        left = MOST_CHARACTERS
        for text in texts:
            self._add(_words(text[:left]))
            left = max(0, left - len(text))

    def _add(self, words: list[str]) -> None:
        size = min(RUN, len(words))
        if size >= FEWEST:
            self._sizes.add(size)
            self._runs.update(zip(*(words[start:] for start in range(size)), strict=False))
        self._rare.update(word for word in words if len(word) >= RARE and not word.isalpha())

    def is_in(self, text: str) -> bool:
        """Whether `text` repeats the person's words or names them."""
        words = _words(text)
        if any(word in self._rare for word in words):
            return True
        for size in self._sizes:
            if any(
                run in self._runs for run in zip(*(words[n:] for n in range(size)), strict=False)
            ):
                return True
        folded = text.casefold()
        return any(re.search(rf"\b{re.escape(name)}\b", folded) for name in self._names)

    def quoted_in(self, text: str) -> str:
        """The quotes of this person in another person's `text`."""
        kept = iter(self.without_quotes(text).split("\n"))
        left = next(kept, None)
        quoted = []
        for line in text.split("\n"):
            if left in (line, QUOTE_ERASED):
                left = next(kept, None)
            else:
                quoted.append(line.removeprefix(">"))
        return "\n".join(quoted)

    def without_quotes(self, text: str) -> str:
        """Another person's `text` without its quotes of this person.

        Quotes are lines that begin with ">", below a label with the name of their author.
        """
        kept: list[str] = []
        is_quoted = False
        for line in text.split("\n"):
            is_label = line.rstrip(":").casefold() in self._labels
            if is_label:
                is_quoted = True
                kept.append(QUOTE_ERASED)
            elif line.startswith(">") and (is_quoted or self.is_in(line[1:])):
                continue
            else:
                is_quoted = False
                kept.append(line)
        return "\n".join(kept)


def _words(text: str) -> list[str]:
    return [found[0].casefold() for found in _WORD.finditer(text)]

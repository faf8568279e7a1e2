"""Bare web addresses in prose of any language: where each begins and ends.

An address ends at a blank, a quotation mark, or punctuation that no address has unencoded: wide,
Arabic or Indic (`https://例え.jp。`). It excludes punctuation of the surrounding sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 2_000
"""The most characters of an address; browsers accept none longer."""

_WIDE = (
    "\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2018-\u201f\u2014\u2026"
    "\u00ab\u00bb\u2039\u203a\u060c\u061b\u061f\u066c\u06d4\u0964\u0965"
)
_ADDRESS = re.compile(
    rf"(?<![A-Za-z0-9])https?://(?=[^\s<>\"{_WIDE}]{{3}})[^\s<>\"`|\\{_WIDE}]{{1,{LONGEST}}}",
    re.IGNORECASE,
)
# After an ASCII word, a script without spaces continues the sentence; after a slash it is part of
# the address (`https://ja.wikipedia.org/wiki/日本`).
_SENTENCE = re.compile(
    r"(https?://[!-~]+?[A-Za-z0-9/])(?=[\u0e00-\u0e7f\u3040-\u9fff\uac00-\ud7a3])", re.IGNORECASE
)
_BEHIND = ".,;:!?*_~'"
_PAIRS = {")": "(", "]": "[", "}": "{"}


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each address."""
    for start, stop in whole_addresses(text, 0, len(text)):
        end = start + len(_trimmed(text[start:stop]))
        if end > start + len("https://"):
            yield start, end


def whole_addresses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The same for `text[start:end]`, with the punctuation of the sentence behind each address."""
    for found in _ADDRESS.finditer(text, start, end):
        sentence = _SENTENCE.match(found[0])
        stop = sentence.end() if sentence and not sentence[1].endswith("/") else len(found[0])
        yield found.start(), found.start() + stop


def _trimmed(address: str) -> str:
    counts = {mark: address.count(mark) for mark in "()[]{}"}
    while address:
        last = address[-1]
        if last in _PAIRS and counts[last] > counts[_PAIRS[last]]:
            counts[last] -= 1
        elif last not in _BEHIND:
            break
        address = address[:-1]
    return address

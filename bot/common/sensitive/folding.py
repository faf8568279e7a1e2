"""Folds look-alikes to plain characters: full-width letters, digits of any script, dashes, spaces,
and invisible characters. Pasting and autocorrection put these into keys and numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


class _Table(dict[int, str]):
    """A cache of the plain form of each character, "" for an invisible one."""

    def __missing__(self, code: int) -> str:
        plain = self[code] = _plain(chr(code))
        return plain


def _plain(character: str) -> str:
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category == "Cf":  # zero-width spaces and joiners, soft hyphens, direction marks
        return ""
    if category in ("Zs", "Pd"):
        return " " if category == "Zs" else "-"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 and folded.isascii() else character


_TABLE = _Table()


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """Return `text` in plain characters, and the offset of each one in `text`. The offsets are None
    if no character was dropped."""
    plain = text.translate(_TABLE)
    if len(plain) == len(text):
        return plain, None
    return plain, [place for place, each in enumerate(text) if _TABLE[ord(each)]]

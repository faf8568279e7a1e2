"""Finds keys, tokens, cards, bank accounts, addresses and phone numbers in text; pure and linear.

Where a checksum (Luhn, ISO 7064) or a known length exists, it decides: an order number is not a
card number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from bot.common.sensitive import contacts, folding, keys, numbers
from bot.domain.policy import Redaction

Span = tuple[int, int]

_FINDERS: Sequence[tuple[Redaction, Callable[[str], Iterator[Span]]]] = (
    # If two finders match the same text, the first one wins: a key stays a key, whatever digits it
    # contains.
    (Redaction.KEYS, keys.find_keys),
    (Redaction.IBAN, numbers.find_ibans),
    (Redaction.CARD, numbers.find_cards),
    (Redaction.EMAIL, contacts.find_emails),
    (Redaction.PHONE, contacts.find_phones),
)


@dataclass(frozen=True, slots=True)
class Sensitive:
    """One sensitive value: `text[start:end]`."""

    kind: Redaction
    start: int
    end: int


def find(text: str, kinds: Collection[Redaction]) -> Sequence[Sensitive]:
    """The values of these kinds, in text order and without overlaps."""
    if text.isascii():
        return _find(text, kinds)
    plain, places = folding.fold(text)
    found = _find(plain, kinds)
    if places is None:
        return found
    return [Sensitive(each.kind, places[each.start], places[each.end - 1] + 1) for each in found]


def _find(text: str, kinds: Collection[Redaction]) -> list[Sensitive]:
    found: list[Sensitive] = []
    for kind, finder in _FINDERS:
        if kind not in kinds:
            continue
        new = [Sensitive(kind, start, end) for start, end in finder(text)]
        found = _without_overlaps(found, new) if new else found
    return found


def _without_overlaps(kept: Sequence[Sensitive], new: Sequence[Sensitive]) -> list[Sensitive]:
    """Merge both in text order, dropping those of `new` that overlap one of `kept`."""
    result: list[Sensitive] = []
    before = -1  # the last one of `kept` that begins at or before the new one
    for each in new:
        while before + 1 < len(kept) and kept[before + 1].start < each.end:
            before += 1
        if before < 0 or kept[before].end <= each.start:
            result.append(each)
    return sorted([*kept, *result], key=lambda each: each.start)


def blank(text: str, kinds: Collection[Redaction]) -> str:
    """Replace each value in `text` with the name of its kind, for a log."""
    parts, done = [], 0
    for each in find(text, kinds):
        parts += [text[done : each.start], f"[{each.kind.value}]"]
        done = each.end
    return "".join([*parts, text[done:]]) if done else text

"""What changed between two moments of a growing reply, as the page needs it to follow.

A change is `{id, at: [from, to], text, blocks?, edits?}`: `text` is appended to the source,
`blocks` is the new number of blocks if it changed, and each edit changes the HTML of one block:

- `[index, html]` is the whole block,
- `[index, left, inserted]` inserts HTML before the last `left` characters of the block,
- `[index, left]` inserts the appended source, which is valid HTML as it is,
- `[index, left, inserted, removed]` inserts it in place of `removed` characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReplyView:
    """A growing reply at one moment: its text, and the HTML of each block of it."""

    version: int
    text: str
    blocks: tuple[str, ...]
    state: str
    note: bool  # our note stands in for the answer

    @property
    def html(self) -> str:
        """The whole text as HTML."""
        return "".join(self.blocks)


def changes(reply: str, before: ReplyView, now: ReplyView) -> dict[str, Any] | None:
    """The change from `before` to `now` of the reply with this id; None: it has another text."""
    same = (before.state, before.note) == (now.state, now.note)
    if not same or not now.text.startswith(before.text):
        return None
    added = now.text[len(before.text) :]
    change: dict[str, Any] = {"id": reply, "at": [before.version, now.version], "text": added}
    if len(before.blocks) != len(now.blocks):
        change["blocks"] = len(now.blocks)
    if edits := _edits(before.blocks, now.blocks, added):
        change["edits"] = edits
    return change


def difference(before: str, now: str) -> tuple[int, str, int]:
    """The edit that turns `before` into `now`.

    Returns the number of characters left at its end, the new text before them, and the number of
    characters that it replaces, all in UTF-16 units, as the page counts.
    """
    begin = _common_beginning(before, now)
    end, most = 0, min(len(before), len(now)) - begin
    while end < most and before[-1 - end] == now[-1 - end]:
        end += 1
    removed = before[begin : len(before) - end]
    return _units(before[len(before) - end :]), now[begin : len(now) - end], _units(removed)


def _edits(before: Sequence[str], now: Sequence[str], added: str) -> list[list[object]]:
    edits: list[list[object]] = []
    for index, block in enumerate(now):
        known = before[index] if index < len(before) else None
        if known == block:
            continue
        edits.append([index, *_edit(known, block, added)])
    return edits


def _edit(known: str | None, block: str, added: str) -> list[object]:
    left, new, removed = (0, block, 0) if known is None else difference(known, block)
    if known is None or 2 * len(new) > len(block):
        return [block]
    if removed:
        return [left, new, removed]
    return [left] if new == added else [left, new]


def _common_beginning(one: str, other: str) -> int:
    """The number of characters at which both begin alike; halving compares blocks of memory."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2

"""What changed between two moments of a growing reply, as the page needs it to follow.

A change is `{id, at: [from, to], text, blocks?, edits?}`: `text` is appended to the source,
`blocks` is the new number of blocks if it changed, and each edit changes the HTML of one block:

- `[index, html]` is the whole block,
- `[index, left, inserted]` inserts HTML before the last `left` characters of the block,
- `[index, left]` inserts the appended source, which is its own HTML.
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


def insertion(before: str, now: str) -> tuple[int, str] | None:
    """The HTML that turns `before` into `now` when inserted so many characters before its end.

    Only the end tags of `before` may follow the insertion: None for any other difference.
    """
    begin = _end_tags(before)
    if len(now) < len(before) or not now.startswith(before[:begin]):
        return None
    ends, rest = before[begin:], now[begin:]
    for at in _tag_starts(ends):
        left = len(ends) - at
        if rest.startswith(ends[:at]) and rest.endswith(ends[at:]):
            return left, rest[at : len(rest) - left]
    return None


def _edits(before: Sequence[str], now: Sequence[str], added: str) -> list[list[object]]:
    edits: list[list[object]] = []
    for index, block in enumerate(now):
        known = before[index] if index < len(before) else None
        if known == block:
            continue
        found = None if known is None else insertion(known, block)
        if found is None:
            edits.append([index, block])
        else:
            edits.append([index, found[0]] if found[1] == added else [index, *found])
    return edits


def _end_tags(html: str) -> int:
    """Where the end tags at the end of `html` begin, and the line feeds among them."""
    at = len(html)
    while at:
        if html[at - 1] == "\n":
            at -= 1
            continue
        start = html.rfind("<", 0, at) if html[at - 1] == ">" else -1
        if start < 0 or html[start + 1] != "/":
            break
        at = start
    return at


def _tag_starts(ends: str) -> list[int]:
    """The offsets of the tags, last one first: elements that have ended stay as they are."""
    return [at for at in range(len(ends) - 1, -1, -1) if ends[at] == "<"]

"""What is to be read of Slack after a time without events, and in which order: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import structlog

from adapters.slack.events import DIRECT, position
from adapters.slack.responses import latest_reply
from adapters.slack.workspace import kind_of
from bot.domain.conversations import Conversation
from bot.domain.errors import Unsettled

log = structlog.stdlib.get_logger(__name__)

PAGE = 999  # the most that one request gives, of messages and of channels
# Direct messages without a conversation here: somebody may have written there for the first time,
# and nothing tells which. So many are read, the newest first.
MOST_SILENT = 100

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel that the bot is in; `roots` are its threads that are known, the newest first."""

    id: str
    kind: str
    roots: tuple[int, ...] = ()
    talked_at: float = 0.0
    created: float = 0.0

    @property
    def rank(self) -> tuple[float, ...]:
        """Where people talked with the bot last comes first."""
        return (0, -self.talked_at) if self.talked_at else (2, -self.created)


def places(
    channels: Iterable[Message], conversations: Sequence[Conversation], since: float
) -> list[ChannelPlan]:
    """The channels to read; `since` is how old a thread's last word may be, in Unix seconds."""
    talked: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        talked.setdefault(conversation.key.channel, []).append(conversation)
    found = [_place(channel, talked.get(channel["id"], ()), since) for channel in channels]
    silent = [place for place in found if place.kind == DIRECT and not place.talked_at]
    left_out = set(sorted(silent, key=lambda place: place.rank)[MOST_SILENT:])
    if left_out:
        log.warning("not all silent direct messages are looked at", left_out=len(left_out))
    return sorted((p for p in found if p not in left_out), key=lambda place: place.rank)


def _place(channel: Message, talked: Sequence[Conversation], since: float) -> ChannelPlan:
    return ChannelPlan(
        id=str(channel["id"]),
        kind=str(channel["kind"] if "kind" in channel else kind_of(channel)),
        roots=tuple(position(c.key.thread) for c in talked if c.updated_at > since),
        talked_at=max((c.updated_at for c in talked), default=0.0),
        created=_seconds(channel.get("created")),
    )


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def goes_on(read: Sequence[Message], after: int, roots: Sequence[int], page: int = PAGE) -> bool:
    """Whether the next page of a channel's history is worth its request.

    It is when what was missed is not whole. It also is when the next pages are likely to show that
    more known threads have nothing new than there are pages: each of these threads, unseen, would
    cost a request of its own. How far a page reaches, and how many threads have nothing new, is
    judged by what was read.
    """
    newest, oldest = position(read[0]["ts"]), position(read[-1]["ts"])
    if oldest > after:
        return True
    hidden = sorted((root for root in roots if root < oldest), reverse=True)
    replies = {position(m["ts"]): position(latest_reply(m) or m["ts"]) for m in read}
    shown = [replies[root] for root in roots if root in replies]
    quiet = (sum(latest <= after for latest in shown) + 1) / (len(shown) + 1)
    reach = max(1.0, (newest - oldest) / len(read) * page)
    return any(
        count * quiet > ceil((oldest - root) / reach) for count, root in enumerate(hidden, 1)
    )


def to_read(read: Sequence[Message], after: int, roots: Iterable[int]) -> dict[int, int]:
    """The threads with something after `after`: their root, and their last reply as far as known.

    Known ones that the history did not reach may have something.
    """
    oldest = position(read[-1]["ts"]) if read else after
    seen = {position(m["ts"]): m for m in read}
    changed = {
        root: position(latest)
        for root, message in seen.items()
        if (latest := latest_reply(message)) and position(latest) > max(after, root)
    }
    return changed | {root: after for root in roots if root < oldest and root not in seen}


def oldest_of(page: Sequence[Message], before: str | None) -> str:
    """Where to read on in a channel where Slack has more, and gives no cursor: before this ts.

    Raises Unsettled when the page is not older than `before`, where it should have begun.
    """
    found = min((str(m["ts"]) for m in page), key=position, default=None)
    if found is None or (before is not None and position(found) >= position(before)):
        raise Unsettled("Slack has more messages, and does not say where")
    return found


def newest_of(page: Sequence[Message], after: int) -> int:
    """The same in a thread, whose pages come the other way round: after this position."""
    found = max((position(m["ts"]) for m in page), default=after)
    if found <= after:
        raise Unsettled("Slack has more replies, and does not say where")
    return found


def stamp(position: int) -> str:
    """A position as Slack's ts."""
    return f"{position // 1_000_000}.{position % 1_000_000:06d}"

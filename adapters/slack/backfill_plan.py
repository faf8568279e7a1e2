"""Decides which channels and threads of Slack to read after a gap, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import structlog

from adapters.slack.events import DIRECT, position
from adapters.slack.facts import kind_of
from adapters.slack.responses import Response, latest_reply
from bot.domain.conversations import Conversation
from bot.domain.errors import Unsettled
from bot.domain.inbox import ThreadRead

log = structlog.stdlib.get_logger(__name__)

# Slack's maximum per request, for messages and for channels.
# https://docs.slack.dev/reference/methods/conversations.history
PAGE = 999
# Direct messages without a conversation are read too, because a person may have written there for
# the first time. This many are read, the most recently created first.
MAX_SILENT = 100

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel that the bot is in. `roots` are the positions of its known threads.

    `talked_at` and `created` are in Unix seconds, 0 if unknown. `reads`, keyed by the threads'
    watermark names, makes the backfill read threads regardless of their watermarks, except for what
    it has already read again. `trusts_counts` also skips threads for which the database has as many
    messages as Slack counts.
    """

    id: str
    kind: str
    roots: tuple[int, ...] = ()
    talked_at: float = 0.0
    created: float = 0.0
    reads: Mapping[str, ThreadRead] | None = None
    trusts_counts: bool = False

    @property
    def rank(self) -> tuple[float, ...]:
        """Channels with the latest conversations first, then the youngest."""
        return (0, -self.talked_at) if self.talked_at else (2, -self.created)


def plan_channels(
    channels: Iterable[Message], conversations: Sequence[Conversation], since: float
) -> list[ChannelPlan]:
    """The channels to read; a thread is known if it has a message after `since` (Unix seconds)."""
    by_channel: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        by_channel.setdefault(conversation.key.channel, []).append(conversation)
    plans = [_plan(channel, by_channel.get(channel["id"], ()), since) for channel in channels]
    silent = [plan for plan in plans if plan.kind == DIRECT and not plan.talked_at]
    skipped = set(sorted(silent, key=lambda plan: plan.rank)[MAX_SILENT:])
    if skipped:
        log.warning("skipped direct messages without a conversation", channels=len(skipped))
    return sorted((p for p in plans if p not in skipped), key=lambda plan: plan.rank)


def _plan(channel: Message, conversations: Sequence[Conversation], since: float) -> ChannelPlan:
    return ChannelPlan(
        id=str(channel["id"]),
        kind=str(channel["kind"] if "kind" in channel else kind_of(channel)),
        roots=tuple(position(c.key.thread) for c in conversations if c.updated_at > since),
        talked_at=max((c.updated_at for c in conversations), default=0.0),
        created=_seconds(channel.get("created")),
    )


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def next_page_pays(
    read: Sequence[Message], after: int, roots: Sequence[int], page: int = PAGE
) -> bool:
    """Whether the next page of a channel's history is worth its request; `read` is newest first.

    It is if `read` does not reach back to `after`. It is also if further pages are likely to show
    more known threads without news than they cost requests, because each thread that no page shows
    costs a request. The estimate uses the time that the pages so far span, and their share of
    threads without news.
    """
    newest, oldest = position(read[0]["ts"]), position(read[-1]["ts"])
    if oldest > after:
        return True
    hidden = sorted((root for root in roots if root < oldest), reverse=True)
    replies = {position(m["ts"]): position(latest_reply(m) or m["ts"]) for m in read}
    shown = [replies[root] for root in roots if root in replies]
    quiet = (sum(latest <= after for latest in shown) + 1) / (len(shown) + 1)
    page_span = max(1.0, (newest - oldest) / len(read) * page)
    return any(
        count * quiet > ceil((oldest - root) / page_span) for count, root in enumerate(hidden, 1)
    )


def unread_threads(read: Sequence[Message], after: int, roots: Iterable[int]) -> dict[int, int]:
    """The threads to read: each root's position with the position of its last reply.

    These are threads whose root shows a reply after `after`, and known threads whose root `read`
    does not reach; `after` then replaces the unknown last reply.
    """
    oldest = position(read[-1]["ts"]) if read else after
    messages = {position(m["ts"]): m for m in read}
    with_news = {
        root: position(latest)
        for root, message in messages.items()
        if (latest := latest_reply(message)) and position(latest) > max(after, root)
    }
    return with_news | {root: after for root in roots if root < oldest and root not in messages}


def oldest_of(page: Sequence[Message], before: str | None) -> str:
    """The ts at which the next page of a channel ends, if Slack has more but sends no cursor.

    Raises Unsettled if the page is empty or not older than `before`, which would repeat it forever.
    """
    found = min((str(m["ts"]) for m in page), key=position, default=None)
    if found is None or (before is not None and position(found) >= position(before)):
        raise Unsettled("Slack has more messages but does not say where")
    return found


def newest_of(page: Sequence[Message], after: int) -> int:
    """The position after which a thread's next page begins; like `oldest_of`, for pages with the
    newest last."""
    found = max((position(m["ts"]) for m in page), default=after)
    if found <= after:
        raise Unsettled("Slack has more replies but does not say where")
    return found


def stamp(position: int) -> str:
    """A position as Slack's ts."""
    return f"{position // 1_000_000}.{position % 1_000_000:06d}"


@dataclass(frozen=True, slots=True)
class ChannelPages:
    """The pages of a channel so far, newest message first.

    The next page begins at `cursor` or, without one, at `before`, the oldest ts so far.
    """

    messages: tuple[Message, ...] = ()
    cursor: str | None = None
    before: str | None = None

    def add(self, answer: Response) -> ChannelPages:
        """Add a response. Raises Unsettled if Slack has more messages but does not say where."""
        page, cursor = answer.messages(), next_cursor(answer, self.cursor)
        lost = answer.has_more and cursor is None
        before = oldest_of(page, self.before) if lost else self.before
        return replace(self, messages=(*self.messages, *page), cursor=cursor, before=before)


def newest_in(messages: Sequence[Message], after: int) -> int:
    """The position of the newest message or reply, at least `after`."""
    newest = [position(latest_reply(m) or m["ts"]) for m in messages]
    newest += [position(m["ts"]) for m in messages]
    return max(newest, default=after)


def next_cursor(answer: Response, cursor: str | None) -> str | None:
    """The next page's cursor; None at the end, or if Slack repeats `cursor`."""
    following = answer.next_cursor
    return following if following != cursor else None

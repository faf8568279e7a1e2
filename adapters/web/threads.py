"""Reads the page's threads, each as it is at one moment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import HTTPException, Query

from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.feedback import FeedbackPorts
from adapters.web.models import PlacedModels
from adapters.web.page_events import reply_size, thread_size
from adapters.web.page_serializers import (
    page_choices,
    page_entry,
    page_message,
    page_reply,
    page_thread,
)
from adapters.web.places import CHANNEL, scope_of, shared_channel
from adapters.web.size_limit import message_size, read_newest, take_first, take_newest
from bot.domain import http_texts
from bot.domain.conversations import ConversationKey
from bot.domain.records import ConversationRecord, MessageRecord, ReplyRecord

MOST_MESSAGES = 500
"""The number of newest messages in a thread that the page gets."""


class ThreadReader:
    """The channel's threads, and one thread with its messages."""

    def __init__(
        self, chat: ChatService, models: PlacedModels, feedback: FeedbackPorts | None = None
    ) -> None:
        self._library, self._hub, self._models = chat.library, chat.hub, models
        self._places = chat.places
        self._feedback, self._currency = feedback, chat.currency
        self._html_pool, self._highlight = chat.html_pool, chat.html_pool.highlight

    async def threads(
        self,
        user: User,
        channel: Annotated[str | None, Query(max_length=80)] = None,
        before: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """The channel's threads, newest last."""
        place, newest = scope_of(self._places.key(user, channel)), self._hub.newest(user)
        found = await self._library.threads(place, before=before, limit=limit)
        shown = take_first(found, thread_size)
        chosen = [
            (thread, page_choices(thread.record.conversation, self._models)) for thread in shown
        ]
        lines = await self._html_pool.run(
            lambda: [
                page_thread(thread, choices, self._highlight)
                for thread, choices in reversed(chosen)
            ]
        )
        more = len(found) == limit or len(shown) < len(found)
        return {
            "threads": lines,
            "next": shown[-1].record.uid if more else None,
            "event": newest,
        }

    async def thread(
        self,
        user: User,
        thread: uuid.UUID,
        until: Annotated[int | None, Query(ge=0, le=2**31)] = None,
    ) -> dict[str, Any]:
        """One thread with its messages and its running reply.

        With `until`, those up to the message with this index; `later` says whether others follow,
        `earlier` whether others come before.
        """
        newest = self._hub.newest(user)  # taken before reading: the data is at least as new
        record = await self.record(user, thread)
        conversation = record.conversation
        shared = shared_channel(conversation.key)
        messages = await self._messages(conversation.id, until)
        earlier = await self._has_earlier(conversation.id, messages)
        listed = await self._places.thread(conversation.key) if shared is None else None
        return {
            "event": newest,
            "id": record.uid,
            "channel": shared,
            "name": conversation.name,
            "entry": None if listed is None else page_entry(listed.entry),
            **page_choices(conversation, self._models),
            "epoch": conversation.epoch,
            "votes": await self._votes(user, conversation.key),
            "messages": messages,
            "versions": versions_of(
                messages,
                await self._library.versions(conversation.id),
                first=_first_index(messages) if earlier else 0,
                last=until,
            ),
            "earlier": earlier,
            "later": await self._has_later(conversation.id, until),
        }

    async def _votes(self, user: str, key: ConversationKey) -> dict[str, Any] | None:
        return None if self._feedback is None else await self._feedback.votes(key, user)

    async def _has_earlier(self, conversation: int, messages: Sequence[Mapping[str, Any]]) -> bool:
        first = _first_index(messages)
        return first > 0 and bool(
            await self._library.latest(conversation, limit=1, until=first - 1)
        )

    async def _has_later(self, conversation: int, until: int | None) -> bool:
        if until is None:
            return False
        newest = await self._library.latest(conversation, limit=1)
        return bool(newest) and (newest[-1].index is None or newest[-1].index > until)

    async def _messages(self, conversation: int, until: int | None) -> list[dict[str, Any]]:
        # Replies first: one that is concluded in between appears as it was, and its event follows.
        replies = await read_newest(
            lambda limit: self._library.replies(conversation, limit=limit, until=until),
            reply_size,
            most=MOST_MESSAGES,
        )
        messages = await read_newest(
            lambda limit: self._library.latest(conversation, limit=limit, until=until),
            message_size,
            most=MOST_MESSAGES,
        )
        return await self._html_pool.run(self._entries, messages, replies)

    def _entries(
        self, messages: Sequence[MessageRecord], replies: Sequence[ReplyRecord]
    ) -> list[dict[str, Any]]:
        """Messages by index, rendered off the event loop."""
        currency = self._currency()
        entries = [
            *((m.index, page_message(m, self._highlight)) for m in messages if not m.is_reply),
            *(
                (
                    r.index,
                    page_reply(r, self._hub.live(r.turn), self._highlight, currency),
                )
                for r in replies
            ),
        ]
        entries.sort(key=lambda entry: (entry[0] is None, entry[0] or 0))
        shown = [shape for _, shape in entries[-MOST_MESSAGES:]]
        return take_newest(shown, lambda shape: len(shape["text"]) + len(shape["html"]))

    async def record(self, user: str, thread: uuid.UUID) -> ConversationRecord:
        """A thread that the user may read. Raises HTTPException 404 if there is none."""
        record = await self._places.find(str(thread), user, CHANNEL)
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        return record


def _first_index(messages: Sequence[Mapping[str, Any]]) -> int:
    return next((each["index"] for each in messages if each["index"] is not None), 0)


def versions_of(
    messages: Sequence[Mapping[str, Any]],
    places: Sequence[Sequence[tuple[int, bool]]],
    *,
    first: int = 0,
    last: int | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The versions of each place, oldest first, by the id of the message that offers them.

    `messages` are a part of the thread: those with the indexes from `first` to `last` (None: to the
    end); places outside it are left out. The message that offers them is the question or the answer
    itself. If it was deleted, it is the next message or, at the end, the last one.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for place in places:
        shown = next(number for number, is_shown in place if is_shown)
        if shown < first or (last is not None and shown > last):
            continue
        later = (each for each in messages if each["index"] is None or each["index"] >= shown)
        host = next(later, messages[-1] if messages else None)
        if host is not None:
            versions = [number for number, _ in place]
            offered = {"versions": versions, "shown": versions.index(shown)}
            found.setdefault(host["id"], []).append(offered)
    return found

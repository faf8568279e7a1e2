"""Links to threads, readable by every signed-in user of this server and no one else.

Invariant: a link shows only what its owner shared: no settings, no costs, no other thread, and no
attachment of a message that is not shown. A person who may not read a link learns nothing about it:
wrong, revoked and forbidden addresses get the same answer.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from cachetools import TTLCache
from fastapi import APIRouter, HTTPException, Path, Query, Response

from adapters.web import serializers
from adapters.web.attachments import content_response
from adapters.web.auth import User
from adapters.web.chat import ChatService
from adapters.web.choices import ChoicePorts
from adapters.web.minute_limit import MinuteLimit
from adapters.web.page_serializers import page_message
from adapters.web.places import CHANNEL, PLATFORM, user_scope
from adapters.web.size_limit import message_size, take_first
from bot.domain import http_texts
from bot.domain.conversations import ConversationKey
from bot.domain.privacy import AuditEntry
from bot.domain.records import MessageRecord
from bot.domain.sharing import Share
from bot.ports.audit import SHARE_CREATED, SHARE_READ, SHARE_REVOKED, SHARE_UPDATED

READS = 300
"""Requests per minute for one reader: a page has many pictures."""

WRONG = 20
"""Wrong addresses per minute for one reader. An address has 256 random bits, so guessing is
hopeless anyway."""

CHANGES = 20
"""How many links one person may create, update and revoke per minute."""

MOST_LISTED = 500
READ_AGAIN_SECONDS = 3_600.0
"""If a reader opens a link again within this time, the audit records it only once."""

_Uid = Annotated[str, Path(max_length=64)]
_After = Annotated[int, Query(ge=-1, le=2**31)]
_Limit = Annotated[int, Query(ge=1, le=200)]


class ShareRoutes:
    """The page's routes of links. Only servers with tokens have them."""

    def __init__(self, *, ports: ChoicePorts, chat: ChatService) -> None:
        self._ports, self._shares, self._chat = ports, ports.shares, chat
        self._library, self._html_pool = chat.library, chat.html_pool
        clock = chat.clock
        self._reads, self._wrong = MinuteLimit(READS, clock), MinuteLimit(WRONG, clock)
        self._changes = MinuteLimit(CHANGES, clock)
        self._told: TTLCache[tuple[str, str], bool] = TTLCache(
            10_000, READ_AGAIN_SECONDS, clock.monotonic
        )

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(prefix="/app", include_in_schema=False)
        one = "/threads/{thread}/share"
        router.add_api_route(one, self.of_thread, methods=["GET"])
        router.add_api_route(one, self.share, methods=["PUT"])
        router.add_api_route(one, self.revoke, methods=["DELETE"])
        router.add_api_route("/shares", self.mine, methods=["GET"])
        router.add_api_route("/shared/{uid}", self.read, methods=["GET"])
        attachment = "/shared/{uid}/attachments/{attachment}"
        router.add_api_route(attachment, self.attachment, methods=["GET"])
        return router

    # ── the owner ─────────────────────────────────────────────────────────────────────────────
    async def of_thread(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """The thread's link, and whether there may be one."""
        key = await self._own(user, thread)
        return await self._state(key)

    async def share(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """Create the thread's link, or update it to show the thread as it is now."""
        self._changes.take(user)
        key = await self._own(user, thread)
        if not await self._ports.allows_sharing(key):
            raise HTTPException(403, http_texts.NO_SHARING)
        known = await self._shares.of_conversation(key)
        await self._record(SHARE_UPDATED if known else SHARE_CREATED, user, key, thread)
        if await self._shares.share(key, user) is None:
            raise HTTPException(409, http_texts.NOTHING_TO_SHARE)
        return await self._state(key)

    async def revoke(self, user: User, thread: uuid.UUID) -> dict[str, Any]:
        """Delete the link for good."""
        self._changes.take(user)
        key = await self._own(user, thread)
        if await self._shares.of_conversation(key) is not None:
            await self._record(SHARE_REVOKED, user, key, thread)
            await self._shares.revoke(key)
        return await self._state(key)

    async def mine(self, user: User) -> dict[str, Any]:
        """List all of the user's links, newest first."""
        found = await self._shares.of_person(PLATFORM, user, limit=MOST_LISTED)
        return {"shares": [_shape(each) for each in found]}

    async def _state(self, key: ConversationKey) -> dict[str, Any]:
        share = await self._shares.of_conversation(key)
        return {
            "allowed": await self._ports.allows_sharing(key),
            "share": None if share is None else _shape(share),
        }

    async def _own(self, user: str, thread: uuid.UUID) -> ConversationKey:
        record = await self._library.find(str(thread), user_scope(user, CHANNEL))
        if record is None:
            raise HTTPException(404, http_texts.NO_SUCH_THREAD)
        return record.conversation.key

    # ── readers ───────────────────────────────────────────────────────────────────────────────
    async def read(
        self, user: User, uid: _Uid, after: _After = -1, limit: _Limit = 100
    ) -> dict[str, Any]:
        """Return what the link shows, starting after the message with index `after`."""
        share, key = await self._find(user, uid)
        if user != share.shared_by:
            await self._record_reader(user, share, key)
        found = await self._shares.messages(uid, after=after, limit=limit)
        shown = take_first(found, message_size)
        more = len(found) == limit or len(shown) < len(found)
        return {
            "name": share.name,
            "shared_by": share.shared_by,
            "shared_at": serializers.timestamp(share.shared_at),
            "own_thread": share.conversation if user == share.shared_by else None,
            "missing": share.messages - share.shown,
            "messages": await self._html_pool.run(self._entries, shown),
            "next": shown[-1].index if more and shown else None,
        }

    async def attachment(
        self, user: User, uid: _Uid, attachment: uuid.UUID, preview: bool = False
    ) -> Response:
        """The content of a file of a shown message."""
        await self._find(user, uid)
        found = await self._shares.attachment(uid, str(attachment))
        if found is None:
            self._wrong.take(user)
            raise HTTPException(404, http_texts.NO_SUCH_LINK)
        response = content_response(found, preview=preview)
        # A revoked link shows nothing more, also from the browser's cache.
        response.headers["Cache-Control"] = "no-store"
        return response

    async def _find(self, user: str, uid: str) -> tuple[Share, ConversationKey]:
        """Find the link. Raises HTTPException 404, also if the rules have since forbidden it."""
        self._reads.take(user)
        found = await self._shares.find(uid)
        if found is None or not await self._ports.allows_sharing(found[1]):
            self._wrong.take(user)
            raise HTTPException(404, http_texts.NO_SUCH_LINK)
        return found

    def _entries(self, messages: list[MessageRecord]) -> list[dict[str, Any]]:
        highlight = self._html_pool.highlight
        return [
            {**page_message(each, highlight), "turn": None, "model": each.model}
            for each in messages
        ]

    # ── the audit ─────────────────────────────────────────────────────────────────────────────
    async def _record_reader(self, user: str, share: Share, key: ConversationKey) -> None:
        """Record who reads whose conversation, before anything is returned."""
        if (user, share.uid) in self._told:
            return
        details = {"conversation": share.conversation}
        entry = AuditEntry(SHARE_READ, key, user, share.shared_by, details)
        await self._ports.audit.record(entry)
        self._told[user, share.uid] = True

    async def _record(
        self, action: str, user: str, key: ConversationKey, thread: uuid.UUID
    ) -> None:
        details = {"conversation": str(thread)}
        await self._ports.audit.record(AuditEntry(action, key, user, "", details))


def _shape(share: Share) -> dict[str, Any]:
    return {
        "uid": share.uid,
        "thread": share.conversation,
        "name": share.name,
        "created_at": serializers.timestamp(share.created_at),
        "shared_at": serializers.timestamp(share.shared_at),
        "messages": share.messages,
        "has_news": share.has_news,
    }

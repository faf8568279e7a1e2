"""REST routes of channels, threads and guilds.

A thread has its starter message's id, so a second thread on the same message is refused with
160004.
"""

from __future__ import annotations

import datetime as dt

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e
from tests.sims.discord.actions import Actions, Post
from tests.sims.discord.content import check_draft, text
from tests.sims.discord.http import (
    JSON,
    PREFIX,
    body,
    keep_attachments,
    limit_of,
    number,
    reply,
    uploads_of,
)
from tests.sims.discord.mentions import check_allowed
from tests.sims.discord.payloads import role_json
from tests.sims.discord.permissions import may, need, need_unarchived, permissions, visible
from tests.sims.discord.state import Channel, Guild

CHANNEL = PREFIX + r"/channels/{channel:\d+}"
GUILD = PREFIX + r"/guilds/{guild:\d+}"


def thread_name(sent: JSON) -> str:
    """A thread's name: 1 to 100 characters."""
    name = text(sent, "name").strip()
    if not 1 <= len(name) <= c.MAX_THREAD_NAME:
        raise e.bad_length("name", 1, c.MAX_THREAD_NAME)
    return name


def archive_minutes(sent: JSON, default: int = 1440) -> int:
    """The minutes after which a thread is archived."""
    minutes = sent.get("auto_archive_duration") or default
    if minutes not in c.ARCHIVE_MINUTES:
        raise e.not_a_choice("auto_archive_duration", c.ARCHIVE_MINUTES)
    return int(minutes)


class ChannelRoutes:
    """The handlers."""

    def __init__(self, actions: Actions) -> None:
        self._actions, self._state, self._payloads = actions, actions.state, actions.payloads

    def routes(self) -> list[web.RouteDef]:
        """All routes of this module."""
        return [
            web.get(CHANNEL, self.get),
            web.patch(CHANNEL, self.change),
            web.delete(CHANNEL, self.delete),
            web.post(CHANNEL + r"/messages/{message:\d+}/threads", self.start_thread),
            web.post(f"{CHANNEL}/threads", self.start_alone),
            web.get(f"{CHANNEL}/threads/archived/public", self.list_archived),
            web.put(f"{CHANNEL}/thread-members/@me", self.join),
            web.delete(f"{CHANNEL}/thread-members/@me", self.leave),
            web.get(f"{CHANNEL}/thread-members/@me", self.me_in_thread),
            web.get(CHANNEL + r"/thread-members/{user:\d+}", self.member_of_thread),
            web.get(GUILD, self.guild),
            web.get(f"{GUILD}/channels", self.channels),
            web.get(f"{GUILD}/roles", self.roles),
            web.get(f"{GUILD}/threads/active", self.active),
            web.get(GUILD + r"/members/{user:\d+}", self.member),
        ]

    def _channel(self, request: web.Request) -> Channel:
        return visible(self._state, number(request, "channel"))

    def _thread(self, request: web.Request) -> Channel:
        channel = self._channel(request)
        if not channel.is_thread:
            raise e.ApiError(400, 50024, "Cannot execute action on this channel type")
        return channel

    async def get(self, request: web.Request) -> web.Response:
        """GET /channels/{id}."""
        return reply(self._payloads.channel(self._channel(request)))

    # ── threads ───────────────────────────────────────────────────────────────────────────────
    async def start_thread(self, request: web.Request) -> web.Response:
        """POST …/messages/{id}/threads: in text channels only."""
        channel, sent = self._channel(request), body(request)
        if channel.kind not in (c.TEXT, c.NEWS):
            raise e.ApiError(400, 50024, "Cannot execute action on this channel type")
        need(self._state, channel, "create_public_threads", "read_message_history")
        message = self._state.message(channel.id, number(request, "message"))
        if message is None:
            raise e.NotFound("Message")
        name, minutes = thread_name(sent), archive_minutes(sent)
        if message.thread is not None:
            said = "A thread has already been created for this message"
            raise e.ApiError(400, 160004, said)
        thread = self._actions.start_thread(channel, c.BOT, name, minutes, message)
        return reply(self._payloads.thread(thread), 201)

    async def start_alone(self, request: web.Request) -> web.Response:
        """POST …/threads: a forum post with its first message."""
        channel, sent = self._channel(request), body(request)
        if channel.kind != c.FORUM_CHANNEL:
            raise e.ApiError(400, 50024, "Cannot execute action on this channel type")
        need(self._state, channel, "send_messages")
        name, minutes, first = thread_name(sent), archive_minutes(sent), sent.get("message") or {}
        check_allowed(first.get("allowed_mentions"))
        uploads = uploads_of(request)
        draft = check_draft(first, keep_attachments(self._state, first, uploads, []))
        thread = self._actions.start_thread(channel, c.BOT, name, minutes, None)
        post = Post(c.BOT, draft, allowed=first.get("allowed_mentions"), id=thread.id)
        message = self._actions.post(thread, post)
        shown = self._payloads.message(message, content=True)
        return reply(self._payloads.thread(thread) | {"message": shown}, 201)

    async def change(self, request: web.Request) -> web.Response:
        """PATCH /channels/{id}: a thread's name, archiving and lock."""
        thread, sent = self._thread(request), body(request)
        if not self._may_change(thread, sent):
            raise e.Forbidden
        if sent.get("archived") is not False:
            need_unarchived(thread)
        self._actions.set_thread(
            thread,
            name=thread_name(sent) if "name" in sent else None,
            archived=sent.get("archived"),
            locked=sent.get("locked"),
            minutes=archive_minutes(sent, thread.archive_minutes),
        )
        return reply(self._payloads.thread(thread))

    def _may_change(self, thread: Channel, sent: JSON) -> bool:
        """Managers may change everything, the owner all but the lock; anyone may unarchive."""
        if may(self._state, thread, "manage_threads"):
            return True
        if thread.locked or "locked" in sent:
            return False
        return thread.owner == c.BOT or sent == {"archived": False}

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /channels/{id}."""
        channel = self._channel(request)
        need(self._state, channel, "manage_threads" if channel.is_thread else "manage_channels")
        payload = self._payloads.channel(channel)
        self._actions.remove_channel(channel)
        return reply(payload)

    async def list_archived(self, request: web.Request) -> web.Response:
        """GET …/threads/archived/public, newest archived first."""
        channel = self._channel(request)
        need(self._state, channel, "read_message_history")
        limit = limit_of(request, default=50, most=100)
        before = request.query.get("before")
        end = dt.datetime.fromisoformat(before).timestamp() if before else float("inf")
        threads = [t for t in self._state.threads(channel.guild or 0) if t.parent == channel.id]
        # The client's times have microsecond precision.
        found = [t for t in threads if t.archived and round(t.archive_changed, 6) < end]
        found.sort(key=lambda thread: -thread.archive_changed)
        return reply(self._listing(found[:limit]) | {"has_more": len(found) > limit})

    def _listing(self, threads: list[Channel]) -> JSON:
        mine = [thread for thread in threads if c.BOT in thread.joined]
        return {
            "threads": [self._payloads.thread(thread) for thread in threads],
            "members": [self._payloads.thread_member(thread, c.BOT) for thread in mine],
        }

    async def join(self, request: web.Request) -> web.Response:
        """PUT …/thread-members/@me."""
        thread = self._thread(request)
        need_unarchived(thread)
        self._actions.join(thread, c.BOT)
        return reply()

    async def leave(self, request: web.Request) -> web.Response:
        """DELETE …/thread-members/@me."""
        thread = self._thread(request)
        need_unarchived(thread)
        thread.joined.discard(c.BOT)
        return reply()

    async def me_in_thread(self, request: web.Request) -> web.Response:
        """GET …/thread-members/@me."""
        thread = self._thread(request)
        if c.BOT not in thread.joined:
            raise e.NotFound("Member")
        return reply(self._payloads.thread_member(thread, c.BOT))

    async def member_of_thread(self, request: web.Request) -> web.Response:
        """GET …/thread-members/{user}."""
        thread, user = self._thread(request), number(request, "user")
        if user not in thread.joined:
            raise e.NotFound("Member")
        return reply(self._payloads.thread_member(thread, user))

    # ── guilds ────────────────────────────────────────────────────────────────────────────────
    def _guild(self, request: web.Request) -> Guild:
        guild = self._state.guilds.get(number(request, "guild"))
        if guild is None:
            raise e.NotFound("Guild")
        if not guild.bot_inside:
            raise e.missing_access()
        return guild

    async def guild(self, request: web.Request) -> web.Response:
        """GET /guilds/{id}."""
        return reply(self._payloads.guild(self._guild(request)))

    async def channels(self, request: web.Request) -> web.Response:
        """GET /guilds/{id}/channels, without threads."""
        places = self._state.places(self._guild(request).id)
        return reply([self._payloads.channel(channel) for channel in places])

    async def roles(self, request: web.Request) -> web.Response:
        """GET /guilds/{id}/roles."""
        return reply([role_json(role) for role in self._guild(request).roles.values()])

    async def active(self, request: web.Request) -> web.Response:
        """GET /guilds/{id}/threads/active: those that the bot can see."""
        threads = self._state.threads(self._guild(request).id)
        found = [t for t in threads if not t.archived and permissions(self._state, c.BOT, t)]
        return reply(self._listing(found))

    async def member(self, request: web.Request) -> web.Response:
        """GET /guilds/{id}/members/{user}."""
        guild, user = self._guild(request), number(request, "user")
        if user not in guild.members:
            raise e.NotFound("Member")
        return reply(self._payloads.member(guild.id, user))

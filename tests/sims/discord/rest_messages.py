"""REST routes of messages: post, read, edit, delete, react, typing.

A refused request changes nothing.
"""

from __future__ import annotations

import time

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions, Post
from tests.sims.discord.content import Draft, check_content, check_draft, check_nonce, check_whole
from tests.sims.discord.errors import ApiError, Forbidden, InvalidForm, NotFound
from tests.sims.discord.http import (
    JSON,
    PREFIX,
    body,
    default_flags,
    keep_attachments,
    limit_of,
    number,
    reply,
    uploads_of,
)
from tests.sims.discord.limits import RateLimits
from tests.sims.discord.mentions import check_allowed
from tests.sims.discord.payloads import user_json
from tests.sims.discord.permissions import (
    may,
    need,
    need_to_send,
    need_unarchived,
    visible,
)
from tests.sims.discord.state import Channel, Message
from tests.sims.kit import ENTRY

CHANNEL = PREFIX + r"/channels/{channel:\d+}"
MESSAGE = CHANNEL + r"/messages/{message:\d+}"
REACTION = MESSAGE + "/reactions/{emoji}"


def revised(actions: Actions, message: Message, sent: JSON, request: web.Request) -> Draft:
    """The state of `message` after an edit with the body `sent`."""
    old = message.shown
    uploads = uploads_of(request)
    draft = Draft(
        content=check_content(sent, old.content),
        embeds=list(sent["embeds"] or []) if "embeds" in sent else old.embeds,
        components=list(sent["components"] or []) if "components" in sent else old.components,
        attachments=keep_attachments(actions.state, sent, uploads, old.attachments),
        flags=default_flags(sent, old.flags),
    )
    check_whole(draft, sent)
    return draft


class MessageRoutes:
    """The handlers; a nonce is remembered for `nonce_seconds`."""

    def __init__(self, actions: Actions, limits: RateLimits) -> None:
        self._actions, self._state, self._limits = actions, actions.state, limits
        self.nonce_seconds = 300.0  # "a few minutes"
        self.old_after = 3600.0  # seconds after which a message's edits are capped
        self._nonces: dict[tuple[int, str], tuple[float, int]] = {}

    def routes(self) -> list[web.RouteDef]:
        """All routes of this module."""
        return [
            web.post(f"{CHANNEL}/messages", self.post),
            web.get(f"{CHANNEL}/messages", self.history),
            web.get(MESSAGE, self.get),
            web.patch(MESSAGE, self.edit),
            web.delete(MESSAGE, self.delete),
            web.post(f"{CHANNEL}/typing", self.typing),
            web.put(f"{REACTION}/@me", self.react),
            web.delete(f"{REACTION}/@me", self.unreact),
            web.get(REACTION, self.reactors),
            web.put(CHANNEL + r"/messages/pins/{message:\d+}", self.pin),
        ]

    # ── sending ───────────────────────────────────────────────────────────────────────────────
    async def post(self, request: web.Request) -> web.Response:
        """POST …/messages."""
        channel, sent = visible(self._state, number(request, "channel")), body(request)
        need_to_send(self._state, channel)
        check_allowed(sent.get("allowed_mentions"))
        again = self._seen(channel, sent)
        if again is not None:
            request[ENTRY].note["again"] = again.id
            return self._answer(again)
        uploads = uploads_of(request)
        if uploads:
            need(self._state, channel, "attach_files")
        draft = check_draft(sent, keep_attachments(self._state, sent, uploads, []))
        reference = self._reference(channel, sent.get("message_reference"))
        message = self._actions.post(
            channel,
            Post(
                c.BOT,
                draft,
                type=c.DEFAULT_MESSAGE if reference is None else c.REPLY,
                allowed=sent.get("allowed_mentions"),
                reference=reference,
                nonce=check_nonce(sent),
            ),
        )
        self._remember(channel, sent, message)
        request[ENTRY].note["message"] = message.id
        return self._answer(message)

    def _answer(self, message: Message) -> web.Response:
        content = "message_content" in self._state.granted
        return reply(self._actions.payloads.message(message, content=content))

    def _seen(self, channel: Channel, sent: JSON) -> Message | None:
        """The message already posted with this nonce; raises 10008 if it was deleted."""
        nonce = check_nonce(sent)
        if nonce is None or not sent.get("enforce_nonce"):
            return None
        until, message_id = self._nonces.get((channel.id, nonce), (0.0, 0))
        if time.monotonic() >= until:
            return None
        found = self._state.message(channel.id, message_id)
        if found is None:
            raise NotFound("Message")
        return found

    def _remember(self, channel: Channel, sent: JSON, message: Message) -> None:
        if message.nonce is not None and sent.get("enforce_nonce"):
            until = time.monotonic() + self.nonce_seconds
            self._nonces[channel.id, message.nonce] = (until, message.id)

    def _reference(self, channel: Channel, reference: JSON | None) -> JSON | None:
        """The valid reference; None if its message does not exist and may be missing."""
        if reference is None:
            return None
        if not may(self._state, channel, "read_message_history"):
            message = "Cannot reply without permission to read message history"
            raise ApiError(400, 160002, message)
        found = self._state.message(channel.id, int(reference["message_id"]))
        if int(reference.get("channel_id") or channel.id) != channel.id or found is None:
            if reference.get("fail_if_not_exists", True):
                raise InvalidForm("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            return None
        guild = {} if channel.guild is None else {"guild_id": str(channel.guild)}
        ids = {"channel_id": str(channel.id), "message_id": str(found.id)}
        return {"type": 0, **ids, **guild}

    # ── reading ───────────────────────────────────────────────────────────────────────────────
    async def history(self, request: web.Request) -> web.Response:
        """GET …/messages: newest first; an empty list without the history permission."""
        channel = visible(self._state, number(request, "channel"))
        limit = limit_of(request, default=50, most=100)
        if not may(self._state, channel, "read_message_history"):
            return reply([])
        chosen = self._choose(self._state.present(channel.id), request, limit)
        content = "message_content" in self._state.granted
        newest = sorted(chosen, key=lambda message: -message.id)
        return reply([self._actions.payloads.message(m, content=content) for m in newest])

    @staticmethod
    def _choose(messages: list[Message], request: web.Request, limit: int) -> list[Message]:
        query = {key: int(request.query.get(key, 0)) for key in ("around", "before", "after")}
        if query["around"]:
            before = [m for m in messages if m.id < query["around"]][-(limit // 2) :]
            since = [m for m in messages if m.id >= query["around"]]
            return before + since[: limit - len(before)]
        if query["after"]:
            return [m for m in messages if m.id > query["after"]][:limit]
        if query["before"]:
            messages = [m for m in messages if m.id < query["before"]]
        return messages[-limit:]

    def _one(self, request: web.Request) -> tuple[Channel, Message]:
        channel = visible(self._state, number(request, "channel"))
        message = self._state.message(channel.id, number(request, "message"))
        if message is None or message.for_user is not None:
            raise NotFound("Message")
        return channel, message

    async def get(self, request: web.Request) -> web.Response:
        """GET …/messages/{id}."""
        channel, message = self._one(request)
        if not may(self._state, channel, "read_message_history"):
            raise Forbidden(50001, "Missing Access")
        return self._answer(message)

    # ── changing ──────────────────────────────────────────────────────────────────────────────
    async def edit(self, request: web.Request) -> web.Response:
        """PATCH …/messages/{id}."""
        channel, message = self._one(request)
        sent = body(request)
        if message.author != c.BOT or message.webhook is not None:
            raise Forbidden(50005, "Cannot edit a message authored by another user")
        need_unarchived(channel)
        check_allowed(sent.get("allowed_mentions"))
        if uploads_of(request):
            need(self._state, channel, "attach_files")
        draft = revised(self._actions, message, sent, request)
        self._check_age(message)
        self._actions.edit(message, draft, sent.get("allowed_mentions"))
        request[ENTRY].note["message"] = message.id
        return self._answer(message)

    def _check_age(self, message: Message) -> None:
        if time.time() - message.at <= self.old_after:
            return
        wait = self._limits.old_edit(message.channel)
        if wait:
            said = "Maximum number of edits to messages older than 1 hour reached. Try again later."
            raise ApiError(429, 30046, said, retry_after=wait, **{"global": False})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE …/messages/{id}."""
        channel, message = self._one(request)
        if message.author != c.BOT:
            need(self._state, channel, "manage_messages")
        need_unarchived(channel)
        self._actions.delete(message)
        return reply()

    async def typing(self, request: web.Request) -> web.Response:
        """POST …/typing."""
        channel = visible(self._state, number(request, "channel"))
        need_to_send(self._state, channel)
        self._actions.type(channel, c.BOT)
        return reply()

    async def react(self, request: web.Request) -> web.Response:
        """PUT …/reactions/{emoji}/@me."""
        channel, message = self._one(request)
        need(self._state, channel, "read_message_history", "add_reactions")
        need_unarchived(channel)
        self._actions.react(message, c.BOT, request.match_info["emoji"], add=True)
        return reply()

    async def unreact(self, request: web.Request) -> web.Response:
        """DELETE …/reactions/{emoji}/@me."""
        channel, message = self._one(request)
        need_unarchived(channel)
        self._actions.react(message, c.BOT, request.match_info["emoji"], add=False)
        return reply()

    async def reactors(self, request: web.Request) -> web.Response:
        """GET …/reactions/{emoji}."""
        _, message = self._one(request)
        users = message.reactions.get(request.match_info["emoji"], [])
        return reply([user_json(self._state.users[user]) for user in users])

    async def pin(self, request: web.Request) -> web.Response:
        """PUT …/messages/pins/{id}."""
        channel, message = self._one(request)
        need(self._state, channel, "manage_messages")
        need_unarchived(channel)
        self._actions.pin(message, c.BOT)
        return reply()

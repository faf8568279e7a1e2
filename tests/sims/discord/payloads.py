"""Discord's JSON for the simulator's state.

Message payloads are always complete but depend on the reader: without the message-content intent,
the content, embeds, attachments and components are blank, except in direct messages, in the bot's
own messages and where the bot is mentioned.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.cdn import Cdn
from tests.sims.discord.permissions import permissions
from tests.sims.discord.state import Channel, Guild, Message, Role, ServerState, User

JSON = dict[str, Any]


def iso(at: float) -> str:
    """A `time.time()` in Discord's format."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat()


def user_json(user: User) -> JSON:
    """A user."""
    return {
        "id": str(user.id),
        "username": user.name,
        "global_name": None if user.bot else user.name.title(),
        "discriminator": "0",
        "avatar": None,
        "bot": user.bot,
        "public_flags": 0,
    }


def role_json(role: Role) -> JSON:
    """A role; a managed one carries its bot in `tags`."""
    return {
        "id": str(role.id),
        "name": role.name,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 0,
        "permissions": str(role.permissions),
        "managed": role.bot is not None,
        "mentionable": role.mentionable,
        "flags": 0,
        **({"tags": {"bot_id": str(role.bot)}} if role.bot else {}),
    }


class Payloads:
    """Builds payloads from the state; `cdn` signs the URLs of attachments."""

    def __init__(self, state: ServerState, cdn: Cdn) -> None:
        self._state, self._cdn = state, cdn

    def member(self, guild: int, user: int, *, with_user: bool = True) -> JSON:
        """A member of a guild; messages from the gateway omit the user."""
        member = {
            "roles": [str(role) for role in self._state.guilds[guild].members.get(user, [])],
            "joined_at": iso(1_700_000_000),
            "deaf": False,
            "mute": False,
            "flags": 0,
            "nick": None,
            "pending": False,
        }
        return member | ({"user": user_json(self._state.users[user])} if with_user else {})

    def channel(self, channel: Channel) -> JSON:
        """A guild channel, a thread or a direct message."""
        if channel.recipient is not None:
            return self._dm(channel)
        if channel.is_thread:
            return self.thread(channel)
        overwrites = [
            {"id": str(i), "type": int(not o.is_role), "allow": str(o.allow), "deny": str(o.deny)}
            for i, o in channel.overwrites.items()
        ]
        return {
            "id": str(channel.id),
            "type": channel.kind,
            "guild_id": str(channel.guild),
            "name": channel.name,
            "position": 0,
            "parent_id": _maybe(channel.category),
            "topic": None,
            "nsfw": False,
            "flags": 0,
            "rate_limit_per_user": 0,
            "permission_overwrites": overwrites,
            "last_message_id": _maybe(channel.last_message),
            **_extras(channel.kind),
        }

    def _dm(self, channel: Channel) -> JSON:
        recipient = self._state.users[channel.recipient or 0]
        return {
            "id": str(channel.id),
            "type": c.DM,
            "recipients": [user_json(recipient)],
            "last_message_id": _maybe(channel.last_message),
            "flags": 0,
        }

    def thread(self, thread: Channel) -> JSON:
        """A thread, with `member` if the bot has joined it."""
        # https://docs.discord.com/developers/resources/channel: without the initial message.
        sent = [m for m in thread.messages.values() if m.type != c.THREAD_STARTER]
        payload = {
            "id": str(thread.id),
            "type": thread.kind,
            "guild_id": str(thread.guild),
            "parent_id": str(thread.parent),
            "owner_id": str(thread.owner),
            "name": thread.name,
            "last_message_id": _maybe(thread.last_message),
            "message_count": sum(m.deleted is None for m in sent),
            "total_message_sent": len(sent),
            "member_count": len(thread.joined),
            "rate_limit_per_user": 0,
            "flags": 0,
            "applied_tags": [],
            "thread_metadata": {
                "archived": thread.archived,
                "locked": thread.locked,
                "auto_archive_duration": thread.archive_minutes,
                "archive_timestamp": iso(thread.archive_changed),
                "create_timestamp": iso(thread.created),
            },
        }
        joined = c.BOT in thread.joined
        return payload | ({"member": self.thread_member(thread, c.BOT)} if joined else {})

    def thread_member(self, thread: Channel, user: int) -> JSON:
        """A user's membership of a thread."""
        return {
            "id": str(thread.id),
            "user_id": str(user),
            "join_timestamp": iso(thread.created),
            "flags": 0,
        }

    def guild(self, guild: Guild) -> JSON:
        """A guild as REST returns it."""
        return {
            "id": str(guild.id),
            "name": guild.name,
            "owner_id": str(guild.owner),
            "icon": None,
            "features": [],
            "roles": [role_json(role) for role in guild.roles.values()],
            "emojis": [],
            "stickers": [],
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "preferred_locale": "en-US",
            "afk_timeout": 300,
            "system_channel_flags": 0,
        }

    def guild_create(self, guild: Guild) -> JSON:
        """GUILD_CREATE: with members, channels, and the active threads the bot can see."""
        state = self._state
        threads = [
            thread
            for thread in state.threads(guild.id)
            if not thread.archived and permissions(state, c.BOT, thread)
        ]
        return self.guild(guild) | {
            "joined_at": iso(1_700_000_000),
            "large": False,
            "unavailable": False,
            "member_count": len(guild.members),
            "members": [self.member(guild.id, user) for user in guild.members],
            "channels": [self.channel(channel) for channel in state.places(guild.id)],
            "threads": [self.thread(thread) for thread in threads],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    def message(self, message: Message, *, content: bool, deep: bool = True) -> JSON:
        """A message as REST returns it, with or without access to its `content`."""
        shown, state = message.shown, self._state
        payload: JSON = {
            "id": str(message.id),
            "type": message.type,
            "channel_id": str(message.channel),
            "author": self._author(message),
            "content": shown.content,
            "embeds": shown.embeds + [_link(url) for url in message.previews_shown],
            "components": shown.components,
            "attachments": [self.attachment(message, a) for a in shown.attachments],
            "mentions": [user_json(state.users[user]) for user in shown.pings.users],
            "mention_roles": [str(role) for role in shown.pings.roles],
            "mention_everyone": shown.pings.everyone,
            "flags": shown.flags,
            "pinned": message.pinned,
            "tts": False,
            "timestamp": iso(message.at),
            "edited_timestamp": None if message.edited is None else iso(message.edited),
        }
        payload |= self._attached(message, content=content, deep=deep)
        if not content and not self._always_readable(message):
            payload |= {"content": "", "embeds": [], "components": [], "attachments": []}
            payload.pop("message_snapshots", None)
        return payload

    def _attached(self, message: Message, *, content: bool, deep: bool) -> JSON:
        """The fields that only some messages have."""
        extra: JSON = {}
        if message.reactions:
            extra["reactions"] = [_reaction(e, u) for e, u in message.reactions.items()]
        if message.nonce is not None:
            extra["nonce"] = message.nonce
        if message.webhook is not None:
            extra["webhook_id"] = str(message.webhook)
        if message.webhook_name:
            extra["application_id"] = str(c.OTHER_BOT)
        if message.interaction is not None:
            extra |= {"webhook_id": str(c.APPLICATION), "application_id": str(c.APPLICATION)}
        if message.thread is not None and deep:
            extra["thread"] = self.thread(self._state.channels[message.thread])
        if message.snapshots:
            extra["message_snapshots"] = [self._snapshot(s) for s in message.snapshots]
        if message.reference is not None:
            extra["message_reference"] = message.reference
            if deep and message.reference.get("type") != c.FORWARD:
                extra["referenced_message"] = self._referenced(message.reference, content)
        return extra

    def _referenced(self, reference: JSON, content: bool) -> JSON | None:
        where, what = int(reference["channel_id"]), int(reference["message_id"])
        found = self._state.message(where, what)
        return None if found is None else self.message(found, content=content, deep=False)

    def event(self, message: Message, *, content: bool) -> JSON:
        """A message as the gateway sends it: also with the guild and the author's member."""
        payload = self.message(message, content=content)
        guild = self._state.channels[message.channel].guild
        if guild is None:
            return payload
        payload["guild_id"] = str(guild)
        if message.webhook is None:
            payload["member"] = self.member(guild, message.author, with_user=False)
        for mention in payload["mentions"]:
            mention["member"] = self.member(guild, int(mention["id"]), with_user=False)
        return payload

    def _author(self, message: Message) -> JSON:
        author = user_json(self._state.users[message.author])
        if message.webhook_name:
            author |= {"username": message.webhook_name, "global_name": None}
        return author | ({"id": str(message.webhook), "bot": True} if message.webhook else {})

    def _always_readable(self, message: Message) -> bool:
        direct = self._state.channels[message.channel].guild is None
        return direct or message.author == c.BOT or c.BOT in message.shown.pings.users

    def attachment(self, message: Message, attachment: JSON) -> JSON:
        """An attachment with a freshly signed CDN URL."""
        return self._signed(message.channel, attachment)

    def _signed(self, channel: int, attachment: JSON) -> JSON:
        url = self._cdn.sign(channel, attachment)
        return {**attachment, "url": url, "proxy_url": url}

    def _snapshot(self, snapshot: JSON) -> JSON:
        """A forwarded message: without its author, and with the URLs of the original's files."""
        shown = {key: value for key, value in snapshot.items() if key != "channel"}
        files = [self._signed(snapshot["channel"], file) for file in snapshot["attachments"]]
        return {"message": {**shown, "attachments": files}}


def _maybe(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)


def _extras(kind: int) -> JSON:
    if kind in (c.VOICE_CHANNEL, c.STAGE_CHANNEL):
        return {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
    if kind == c.FORUM_CHANNEL:
        return {"available_tags": [], "default_forum_layout": 0, "default_sort_order": None}
    return {}


def _link(url: str) -> JSON:
    return {"type": "link", "url": url, "title": f"Preview of {url}"}


def _reaction(emoji: str, users: list[int]) -> JSON:
    return {
        "emoji": {"id": None, "name": emoji},
        "count": len(users),
        "me": c.BOT in users,
        "me_burst": False,
        "count_details": {"burst": 0, "normal": len(users)},
        "burst_colors": [],
    }

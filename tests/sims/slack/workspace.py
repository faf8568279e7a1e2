"""One workspace: its users, channels and messages, with the history of each message.

A deleted message stays, marked as deleted, with all its versions. Every change is published as the
event that Slack would send.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.sims.slack import ids
from tests.sims.slack.home import Home
from tests.sims.slack.render import mentions, pings, previews, shown
from tests.sims.slack.values import ApiError, Channel, Group, Json, Message, User, Version

# (event, its channel, the actor's team)
Publish = Callable[[Json, Channel | None, str], None]
TOMBSTONE = "This message was deleted."


@dataclass(slots=True)
class Mentions:
    """How a mention's two events arrive: whether `app_mention` comes `first` and has `files`, and
    the `gap` in seconds between the two. All of this was reported."""

    first: bool = True
    files: bool = False
    gap: float = 0.0


class Workspace:
    """The workspace's state; `publish` receives every event."""

    def __init__(self, publish: Publish, home: Home) -> None:
        self.publish, self.home = publish, home
        self.users = {user.id: user for user in _default_users(home)}
        self.channels = {channel.id: channel for channel in _default_channels(home)}
        oncall = ids.of(ids.ONCALL, home.number)
        self.groups = {oncall: Group(oncall, "oncall")}
        self.ephemerals: list[Message] = []
        self.statuses: dict[tuple[str, str], Json] = {}  # assistant.threads.setStatus
        self.sessions: dict[tuple[str, str], Json] = {}  # agents.sessions.*
        self.mentions = Mentions()
        self._last_ts = 0

    def new_ts(self) -> str:
        """A unique timestamp: the current time."""
        self._last_ts = max(self._last_ts + 1, int(time.time() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def bot_message(self, **fields: Any) -> Message:
        """A message of the project's bot."""
        home = self.home
        return Message(
            user=home.bot_user, bot_id=home.bot, app_id=ids.APP, team=home.team, **fields
        )

    def change_bot(self, before: str) -> None:
        """Give the bot another user, as after an installation in the whole organization."""
        user = self.users.pop(before)
        user.id, user.bot_id = self.home.bot_user, self.home.bot
        self.users[user.id] = user
        for channel in self.channels.values():
            if before in channel.members:
                channel.members = channel.members - {before} | {user.id}

    # ── lookups ───────────────────────────────────────────────────────────────────────────────
    def channel(self, channel_id: str, *, member: str = "") -> Channel:
        """The channel. Raises ApiError if `member` is not in it."""
        channel = self.channels.get(channel_id)
        if channel is None:
            raise ApiError("channel_not_found")
        if member and member not in channel.members:
            raise ApiError("not_in_channel" if channel.kind == "channel" else "channel_not_found")
        return channel

    def message(self, channel: Channel, ts: str) -> Message:
        """A message that was not deleted. Raises ApiError (`message_not_found`)."""
        message = channel.messages.get(ts)
        if message is None or message.deleted or message.subtype == "tombstone":
            raise ApiError("message_not_found")
        return message

    def direct(self, user: str) -> Channel:
        """The direct message channel of `user` and the bot, created on first use."""
        if user not in self.users:
            raise ApiError("user_not_found")
        wanted = {user, self.home.bot_user}
        for channel in self.channels.values():
            if channel.kind == "im" and channel.members == wanted:
                return channel
        channel = Channel("D" + user[1:], "", "im", wanted)
        self.channels[channel.id] = channel
        return channel

    def replies(self, channel: Channel, root: str) -> list[Message]:
        """The replies that were not deleted, oldest first."""
        there = channel.messages.values()
        return [m for m in there if m.is_reply and m.thread_ts == root and not m.deleted]

    # ── changing messages ─────────────────────────────────────────────────────────────────────
    def post(self, message: Message) -> Message:
        """Add a message and publish it; a mention of the bot is published twice, as in Slack."""
        channel = self.channels[message.channel]
        if message.is_reply:
            channel.messages[message.thread_ts].thread_ts = message.thread_ts
        channel.messages[message.ts] = message
        self.record_version(message, "start" if message.stream else "post")
        event = self.message_event(message, channel)
        if not self._mentions_bot(message, channel):
            self.publish(event, channel, message.team)
            return message
        twins = [self._mention(event), event]
        first, second = twins if self.mentions.first else twins[::-1]
        self.publish(first, channel, message.team)
        if self.mentions.gap:
            loop = asyncio.get_running_loop()
            loop.call_later(self.mentions.gap, self.publish, second, channel, message.team)
        else:
            self.publish(second, channel, message.team)
        return message

    def record_version(self, message: Message, how: str) -> None:
        """Record the message's current state as a version."""
        now = Version(
            time.time(),
            how,
            message.text,
            shown(message),
            list(message.blocks),
            pings(message),
            previews(message),
        )
        message.versions.append(now)

    def publish_change(self, message: Message, how: str, before: Json) -> None:
        """Record and publish a change; `before` is the message's earlier `serialize` result."""
        self.record_version(message, how)
        channel = self.channels[message.channel]
        self._publish_change("message_changed", channel, self.serialize(message), before, message)
        if how == "edit" and self._mentions_bot(message, channel):
            event = self._mention(self.message_event(message, channel))
            self.publish(event, channel, message.team)

    def remove(self, message: Message) -> None:
        """Delete a message; a root with replies stays as a tombstone."""
        channel = self.channels[message.channel]
        before = self.serialize(message)
        if not message.is_reply and self.replies(channel, message.ts):
            message.subtype, message.text, message.blocks = "tombstone", TOMBSTONE, []
            self.record_version(message, "tombstone")
            stone = self.serialize(message) | {"user": "USLACKBOT", "hidden": True}
            self._publish_change("message_changed", channel, stone, before, message)
            message.deleted = time.time()
            return
        message.deleted = time.time()
        self._publish_change("message_deleted", channel, None, before, message)

    def _publish_change(
        self, subtype: str, channel: Channel, after: Json | None, before: Json, message: Message
    ) -> None:
        ts = self.new_ts()
        event: Json = {"type": "message", "subtype": subtype, "hidden": True}
        event |= {"message": after} if after is not None else {"deleted_ts": message.ts}
        event |= {"previous_message": before, "channel": channel.id}
        event |= {"ts": ts, "event_ts": ts, "channel_type": channel.kind}
        self.publish(event, channel, message.team)

    def _mention(self, event: Json) -> Json:
        """The `app_mention` twin of a message event."""
        dropped = {"channel_type", "subtype"} | (set() if self.mentions.files else {"files"})
        kept = {key: value for key, value in event.items() if key not in dropped}
        return kept | {"type": "app_mention"}

    def _mentions_bot(self, message: Message, channel: Channel) -> bool:
        """Whether Slack sends app_mention: for messages of others, except direct messages."""
        theirs = message.user != self.home.bot_user and channel.kind in ("channel", "group")
        return theirs and mentions(message.text, self.home.bot_user)

    # ── JSON ──────────────────────────────────────────────────────────────────────────────────
    def serialize(self, message: Message, *, metadata: bool = False) -> Json:
        """A message as the Web API returns it."""
        out: Json = {"type": "message", "user": message.user, "ts": message.ts}
        out |= {"text": message.text, "team": message.team, "blocks": list(message.blocks)}
        for key in ("subtype", "username", "bot_id", "app_id", "client_msg_id", "edited", "files"):
            if value := getattr(message, key):
                out[key] = value
        if message.attachments:
            out["attachments"] = message.attachments
        if message.bot_id:
            out["bot_profile"] = {"id": message.bot_id, "app_id": message.app_id}
        if message.thread_ts:
            out |= self._thread(message)
        if message.stream is not None:
            out["text"] = out["text"] or message.stream.text
            out["streaming_state"] = "in_progress" if message.streaming else "completed"
        if message.reactions:
            out["reactions"] = [
                {"name": name, "users": users, "count": len(users)}
                for name, users in message.reactions.items()
            ]
        if metadata and message.metadata is not None:
            out["metadata"] = message.metadata
        return out

    def _thread(self, message: Message) -> Json:
        channel = self.channels[message.channel]
        if message.is_reply:
            root = channel.messages[message.thread_ts]
            return {"thread_ts": message.thread_ts, "parent_user_id": root.user}
        replies = self.replies(channel, message.ts)
        return {
            "thread_ts": message.ts,
            "reply_count": len(replies),
            "reply_users": list(dict.fromkeys(reply.user for reply in replies)),
            "latest_reply": replies[-1].ts if replies else message.ts,
        }

    def message_event(self, message: Message, channel: Channel) -> Json:
        """The `message` event that announces a message."""
        event = self.serialize(message) | {"channel": channel.id, "channel_type": channel.kind}
        event["event_ts"] = message.ts
        if message.team != self.home.team:
            event |= {"user_team": message.team, "source_team": message.team}
        return event

    def user_info(self, user_id: str) -> Json:
        """A user as users.info returns it."""
        if (user := self.users.get(user_id)) is None:
            raise ApiError("user_not_found")
        profile: Json = {"real_name": user.real_name, "display_name": user.name, "team": user.team}
        if user.bot_id:
            profile |= {"bot_id": user.bot_id, "api_app_id": user.app_id}
        return {
            "id": user.id,
            "team_id": user.team,
            "name": user.name,
            "real_name": user.real_name,
            "deleted": user.deleted,
            "is_bot": bool(user.bot_id),
            "is_restricted": user.guest,
            "is_ultra_restricted": False,
            "is_admin": user.admin,
            "is_owner": False,
            "tz": "Europe/Berlin",
            "profile": profile,
        } | self._connections(user)

    def _connections(self, user: User) -> Json:
        """Fields that identify a person from another workspace: `is_stranger` only without a
        common channel."""
        shared = any(
            {user.id, self.home.bot_user} <= channel.members for channel in self.channels.values()
        )
        out: Json = {"is_stranger": True} if user.team != self.home.team and not shared else {}
        return out | ({"enterprise_user": user.enterprise_user} if user.enterprise_user else {})

    def group_info(self, group: Group, *, users: bool, count: bool) -> Json:
        """A user group as usergroups.list returns it."""
        out: Json = {
            "id": group.id,
            "team_id": self.home.team,
            "is_usergroup": True,
            "is_external": False,
        }
        out |= {
            "name": f"Team {group.handle}",
            "handle": group.handle,
            "date_delete": group.deleted,
        }
        out |= {"users": sorted(group.members)} if users else {}
        return out | ({"user_count": str(len(group.members))} if count else {})

    def channel_info(self, channel: Channel) -> Json:
        """A channel as conversations.info returns it."""
        out: Json = {"id": channel.id, "is_archived": channel.archived, "created": 1_700_000_000}
        if channel.kind == "im":
            other = next(iter(channel.members - {self.home.bot_user}))
            return out | {"is_im": True, "user": other, "is_open": True}
        return out | {
            "name": channel.name,
            "is_channel": channel.kind == "channel",
            "is_group": channel.kind == "group",
            "is_mpim": channel.kind == "mpim",
            "is_private": channel.kind != "channel",
            "is_member": self.home.bot_user in channel.members,
            "is_ext_shared": channel.shared,
            "is_shared": channel.shared,
            "num_members": len(channel.members),
        }


def new_message_id() -> str:
    """A new client_msg_id."""
    return str(uuid.uuid4())


def _default_users(home: Home) -> list[User]:
    alice, bob, carol, other_user, other_bot, guests = _ids(
        home, ids.ALICE, ids.BOB, ids.CAROL, ids.OTHER_BOT_USER, ids.OTHER_BOT, ids.OTHER_TEAM
    )
    return [
        User(alice, "alice", home.team, "Alice Ash"),
        User(bob, "bob", home.team, "Bob Birch"),
        User(carol, "carol", guests, "Carol Cedar"),
        User(home.bot_user, ids.BOT_NAME, home.team, "Threadline", home.bot, ids.APP),
        User(other_user, "otherbot", home.team, "Other Bot", other_bot, ids.OTHER_APP),
    ]


def _default_channels(home: Home) -> list[Channel]:
    alice, bob, carol, other = _ids(home, ids.ALICE, ids.BOB, ids.CAROL, ids.OTHER_BOT_USER)
    general, random, private, direct = _ids(
        home, ids.GENERAL, ids.RANDOM, ids.PRIVATE, ids.DM_ALICE
    )
    people, bot = {alice, bob}, home.bot_user
    return [
        Channel(general, "general", "channel", people | {carol, bot, other}, shared=True),
        Channel(random, "random", "channel", people | {other}),
        Channel(private, "private", "group", people | {bot}),
        Channel(direct, "", "im", {alice, bot}),
    ]


def _ids(home: Home, *defaults: str) -> list[str]:
    return [ids.of(default, home.number) for default in defaults]

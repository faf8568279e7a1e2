"""The actions of the bot and of people in the simulated Discord.

Each action changes the state and dispatches Discord's events to the sessions whose intents
and permissions cover them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.content import Draft, links
from tests.sims.discord.events import Events
from tests.sims.discord.gateway import Gateway
from tests.sims.discord.mentions import pings
from tests.sims.discord.payloads import Payloads, user_json
from tests.sims.discord.permissions import may
from tests.sims.discord.state import Channel, Message, Pings, ServerState, Version

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    """A message to be posted."""

    author: int
    draft: Draft
    type: int = c.DEFAULT_MESSAGE
    allowed: JSON | None = None
    reference: JSON | None = None
    nonce: str | None = None
    webhook: int | None = None
    webhook_name: str = ""
    interaction: int | None = None
    for_user: int | None = None
    id: int | None = None
    snapshots: tuple[JSON, ...] = ()


@dataclass(slots=True)
class Journal:
    """Records events that leave no state."""

    typing: list[JSON] = field(default_factory=list)


class Actions(Events):
    """Changes the state and dispatches the events."""

    def __init__(self, state: ServerState, gateway: Gateway, payloads: Payloads) -> None:
        super().__init__(state, gateway, payloads)
        self.journal = Journal()
        self.preview_delay = 0.05  # seconds until a link's preview comes as MESSAGE_UPDATE
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def settled(self) -> bool:
        """Whether no event, such as a preview, is pending."""
        return not self._tasks

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    def post(self, channel: Channel, post: Post) -> Message:
        """Post a message, which unarchives a thread."""
        if channel.archived:
            self.set_thread(channel, archived=False)
        author = None
        if post.reference is not None and post.type == c.REPLY:
            author = self.state.answered(post.reference).author
        found = self._pings(channel, post.author, post.draft.content, post.allowed, author)
        message = Message(
            id=post.id or self.state.snowflake(),
            channel=channel.id,
            author=post.author,
            versions=[self._version(channel, post.author, post.draft, found)],
            type=post.type,
            reference=post.reference,
            nonce=post.nonce,
            webhook=post.webhook,
            webhook_name=post.webhook_name,
            interaction=post.interaction,
            for_user=post.for_user,
            snapshots=list(post.snapshots),
        )
        channel.messages[message.id] = message
        if post.for_user is None:
            channel.last_message = message.id
        self.tell_message("MESSAGE_CREATE", message)
        self._preview_later(message)
        return message

    def _pings(
        self, channel: Channel, author: int, said: str, allowed: JSON | None, replied: int | None
    ) -> Pings:
        return pings(self.state, channel, author, said, allowed, replied)

    def _version(self, channel: Channel, author: int, draft: Draft, found: Pings) -> Version:
        quiet = draft.flags & (c.SUPPRESS_EMBEDS | c.COMPONENTS_V2)
        shows = not quiet and may(self.state, channel, "embed_links", author)
        return Version(
            at=time.time(),
            content=draft.content,
            embeds=draft.embeds,
            components=draft.components,
            attachments=draft.attachments,
            flags=draft.flags,
            pings=found,
            previews=links(draft.content) if shows else [],
        )

    def edit(self, message: Message, draft: Draft, allowed: JSON | None) -> None:
        """Add a version; the text of a deferred response is an edit too."""
        channel = self.state.channels[message.channel]
        replied = None
        if message.reference is not None and message.type == c.REPLY:
            replied = self.state.answered(message.reference).author
            replied = replied if replied in message.shown.pings.users else None
        found = self._pings(channel, message.author, draft.content, allowed, None)
        if replied is not None and replied not in found.users:
            found.users.append(replied)
        message.versions.append(self._version(channel, message.author, draft, found))
        message.edited = message.shown.at
        message.previews_shown = [x for x in message.previews_shown if x in message.shown.previews]
        self.tell_message("MESSAGE_UPDATE", message)
        self._preview_later(message)

    def delete(self, message: Message) -> None:
        """Delete a message; its versions stay readable by controls."""
        message.deleted = time.time()
        channel = self.state.channels[message.channel]
        data = {"id": str(message.id), "channel_id": str(channel.id)} | self._guild(channel)
        if message.for_user is None:
            self.tell("MESSAGE_DELETE", data, channel, "messages")

    def touch(self, message: Message) -> None:
        """Dispatch a MESSAGE_UPDATE that is not an edit: `edited_timestamp` is unchanged."""
        self.tell_message("MESSAGE_UPDATE", message)

    def _preview_later(self, message: Message) -> None:
        if message.for_user is None and message.shown.previews != message.previews_shown:
            task = asyncio.create_task(self._preview(message, message.shown))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _preview(self, message: Message, version: Version) -> None:
        await asyncio.sleep(self.preview_delay)
        if message.shown is version and message.deleted is None:
            message.previews_shown = list(version.previews)
            self.touch(message)

    # ── threads ───────────────────────────────────────────────────────────────────────────────
    def start_thread(
        self,
        parent: Channel,
        owner: int,
        name: str,
        minutes: int,
        starter: Message | None,
        *,
        private: bool = False,
    ) -> Channel:
        """Start a public thread on `starter` with its id, a forum post, or a private thread."""
        kind = c.NEWS_THREAD if parent.kind == c.NEWS else c.PUBLIC_THREAD
        thread = Channel(
            id=self.state.snowflake() if starter is None else starter.id,
            kind=c.PRIVATE_THREAD if private else kind,
            name=name,
            guild=parent.guild,
            parent=parent.id,
            owner=owner,
            archive_minutes=minutes,
            joined={owner},
            names=[{"at": time.time(), "name": name}],
        )
        self.state.channels[thread.id] = thread
        created = self.payloads.thread(thread) | {"newly_created": True}
        self.tell("THREAD_CREATE", created, thread, "guilds")
        if starter is not None:
            self._start_on(thread, starter)
        return thread

    def _start_on(self, thread: Channel, starter: Message) -> None:
        """Update the starter and begin the thread with an empty message that refers to it."""
        starter.thread = thread.id
        starter.shown.flags |= c.HAS_THREAD
        self.touch(starter)
        reference = {
            "type": 0,
            "guild_id": str(thread.guild),
            "channel_id": str(starter.channel),
            "message_id": str(starter.id),
        }
        empty = Draft("", [], [], [], 0)
        post = Post(starter.author, empty, type=c.THREAD_STARTER, reference=reference)
        self.post(thread, post)

    def set_thread(
        self,
        thread: Channel,
        *,
        name: str | None = None,
        archived: bool | None = None,
        locked: bool | None = None,
        minutes: int | None = None,
    ) -> None:
        """Change a thread's properties, except those that are None."""
        if name is not None and name != thread.name:
            thread.name = name
            thread.names.append({"at": time.time(), "name": name})
        if archived is not None and archived != thread.archived:
            thread.archived, thread.archive_changed = archived, time.time()
        thread.locked = thread.locked if locked is None else locked
        thread.archive_minutes = minutes or thread.archive_minutes
        self.tell_channel("THREAD_UPDATE", thread)

    def remove_channel(self, channel: Channel) -> None:
        """Delete a channel or thread."""
        if channel.is_thread:
            keys = ("id", "guild_id", "parent_id", "type")
            data = {key: self.payloads.thread(channel)[key] for key in keys}
            self.tell("THREAD_DELETE", data, channel, "guilds")
        else:
            self.tell_channel("CHANNEL_DELETE", channel)
        channel.deleted = time.time()

    def join(self, thread: Channel, user: int) -> None:
        """Add a member to a thread."""
        if user in thread.joined:
            return
        thread.joined.add(user)
        added = [self.payloads.thread_member(thread, user)]
        data = {
            "id": str(thread.id),
            "guild_id": str(thread.guild),
            "member_count": len(thread.joined),
            "added_members": added,
        }
        self.tell("THREAD_MEMBERS_UPDATE", data, thread, "guilds")

    # ── reactions, typing and pins ────────────────────────────────────────────────────────────
    def react(self, message: Message, user: int, emoji: str, *, add: bool) -> None:
        """Add or remove a reaction; the second time changes nothing."""
        users = message.reactions.setdefault(emoji, [])
        if (user in users) == add:
            return
        (users.append if add else users.remove)(user)
        if not users:
            del message.reactions[emoji]
        channel = self.state.channels[message.channel]
        data = {
            "user_id": str(user),
            "channel_id": str(channel.id),
            "message_id": str(message.id),
            "message_author_id": str(message.author),
            "emoji": {"id": None, "name": emoji},
            "type": 0,
            "burst": False,
        } | self._guild(channel)
        if add and channel.guild is not None:
            data["member"] = self.payloads.member(channel.guild, user)
        name = "MESSAGE_REACTION_ADD" if add else "MESSAGE_REACTION_REMOVE"
        self.tell(name, data, channel, "reactions")

    def type(self, channel: Channel, user: int) -> None:
        """Show that a user is typing."""
        now = time.time()
        self.journal.typing.append({"at": now, "channel": channel.id, "user": user})
        data = {"channel_id": str(channel.id), "user_id": str(user), "timestamp": int(now)}
        data |= self._guild(channel)
        if channel.guild is not None:
            data["member"] = self.payloads.member(channel.guild, user)
        self.tell("TYPING_START", data, channel, "typing")

    def pin(self, message: Message, user: int) -> None:
        """Pin a message: updates it without an edit and posts a notice in the channel."""
        message.pinned = True
        self.touch(message)
        channel = self.state.channels[message.channel]
        reference = {"channel_id": str(channel.id), "message_id": str(message.id)}
        post = Post(user, Draft("", [], [], [], 0), type=c.PIN_NOTICE, reference=reference)
        self.post(channel, post)

    def ready(self, url: str) -> JSON:
        """READY without the fields of a session."""
        guilds = [g for g in self.state.guilds.values() if g.bot_inside]
        return {
            "v": 10,
            "user": user_json(self.state.users[c.BOT]) | {"mfa_enabled": False, "verified": True},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "resume_gateway_url": url,
            "application": {"id": str(c.APPLICATION), "flags": self.application_flags()},
            "private_channels": [],
        }

    def application_flags(self) -> int:
        """The application's flags for its privileged intents."""
        return sum(bit for name, bit in c.APPLICATION_FLAGS.items() if name in self.state.granted)

    @staticmethod
    def _guild(channel: Channel) -> JSON:
        return {} if channel.guild is None else {"guild_id": str(channel.guild)}

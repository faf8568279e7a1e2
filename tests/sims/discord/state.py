"""The state of the simulated Discord: users, guilds, channels, messages and their versions.

Nothing is removed: an edit adds a version and a deletion sets a time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from tests.sims.discord import constants as c


@dataclass(slots=True)
class User:
    """A person or a bot; `dms_open` is whether they accept direct messages from the bot."""

    id: int
    name: str
    bot: bool = False
    dms_open: bool = True


@dataclass(slots=True)
class Role:
    """A role of a guild; `bot` is the bot whose managed role it is."""

    id: int
    name: str
    permissions: int
    mentionable: bool = False
    bot: int | None = None


@dataclass(slots=True)
class Guild:
    """A guild; `members` maps users to their roles, `bot_inside` is whether the bot is a member."""

    id: int
    name: str
    owner: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, list[int]] = field(default_factory=dict)
    bot_inside: bool = True


@dataclass(slots=True)
class Overwrite:
    """A channel's permissions for one role or member."""

    allow: int
    deny: int
    is_role: bool


@dataclass(slots=True)
class Channel:
    """A channel or category, a thread (of `parent`) or a direct message (with `recipient`)."""

    id: int
    kind: int
    name: str = ""
    guild: int | None = None
    parent: int | None = None
    category: int | None = None
    recipient: int | None = None
    owner: int | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    last_message: int | None = None
    created: float = field(default_factory=time.time)
    deleted: float | None = None
    # threads only
    archived: bool = False
    locked: bool = False
    archive_minutes: int = 1440
    archive_changed: float = field(default_factory=time.time)
    joined: set[int] = field(default_factory=set)
    names: list[dict[str, Any]] = field(default_factory=list)  # every name with its time

    @property
    def is_thread(self) -> bool:
        """Whether this is a thread or a forum post."""
        return self.kind in c.THREADS


@dataclass(slots=True)
class Pings:
    """The allowed mentions of a version."""

    users: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)
    everyone: bool = False

    def names(self) -> list[str]:
        """Each as text: `user:ID`, `role:ID`, `@everyone`."""
        users, roles = [f"user:{u}" for u in self.users], [f"role:{r}" for r in self.roles]
        return users + roles + (["@everyone"] if self.everyone else [])


@dataclass(slots=True)
class Version:
    """A version of a message, and when it began (`time.time()`)."""

    at: float
    content: str
    embeds: list[Any]
    components: list[Any]
    attachments: list[dict[str, Any]]
    flags: int
    pings: Pings
    previews: list[str]  # the links that are shown with a preview


@dataclass(slots=True)
class Message:
    """A message; `versions[-1]` is visible while `deleted` is None."""

    id: int
    channel: int
    author: int
    versions: list[Version]
    type: int = c.DEFAULT_MESSAGE
    at: float = field(default_factory=time.time)
    edited: float | None = None
    deleted: float | None = None
    pinned: bool = False
    thread: int | None = None
    previews_shown: list[str] = field(default_factory=list)
    reactions: dict[str, list[int]] = field(default_factory=dict)
    reference: dict[str, Any] | None = None
    nonce: str | None = None
    webhook: int | None = None
    webhook_name: str = ""
    interaction: int | None = None
    for_user: int | None = None  # an ephemeral message's only reader
    snapshots: list[dict[str, Any]] = field(default_factory=list)  # of forwarded messages

    @property
    def shown(self) -> Version:
        """The newest version."""
        return self.versions[-1]


class ServerState:
    """All state by id, and the snowflake counter, which grows with time."""

    def __init__(self) -> None:
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.files: dict[int, tuple[str, bytes | int]] = {}  # content type; bytes or a size
        self.granted: set[str] = set()  # privileged intents switched on for the application
        self.last_id = 0
        self._build()

    def snowflake(self) -> int:
        """A new id that encodes the time and exceeds every earlier one."""
        now = (int(time.time() * 1000) - c.EPOCH_MS) << 22
        self.last_id = max(now, self.last_id + 1)
        return self.last_id

    def message(self, channel: int, message: int) -> Message | None:
        """A message that is not deleted."""
        found = self.channels[channel].messages.get(message)
        return found if found is not None and found.deleted is None else None

    def find(self, message: int) -> Message:
        """A message by its id alone, deleted or not; raises KeyError."""
        for channel in self.channels.values():
            if message in channel.messages:
                return channel.messages[message]
        raise KeyError(f"no message {message}")

    def answered(self, reference: dict[str, Any]) -> Message:
        """The message that a `message_reference` names, deleted or not."""
        return self.channels[int(reference["channel_id"])].messages[int(reference["message_id"])]

    def present(self, channel: int) -> list[Message]:
        """The messages that everyone can see, oldest first."""
        messages = self.channels[channel].messages.values()
        return [m for m in messages if m.deleted is None and m.for_user is None]

    def threads(self, guild: int) -> list[Channel]:
        """A guild's threads that are not deleted, oldest first."""
        channels = self.channels.values()
        return [x for x in channels if x.guild == guild and x.is_thread and x.deleted is None]

    def places(self, guild: int) -> list[Channel]:
        """A guild's channels without its threads."""
        channels = self.channels.values()
        return [x for x in channels if x.guild == guild and not x.is_thread and x.deleted is None]

    def dm(self, user: int) -> Channel:
        """The direct message channel of the bot and `user`, created if needed."""
        for channel in self.channels.values():
            if channel.recipient == user:
                return channel
        channel = Channel(id=self.snowflake(), kind=c.DM, recipient=user)
        self.channels[channel.id] = channel
        return channel

    def add_guild(self, guild_id: int, name: str, bot_role: int) -> Guild:
        """A guild with the @everyone role, the bot and its managed role, and three people."""
        guild = Guild(id=guild_id, name=name, owner=c.CAROL)
        guild.roles[guild_id] = Role(guild_id, "@everyone", c.EVERYONE_MAY)
        guild.roles[bot_role] = Role(bot_role, "Threadline", c.EVERYONE_MAY, bot=c.BOT)
        guild.members = {c.BOT: [bot_role], c.ALICE: [], c.BOB: [], c.CAROL: [], c.OTHER_BOT: []}
        self.guilds[guild_id] = guild
        return guild

    def _build(self) -> None:
        people = ((c.ALICE, "alice"), (c.BOB, "bob"), (c.CAROL, "carol"))
        for user_id, name in people:
            self.users[user_id] = User(user_id, name)
        for user_id, name in ((c.BOT, "threadline"), (c.OTHER_BOT, "weather-bot")):
            self.users[user_id] = User(user_id, name, bot=True)
        guild = self.add_guild(c.GUILD, "Sim guild", c.BOT_ROLE)
        guild.roles[c.TEAM_ROLE] = Role(c.TEAM_ROLE, "team", 0, mentionable=True)
        guild.members[c.BOB] = [c.TEAM_ROLE]
        for channel_id, kind, name in (
            (c.CHANNEL, c.TEXT, "general"),
            (c.CHANNEL_2, c.TEXT, "random"),
            (c.FORUM, c.FORUM_CHANNEL, "help"),
            (c.VOICE, c.VOICE_CHANNEL, "lounge"),
            (c.STAGE, c.STAGE_CHANNEL, "stage"),
        ):
            self.channels[channel_id] = Channel(channel_id, kind, name, c.GUILD)

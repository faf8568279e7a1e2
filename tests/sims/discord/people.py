"""People's actions in the simulated Discord, as controls.

No permissions or limits apply to people: a test decides what happened.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions, Post
from tests.sims.discord.content import Draft
from tests.sims.discord.http import default_flags
from tests.sims.discord.state import Channel, Message, User
from tests.sims.discord.uploads import store_uploads

JSON = dict[str, Any]


def refused(why: str) -> web.HTTPBadRequest:
    """The error for a misused control; `SimProcess.call` shows the text."""
    return web.HTTPBadRequest(text=why)


class People:
    """The controls of people."""

    def __init__(self, actions: Actions) -> None:
        self._actions, self._state = actions, actions.state

    def channel_of(self, channel: int) -> Channel:
        """An existing channel; refused otherwise."""
        found = self._state.channels.get(channel)
        if found is None or found.deleted is not None:
            raise refused(f"no channel {channel}")
        return found

    def message_of(self, message: int) -> Message:
        """An existing message; refused otherwise."""
        found = self._ever(message)
        if found.deleted is not None:
            raise refused(f"message {message} is deleted")
        return found

    def _files(self, attachments: list[JSON]) -> list[JSON]:
        return store_uploads(self._state, attachments)

    def say(
        self,
        user: int,
        channel: int,
        content: str = "",
        mention: bool = False,
        mention_role: bool = False,
        reply_to: int | None = None,
        ping: bool = True,
        attachments: list[JSON] | None = None,
        webhook: bool = False,
        flags: int = 0,
        type: int | None = None,
        embeds: list[JSON] | None = None,
    ) -> int:
        """Post a message as `user` (a person, another bot, or a webhook) and return its id.

        `mention` prepends the bot's mention, `mention_role` its managed role's. `ping` is whether a
        reply pings the author of the message that it replies to.
        """
        place = self.channel_of(channel)
        said = f"<@{c.BOT}> {content}" if mention else content
        said = f"<@&{self._bot_role(place)}> {said}" if mention_role else said
        reference = None if reply_to is None else self._reference(place, reply_to)
        everything = ["users", "roles", "everyone"]
        post = Post(
            user,
            Draft(said.strip(), embeds or [], [], self._files(attachments or []), flags),
            type=type or (c.DEFAULT_MESSAGE if reference is None else c.REPLY),
            allowed={"parse": everything, "replied_user": ping},
            reference=reference,
            webhook=self._state.snowflake() if webhook else None,
        )
        return self._actions.post(place, post).id

    async def say_by_proxy(
        self,
        user: int,
        channel: int,
        content: str,
        name: str,
        tags: str = "",
        deleted_first: bool = False,
        pause: float = 0.0,
        attachments: list[JSON] | None = None,
    ) -> JSON:
        """Post a message that a proxy bot (PluralKit, Tupperbox) replaces.

        The proxy posts the text without tags, and its files, through its webhook as `name`, and
        deletes the original. Returns `{original, message}`. `pause` is the time between the three
        steps, in seconds.
        """
        original = self.say(user, channel, tags + content, attachments=attachments)
        await asyncio.sleep(pause)
        if deleted_first:
            self.delete(original)
            await asyncio.sleep(pause)
        post = Post(
            user,
            Draft(content, [], [], self._files(attachments or []), 0),
            allowed={"parse": ["users", "roles"]},
            webhook=self._state.snowflake(),
            webhook_name=name,
        )
        message = self._actions.post(self.channel_of(channel), post).id
        await asyncio.sleep(pause)
        if not deleted_first:
            self.delete(original)
        return {"original": original, "message": message}

    def _bot_role(self, channel: Channel) -> int:
        roles = self._state.guilds[channel.guild or 0].roles.values()
        return next(role.id for role in roles if role.bot == c.BOT)

    def _reference(self, channel: Channel, message: int) -> JSON:
        self.message_of(message)
        guild = {} if channel.guild is None else {"guild_id": str(channel.guild)}
        ids = {"channel_id": str(channel.id), "message_id": str(message)}
        return {"type": 0, **ids, **guild}

    def dm(self, user: int, content: str = "", **more: Any) -> JSON:
        """Send the bot a direct message; returns `{channel, message}`."""
        channel = self._state.dm(user)
        return {"channel": channel.id, "message": self.say(user, channel.id, content, **more)}

    def edit(self, message: int, content: str | None = None, keep: list[str] | None = None) -> None:
        """Edit a person's message, keeping only those of its files with ids in `keep`."""
        found = self.message_of(message)
        shown = found.shown
        flags = default_flags({}, shown.flags)
        said = shown.content if content is None else content.strip()
        files = [file for file in shown.attachments if keep is None or file["id"] in keep]
        draft = Draft(said, shown.embeds, shown.components, files, flags)
        self._actions.edit(found, draft, None)

    def delete(self, message: int) -> None:
        """Delete anyone's message."""
        self._actions.delete(self.message_of(message))

    def start_thread(self, user: int, message: int, name: str) -> int:
        """Start a thread on a message and return its id, which is the message's."""
        starter = self.message_of(message)
        if starter.thread is not None:
            raise refused("that message has a thread")
        parent = self._state.channels[starter.channel]
        return self._actions.start_thread(parent, user, name, 1440, starter).id

    def private_thread(self, user: int, channel: int, name: str, members: list[int]) -> int:
        """Start a private thread with these members and the bot, and return its id."""
        parent = self.channel_of(channel)
        thread = self._actions.start_thread(parent, user, name, 1440, None, private=True)
        thread.joined.update([*members, c.BOT])
        return thread.id

    def leave_thread(self, user: int, thread: int) -> None:
        """Leave a thread, or be removed from it."""
        self.channel_of(thread).joined.discard(user)

    def forum_post(self, user: int, name: str, content: str, forum: int, **more: Any) -> int:
        """Create a forum post and return its id, which is also its first message's."""
        thread = self._actions.start_thread(self.channel_of(forum), user, name, 1440, None)
        said = f"<@{c.BOT}> {content}" if more.pop("mention", False) else content
        draft = Draft(said, [], [], self._files(more.pop("attachments", [])), 0)
        self._actions.post(thread, Post(user, draft, id=thread.id))
        return thread.id

    def rename_thread(self, thread: int, name: str) -> None:
        """Rename a thread."""
        self._actions.set_thread(self.channel_of(thread), name=name)

    def archive(self, thread: int, archived: bool = True) -> None:
        """Archive or unarchive a thread."""
        self._actions.set_thread(self.channel_of(thread), archived=archived)

    def lock(self, thread: int, locked: bool = True) -> None:
        """Archive and lock a thread as a moderator does, or undo both."""
        self._actions.set_thread(self.channel_of(thread), archived=locked, locked=locked)

    def delete_channel(self, channel: int) -> None:
        """Delete a channel or a thread."""
        self._actions.remove_channel(self.channel_of(channel))

    def react(self, user: int, message: int, emoji: str, add: bool = True) -> None:
        """Add or remove a reaction."""
        self._actions.react(self.message_of(message), user, emoji, add=add)

    def typing(self, user: int, channel: int) -> None:
        """Start typing."""
        self._actions.type(self.channel_of(channel), user)

    def pin(self, user: int, message: int) -> None:
        """Pin a message."""
        self._actions.pin(self.message_of(message), user)

    def deliver_again(self, message: int) -> None:
        """Send the same MESSAGE_CREATE again, as after a RESUME that overlaps.

        A deleted message is replayed too, but only to sessions that began before it was sent.
        """
        found = self._ever(message)
        self._actions.tell_message("MESSAGE_CREATE", found, happened=found.at)

    def _ever(self, message: int) -> Message:
        """A message, deleted or not; refused if it never existed."""
        try:
            return self._state.find(message)
        except KeyError as error:
            raise refused(str(error)) from error

    def close_dms(self, user: int, closed: bool = True) -> None:
        """Make a person refuse (50007) or accept direct messages from the bot."""
        self._state.users[user].dms_open = not closed

    def add_person(self, name: str, guild: int = c.GUILD) -> int:
        """Add a member to a guild and return their id."""
        user = User(self._state.snowflake(), name)
        self._state.users[user.id] = user
        self._state.guilds[guild].members[user.id] = []
        data = self._actions.payloads.member(guild, user.id) | {"guild_id": str(guild)}
        members = c.INTENTS["members"]
        self._actions.gateway.dispatch("GUILD_MEMBER_ADD", data, intents=members, guild=guild)
        return user.id

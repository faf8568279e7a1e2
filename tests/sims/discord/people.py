"""What people do in the simulated Discord, offered as controls.

People are not held to permissions or limits: a test says what happened.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord.content import Draft
from tests.sims.discord.http import default_flags, store_file
from tests.sims.discord.scene import Post, Scene
from tests.sims.discord.world import Channel, Message, User

JSON = dict[str, Any]


def refused(why: str) -> web.HTTPBadRequest:
    """A control was used wrongly; `SimProcess.call` shows the text."""
    return web.HTTPBadRequest(text=why)


class People:
    """The controls of people."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._world = scene, scene.world

    def channel_of(self, channel: int) -> Channel:
        """A channel that is there; refused otherwise."""
        found = self._world.channels.get(channel)
        if found is None or found.deleted is not None:
            raise refused(f"no channel {channel}")
        return found

    def message_of(self, message: int) -> Message:
        """A message that is there; refused otherwise."""
        found = self._ever(message)
        if found.deleted is not None:
            raise refused(f"message {message} is deleted")
        return found

    def _files(self, attachments: list[JSON]) -> list[JSON]:
        """Files as `{filename, content_type, text | base64 | size}`; a size alone is zeros."""
        stored = []
        for file in attachments:
            data: bytes | int = int(file.get("size", 0))
            if "text" in file:
                data = str(file["text"]).encode()
            elif "base64" in file:
                data = base64.b64decode(file["base64"])
            kind = file.get("content_type", "text/plain")
            stored.append(store_file(self._world, file["filename"], kind, data))
        return stored

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
    ) -> int:
        """Post a message as `user` (a person, another bot, or a webhook); its id.

        `mention` begins it with the bot's mention, `mention_role` with its managed role's; `ping`
        is whether a reply pings the author it answers.
        """
        place = self.channel_of(channel)
        said = f"<@{c.BOT}> {content}" if mention else content
        said = f"<@&{self._bot_role(place)}> {said}" if mention_role else said
        reference = None if reply_to is None else self._reference(place, reply_to)
        everything = ["users", "roles", "everyone"]
        post = Post(
            user,
            Draft(said.strip(), [], [], self._files(attachments or []), flags),
            type=type or (c.DEFAULT_MESSAGE if reference is None else c.REPLY),
            allowed={"parse": everything, "replied_user": ping},
            reference=reference,
            webhook=self._world.snowflake() if webhook else None,
        )
        return self._scene.post(place, post).id

    async def say_by_proxy(
        self,
        user: int,
        channel: int,
        content: str,
        name: str,
        tags: str = "",
        deleted_first: bool = False,
        pause: float = 0.0,
    ) -> JSON:
        """Say something with a proxy bot (PluralKit, Tupperbox) there: it posts the text without
        its tags through a webhook of its own, as `name`, and deletes the message.

        Gives `{original, message}`. `pause` is between the three, in seconds.
        """
        original = self.say(user, channel, tags + content)
        await asyncio.sleep(pause)
        if deleted_first:
            self.delete(original)
            await asyncio.sleep(pause)
        post = Post(
            user,
            Draft(content, [], [], [], 0),
            allowed={"parse": ["users", "roles"]},
            webhook=self._world.snowflake(),
            webhook_name=name,
        )
        message = self._scene.post(self.channel_of(channel), post).id
        await asyncio.sleep(pause)
        if not deleted_first:
            self.delete(original)
        return {"original": original, "message": message}

    def _bot_role(self, channel: Channel) -> int:
        roles = self._world.guilds[channel.guild or 0].roles.values()
        return next(role.id for role in roles if role.bot == c.BOT)

    def _reference(self, channel: Channel, message: int) -> JSON:
        self.message_of(message)
        guild = {} if channel.guild is None else {"guild_id": str(channel.guild)}
        ids = {"channel_id": str(channel.id), "message_id": str(message)}
        return {"type": 0, **ids, **guild}

    def dm(self, user: int, content: str = "", **more: Any) -> JSON:
        """Say something to the bot in private; `{channel, message}`."""
        channel = self._world.dm(user)
        return {"channel": channel.id, "message": self.say(user, channel.id, content, **more)}

    def edit(self, message: int, content: str) -> None:
        """Edit a person's message."""
        found = self.message_of(message)
        shown = found.shown
        flags = default_flags({}, shown.flags)
        draft = Draft(content.strip(), shown.embeds, shown.components, shown.attachments, flags)
        self._scene.edit(found, draft, None)

    def delete(self, message: int) -> None:
        """Delete a message, anybody's."""
        self._scene.delete(self.message_of(message))

    def start_thread(self, user: int, message: int, name: str) -> int:
        """Start a thread on a message; its id, which is the message's."""
        starter = self.message_of(message)
        if starter.thread is not None:
            raise refused("that message has a thread")
        parent = self._world.channels[starter.channel]
        return self._scene.start_thread(parent, user, name, 1440, starter).id

    def private_thread(self, user: int, channel: int, name: str, members: list[int]) -> int:
        """Start a private thread with these members and the bot; its id."""
        parent = self.channel_of(channel)
        thread = self._scene.start_thread(parent, user, name, 1440, None, private=True)
        thread.joined.update([*members, c.BOT])
        return thread.id

    def leave_thread(self, user: int, thread: int) -> None:
        """Leave a thread, or be removed from it."""
        self.channel_of(thread).joined.discard(user)

    def forum_post(self, user: int, name: str, content: str, forum: int, **more: Any) -> int:
        """Make a forum post; the id of the post and of its first message."""
        thread = self._scene.start_thread(self.channel_of(forum), user, name, 1440, None)
        said = f"<@{c.BOT}> {content}" if more.pop("mention", False) else content
        draft = Draft(said, [], [], self._files(more.pop("attachments", [])), 0)
        self._scene.post(thread, Post(user, draft, id=thread.id))
        return thread.id

    def rename_thread(self, thread: int, name: str) -> None:
        """Rename a thread."""
        self._scene.set_thread(self.channel_of(thread), name=name)

    def archive(self, thread: int, archived: bool = True) -> None:
        """Archive a thread, or open it again."""
        self._scene.set_thread(self.channel_of(thread), archived=archived)

    def lock(self, thread: int, locked: bool = True) -> None:
        """Close and lock a thread as a moderator does, or undo both."""
        self._scene.set_thread(self.channel_of(thread), archived=locked, locked=locked)

    def delete_channel(self, channel: int) -> None:
        """Delete a channel or a thread."""
        self._scene.remove_channel(self.channel_of(channel))

    def react(self, user: int, message: int, emoji: str, add: bool = True) -> None:
        """Add a reaction, or take it back."""
        self._scene.react(self.message_of(message), user, emoji, add=add)

    def typing(self, user: int, channel: int) -> None:
        """Begin to type."""
        self._scene.type(self.channel_of(channel), user)

    def pin(self, user: int, message: int) -> None:
        """Pin a message."""
        self._scene.pin(self.message_of(message), user)

    def deliver_again(self, message: int) -> None:
        """Send the same MESSAGE_CREATE once more, as after a RESUME that overlaps.

        Also of a message that was deleted since: what is replayed is what was. A session that is
        younger than the message replays nothing of it.
        """
        found = self._ever(message)
        self._scene.tell_message("MESSAGE_CREATE", found, happened=found.at)

    def _ever(self, message: int) -> Message:
        """A message that is there or was; refused otherwise."""
        try:
            return self._world.find(message)
        except KeyError as error:
            raise refused(str(error)) from error

    def close_dms(self, user: int, closed: bool = True) -> None:
        """Whether the bot may write to a person (50007 when not)."""
        self._world.users[user].dms_open = not closed

    def add_person(self, name: str, guild: int = c.GUILD) -> int:
        """A new member of a guild; their id."""
        user = User(self._world.snowflake(), name)
        self._world.users[user.id] = user
        self._world.guilds[guild].members[user.id] = []
        data = self._scene.payloads.member(guild, user.id) | {"guild_id": str(guild)}
        members = c.INTENTS["members"]
        self._scene.gateway.dispatch("GUILD_MEMBER_ADD", data, intents=members, guild=guild)
        return user.id

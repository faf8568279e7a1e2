"""`DiscordSim`: the simulator as a process, with a typed method for every control.

Ids are integers. Misusing a control raises AssertionError with the reason.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.members_client import MembersClient
from tests.sims.kit import Sim

JSON = dict[str, Any]


class DiscordSim(MembersClient):
    """A running Discord simulator: `async with DiscordSim() as sim`."""

    def __init__(self, *, port: int = 0, rtt: float = 0.0, apart: bool = False) -> None:
        super().__init__("tests.sims.discord", port=port, rtt=rtt, apart=apart)

    def new_server(self) -> Sim:
        """See `SimProcess.new_server`."""
        from tests.sims.discord.sim import DiscordServer  # a client alone needs no server

        return DiscordServer(rtt=self.rtt)

    @property
    def api_url(self) -> str:
        """REST base: `discord.http.Route.BASE`, `DISCORD_API_URL`."""
        return f"{self.url}/api/v10"

    @property
    def gateway_url(self) -> str:
        """The gateway's address, for discord.py's `DEFAULT_GATEWAY` or `DISCORD_GATEWAY_URL`."""
        return f"ws://127.0.0.1:{self.port}/gateway/"

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def say(
        self, user: int = c.ALICE, channel: int = c.CHANNEL, content: str = "", **more: Any
    ) -> int:
        """Post a message and return its id.

        `more`: mention, mention_role, reply_to, ping, webhook, flags, type, embeds (of another
        bot), and attachments, a list of `{filename, content_type, text | base64 | size}` with any
        other fields of an attachment, such as `description`.
        """
        return await self._id("say", user=user, channel=channel, content=content, **more)

    async def mention(
        self, content: str, *, user: int = c.ALICE, channel: int = c.CHANNEL, **more: Any
    ) -> int:
        """Post a message that begins with the bot's mention and return its id."""
        return await self.say(user, channel, content, mention=True, **more)

    async def say_by_proxy(
        self, content: str, name: str, *, user: int = c.ALICE, channel: int = c.CHANNEL, **more: Any
    ) -> JSON:
        """Post a message that a proxy bot replaces; returns `{original, message}`.

        `more`: tags, deleted_first, pause, attachments.
        """
        return await self._json(
            "say_by_proxy", user=user, channel=channel, content=content, name=name, **more
        )

    async def dm(self, user: int, content: str, **more: Any) -> JSON:
        """Send the bot a direct message; returns `{channel, message}`."""
        return await self._json("dm", user=user, content=content, **more)

    async def edit(
        self, message: int, content: str | None = None, *, keep: list[str] | None = None
    ) -> None:
        """Edit a message as its author; `keep` are the ids of the files that it keeps."""
        await self.call("edit", message=message, content=content, keep=keep)

    async def delete(self, message: int) -> None:
        """Delete a message."""
        await self.call("delete", message=message)

    async def start_thread(self, user: int, message: int, name: str) -> int:
        """Start a thread on a message and return its id, which is the message's."""
        return await self._id("start_thread", user=user, message=message, name=name)

    async def private_thread(
        self, user: int, name: str, *members: int, channel: int = c.CHANNEL
    ) -> int:
        """Start a private thread with these members and the bot, and return its id."""
        return await self._id(
            "private_thread", user=user, channel=channel, name=name, members=list(members)
        )

    async def leave_thread(self, user: int, thread: int) -> None:
        """Leave a thread, or be removed from it."""
        await self.call("leave_thread", user=user, thread=thread)

    async def forum_post(
        self, user: int, name: str, content: str, *, forum: int = c.FORUM, **more: Any
    ) -> int:
        """Create a forum post and return its id, also its first message's. `more`: mention, …"""
        return await self._id(
            "forum_post", user=user, name=name, content=content, forum=forum, **more
        )

    async def rename_thread(self, thread: int, name: str) -> None:
        """Rename a thread."""
        await self.call("rename_thread", thread=thread, name=name)

    async def archive(self, thread: int, *, archived: bool = True) -> None:
        """Archive or unarchive a thread."""
        await self.call("archive", thread=thread, archived=archived)

    async def lock(self, thread: int, *, locked: bool = True) -> None:
        """Archive and lock a thread, or undo both."""
        await self.call("lock", thread=thread, locked=locked)

    async def delete_thread(self, thread: int) -> None:
        """Delete a thread."""
        await self.call("delete_channel", channel=thread)

    async def delete_channel(self, channel: int) -> None:
        """Delete a channel."""
        await self.call("delete_channel", channel=channel)

    async def react(self, user: int, message: int, emoji: str, *, add: bool = True) -> None:
        """Add or remove a reaction."""
        await self.call("react", user=user, message=message, emoji=emoji, add=add)

    async def typing(self, user: int, channel: int) -> None:
        """Start typing."""
        await self.call("typing", user=user, channel=channel)

    async def pin(self, user: int, message: int) -> None:
        """Pin a message."""
        await self.call("pin", user=user, message=message)

    async def deliver_again(self, message: int) -> None:
        """Send the same MESSAGE_CREATE again."""
        await self.call("deliver_again", message=message)

    async def close_dms(self, user: int, *, closed: bool = True) -> None:
        """Make a person refuse (or accept) direct messages from the bot."""
        await self.call("close_dms", user=user, closed=closed)

    async def add_person(self, name: str, *, guild: int = c.GUILD) -> int:
        """Add a member to a guild and return their id."""
        return await self._id("add_person", name=name, guild=guild)

    # ── interactions; each returns the interaction's id ───────────────────────────────────────
    async def slash(self, user: int, channel: int, name: str, options: JSON | None = None) -> int:
        """Run `/name`, which must be registered there; "model set" runs a subcommand."""
        return await self._id("slash", user=user, channel=channel, name=name, options=options)

    async def autocomplete(
        self,
        user: int,
        channel: int,
        name: str,
        option: str,
        typed: str,
        others: JSON | None = None,
    ) -> int:
        """Type into an option, beside `others`; the interaction's `answers` have the choices."""
        fields = {"name": name, "option": option, "typed": typed, "others": others}
        return await self._id("autocomplete", user=user, channel=channel, **fields)

    async def context_menu(
        self, user: int, name: str, *, message: int | None = None, target: int | None = None
    ) -> int:
        """Choose an entry in the context menu of a message, or of a person (`target`)."""
        return await self._id("context_menu", user=user, name=name, message=message, target=target)

    async def click(
        self, user: int, message: int, custom_id: str, values: list[str] | None = None
    ) -> int:
        """Press a button, or choose `values` in a select menu."""
        return await self._id(
            "click", user=user, message=message, custom_id=custom_id, values=values
        )

    async def submit(self, interaction: int, values: dict[str, str]) -> int:
        """Submit the form with which the bot responded to an interaction."""
        return await self._id("submit", interaction=interaction, values=values)

    async def interaction(self, id: int) -> JSON:
        """An interaction: `type, name, user, channel, at, answered, answers, message`."""
        found = (await self.state())["interactions"]
        return next(x for x in found if x["id"] == id)

    # ── the platform ──────────────────────────────────────────────────────────────────────────
    async def disconnect(
        self, how: int | str = "op7", *, resumable: bool = True, shard: int | None = None
    ) -> int:
        """Interrupt all connections, or a shard's, and return their number.

        `how` is a close code, "op7" or "invalid_session".
        """
        return await self._id("disconnect", how=how, resumable=resumable, shard=shard)

    async def offline(self, *, forget: bool = True) -> None:
        """Close all connections and refuse new ones; `forget` also ends their sessions."""
        await self.call("offline", forget=forget)

    async def online(self) -> None:
        """Accept new connections after `offline`."""
        await self.call("online")

    async def set_gateway(self, **settings: Any) -> None:
        """Change the gateway's behavior.

        Settings: heartbeat_ms, acknowledges, preview_delay; of shards: recommended, multiple_of,
        max_guilds, total (sessions a day), max_concurrency, identify_seconds.
        """
        await self.call("set_gateway", **settings)

    async def refuse_shard(self, shard: int, code: int | None = None) -> None:
        """Close a shard's next connections with `code` (0: send nothing) until `code` is None."""
        await self.call("refuse_shard", shard=shard, code=code)

    async def refuse_resumes(self, how: int | str | None = None) -> None:
        """Answer every RESUME with a close code, "invalid_session", "reset" or "silence"."""
        await self.call("refuse_resumes", how=how)

    async def dispatch(self, name: str, data: JSON, *, guild: int | None = c.GUILD) -> None:
        """Send any gateway event unchanged."""
        await self.call("dispatch", name=name, data=data, guild=guild)

    async def set_permissions(
        self,
        channel: int,
        *,
        allow: tuple[str, ...] = (),
        deny: tuple[str, ...] = (),
        target: int = c.BOT,
    ) -> None:
        """Replace a member's overwrite; the names are those of `constants.PERMISSIONS`."""
        await self.call(
            "set_permissions", channel=channel, allow=list(allow), deny=list(deny), target=target
        )

    async def grant_intents(self, *names: str) -> None:
        """Grant only these privileged intents; the default is `message_content`."""
        await self.call("grant_intents", names=list(names))

    async def add_channel(
        self,
        name: str,
        kind: str = "text",
        *,
        guild: int = c.GUILD,
        category: int | None = None,
    ) -> int:
        """Add a text, news, voice, stage or forum channel, or a category, and return its id."""
        return await self._id("add_channel", name=name, kind=kind, guild=guild, category=category)

    async def add_guild(self, name: str, guild: int | None = None) -> JSON:
        """Add another guild with the bot in it; returns `{guild, channel, role}`."""
        return await self._json("add_guild", name=name, guild=guild)

    async def remove_bot(self, guild: int = c.GUILD) -> None:
        """Remove the bot from a guild."""
        await self.call("remove_bot", guild=guild)

    async def add_bot(self, guild: int = c.GUILD) -> None:
        """Add the bot to a guild again."""
        await self.call("add_bot", guild=guild)

    async def set_limits(self, **limits: Any) -> None:
        """Change limits; a pair is [count, seconds].

        on (False switches all rate limits off), buckets={"message": [5, 5.0]}, everywhere (the
        global one), invalid, old_after, old_message, nonce_seconds, first_within, token_lives.
        """
        await self.call("set_limits", **limits)

    async def throttle(self, pattern: str, seconds: float, scope: str = "user") -> None:
        """Refuse requests that match "METHOD /path" (a regular expression) with 429 for
        `seconds`.

        `scope` is Discord's: user, shared or global.
        """
        await self.call("throttle", pattern=pattern, seconds=seconds, scope=scope)

    async def end_throttles(self) -> None:
        """End every throttle."""
        await self.call("end_throttles")

    async def draw_limits(self, seed: int) -> JSON:
        """Choose other limits at random; returns them as `{family: [count, seconds]}`."""
        return await self._json("draw_limits", seed=seed)

    async def set_application(self, **fields: Any) -> None:
        """Change fields of the application, such as `bot_public`."""
        await self.call("set_application", **fields)

    async def age(self, message: int, seconds: float) -> None:
        """Make a message older."""
        await self.call("age", message=message, seconds=seconds)

    # ── state ─────────────────────────────────────────────────────────────────────────────────
    async def channel(self, id: int = c.CHANNEL) -> JSON:
        """A channel, thread or DM: `messages` as shown, `deleted_messages`, `ephemeral`."""
        return await self._json("channel", id=id)

    async def messages(self, channel: int = c.CHANNEL, *, author: int | None = None) -> list[JSON]:
        """The messages shown in a channel, oldest first; of one author if given."""
        shown: list[JSON] = (await self.channel(channel))["messages"]
        return [m for m in shown if author is None or m["author"] == author]

    async def message(self, id: int) -> JSON:
        """One message with all its `versions`, deleted or not."""
        return await self._json("message", id=id)

    async def state(self) -> JSON:
        """All state outside channels: limited (429s), typing, interactions, commands, sessions,
        …"""
        return await self._json("state")

    async def wait_idle(self, quiet: float = 0.3, limit: float = 20.0) -> None:
        """Wait until the bot has sent no request for `quiet` seconds; raises AssertionError
        after `limit` seconds."""
        assert await self.call("wait_idle", quiet=quiet, limit=limit), f"busy for {limit} s"

    async def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until a bot has identified and is connected."""

        async def connected() -> bool:
            return any(x["connected"] for x in (await self.state())["sessions"])

        await self.until(connected, seconds)

"""The simulator's controls: people's actions, Discord's failures, and its visible state.

Every control is `POST /_sim/{name}`; `DiscordSim` has a typed method for each.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any

from tests.sims.discord import constants as c
from tests.sims.discord.cdn import KINDS, Spoiled
from tests.sims.discord.clicks import Clicks
from tests.sims.discord.gateway import INVALID_SESSION, RECONNECT, EventFault
from tests.sims.discord.limits import Throttle
from tests.sims.discord.membership import Membership
from tests.sims.discord.people import People, refused
from tests.sims.discord.permissions import bits
from tests.sims.discord.state import Channel, Overwrite
from tests.sims.discord.uploads import Uploads
from tests.sims.discord.views import channel_view, message_view, thread_view

if TYPE_CHECKING:
    from tests.sims.discord.sim import DiscordServer

JSON = dict[str, Any]

SHARD_RULES = {"recommended", "multiple_of", "max_guilds", "total", "max_concurrency"}
SHARD_RULES |= {"identify_seconds"}


class Controls:
    """All controls of one simulator."""

    def __init__(self, sim: DiscordServer) -> None:
        self._sim, self._actions, self._state = sim, sim.actions, sim.state
        self._gateway, self._limits = sim.gateway, sim.limits
        self._people = People(self._actions)
        self._membership = Membership(self._actions, self._people)
        self._uploads = Uploads(self._actions, self._people)
        self._clicks = Clicks(
            self._actions, self._people, sim.interactions, sim.application.registered
        )

    def offer(self) -> None:
        """Add every control to the simulator."""
        people, clicks, uploads = self._people, self._clicks, self._uploads
        members = self._membership
        for does in (
            *(people.say, people.say_by_proxy, people.dm, people.edit, people.delete),
            *(people.start_thread, people.private_thread, people.leave_thread),
            *(people.forum_post, people.rename_thread, people.archive, people.lock),
            *(people.delete_channel, people.react, people.typing, people.pin),
            *(people.deliver_again, people.close_dms, people.add_person),
            *(members.add_role, members.change_role, members.delete_role, members.set_roles),
            *(members.leave_guild, members.move_channel),
            *(uploads.paste, uploads.voice, uploads.forward),
            *(self.set_cdn, self.spoil_downloads, self.file_url),
            *(clicks.slash, clicks.autocomplete, clicks.context_menu, clicks.click),
            *(clicks.submit, self.disconnect, self.offline, self.online, self.set_gateway),
            *(self.refuse_shard, self.refuse_resumes),
            *(self.set_permissions, self.grant_intents, self.add_channel, self.add_guild),
            *(self.remove_bot, self.add_bot, self.set_limits, self.age, self.dispatch),
            *(self.throttle, self.end_throttles, self.draw_limits, self.set_application),
            *(self.dispatch_all, self.frame, self.fault_event),
            *(self.channel, self.message, self.state, self.wait_idle),
        ):
            self._sim.control(does.__name__, does)

    # ── the gateway ───────────────────────────────────────────────────────────────────────────
    def disconnect(
        self, how: int | str = "op7", resumable: bool = True, shard: int | None = None
    ) -> int:
        """Interrupt all connections, or a shard's, by a close code, "op7" or "invalid_session";
        returns how many.

        If not `resumable`, their sessions end: RESUME gets op 9.
        """
        if isinstance(how, int):
            return self._gateway.disconnect(how, None, resumable, shard)
        op = {"op7": RECONNECT, "invalid_session": INVALID_SESSION}[how]
        return self._gateway.disconnect(None, op, resumable, shard)

    def offline(self, forget: bool = True) -> None:
        """Close all connections and refuse new ones; `forget` also ends their sessions."""
        self._gateway.offline = True
        if forget:
            self._gateway.sessions.clear()
        self._gateway.disconnect(1001, None, not forget)

    def online(self) -> None:
        """Accept new connections after `offline`."""
        self._gateway.offline = False

    def set_gateway(
        self,
        heartbeat_ms: int | None = None,
        acknowledges: bool | None = None,
        preview_delay: float | None = None,
        **shards: float,
    ) -> None:
        """Change how the gateway treats new connections; `shards` are fields of `ShardRules`."""
        gateway = self._gateway
        gateway.heartbeat_ms = heartbeat_ms or gateway.heartbeat_ms
        gateway.acknowledges = gateway.acknowledges if acknowledges is None else acknowledges
        if unknown := shards.keys() - SHARD_RULES:
            raise refused(f"unknown settings {sorted(unknown)}")
        for name, value in shards.items():
            setattr(gateway.shards, name, value)
        if preview_delay is not None:
            self._actions.preview_delay = preview_delay

    def refuse_shard(self, shard: int, code: int | None = None) -> None:
        """Close a shard's next connections with `code`; SILENT accepts them and sends nothing, None
        ends it.
        """
        self._gateway.shards.refused.pop(shard, None)
        if code is not None:
            self._gateway.shards.refused[shard] = code

    def refuse_resumes(self, how: int | str | None = None) -> None:
        """Answer every valid RESUME with a close code, "invalid_session" (op 9, resumable),
        "reset" (of the connection) or "silence"; None ends it.
        """
        if isinstance(how, str) and how not in ("invalid_session", "reset", "silence"):
            raise refused(f"no way {how}")
        self._gateway.refuses_resumes = how

    def dispatch(self, name: str, data: JSON, guild: int | None = c.GUILD) -> None:
        """Send any event unchanged, for payloads that the simulator does not produce."""
        self._gateway.dispatch(name, data, guild=guild)

    def dispatch_all(self, events: list[tuple[str, JSON]]) -> None:
        """Send many events like `dispatch`; the data may have any type."""
        for name, data in events:
            self._gateway.dispatch(name, data)

    def frame(self, text: str | None = None, data: str | None = None) -> None:
        """Send every connection a frame: text, or bytes (in base64) without compression."""
        for connection in self._gateway.connections:
            connection.send(base64.b64decode(data or "") if text is None else text)

    def fault_event(self, **fields: Any) -> None:
        """See `EventFault`."""
        self._gateway.faults.append(EventFault(**fields))

    # ── the guild ─────────────────────────────────────────────────────────────────────────────
    def set_permissions(
        self,
        channel: int,
        allow: list[str] | None = None,
        deny: list[str] | None = None,
        target: int = c.BOT,
    ) -> None:
        """Replace a member's or role's overwrite, or remove it without names; CHANNEL_UPDATE."""
        place = self._people.channel_of(channel)
        if place.is_thread:
            raise refused("threads take their channel's permissions")
        place.overwrites.pop(target, None)
        if allow or deny:
            role = target in self._state.guilds[place.guild or 0].roles
            place.overwrites[target] = Overwrite(bits(allow or []), bits(deny or []), role)
        self._actions.tell_channel("CHANNEL_UPDATE", place)

    def grant_intents(self, names: list[str]) -> None:
        """Grant the application these privileged intents: members, presences, message_content."""
        if unknown := set(names) - set(c.PRIVILEGED):
            raise refused(f"unknown intents {unknown}")
        self._state.granted.clear()
        self._state.granted.update(names)

    def add_channel(
        self, name: str, kind: str = "text", guild: int = c.GUILD, category: int | None = None
    ) -> int:
        """Add a text, news, voice, stage or forum channel, or a category, and return its id."""
        channel = Channel(self._state.snowflake(), c.KINDS[kind], name, guild, category=category)
        self._state.channels[channel.id] = channel
        self._actions.tell_channel("CHANNEL_CREATE", channel)
        return channel.id

    def add_guild(self, name: str, guild: int | None = None) -> JSON:
        """Add a guild with the bot and the same people; returns `{guild, channel, role}`."""
        role = self._state.snowflake()
        made = self._state.add_guild(guild or self._state.snowflake(), name, role)
        channel = Channel(self._state.snowflake(), c.TEXT, "general", made.id)
        self._state.channels[channel.id] = channel
        self._tell_guild(made.id)
        return {"guild": made.id, "channel": channel.id, "role": role}

    def _tell_guild(self, guild: int) -> None:
        data, intent = self._actions.payloads.guild_create(self._state.guilds[guild]), 1
        self._gateway.dispatch("GUILD_CREATE", data, intents=intent, guild=guild)

    def remove_bot(self, guild: int = c.GUILD) -> None:
        """Remove the bot from a guild, which it can no longer access; sends GUILD_DELETE."""
        self._state.guilds[guild].bot_inside = False
        guilds = c.INTENTS["guilds"]
        self._gateway.dispatch("GUILD_DELETE", {"id": str(guild)}, intents=guilds, guild=guild)

    def add_bot(self, guild: int = c.GUILD) -> None:
        """Add the bot to a guild again; sends GUILD_CREATE."""
        self._state.guilds[guild].bot_inside = True
        self._tell_guild(guild)

    # ── limits ────────────────────────────────────────────────────────────────────────────────
    def set_limits(
        self,
        on: bool | None = None,
        buckets: dict[str, list[float]] | None = None,
        everywhere: list[float] | None = None,
        invalid: list[float] | None = None,
        old_after: float | None = None,
        old_message: list[float] | None = None,
        nonce_seconds: float | None = None,
        first_within: float | None = None,
        token_lives: float | None = None,
    ) -> None:
        """Change limits; each pair is [count, seconds]. `everywhere` is the global limit."""
        limits, interactions, messages = self._limits, self._sim.interactions, self._sim.messages
        limits.on = limits.on if on is None else on
        for family, (count, seconds) in (buckets or {}).items():
            limits.set_bucket(family, int(count), seconds)
        if everywhere:
            limits.set_global(int(everywhere[0]), everywhere[1])
        if invalid:
            limits.set_invalid(int(invalid[0]), invalid[1])
        if old_message:
            limits.set_old(int(old_message[0]), old_message[1])
        messages.old_after = messages.old_after if old_after is None else old_after
        messages.nonce_seconds = nonce_seconds or messages.nonce_seconds
        interactions.first_within = first_within or interactions.first_within
        interactions.token_lives = token_lives or interactions.token_lives

    def throttle(self, pattern: str, seconds: float, scope: str = "user") -> None:
        """Answer 429 on the routes that `pattern` matches ("METHOD /path", without the prefix)."""
        if scope not in ("user", "shared", "global"):
            raise refused(f"no scope {scope}")
        self._limits.throttles.append(Throttle(pattern, time.monotonic() + seconds, scope))

    def end_throttles(self) -> None:
        """End every throttle."""
        self._limits.throttles.clear()

    def set_application(self, **fields: Any) -> None:
        """Change fields of the application's object."""
        self._sim.application.fields.update(fields)

    def draw_limits(self, seed: int) -> JSON:
        """Choose other limits at random; returns them as `{family: [count, seconds]}`."""
        self._limits.draw_again(seed)
        return {family: list(pair) for family, pair in self._limits.buckets.items()}

    def age(self, message: int, seconds: float) -> None:
        """Make a message older without changing its id."""
        self._people.message_of(message).at -= seconds

    # ── files ─────────────────────────────────────────────────────────────────────────────────
    def set_cdn(
        self,
        lifetime: float | None = None,
        expired_status: int | None = None,
        base: str | None = None,
    ) -> None:
        """Change new URLs (seconds until they expire, host) and the status of expired ones."""
        cdn = self._sim.cdn
        cdn.lifetime = cdn.lifetime if lifetime is None else lifetime
        cdn.expired_status = expired_status or cdn.expired_status
        cdn.base = base or cdn.base

    def spoil_downloads(self, kind: str, times: int = 1, match: str = "", target: str = "") -> None:
        """Spoil the next downloads whose path contains `match`; see `cdn.KINDS`.

        `target` is where a redirect leads.
        """
        if kind not in KINDS:
            raise refused(f"no kind {kind}")
        self._sim.cdn.spoiled.append(Spoiled(kind, times, match, target))

    def file_url(self, message: int, number: int = 0) -> str:
        """A new URL of a message's file."""
        found = self._people.message_of(message)
        return self._sim.cdn.sign(found.channel, found.shown.attachments[number])

    # ── state ─────────────────────────────────────────────────────────────────────────────────
    def channel(self, id: int) -> JSON:
        """A channel, thread or DM with its messages, even if deleted."""
        if id not in self._state.channels:
            raise refused(f"no channel {id}")
        return channel_view(self._state.channels[id])

    def message(self, id: int) -> JSON:
        """One message with all its versions, deleted or not."""
        try:
            return message_view(self._state.find(id))
        except KeyError as error:
            raise refused(str(error)) from error

    def state(self) -> JSON:
        """All state outside channels."""
        gateway, limits = self._gateway, self._limits
        return {
            "limited": sum(limits.counts.values()),
            "limited_by": dict(limits.counts),
            "seed": limits.seed,
            "invalid": {str(status): count for status, count in limits.invalid.items()},
            "banned": time.monotonic() < limits.banned_until,
            "typing": self._actions.journal.typing,
            "interactions": [x.shown() for x in self._sim.interactions.all.values()],
            "commands": {str(k): v for k, v in self._sim.application.registered.items()},
            "connections": len(gateway.connections),
            "identifies": gateway.shards.identifies,
            "hasty_identifies": gateway.shards.hasty,
            "closes": gateway.closes,
            "sessions": [
                {
                    "id": session.id,
                    "intents": session.intents,
                    "shard": session.shard,
                    "seq": session.seq,
                    "resumes": session.resumes,
                    "connected": session.connection is not None,
                }
                for session in gateway.sessions.values()
            ],
            "threads": [thread_view(x) for x in self._state.channels.values() if x.is_thread],
            "dms": {str(x.recipient): x.id for x in self._state.channels.values() if x.recipient},
            "granted": sorted(self._state.granted),
        }

    async def wait_idle(self, quiet: float = 0.3, limit: float = 20.0) -> bool:
        """Wait until the bot has sent nothing for `quiet` seconds; False after `limit` seconds."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            received = [x.received for x in self._sim.record[-1:]]
            still = not received or time.time() - received[0] > quiet + self._sim.rtt
            if still and not self._sim.busy and self._gateway.idle and self._actions.settled:
                return True
            await asyncio.sleep(0.02)
        return False

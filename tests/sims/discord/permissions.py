"""Permissions: computed as Discord documents, and checks that raise Discord's errors."""

from __future__ import annotations

from tests.sims.discord import constants as c
from tests.sims.discord.errors import ApiError, Forbidden, NotFound, missing_access, thread_archived
from tests.sims.discord.state import Channel, ServerState

EVERYTHING = (1 << 53) - 1


def bits(names: list[str]) -> int:
    """The bits of permission names such as `send_messages`; raises KeyError for unknown names."""
    return sum({c.PERMISSIONS[name] for name in names})


def in_guild(state: ServerState, user: int, guild: int) -> int:
    """The permission bits of `user` in a guild, without a channel's overwrites."""
    found = state.guilds[guild]
    bits = 0
    for role in (guild, *found.members[user]):
        bits |= found.roles[role].permissions
    everything = user == found.owner or bits & c.PERMISSIONS["administrator"]
    return EVERYTHING if everything else bits


def permissions(state: ServerState, user: int, channel: Channel) -> int:
    """The permission bits of `user` in `channel`; 0 without access."""
    if channel.guild is None:
        return EVERYTHING if user in (c.BOT, channel.recipient) else 0
    guild = state.guilds[channel.guild]
    if user not in guild.members or (user == c.BOT and not guild.bot_inside):
        return 0
    base = in_guild(state, user, guild.id)
    if base == EVERYTHING:
        return EVERYTHING
    place = state.channels[channel.parent] if channel.parent is not None else channel
    base = _overwritten(base, place, [guild.id])
    base = _overwritten(base, place, guild.members[user])
    base = _overwritten(base, place, [user])
    return base if base & c.PERMISSIONS["view_channel"] else 0


def _overwritten(base: int, channel: Channel, targets: list[int]) -> int:
    """`base` with the overwrites of `targets`: first all denials, then all allowances."""
    found = [channel.overwrites[target] for target in targets if target in channel.overwrites]
    for overwrite in found:
        base &= ~overwrite.deny
    for overwrite in found:
        base |= overwrite.allow
    return base


def may(state: ServerState, channel: Channel, name: str, user: int = c.BOT) -> bool:
    """Whether `user` has the permission `name` in `channel`."""
    return bool(permissions(state, user, channel) & c.PERMISSIONS[name])


def need(state: ServerState, channel: Channel, *names: str) -> None:
    """Raise 50013 unless the bot has all of the permissions."""
    if not all(may(state, channel, name) for name in names):
        raise Forbidden


def visible(state: ServerState, channel_id: int) -> Channel:
    """The channel; raises 10003 if there is none, 50001 if the bot cannot see it."""
    channel = state.channels.get(channel_id)
    if channel is None or channel.deleted is not None:
        raise NotFound("Channel")
    if not may(state, channel, "view_channel"):
        raise missing_access()
    return channel


def need_to_send(state: ServerState, channel: Channel) -> None:
    """Raise an error unless the bot may post in `channel`, which may be an archived thread."""
    if channel.kind == c.FORUM_CHANNEL:
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    if channel.recipient is not None and not state.users[channel.recipient].dms_open:
        raise Forbidden(50007, "Cannot send messages to this user")
    need(state, channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
    need_unlocked(state, channel)


def need_unarchived(channel: Channel) -> None:
    """Raise an error if the thread is archived: its messages cannot be changed."""
    if channel.archived:
        raise thread_archived()


def need_unlocked(state: ServerState, channel: Channel) -> None:
    """Raise an error if the thread is locked: only its managers may post in it."""
    if channel.locked and not may(state, channel, "manage_threads"):
        raise thread_archived(403)

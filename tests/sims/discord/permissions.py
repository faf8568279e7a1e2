"""Who may do what where: Discord's own computation, and the checks that refuse.

A permission that is not granted is refused with Discord's code for it, never silently allowed.
"""

from __future__ import annotations

from tests.sims.discord import constants as c
from tests.sims.discord.errors import ApiError, Forbidden, Missing, missing_access, thread_archived
from tests.sims.discord.world import Channel, World

EVERYTHING = (1 << 53) - 1


def bits(names: list[str]) -> int:
    """The bits of permission names such as `send_messages`; KeyError for an unknown one."""
    return sum({c.PERMISSIONS[name] for name in names})


def in_guild(world: World, user: int, guild: int) -> int:
    """The permission bits of `user` in a guild, before any channel's overwrites."""
    found = world.guilds[guild]
    bits = 0
    for role in (guild, *found.members[user]):
        bits |= found.roles[role].permissions
    everything = user == found.owner or bits & c.PERMISSIONS["administrator"]
    return EVERYTHING if everything else bits


def permissions(world: World, user: int, channel: Channel) -> int:
    """The permission bits of `user` in `channel`; 0 when they are not there at all."""
    if channel.guild is None:
        return EVERYTHING if user in (c.BOT, channel.recipient) else 0
    guild = world.guilds[channel.guild]
    if user not in guild.members or (user == c.BOT and not guild.bot_inside):
        return 0
    base = in_guild(world, user, guild.id)
    if base == EVERYTHING:
        return EVERYTHING
    place = world.channels[channel.parent] if channel.parent is not None else channel
    base = _overwritten(base, place, [guild.id])
    base = _overwritten(base, place, guild.members[user])
    base = _overwritten(base, place, [user])
    return base if base & c.PERMISSIONS["view_channel"] else 0


def _overwritten(base: int, channel: Channel, targets: list[int]) -> int:
    """`base` with the overwrites of `targets`: all their denials, then all their allowances."""
    found = [channel.overwrites[target] for target in targets if target in channel.overwrites]
    for overwrite in found:
        base &= ~overwrite.deny
    for overwrite in found:
        base |= overwrite.allow
    return base


def may(world: World, channel: Channel, name: str, user: int = c.BOT) -> bool:
    """Whether `user` has the permission `name` in `channel`."""
    return bool(permissions(world, user, channel) & c.PERMISSIONS[name])


def need(world: World, channel: Channel, *names: str) -> None:
    """Refuse the bot with 50013 unless it has all of the permissions."""
    if not all(may(world, channel, name) for name in names):
        raise Forbidden


def visible(world: World, channel_id: int) -> Channel:
    """The channel, or 10003 when there is none and 50001 when the bot cannot see it."""
    channel = world.channels.get(channel_id)
    if channel is None or channel.deleted is not None:
        raise Missing("Channel")
    if not may(world, channel, "view_channel"):
        raise missing_access()
    return channel


def need_to_send(world: World, channel: Channel) -> None:
    """Refuse the bot unless it may post in `channel` now; an archived thread is no obstacle."""
    if channel.kind == c.FORUM_CHANNEL:
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    if channel.recipient is not None and not world.users[channel.recipient].dms_open:
        raise Forbidden(50007, "Cannot send messages to this user")
    need(world, channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
    need_unlocked(world, channel)


def need_unarchived(channel: Channel) -> None:
    """Refuse what changes a message of an archived thread."""
    if channel.archived:
        raise thread_archived()


def need_unlocked(world: World, channel: Channel) -> None:
    """Refuse what is posted in a locked thread, which only its managers may open."""
    if channel.locked and not may(world, channel, "manage_threads"):
        raise thread_archived(403)

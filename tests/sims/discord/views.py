"""What controls tell about channels and messages, in plain JSON with ids as numbers.

Nothing is left out: every version of a message, with its time, who it pings and what it previews.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord.world import Channel, Message, Version

JSON = dict[str, Any]


def version_view(version: Version) -> JSON:
    """One version."""
    return {
        "at": version.at,
        "content": version.content,
        "embeds": version.embeds,
        "components": version.components,
        "attachments": version.attachments,
        "flags": version.flags,
        "pinged": version.pings.names(),
        "previews": version.previews,
    }


def message_view(message: Message) -> JSON:
    """A message as it is shown, and its versions. Only the first version notifies anybody."""
    reference = message.reference or {}
    return {
        **version_view(message.shown),
        "id": message.id,
        "channel": message.channel,
        "author": message.author,
        "type": message.type,
        "at": message.at,
        "edited": message.edited,
        "deleted": message.deleted,
        "reply_to": int(reference["message_id"]) if reference else None,
        "nonce": message.nonce,
        "pinned": message.pinned,
        "thread": message.thread,
        "reactions": message.reactions,
        "interaction": message.interaction,
        "for_user": message.for_user,
        "notified": message.versions[0].pings.names(),
        "versions": [version_view(version) for version in message.versions],
    }


def thread_view(thread: Channel) -> JSON:
    """A thread without its messages."""
    return {
        "id": thread.id,
        "name": thread.name,
        "parent": thread.parent,
        "owner": thread.owner,
        "archived": thread.archived,
        "locked": thread.locked,
        "deleted": thread.deleted,
        "names": thread.names,
    }


def channel_view(channel: Channel) -> JSON:
    """A channel with what is shown in it, what was deleted, and what only one person sees."""
    messages = list(channel.messages.values())
    gone = [m for m in messages if m.deleted is not None]
    private = [m for m in messages if m.deleted is None and m.for_user is not None]
    shown = [m for m in messages if m.deleted is None and m.for_user is None]
    return {
        **thread_view(channel),
        "kind": channel.kind,
        "guild": channel.guild,
        "messages": [message_view(message) for message in shown],
        "deleted_messages": [message_view(message) for message in gone],
        "ephemeral": [message_view(message) for message in private],
    }

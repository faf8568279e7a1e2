"""Channels and messages as the controls return them: JSON with integer ids.

A message includes all its versions, each with its time, pings and previews.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord.state import Channel, Message, Version

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
    """A message's newest version, and all its versions; only the first one notifies people."""
    reference = message.reference or {}
    forwards = bool(message.snapshots)
    return {
        **version_view(message.shown),
        "id": message.id,
        "channel": message.channel,
        "author": message.author,
        "type": message.type,
        "at": message.at,
        "edited": message.edited,
        "deleted": message.deleted,
        "reply_to": None if forwards or not reference else int(reference["message_id"]),
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
    """A channel with its visible, deleted and ephemeral messages."""
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

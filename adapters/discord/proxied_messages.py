"""Matches proxied messages: PluralKit and Tupperbox delete a person's message and repost it as a
webhook.

Pure apart from the time limit. Invariant: a webhook's message counts as a person's only if it
repeats a message that this person sent in the same channel at most ten seconds earlier, and that
message is deleted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

import discord

from adapters.discord.attachments import files_of
from adapters.discord.state import persona_of, raw_of
from bot.domain.conversations import Author

MAX_DELAY = 10.0
"""Seconds between a person's message and the webhook's; both bots take less than one."""
MAX_ID_DISTANCE = int(MAX_DELAY * 1000) << 22  # the same, between snowflakes
MAX_ORIGINALS = 500  # messages, each of a few kilobytes at most
MAX_TAG_CHARACTERS = 100
"""The most characters of tags that a proxy strips from a text; PluralKit documents 100."""


@dataclass(slots=True, eq=False)
class Original:
    """A person's message. `replaced` is set while a webhook's message counts as its copy."""

    id: int
    channel: int
    author: Author
    content: str
    files: tuple[tuple[str, int | None], ...] = ()  # names and sizes
    deleted: asyncio.Event = field(default_factory=asyncio.Event)
    replaced: bool = False

    def is_repeated_by(self, message: discord.Message) -> bool:
        """Whether a webhook's message has the same text, apart from a proxy's tags around it.

        A message with only files is repeated by one with the same files, which have new ids.
        """
        copy, original = message.content.strip(), self.content.strip()
        same_files = bool(self.files) and self.files == _files(message)
        return (
            not self.replaced
            and message.channel.id == self.channel
            and 0 < message.id - self.id <= MAX_ID_DISTANCE
            and (bool(copy) or same_files)
            and copy in original
            and len(original) - len(copy) <= MAX_TAG_CHARACTERS
        )


def _files(message: discord.Message) -> tuple[tuple[str, int | None], ...]:
    files = files_of(raw_of(message), message.channel.id, is_own=False)
    return tuple(sorted(((file.name, file.size) for file in files), key=repr))


class ProxiedMessages:
    """Recent messages of people, matched with webhooks' messages that repeat them."""

    def __init__(self) -> None:
        self._originals: OrderedDict[int, Original] = OrderedDict()

    def remember(self, message: discord.Message, author: Author) -> None:
        """Keep a person's message if it is in a guild: only guilds have webhooks."""
        if message.guild is None or persona_of(message) is not None:
            return
        original = Original(
            message.id, message.channel.id, author, message.content, _files(message)
        )
        self._originals.setdefault(message.id, original)
        while len(self._originals) > MAX_ORIGINALS:
            self._originals.popitem(last=False)

    def match(self, message: discord.Message) -> Original | None:
        """The newest message that a webhook's message repeats, whether or not it is deleted."""
        newest_first = reversed(self._originals.values())
        return next((o for o in newest_first if o.is_repeated_by(message)), None)

    async def wait_for_original(self, message: discord.Message) -> Original | None:
        """Wait until the message that a webhook repeats is deleted, and return it; None if it is
        not deleted."""
        found = self.match(message)
        if found is None:
            return None
        found.replaced = True
        try:
            async with asyncio.timeout(MAX_DELAY):
                await found.deleted.wait()
        except TimeoutError:
            found.replaced = False
            return None
        return found

    def mark_deleted(self, message: int) -> bool:
        """Record a deletion; returns whether a webhook's message replaces the deleted one."""
        found = self._originals.get(message)
        if found is None:
            return False
        found.deleted.set()
        return found.replaced

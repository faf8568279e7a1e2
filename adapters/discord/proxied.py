"""Messages that a webhook says for a person: PluralKit and Tupperbox delete what people wrote and
post it again under another name.

Pure but for its clock. Invariant: a webhook's message stands for a person only when it repeats what
that person wrote in the same channel at most ten seconds before, and what they wrote is deleted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

import discord

from adapters.discord.state import persona_of
from bot.domain.conversations import Author

WITHIN = 10.0
"""Seconds between a person's message and the webhook's; both bots take less than one."""
WITHIN_IDS = int(WITHIN * 1000) << 22  # the same, between snowflakes
MOST_KEPT = 500  # messages, each of a few kilobytes at most
TAG_CHARACTERS = 100
"""What a proxy bot takes away around a text: documented for PluralKit are 100 characters."""


@dataclass(slots=True, eq=False)
class Original:
    """What a person wrote; `deleted` is set when it is gone, `taken` when a webhook repeated it."""

    id: int
    channel: int
    author: Author
    content: str
    deleted: asyncio.Event = field(default_factory=asyncio.Event)
    taken: bool = False

    def is_repeated_by(self, message: discord.Message) -> bool:
        """Whether a webhook's message has these words, without a proxy's tags around them."""
        said, wrote = message.content.strip(), self.content.strip()
        return (
            not self.taken
            and message.channel.id == self.channel
            and 0 < message.id - self.id <= WITHIN_IDS
            and bool(said)
            and said in wrote
            and len(wrote) - len(said) <= TAG_CHARACTERS
        )


class Proxied:
    """What people wrote last, and which webhooks' messages repeat it."""

    def __init__(self) -> None:
        self._originals: OrderedDict[int, Original] = OrderedDict()

    def wrote(self, message: discord.Message, author: Author) -> None:
        """A person wrote something where webhooks can be."""
        if message.guild is None or persona_of(message) is not None:
            return
        original = Original(message.id, message.channel.id, author, message.content)
        self._originals.setdefault(message.id, original)
        while len(self._originals) > MOST_KEPT:
            self._originals.popitem(last=False)

    def match(self, message: discord.Message) -> Original | None:
        """The newest message of a person that a webhook's message repeats, deleted or not."""
        newest_first = reversed(self._originals.values())
        return next((o for o in newest_first if o.is_repeated_by(message)), None)

    async def original_of(self, message: discord.Message) -> Original | None:
        """What a webhook's message stands for, once that is deleted; None when it is not."""
        found = self.match(message)
        if found is None:
            return None
        found.taken = True
        try:
            async with asyncio.timeout(WITHIN):
                await found.deleted.wait()
        except TimeoutError:
            found.taken = False
            return None
        return found

    def deleted(self, message: int) -> bool:
        """A message was deleted: whether a webhook's message takes its place."""
        found = self._originals.get(message)
        if found is None:
            return False
        found.deleted.set()
        return found.taken

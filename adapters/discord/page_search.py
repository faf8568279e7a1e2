"""Finding pages that were posted although the ledger does not know their messages.

A message that says by its buttons, or by the ledger, that it is something else is never taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import discord

from adapters.discord.buttons import identity_of
from adapters.discord.events import SPOKEN
from adapters.discord.history import HistoryPage, read_page
from adapters.discord.payloads import answers_command
from adapters.discord.rest import RestApi
from adapters.discord.state import raw_of
from bot.domain.replies import Priority
from bot.domain.turns import Claim

MOST_READS = 5  # of a channel where much was said since


class Search:
    """Looks through `place` after the turn's last question; `in_chain`: pages reply to it.

    `taken` are the messages of pages that are known.
    """

    def __init__(
        self, *, wire: RestApi, claim: Claim, place: str, in_chain: bool, taken: Set[str]
    ) -> None:
        self._wire, self._claim, self._place, self._in_chain = wire, claim, place, in_chain
        self._questions = {question.message_id for question in claim.questions}
        self._taken = {page.message_id for page in claim.pages} | taken

    async def find(self, lost: Set[int]) -> Mapping[int, discord.Message]:
        """The messages of the pages `lost`, as far as they are there, by page."""
        found: dict[int, discord.Message] = {}
        plain: list[discord.Message] = []
        after = max(int(question) for question in self._questions)
        for _ in range(MOST_READS):
            read = await self._read(after)
            await self._sort(read.messages, lost, found, plain)
            if not read.full or lost <= found.keys():
                break
            after = read.newest
        return found | dict(zip(sorted(lost - found.keys()), plain, strict=False))

    async def _read(self, after: int) -> HistoryPage:
        """Up to a hundred messages, oldest first."""
        client, place = await self._wire.client(), int(self._place)
        channel = client.get_partial_messageable(place)
        return await read_page(self._wire, channel, place, after=after, priority=Priority.FIRST)

    async def _sort(
        self,
        read: Sequence[discord.Message],
        lost: Set[int],
        found: dict[int, discord.Message],
        plain: list[discord.Message],
    ) -> None:
        me = (await self._wire.client()).user
        for message in read:
            if me is None or message.author.id != me.id or str(message.id) in self._taken:
                continue
            identity = identity_of(message)
            if identity is not None:
                if identity.turn == self._claim.fence.turn and identity.page in lost:
                    found.setdefault(identity.page, message)
            elif await self._may_be_page(message):
                plain.append(message)

    async def _may_be_page(self, message: discord.Message) -> bool:
        """Whether a message without buttons can be nothing but a page of this turn."""
        if message.type not in SPOKEN or answers_command(raw_of(message)):
            return False
        refers_to = message.reference.message_id if message.reference is not None else None
        expected = str(refers_to) in self._questions if self._in_chain else refers_to is None
        if not expected:
            return False
        guild = self._claim.conversation.key.workspace
        return await self._wire.known(f"discord/{guild}/{self._place}/{message.id}") is None

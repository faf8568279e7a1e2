"""Finds pages that a crashed attempt posted without recording their message ids.

A message that the ledger or its buttons assign to anything else is never taken for such a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import discord

from adapters.discord.buttons import page_id_of
from adapters.discord.events import USER_MESSAGE_TYPES
from adapters.discord.history import MessagePage, read_page
from adapters.discord.payloads import is_command_response
from adapters.discord.rest import RestApi
from adapters.discord.state import raw_of
from bot.domain.replies import Priority
from bot.domain.turns import Claim

MAX_READS = 5  # requests of 100 messages each, in a busy channel


class PageSearch:
    """Searches `channel` from the turn's last question on.

    If `in_chain`, pages are replies to a question. `known` are the ids of messages that show other
    pages.
    """

    def __init__(
        self, *, rest: RestApi, claim: Claim, channel: str, in_chain: bool, known: Set[str]
    ) -> None:
        self._rest, self._claim, self._channel = rest, claim, channel
        self._in_chain = in_chain
        self._questions = {question.message_id for question in claim.questions}
        self._known = {page.message_id for page in claim.pages} | known

    async def find(self, lost: Set[int]) -> Mapping[int, discord.Message]:
        """Messages by page number, for those of the pages `lost` that were posted."""
        found: dict[int, discord.Message] = {}
        without_buttons: list[discord.Message] = []
        after = max(int(question) for question in self._questions)
        for _ in range(MAX_READS):
            history = await self._read(after)
            await self._sort(history.messages, lost, found, without_buttons)
            if not history.full or lost <= found.keys():
                break
            after = history.newest
        return found | dict(zip(sorted(lost - found.keys()), without_buttons, strict=False))

    async def _read(self, after: int) -> MessagePage:
        """Up to a hundred messages, oldest first."""
        client, id_ = await self._rest.client(), int(self._channel)
        channel = client.get_partial_messageable(id_)
        return await read_page(self._rest, channel, id_, after=after, priority=Priority.FIRST)

    async def _sort(
        self,
        messages: Sequence[discord.Message],
        lost: Set[int],
        found: dict[int, discord.Message],
        without_buttons: list[discord.Message],
    ) -> None:
        me = (await self._rest.client()).user
        for message in messages:
            if me is None or message.author.id != me.id or str(message.id) in self._known:
                continue
            page_id = page_id_of(message)
            if page_id is not None:
                if page_id.turn == self._claim.fence.turn and page_id.page in lost:
                    found.setdefault(page_id.page, message)
            elif await self._can_be_page(message):
                without_buttons.append(message)

    async def _can_be_page(self, message: discord.Message) -> bool:
        """Whether a message without buttons can only be a page of this turn."""
        if message.type not in USER_MESSAGE_TYPES or is_command_response(raw_of(message)):
            return False
        reply_to = message.reference.message_id if message.reference is not None else None
        expected = str(reply_to) in self._questions if self._in_chain else reply_to is None
        if not expected:
            return False
        guild = self._claim.conversation.key.workspace
        source = f"discord/{guild}/{self._channel}/{message.id}"
        return await self._rest.conversation_of(source) is None

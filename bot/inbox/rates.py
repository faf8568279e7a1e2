"""Keeps questions, retries and continuations within the rates of the rules.

Invariant: a question or command that comes too early is neither stored nor executed and costs no
model call. Only its author gets a notice, at most once a minute.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from cachetools import TTLCache

from bot.domain import access_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.inbox import Accepted, Address, Command, CommandReply, Incoming, Receipt
from bot.inbox.commands import CONTINUE, RETRY
from bot.inbox.notices import MAX_ENTRIES, PERSON_SECONDS
from bot.policy.rates import QuestionRates, RateRefusal
from bot.ports.clock import Clock
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

Tell = Callable[[Incoming, str], None]
"""Shows a sentence in the background, only to the author of a message."""


class RateGate:
    """Counts each question and command that costs a model call before it is accepted."""

    def __init__(self, *, rates: QuestionRates, store: Store, clock: Clock, tell: Tell) -> None:
        self._rates, self._store, self._clock, self._tell = rates, store, clock, tell
        self._told: TTLCache[tuple[str, str, str], bool] = TTLCache(
            MAX_ENTRIES, PERSON_SECONDS, clock.monotonic
        )

    async def accept(
        self, incoming: Incoming, store_it: Callable[[], Awaitable[Accepted]]
    ) -> Accepted:
        """Store a message with `store_it`, unless it is a question that comes too early."""
        if incoming.address is Address.ASIDE or incoming.late or incoming.from_bot:
            return await store_it()
        key, author, at = incoming.key, incoming.author, incoming.sent_at
        refusal = await self._rates.count(key, author, at)
        if refusal is not None:
            return await self._refuse(incoming, refusal)
        is_question = False
        try:
            accepted = await store_it()
            is_question = accepted.receipt is Receipt.QUESTION
        finally:
            if not is_question:
                self._rates.take_back(key, author, at)
        return accepted

    async def _refuse(self, incoming: Incoming, refusal: RateRefusal) -> Accepted:
        if await self._store.conversation_of(incoming.source) is not None:
            return Accepted(Receipt.KNOWN)
        if self._rates.is_shared:  # another process may receive it again after the minute
            await self._store.keep_out(incoming.source)
        log.info("a question came too early", conversation=str(incoming.key), own=refusal.own)
        person = (incoming.key.platform, incoming.key.workspace, incoming.author.id)
        if person not in self._told:
            self._told[person] = True
            self._tell(incoming, _sentence(refusal))
        return Accepted(Receipt.TOO_EARLY)

    async def run(
        self, command: Command, execute: Callable[[Command], Awaitable[CommandReply]]
    ) -> CommandReply:
        """Execute a command, unless it would ask the model and comes too early."""
        if command.name not in (RETRY, CONTINUE):
            return await execute(command)
        key, author, at = command.key, command.author, self._clock.time()
        refusal = await self._rates.count(key, author, at)
        if refusal is not None:
            if command.source:
                await self._store.record_command(command.source)
            log.info("a command came too early", command=command.name, conversation=str(key))
            return CommandReply(_sentence(refusal), refused=True)
        reply = None
        try:
            reply = await execute(command)
        finally:
            if reply is None or reply.text:
                self._rates.take_back(key, author, at)
        return reply

    def count_edit(self, incoming: Incoming) -> None:
        """Count the edit of a question, which asks the model again. It is never refused, because
        the answer has to follow the text."""
        self._rates.add(incoming.key, incoming.author.id, self._clock.time())

    async def wait_seconds(self, key: ConversationKey, author: Author) -> float:
        """Seconds until the person may ask here again; 0 means now."""
        refusal = await self._rates.refusal(key, author, self._clock.time())
        return 0.0 if refusal is None else refusal.seconds


def _sentence(refusal: RateRefusal) -> str:
    return access_texts.too_early(refusal.seconds, own=refusal.own)

"""Applies edits and deletions of messages that the inbox has already stored.

Invariant: the database changes first, which makes the running attempt's claim stale. Only then is
the attempt interrupted, so it cannot store a result for the old text in between.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Address, Change, Effect, Incoming
from bot.domain.turns import Outcome
from bot.ports.clock import Clock
from bot.ports.privacy import ErasedHere
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

log = structlog.stdlib.get_logger(__name__)

RECENT_EDIT_SECONDS = 300.0
"""Seconds in which an edit can turn an unstored message into a question: platforms send the same
event when an edited message is later pinned or gets a preview. For a message addressed to no one in
particular, the time starts when the message was sent."""


class EditHandler:
    """Applies edits and deletions.

    If `with_reply` is true, deleting a turn's last question also takes back its reply.
    """

    def __init__(
        self, *, store: Store, scheduler: Scheduler, clock: Clock, with_reply: bool
    ) -> None:
        self._store, self._scheduler, self._clock = store, scheduler, clock
        self._with_reply = with_reply

    async def apply_edit(
        self,
        incoming: Incoming,
        edited_at: float,
        *,
        withheld: bool = False,
        on_reopened: Callable[[], None] = lambda: None,
    ) -> bool:
        """Store the new text, and reopen the newest turn if it answers this message.

        `on_reopened` is called if the turn was reopened. `withheld`: see `Store.edit`. Returns
        False if the message is not stored and the edit makes it a question.
        """
        change = await self._store.edit(
            incoming.source, incoming.text, edited_at, incoming.attachments, withheld=withheld
        )
        if change.effect is Effect.UNKNOWN:
            # Correcting an old message that was addressed to no one in particular asks nothing new.
            is_to_no_one = incoming.address is Address.CHANNEL
            since = incoming.sent_at if is_to_no_one else edited_at
            is_recent = self._clock.time() - since < RECENT_EDIT_SECONDS
            return not (is_recent and incoming.address.begins)
        if change.effect is Effect.REOPENED:
            on_reopened()
        self._act_on(change, "edited")
        return True

    async def apply_deletion(self, source: str) -> None:
        """Erase a person's message; if the message is a page of a reply, take back the reply."""
        self._act_on(await self._store.erase(source, with_reply=self._with_reply), "deleted")

    async def apply_replacement(self, source: str) -> None:
        """Erase a message and its reply, because the same text arrived as another message."""
        self._act_on(await self._store.erase(source, with_reply=True), "replaced")

    def follow_erasure(self, here: ErasedHere) -> None:
        """Restart or end the turns of a conversation after a person was erased from it."""
        for change in here.changes:
            self._act_on(change, "erased")
        if here.gone is not None:
            self._scheduler.interrupt_within(here.gone, Outcome.GONE)

    def interrupt_within(self, parent: ConversationKey) -> None:
        """End the turns within a thread, channel or workspace that the bot can no longer reach."""
        turns = self._scheduler.interrupt_within(parent, Outcome.GONE)
        log.info("a channel is no longer reachable", channel=str(parent), turns=turns)

    def _act_on(self, change: Change, event: str) -> None:
        if change.effect not in (Effect.UNKNOWN, Effect.SAME):
            log.info(f"a message was {event}", turn=change.turn, effect=change.effect.value)
        if change.effect is Effect.REOPENED:
            self._scheduler.restart(change.conversation, change.turn)
        elif change.effect is Effect.STOP:
            self._scheduler.interrupt(change.conversation, Outcome.STOPPED, change.turn)

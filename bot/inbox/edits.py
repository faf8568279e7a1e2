"""What people do afterwards with what was said: edit it, delete it, take its place away.

Invariant: the database is changed first, and makes whoever works on the old text stale; only then
is the work interrupted, so that nothing of the old text can be concluded in between.
"""

from __future__ import annotations

import structlog

from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Change, Effect, Incoming
from bot.domain.turns import Outcome
from bot.ports.clock import Clock
from bot.ports.store import Store
from bot.turns.scheduler import Scheduler

log = structlog.stdlib.get_logger(__name__)

# An edit of a message that is not stored makes it a question only so soon afterwards, in seconds:
# platforms send the same event when a message that was once edited is pinned, or gets a preview.
JUST_NOW = 300.0


class EditHandler:
    """Carries them out. `with_reply`: a reply is deleted with the last of its questions."""

    def __init__(
        self, *, store: Store, scheduler: Scheduler, clock: Clock, with_reply: bool
    ) -> None:
        self._store, self._scheduler, self._clock = store, scheduler, clock
        self._with_reply = with_reply

    async def edited(self, incoming: Incoming, edited_at: float) -> bool:
        """Keep the new text, and answer it anew where it is the newest question's.

        False when this is no edit but a message that was never stored, and now asks something.
        """
        change = await self._store.edit(incoming.source, incoming.text, edited_at)
        if change.effect is Effect.UNKNOWN:
            just_now = self._clock.time() - edited_at < JUST_NOW
            return not (just_now and incoming.address.begins)
        self._act(change, "edited")
        return True

    async def deleted(self, source: str) -> None:
        """Forget a person's message, or a reply of ours."""
        self._act(await self._store.erase(source, with_reply=self._with_reply), "deleted")

    async def replaced(self, source: str) -> None:
        """Forget a person's message and the reply to it: the same words came as another message."""
        self._act(await self._store.erase(source, with_reply=True), "replaced")

    def gone(self, place: ConversationKey) -> None:
        """End what is being written in `place`."""
        ended = self._scheduler.interrupt_in(place, Outcome.GONE)
        log.info("a place is gone", place=str(place), turns=ended)

    def _act(self, change: Change, what: str) -> None:
        if change.effect not in (Effect.UNKNOWN, Effect.SAME):
            log.info(f"a message was {what}", turn=change.turn, effect=change.effect.value)
        if change.effect is Effect.REOPENED:
            self._scheduler.restart(change.conversation, change.turn)
        elif change.effect is Effect.STOP:
            self._scheduler.interrupt(change.conversation, Outcome.STOPPED, change.turn)

"""The last questions of conversations, looked at after a gap: were they edited, or deleted?

No platform is sure to send an edit or a deletion again, and one look costs a request. So only the
few conversations are looked at in which somebody may still care, when all that was missed is read;
and of those only the ones whose question no read has brought as it is now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bot.catchup.backfill import BackfillQueue
from bot.domain.inbox import Asked
from bot.ports.inbox import Inbox

LAST = (3.0,)  # the rank of what is looked at when all is read


class LastQuestions:
    """Of one platform. `look` reads one as it is now, tells the core what became of it, and may
    raise what `BackfillQueue` tries again after.
    """

    def __init__(
        self, *, platform: str, inbox: Inbox, look: Callable[[Asked], Awaitable[None]]
    ) -> None:
        self._platform, self._inbox, self._look = platform, inbox, look
        self._unseen: set[str] = set()

    async def before(self, workspace: str, reads: BackfillQueue) -> list[Asked]:
        """Those that are known before anything that was missed is read."""
        found = [asked for asked in await self._last(reads) if asked.key.workspace == workspace]
        self._unseen.update(asked.source for asked in found)
        return found

    def seen(self, source: str) -> None:
        """A read brought this message as it is now."""
        self._unseen.discard(source)

    async def look_at(self, before: Sequence[Asked], reads: BackfillQueue) -> None:
        """Look at those that are the last still: the others were followed by what was missed."""
        unseen = [asked for asked in before if asked.source in self._unseen]
        self._unseen.difference_update(asked.source for asked in before)
        if not unseen:
            return
        still = set(await self._last(reads))
        for asked in unseen:
            if asked in still:
                reads.add(f"question {asked.source}", LAST, partial(self._look_at, asked))

    async def _last(self, reads: BackfillQueue) -> Sequence[Asked]:
        found = await reads.get(
            "questions", (-1,), lambda: self._inbox.last_questions(self._platform)
        )
        return found or ()

    async def _look_at(self, asked: Asked) -> bool:
        await self._look(asked)
        return False

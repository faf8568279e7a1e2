"""Erases conversations that their owners deleted, once the time for undoing the deletion has
passed.

Invariant: the deletion times in the database decide, so a restart forgets no deletion, and no page
has to stay open.
"""

from __future__ import annotations

import structlog

from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.library import Library

log = structlog.stdlib.get_logger(__name__)

UNDO_SECONDS = 8.0
"""How long a page offers to undo a deletion."""

GRACE_SECONDS = UNDO_SECONDS + 4.0
"""Seconds until the erasure. The margin lets a click in the last moment, sent over a slow
connection, still undo the deletion."""

ROUND_SECONDS = 5.0
"""Seconds between rounds. Each reads an index once, which is usually empty."""

MOST = 100
"""The most conversations in one round; after a full round, the next one follows without a pause."""


class DeletionKeeper:
    """The background task. Several processes may run it, because each erasure is one
    transaction."""

    def __init__(self, *, library: Library, clock: Clock) -> None:
        self._library, self._clock = library, clock

    async def run(self) -> None:
        """Erase what is due, now and periodically, until cancelled."""
        while True:
            erased = 0
            try:
                erased = await self.erase_due()
            except StoreUnavailable as error:
                log.warning("deleted conversations are erased later", error=str(error))
            if erased < MOST:
                await self._clock.sleep(ROUND_SECONDS)

    async def erase_due(self) -> int:
        """Erase all conversations that are due, and return how many there were. Raises
        StoreUnavailable."""
        before = self._clock.time() - GRACE_SECONDS
        found = await self._library.hidden(before=before, limit=MOST)
        return sum([await self._erase(uid, before) for uid in found])

    async def _erase(self, uid: str, before: float) -> bool:
        try:
            erased = await self._library.erase_hidden(uid, before=before)
        except StoreUnavailable:
            raise
        except Exception:
            # If erasing one conversation fails, it stays hidden, and the others are still erased.
            log.exception("a deleted conversation could not be erased", conversation=uid)
            return False
        if erased:
            log.info("a deleted conversation was erased", conversation=uid)
        return erased

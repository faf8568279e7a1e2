"""Rereads the gaps in which one of several processes, or the platform, may have lost messages.

Invariant: a gap is finished only after a complete read that began once the gap had settled. So the
reading process may die at any moment: the next one reads again.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import PlatformError, StoreUnavailable
from bot.domain.inbox import Gap
from bot.ports.clock import Clock
from bot.ports.inbox import CatchUpInbox

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 5.0
"""Seconds between two checks for gaps. Once its process's lease has ended, a lost question waits at
most this long to be found."""

READ_AGAIN = Backoff(first=10.0, longest=300.0)
"""Pauses after a read that was not complete."""

SHORTEST_REST, LONGEST_REST = 10.0, 120.0
"""Bounds of the rest after a read, in seconds.

The reader rests for as long as the read took, so that reading uses at most half of the time, and
only requests that nothing else needs. One read covers all gaps.
"""


_LOST = "lost:"  # the prefix of the ids of gaps that are only in memory


@dataclass(frozen=True, slots=True)
class _Loss:
    id: str
    since: float
    settles_at: float


class GapReader:
    """Reads the gaps recorded for the reader `name` while `run` runs, in one process at a time.

    `read` accepts all messages after a time (Unix seconds), whatever the watermarks say, and
    returns whether the read was complete. Its second argument is False while no gap has settled:
    then it may trust the platform's counts. `catch_up` starts reading after the watermarks; it is
    called only if there is no gap at first, because reading gaps has the same effect.
    """

    def __init__(
        self,
        *,
        name: str,
        inbox: CatchUpInbox,
        clock: Clock,
        read: Callable[[float, bool], Awaitable[bool]],
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._name, self._inbox, self._clock = name, inbox, clock
        self._read, self._catch_up = read, catch_up
        self._seen: frozenset[str] = frozenset()
        self._loss: _Loss | None = None
        self._failures = 0

    def report_loss(self, seconds: float, *, lasts: float = 0.0) -> None:
        """Report that the platform gave up events of the last `seconds`, and may give up those of
        the next `lasts` seconds.

        This gap is only in memory: a process that ends before it was read does not read it.
        """
        now, before = self._clock.time(), self._loss
        since = now - seconds if before is None else min(before.since, now - seconds)
        settles_at = self._clock.monotonic() + lasts
        self._loss = _Loss(f"{_LOST}{uuid.uuid4().hex}", since, settles_at)

    def _losses(self) -> list[Gap]:
        if (loss := self._loss) is None:
            return []
        return [Gap(loss.id, loss.since, self._clock.monotonic() >= loss.settles_at)]

    async def run(self, begun: Callable[[], None] = lambda: None) -> None:
        """Catch up, then look for gaps until cancelled; the first read calls `begun`."""
        self._seen, is_first = frozenset(), True
        while True:
            try:
                gaps = await self._inbox.gaps(self._name)
            except StoreUnavailable as error:
                log.debug("cannot look for gaps", error=str(error))
                gaps = ()
            gaps = [*gaps, *self._losses()]
            if is_first:
                is_first = False
                if not gaps:
                    await self._catch_up()
                begun()
            await self._clock.sleep(await self._read_due(gaps))

    async def _read_due(self, gaps: Sequence[Gap]) -> float:
        """Read the gaps that are new or have settled; return the seconds until the next check."""
        due = [gap.since for gap in gaps if gap.is_settled or gap.id not in self._seen]
        if not due:
            return LOOK_SECONDS
        since, began = min(due), self._clock.monotonic()
        log.info("rereading what may be lost", reader=self._name, gaps=len(gaps))
        if not await self._read_since(since, any(gap.is_settled for gap in gaps)):
            self._failures += 1
            return READ_AGAIN.after(self._failures)
        self._failures, self._seen = 0, frozenset(gap.id for gap in gaps)
        with suppress(StoreUnavailable):  # at worst, the gap is read once more
            await self._finish([gap for gap in gaps if gap.is_settled])
        return min(max(SHORTEST_REST, self._clock.monotonic() - began), LONGEST_REST)

    async def _read_since(self, since: float, everything: bool) -> bool:
        try:
            return await self._read(since, everything)
        except (PlatformError, StoreUnavailable) as error:
            log.warning("a gap could not be read", reader=self._name, error=str(error))
        except Exception:
            # A bug in one read must not prevent the next one.
            log.exception("reading a gap failed", reader=self._name)
        return False

    async def _finish(self, gaps: list[Gap]) -> None:
        if self._loss is not None and self._loss.id in {gap.id for gap in gaps}:
            self._loss = None
        stored = [gap for gap in gaps if not gap.id.startswith(_LOST)]
        if stored:
            await self._inbox.finish_gaps(self._name, stored)

"""Removes from one platform what an adapter could not remove when a reply ended.

Sends the adapter's requests again until the platform carries them out or refuses them permanently.

Invariant: a leftover is recorded before its turn ends, and stays recorded until it is removed. So
if a process dies, another one or the next start continues.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress

import structlog

from bot.common.retry import Backoff, retry_while_unavailable
from bot.domain.errors import (
    Gone,
    LostOwnership,
    PlatformError,
    Refused,
    StoreUnavailable,
    Throttled,
    Unsettled,
)
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.ports.clock import Clock
from bot.ports.inbox import LeftoverInbox

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 10.0
"""Seconds between two checks. A leftover recorded since the last check is skipped once, because the
process that recorded it is probably still trying to remove it."""

REMOVAL_SECONDS, MAX_CONCURRENT = 60.0, 10
"""The timeout of one removal in seconds, and the number of concurrent removals. Together they keep
a removal that hangs from delaying the others."""

PAUSES = Backoff(first=10.0, longest=300.0)
"""Pauses after a failed removal. If the platform throttles the request, the platform's delay
applies, up to the longest pause."""

KEPT_SECONDS = 86_400.0
"""Seconds after which a leftover is given up: one day."""

USED_BY_TURNS = frozenset({LeftoverKind.STATUS, LeftoverKind.THREAD, LeftoverKind.FILE})
"""Kinds that an unfinished turn of the conversation may still need, so they wait for its end. For a
message, the ledger says whether it is needed."""


class Leftovers:
    """The leftovers on `platform`.

    `remove` sends one request and raises a PlatformError; Gone and Refused mean that retrying is
    useless. `alone` is a context manager that only one process can be inside.
    """

    def __init__(
        self,
        *,
        platform: str,
        inbox: LeftoverInbox,
        clock: Clock,
        remove: Callable[[Leftover], Awaitable[None]],
        alone: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._platform, self._inbox, self._clock = platform, inbox, clock
        self._remove, self._alone = remove, alone
        self._own: set[Leftover] = set()  # those that other parts of this process still remove
        self._seen: frozenset[Leftover] | None = None  # at the last look; None before the first
        # The number of failures, and the monotonic time before which no further request is sent.
        self._failed: dict[Leftover, tuple[int, float]] = {}

    # ── for the parts of this process ─────────────────────────────────────────────────────────
    async def record(self, leftover: Leftover) -> None:
        """Record a leftover that the caller keeps trying to remove, until `settle` or `release`.

        Retries while the database fails, and returns once the leftover is stored. If this call is
        cancelled, the leftover may have been stored, and no longer belongs to the caller.
        """
        self._own.add(leftover)
        try:
            await retry_while_unavailable(
                lambda: self._inbox.add_leftover(leftover), self._clock.sleep
            )
        except BaseException:
            self.release(leftover)
            raise

    async def leave(self, leftover: Leftover) -> None:
        """Record a leftover that the caller will not try to remove again."""
        await self.record(leftover)
        self.release(leftover)

    def release(self, leftover: Leftover) -> None:
        """Give up the caller's claim on a leftover: the next check removes it."""
        self._own.discard(leftover)

    async def settle(self, leftover: Leftover) -> None:
        """Delete the record of a leftover that was removed or never can be."""
        try:
            await retry_while_unavailable(
                lambda: self._inbox.remove_leftover(leftover), self._clock.sleep
            )
        finally:
            self.release(leftover)

    async def messages_of(self, conversation: int) -> frozenset[str]:
        """The ids of the conversation's messages that are leftovers, so no longer pages of a reply.

        Raises StoreUnavailable.
        """
        found = await self._inbox.leftovers_of(conversation)
        return frozenset(each.name for each in found if each.kind is LeftoverKind.MESSAGE)

    # ── what others left ──────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside this context, remove what ended processes left, unless another process does so."""
        task = asyncio.create_task(self._run(), name=f"{self._platform} leftovers")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._seen = None
            with suppress(LostOwnership):
                async with self._alone():
                    while True:
                        await self._look()
                        await self._clock.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        """Remove what is due."""
        try:
            found = await self._inbox.leftovers(self._platform)
        except StoreUnavailable as error:
            log.debug("cannot look for leftovers", error=str(error))
            return
        known = frozenset(found)
        due = [each for each in found if self._seen is None or each in self._seen]
        self._seen = known
        self._failed = {each: state for each, state in self._failed.items() if each in known}
        places = asyncio.Semaphore(MAX_CONCURRENT)
        async with asyncio.TaskGroup() as removals:
            for leftover in due:
                if leftover not in self._own and self._is_time_for(leftover):
                    removals.create_task(self._remove_one(leftover, places))

    def _is_time_for(self, leftover: Leftover) -> bool:
        _, not_before = self._failed.get(leftover, (0, 0.0))
        return self._clock.monotonic() >= not_before

    async def _remove_one(self, leftover: Leftover, places: asyncio.Semaphore) -> None:
        async with places:
            wait = await self._try_removing(leftover)
        if wait is None:
            with suppress(StoreUnavailable):  # at worst, one more request is sent
                await self._inbox.remove_leftover(leftover)
            return
        failures = self._failed.get(leftover, (0, 0.0))[0] + 1
        pause = min(max(PAUSES.after(failures), wait), PAUSES.longest)
        self._failed[leftover] = (failures, self._clock.monotonic() + pause)

    async def _try_removing(self, leftover: Leftover) -> float | None:
        """Try to remove a leftover. Return None if it is settled, else the seconds to wait."""
        kind = leftover.kind.value
        if self._clock.time() - leftover.created_at > KEPT_SECONDS:
            log.warning("a leftover is given up", kind=kind, name=leftover.name)
            return None
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                if not await self._is_page(leftover):
                    await self._check_turns(leftover)
                    await self._remove(leftover)
        except (Gone, Refused) as error:
            log.warning("a leftover cannot be removed", kind=kind, error=str(error))
        except Throttled as error:
            return error.retry_after
        except (PlatformError, StoreUnavailable, TimeoutError) as error:
            log.info("a leftover will be removed later", kind=kind, error=repr(error))
            return 0.0
        except Exception:
            # A bug in one removal must not stop the others.
            log.exception("removing a leftover failed", kind=kind)
            return 0.0
        return None

    async def _is_page(self, leftover: Leftover) -> bool:
        """Whether a later attempt has adopted the message as a page of its reply."""
        if leftover.kind is not LeftoverKind.MESSAGE:
            return False
        source = f"{self._platform}/{leftover.workspace}/{leftover.channel}/{leftover.name}"
        return await self._inbox.conversation_of(source) is not None

    async def _check_turns(self, leftover: Leftover) -> None:
        """Raise Unsettled while an unfinished turn of the conversation may need the leftover."""
        if leftover.kind in USED_BY_TURNS and await self._inbox.is_busy(leftover.conversation):
            raise Unsettled("a turn is at work in the conversation")

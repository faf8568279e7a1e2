"""Limits how many turns, downloads or summaries run concurrently, fairly between workspaces and
people.

Invariants, for what the rules allow to run:
- The last free slot is for a person who holds none. With many slots or several workspaces it is for
  a workspace that holds none, and the one before it for a person: a first question waits neither
  for another person's second nor for another workspace's burst.
- A freed slot goes to the waiting workspace with the fewest slots, and there to the person with the
  fewest; among equals the one whose last grant is the oldest.
- One person may fill half of the remaining queue, and one of several workspaces seven eighths of
  it, so that it always has room for another.
- What waits because its person or channel has as many slots as the rules allow holds back nothing
  else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from bot.domain.errors import QueueFull

QUEUE_NOTE_SECONDS = 1.0
"""Seconds to wait for a slot before `on_wait` is called: people do not notice a shorter wait."""


MANY = 10
"""With this many slots one is always left for another workspace."""

WORKSPACE_SHARE = 7
"""A workspace may have this many times more turns in the queue than there is room left."""


class WaitReason(Enum):
    """Why something waits."""

    BUSY = "busy"  # no slot is free for it
    LIMIT = "limit"  # its person or channel has as many slots as the rules allow


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """For whom something runs, and how many slots may be held: `most` by the person,
    `channel_most` by all people in `channel`, which is of one workspace, or of all people who have
    workspaces of their own. None: no limit but the number of slots.
    """

    workspace: Hashable
    person: Hashable
    channel: Hashable = None
    most: int | None = None
    channel_most: int | None = None

    @property
    def accounts(self) -> tuple[Hashable, Hashable, Hashable]:
        """What counts the slots of the workspace, the person and the channel."""
        return (
            ("workspace", self.workspace),
            ("person", self.workspace, self.person),
            ("channel", self.channel),
        )


@dataclass(eq=False, slots=True)
class _Waiter:
    owner: SlotOwner
    granted: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class FairSlots:
    """At most `running` run concurrently; at most `queued` more wait.

    `is_shared`: several workspaces are known from the start. With fewer than MANY slots none is
    left for a second workspace before it is known.
    """

    def __init__(self, *, running: int, queued: int, is_shared: bool = False) -> None:
        self._free, self._running, self._queued = running, running, queued
        self._held: Counter[Hashable] = Counter()  # by account, as is `_waiting`
        self._waiting: Counter[Hashable] = Counter()
        self._length = 0  # of the queue
        # In order, by workspace and person; empty ones are removed.
        self._waiters: dict[Hashable, dict[Hashable, deque[_Waiter]]] = {}
        # The latest grant of each account with a slot or a waiter, numbered in order.
        self._last_grant: dict[Hashable, int] = {}
        self._grant_numbers = count(1)
        self._only_workspace: Hashable = None
        self._is_shared = is_shared or running >= MANY

    @property
    def used(self) -> int:
        """The slots that are held."""
        return self._running - self._free

    @property
    def waiting(self) -> int:
        """The length of the queue."""
        return self._length

    @asynccontextmanager
    async def take(
        self, owner: SlotOwner, on_wait: Callable[[WaitReason], None] = lambda _: None
    ) -> AsyncIterator[None]:
        """Hold a slot within the block; `on_wait` is called once if getting it takes long.

        Raises QueueFull immediately if the turn would have to wait and the queue has no room.
        """
        self._notice(owner.workspace)
        if self._may_run(owner):
            self._grant(owner)
        else:
            self._require_room(owner)
            await self._wait(owner, on_wait)
        try:
            yield
        finally:
            self._release(owner)

    def _notice(self, workspace: Hashable) -> None:
        """Remember the only workspace, until there is a second one."""
        if self._only_workspace is None:
            self._only_workspace = workspace
        self._is_shared = self._is_shared or workspace != self._only_workspace

    # ── who may run ───────────────────────────────────────────────────────────────────────────
    def _may_run(self, owner: SlotOwner) -> bool:
        return self._free > self._left_for_others(owner) and not self._is_limited(owner)

    def _left_for_others(self, owner: SlotOwner) -> int:
        """How many free slots are for those who hold fewer than this owner."""
        workspace, person, _ = owner.accounts
        if self._is_shared:
            left = (2 if self._held[person] else 1) if self._held[workspace] else 0
        else:
            left = 1 if self._held[person] else 0
        return min(left, self._running - 1)

    def _is_limited(self, owner: SlotOwner) -> bool:
        _, person, channel = owner.accounts
        return _is_reached(owner.most, self._held[person]) or _is_reached(
            owner.channel_most, self._held[channel]
        )

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    def _require_room(self, owner: SlotOwner) -> None:
        workspace, person, _ = owner.accounts
        room = self._queued - self._length
        if room <= 0:
            raise QueueFull(own=False)
        if self._waiting[person] >= room:
            raise QueueFull(own=True)
        if self._is_shared and self._waiting[workspace] >= WORKSPACE_SHARE * room:
            raise QueueFull(own=False)

    async def _wait(self, owner: SlotOwner, on_wait: Callable[[WaitReason], None]) -> None:
        waiter = _Waiter(owner)
        reason = WaitReason.LIMIT if self._is_limited(owner) else WaitReason.BUSY
        timer = asyncio.get_running_loop().call_later(QUEUE_NOTE_SECONDS, on_wait, reason)
        self._add(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled():  # granted just before the cancellation
                self._release(owner)
            else:
                self._remove(waiter)
            raise
        finally:
            timer.cancel()

    def _add(self, waiter: _Waiter) -> None:
        owner = waiter.owner
        people = self._waiters.setdefault(owner.workspace, {})
        people.setdefault(owner.person, deque()).append(waiter)
        self._waiting.update(owner.accounts)
        self._length += 1

    def _remove(self, waiter: _Waiter) -> None:
        """Take the waiter out of the queue, unless that was done before."""
        owner = waiter.owner
        people = self._waiters.get(owner.workspace, {})
        if waiter not in (own := people.get(owner.person, deque())):
            return
        own.remove(waiter)
        if not own:
            del people[owner.person]
        if not people:
            del self._waiters[owner.workspace]
        self._length -= 1
        self._subtract(self._waiting, owner)

    def _subtract(self, counts: Counter[Hashable], owner: SlotOwner) -> None:
        """Count one less, and forget accounts without slots and waiters."""
        for account in owner.accounts:
            counts[account] -= 1
            if not counts[account]:
                del counts[account]
            if account not in self._held and account not in self._waiting:
                self._last_grant.pop(account, None)

    # ── granting ──────────────────────────────────────────────────────────────────────────────
    def _grant(self, owner: SlotOwner) -> None:
        self._free -= 1
        self._held.update(owner.accounts)
        self._last_grant.update(dict.fromkeys(owner.accounts, next(self._grant_numbers)))

    def _release(self, owner: SlotOwner) -> None:
        self._free += 1
        self._subtract(self._held, owner)
        while (waiter := self._next()) is not None:
            self._remove(waiter)
            if waiter.granted.done():  # cancelled; its task has not run since
                continue
            self._grant(waiter.owner)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """The waiter that gets the next slot, if one may run."""
        if not self._free:
            return None
        return next((one for one in self._in_turn() if self._may_run(one.owner)), None)

    def _in_turn(self) -> Iterator[_Waiter]:
        """The first waiter of each person that no rule holds back, in the order of their turn."""
        for workspace in sorted(self._waiters, key=lambda each: self._rank(("workspace", each))):
            people = self._waiters[workspace]
            for person in sorted(people, key=lambda each: self._rank(("person", workspace, each))):
                ready = (one for one in people[person] if not self._is_limited(one.owner))
                if (first := next(ready, None)) is not None:
                    yield first

    def _rank(self, account: Hashable) -> tuple[int, int]:
        return self._held[account], self._last_grant.get(account, 0)


def _is_reached(limit: int | None, held: int) -> bool:
    return limit is not None and held >= limit

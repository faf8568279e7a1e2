"""Limits how many turns, downloads or summaries run concurrently, fairly between workspaces and
people.

Invariants, for everything that the rules allow to run:
- The last free slot is reserved for a person who holds none. With many slots or several workspaces,
  it is reserved for a workspace that holds none, and the slot before it for a person: so a first
  question waits neither for another person's second one nor for another workspace's burst.
- A freed slot goes to the waiting workspace with the fewest slots, and within it to the person with
  the fewest; ties go to the one whose last grant is the oldest.
- One person may fill half of the remaining queue, and one of several workspaces seven eighths of
  it, so that there is always room for another.
- A waiter whose person or channel has reached its limit in the rules does not hold up anyone else.
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
"""Seconds to wait for a slot before calling `on_wait`; people do not notice a shorter wait."""


MANY = 10
"""With at least this many slots, one is always left for another workspace."""

WORKSPACE_SHARE = 7
"""A workspace may queue this many times more turns than the queue has room left for."""


class WaitReason(Enum):
    """Why a turn is waiting."""

    BUSY = "busy"  # no slot is free for it
    LIMIT = "limit"  # its person or channel has reached the limit in the rules


@dataclass(frozen=True, slots=True)
class SlotOwner:
    """The owner of a slot. `most` limits the slots of the person, and `channel_most` those of all
    people in `channel`. The channel belongs to one workspace, or is shared by people who each have
    a workspace. None: no limit but the number of slots."""

    workspace: Hashable
    person: Hashable
    channel: Hashable = None
    most: int | None = None
    channel_most: int | None = None

    @property
    def accounts(self) -> tuple[Hashable, Hashable, Hashable]:
        """The accounts of the workspace, the person and the channel, by which slots are counted."""
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

    `is_shared`: it is known from the start that there are several workspaces. With fewer than MANY
    slots, no slot is kept for a second workspace until there is one.
    """

    def __init__(self, *, running: int, queued: int, is_shared: bool = False) -> None:
        self._free, self._running, self._queued = running, running, queued
        self._held: Counter[Hashable] = Counter()  # by account, as is `_waiting`
        self._waiting: Counter[Hashable] = Counter()
        self._length = 0  # of the queue
        # Waiters in order, by workspace and person; empty queues are removed.
        self._waiters: dict[Hashable, dict[Hashable, deque[_Waiter]]] = {}
        # The latest grant of each account with a slot or a waiter, as a running number.
        self._last_grant: dict[Hashable, int] = {}
        self._grant_numbers = count(1)
        self._only_workspace: Hashable = None
        self._is_shared = is_shared or running >= MANY

    @property
    def used(self) -> int:
        """The number of slots in use."""
        return self._running - self._free

    @property
    def waiting(self) -> int:
        """The length of the queue."""
        return self._length

    @asynccontextmanager
    async def take(
        self, owner: SlotOwner, on_wait: Callable[[WaitReason], None] = lambda _: None
    ) -> AsyncIterator[None]:
        """Hold a slot while inside the block. `on_wait` is called once if this takes long.

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
        """Remember the first workspace, and whether there is a second one."""
        if self._only_workspace is None:
            self._only_workspace = workspace
        self._is_shared = self._is_shared or workspace != self._only_workspace

    # ── who may run ───────────────────────────────────────────────────────────────────────────
    def _may_run(self, owner: SlotOwner) -> bool:
        return self._free > self._left_for_others(owner) and not self._is_limited(owner)

    def _left_for_others(self, owner: SlotOwner) -> int:
        """How many free slots are reserved for owners who hold fewer than this one."""
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
        """Remove the waiter from the queue, unless it was already removed."""
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
        """Decrement the owner's counts, and forget accounts without slots and waiters."""
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
            if waiter.granted.done():  # cancelled, but its task has not run since
                continue
            self._grant(waiter.owner)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """The waiter that gets the next slot, if one may run."""
        if not self._free:
            return None
        return next((one for one in self._in_turn() if self._may_run(one.owner)), None)

    def _in_turn(self) -> Iterator[_Waiter]:
        """The first waiter of each person whom no rule holds back, in the order in which they get
        slots."""
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

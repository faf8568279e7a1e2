"""The leases of the turns that run in this process.

Invariant: an attempt sends only while its last renewal, by this machine's clock, keeps others from
taking over the turn for at least another `SEND_SECONDS`. So a process that was suspended, cut off
or too slow shows nothing, even before it learns that it has lost a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from bot.domain.errors import LostOwnership
from bot.domain.turns import Fence, Outcome
from bot.ports.cluster import LEASE_SECONDS, SEND_SECONDS, LeaseWatcher

log = structlog.stdlib.get_logger(__name__)

Row = tuple[int, int, bool, bool, bool, bool]
"""Turn, attempt, and whether it was renewed, is stopped, was reset, and still belongs to this
process."""


class HeldTurn:
    """Implements `bot.ports.cluster.TurnLease`."""

    def __init__(
        self, turns: HeldTurns, fence: Fence, watcher: LeaseWatcher, renewed_at: float
    ) -> None:
        self._turns, self.fence, self.watcher = turns, fence, watcher
        self.renewed_at, self.is_lost = renewed_at, False

    @property
    def can_send(self) -> bool:
        """See the port."""
        lasts = self.renewed_at + LEASE_SECONDS - self._turns.now()
        return not self.is_lost and lasts > SEND_SECONDS

    @property
    def forbids_sending(self) -> bool:
        """See the port."""
        return self.is_lost or (self._turns.holds(self) and not self.can_send)

    async def wait(self) -> None:
        """See the port."""
        while not self.is_lost:
            if self.can_send:
                return
            await self._turns.changed.wait()
        raise LostOwnership(f"attempt {self.fence.attempt} lost its lease of {self.fence.turn}")

    def release(self) -> None:
        """See the port."""
        self._turns.release(self)


class HeldTurns:
    """All leases of this process. `now` must include the time during which the machine slept."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.changed = asyncio.Event()  # replaced with each renewal
        self.losses = 0
        self._held: dict[Fence, HeldTurn] = {}

    def hold(self, fence: Fence, watcher: LeaseWatcher, since: float) -> HeldTurn:
        """Renew the lease from now on."""
        lease = self._held[fence] = HeldTurn(self, fence, watcher, since)
        return lease

    def holds(self, lease: HeldTurn) -> bool:
        """Whether the lease is still renewed."""
        return self._held.get(lease.fence) is lease

    def release(self, lease: HeldTurn) -> None:
        """Stop renewing the lease."""
        if self.holds(lease):
            del self._held[lease.fence]

    def snapshot(self) -> list[HeldTurn]:
        """The leases to renew now."""
        return list(self._held.values())

    def apply(self, asked: Iterable[HeldTurn], rows: Iterable[Row], since: float) -> None:
        """Apply the result of a renewal that was sent at `since`. Leases without a row are lost."""
        found = {Fence(row[0], row[1]): row for row in rows}
        for lease in asked:
            *_, renewed, stopped, was_reset, is_mine = found.get(lease.fence, (False,) * 4)
            if renewed:
                lease.renewed_at = max(lease.renewed_at, since)
            if not is_mine:
                self._lose(lease)
            elif stopped or was_reset:
                lease.watcher(Outcome.STOPPED if stopped else Outcome.RESET)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _lose(self, lease: HeldTurn) -> None:
        if not self.holds(lease):
            return  # it was released during the renewal
        log.warning("a turn's lease is lost", turn=lease.fence.turn, attempt=lease.fence.attempt)
        self.release(lease)
        self.losses += 1
        lease.is_lost = True
        lease.watcher.lose()

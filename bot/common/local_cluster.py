"""The cluster of a single process on SQLite, which holds everything and signals no one."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.domain.cluster import Signal, SignalKind
from bot.domain.operation import ClusterLoad
from bot.domain.turns import Fence
from bot.ports.cluster import LeaseWatcher


class Unlimited:
    """Implements `bot.ports.cluster.TurnLease`: no other process can take the turn over."""

    can_send, forbids_sending = True, False

    async def wait(self) -> None:
        """Return immediately; a request may always be sent."""

    def release(self) -> None:
        """Do nothing."""


UNLIMITED = Unlimited()


class LocalCluster:
    """Implements `bot.ports.cluster.Cluster` for a single process."""

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex
        self.members = 1
        self.is_steady = True
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> Unlimited:
        """Return a lease that does not expire, because no other process can take the turn over."""
        del fence, watcher, since
        return UNLIMITED

    def load(self) -> ClusterLoad:
        """Report one process without leases."""
        return ClusterLoad()

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def send(self, signal: Signal) -> None:
        """Do nothing; there are no other processes."""

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """Do nothing; no signal ever arrives."""

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """Do nothing; there are no other processes."""

    def hear(self, handler: Callable[[str], None]) -> None:
        """Do nothing; no text ever arrives."""

    def report_gap(self, seconds: float) -> None:
        """Do nothing: a single process's watermarks never pass a message that it did not handle."""

    @asynccontextmanager
    async def share(
        self,
        group: str,
        names: Sequence[str],
        changed: Callable[[frozenset[str]], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """Hold all names while inside the block."""
        await changed(frozenset(names))
        yield

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        """A lock between the tasks of this process."""
        return self._locks[name]

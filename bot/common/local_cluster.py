"""The cluster of one process, on SQLite: it holds everything, and there is no one to tell."""

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
        """A request may always be sent."""

    def release(self) -> None:
        """Nothing is renewed."""


UNLIMITED = Unlimited()


class LocalCluster:
    """Implements `bot.ports.cluster.Cluster`."""

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex
        self.members = 1
        self.is_steady = True
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> Unlimited:
        """No other process takes a turn over."""
        del fence, watcher, since
        return UNLIMITED

    def load(self) -> ClusterLoad:
        """One process, which holds no leases."""
        return ClusterLoad()

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def send(self, signal: Signal) -> None:
        """There is no one else."""

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """No signal ever comes."""

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """There is no one else."""

    def hear(self, handler: Callable[[str], None]) -> None:
        """No text ever comes."""

    def report_gap(self, seconds: float) -> None:
        """One process's watermarks pass no message that it did not handle."""

    @asynccontextmanager
    async def share(
        self,
        group: str,
        names: Sequence[str],
        changed: Callable[[frozenset[str]], Awaitable[None]],
    ) -> AsyncIterator[None]:
        """Hold all names from the beginning to the end."""
        await changed(frozenset(names))
        yield

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        """A lock between the tasks of this process."""
        return self._locks[name]

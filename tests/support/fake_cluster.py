"""Several processes of one bot in a test, which decides which process holds which shard."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.common.local_cluster import UNLIMITED, Unlimited
from bot.domain.cluster import Signal, SignalKind
from bot.domain.operation import ClusterLoad
from bot.domain.turns import Fence
from bot.ports.cluster import LeaseWatcher

Changed = Callable[[frozenset[str]], Awaitable[None]]


class FakeShare:
    """The names of one group. `move` assigns them to processes, as a real cluster's leases do."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.changed: dict[str, Changed] = {}
        self.held: dict[str, frozenset[str]] = {}

    async def move(self, **wanted: Sequence[int]) -> None:
        """Make each process hold these names; a process gives up a name before another one gets
        it."""
        names = {process: frozenset(map(str, numbers)) for process, numbers in wanted.items()}
        for process, name in names.items():
            await self._hold(process, self.held[process] & name)
        for process, name in names.items():
            await self._hold(process, name)

    async def lose(self, process: str) -> None:
        """Take everything from a process that no longer responds, without its cooperation."""
        self.held[process] = frozenset()

    async def _hold(self, process: str, names: frozenset[str]) -> None:
        others = [held for name, held in self.held.items() if name != process]
        assert not any(names & held for held in others), "held by two processes"
        if self.held[process] != names:
            self.held[process] = names
            await self.changed[process](names)
            self.held[process] = names


class FakeClusters:
    """Makes the clusters of processes by name; they share everything."""

    def __init__(self) -> None:
        self.shares: defaultdict[str, FakeShare] = defaultdict(FakeShare)
        self.locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.entered: defaultdict[str, int] = defaultdict(int)  # how often each lock was held
        self.processes: set[str] = set()

    def process(self, name: str) -> FakeCluster:
        """A new process."""
        self.processes.add(name)
        return FakeCluster(self, name)

    def share(self, group: str = "") -> FakeShare:
        """The group whose name has this suffix, or the only group."""
        [found] = [share for name, share in self.shares.items() if name.endswith(group)]
        return found


class FakeCluster:
    """One process's `bot.ports.cluster.Cluster`."""

    def __init__(self, all_: FakeClusters, process: str) -> None:
        self._all, self.process = all_, process

    @property
    def members(self) -> int:
        return len(self._all.processes)

    is_steady = True

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> Unlimited:
        """No turn is ever lost."""
        return UNLIMITED

    def load(self) -> ClusterLoad:
        return ClusterLoad(self.members)

    def now(self) -> float:
        return time.monotonic()

    def send(self, signal: Signal) -> None:
        """No signals."""

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """No signals."""

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """No texts."""

    def hear(self, handler: Callable[[str], None]) -> None:
        """No texts."""

    def report_gap(self, seconds: float) -> None:
        """Gaps are never read again."""

    @asynccontextmanager
    async def share(
        self, group: str, names: Sequence[str], changed: Changed
    ) -> AsyncIterator[None]:
        """The first process of a group gets everything; the others get nothing until `move`."""
        share = self._all.shares[group]
        first = not share.changed
        share.names = tuple(names)
        share.changed[self.process], share.held[self.process] = changed, frozenset()
        if first:
            await share.move(**{self.process: [int(name) for name in names]})
        else:
            await changed(frozenset())
        try:
            yield
        finally:
            share.held.pop(self.process)
            share.changed.pop(self.process)

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        return self._exclusively(name)

    @asynccontextmanager
    async def _exclusively(self, name: str) -> AsyncIterator[None]:
        async with self._all.locks[name]:
            self._all.entered[name] += 1
            yield

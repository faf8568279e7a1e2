"""The cluster of one process, on SQLite: it holds everything, and there is no one to tell."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.domain.cluster import Signal, SignalKind


class LocalCluster:
    """Implements `bot.ports.cluster.Cluster`."""

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex
        self.members = 1
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(self, signal: Signal) -> None:
        """There is no one else."""

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """No signal ever comes."""

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

"""The monitored runners of one database, and the background work that uses them."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from bot.ports.clock import Clock
from bot.store.health import HealthMonitor, MonitoredRunner, Runner
from bot.store.purge import Purger
from bot.store.search_index import Index
from bot.store.search_indexer import SearchIndexer, WakingRunner


@dataclass(frozen=True, slots=True)
class Connected:
    """What all operations on one database share, on SQLite and on PostgreSQL."""

    clock: Clock
    monitor: HealthMonitor
    prober: MonitoredRunner
    """Writes like `writer`, but without waking the indexer."""
    writer: WakingRunner
    readers: MonitoredRunner
    file_reader: MonitoredRunner
    """Reads the bytes of attachments, so that a large file delays no other read."""
    indexer: SearchIndexer
    purger: Purger

    @classmethod
    def create(
        cls,
        *,
        writer: Runner,
        readers: Runner,
        file_reader: Runner,
        index: Index,
        monitor: HealthMonitor,
        clock: Clock,
    ) -> Self:
        """Wrap these runners with `monitor`, and prepare the background work that `SqlStore`
        starts."""
        prober = monitor.wrap(writer, writes=True)
        reading = monitor.wrap(readers, writes=False)
        indexer = SearchIndexer(writer=prober, readers=reading, clock=clock, index=index)
        waking = WakingRunner(prober, indexer.wake)
        return cls(
            clock=clock,
            monitor=monitor,
            prober=prober,
            writer=waking,
            readers=reading,
            file_reader=monitor.wrap(file_reader, writes=False),
            indexer=indexer,
            purger=Purger(writer=waking, readers=reading),
        )

    def probing(self) -> AbstractAsyncContextManager[None]:
        """Probe the database during failures while inside the block."""
        return self.monitor.probing(self.prober)

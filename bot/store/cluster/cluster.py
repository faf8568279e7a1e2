"""The cluster port on PostgreSQL: one heartbeat renews everything that a process holds.

Invariants: lease times come from the database's clock. Whether this process may still act is
decided by this machine's clock, counted from before each renewal was sent. There are two
connections: one for heartbeats and sending, one for listening.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import LostOwnership, StoreUnavailable
from bot.domain.operation import ClusterLoad
from bot.domain.turns import Fence
from bot.ports.cluster import (
    GAP_MARGIN_SECONDS,
    LEASE_SECONDS,
    SETTLE_SECONDS,
    LeaseWatcher,
)
from bot.store.cluster import statements
from bot.store.cluster.connection import ControlConnection
from bot.store.cluster.shares import SOON, Changed, Names, Share
from bot.store.cluster.signals import Listener, Outbox, own_channel
from bot.store.cluster.turns import HeldTurn, HeldTurns

log = structlog.stdlib.get_logger(__name__)

RENEW_SECONDS = 3.0
"""Seconds between renewals: two may fail before the third would come too late."""

RETRY_SECONDS = 0.25

STEADY_SECONDS = 5.0
"""After an outage of the database, every lease may have expired. A process takes over nothing until
it has renewed what it holds for this long: by then, the other processes have recovered too."""

START_SECONDS = 60.0
"""When a process starts, its predecessor ended within about this time, and its last events may be
lost."""

EXCLUSIVE = "exclusive"
POLL_SECONDS = 1.0
LOOK_AGAIN = (SignalKind.WAKE, SignalKind.POLICY, SignalKind.LIVE)

Handler = Callable[[Signal], Awaitable[None]]


def boottime() -> float:
    """Monotonic seconds, including the time during which the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class PostgresCluster:
    """Implements `bot.ports.cluster.Cluster` while inside `join`.

    `listen_url` leads directly to PostgreSQL if `url` leads to a pooler, which breaks LISTEN.
    """

    def __init__(self, url: str, listen_url: str = "", now: Callable[[], float] = boottime) -> None:
        self.process = uuid.uuid4().hex
        self.members = 1
        self.now = now
        self._control = ControlConnection(url)
        self._turns = HeldTurns(now)
        self._names = Names(self._control, self.process, now)
        self._outbox = Outbox(self._control, self.process)
        self._listener = Listener(
            listen_url or url,
            self.process,
            received=self._receive,
            told=self._hear,
            connected=self._look_again,
        )
        self._handlers: defaultdict[SignalKind, list[Handler]] = defaultdict(list)
        self._hearers: list[Callable[[str], None]] = []
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._beat_at, self._steady_since = now(), now()
        self._gap_since: float | None = None  # not stored so far

    @asynccontextmanager
    async def join(self) -> AsyncIterator[None]:
        """Join the other processes; on exit, release everything immediately.

        The database must have the newest schema. Raises StoreUnavailable if it cannot be reached.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._control.aclose)
            # Covers events that this process's predecessor had received when it ended.
            self.report_gap(START_SECONDS)
            await self._beat()
            log.info("joined the other processes", process=self.process, members=self.members)
            tasks = [
                asyncio.create_task(self._keep_beating(), name="heartbeat"),
                asyncio.create_task(self._outbox.run(), name="signals out"),
                asyncio.create_task(self._listener.run(), name="signals in"),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await self._leave()

    # ── turns ─────────────────────────────────────────────────────────────────────────────────
    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> HeldTurn:
        """See the port."""
        return self._turns.hold(fence, watcher, since)

    def load(self) -> ClusterLoad:
        """See the port."""
        held = {**self._names.counts(), "turns": len(self._turns.snapshot())}
        return ClusterLoad(self.members, held, self._turns.losses + self._names.losses)

    @property
    def is_steady(self) -> bool:
        """Whether a process that looks dead is dead: see STEADY_SECONDS."""
        now = self.now()
        is_fresh = now - self._beat_at < 2 * RENEW_SECONDS
        return is_fresh and now - self._steady_since > STEADY_SECONDS

    # ── signals ───────────────────────────────────────────────────────────────────────────────
    def send(self, signal: Signal) -> None:
        """See the port."""
        self._outbox.put(signal)

    def listen(self, kind: SignalKind, handler: Handler) -> None:
        """See the port."""
        self._handlers[kind].append(handler)

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """See the port. Only someone who can read `members` knows the names of the channels."""
        channels = [own_channel(process) for process, _ in texts]
        await self._control.run(statements.TELL, (channels, [text for _, text in texts]))

    def hear(self, handler: Callable[[str], None]) -> None:
        """See the port."""
        self._hearers.append(handler)

    def _hear(self, text: str) -> None:
        for handler in self._hearers:
            handler(text)

    async def _receive(self, signal: Signal) -> None:
        if signal.kind is SignalKind.SHARE:
            self._names.tell()
        for handler in self._handlers[signal.kind]:
            await handler(signal)

    async def _look_again(self) -> None:
        """Call the handlers, because signals may have been missed."""
        self._names.tell()
        for kind in LOOK_AGAIN:
            for handler in self._handlers[kind]:
                try:
                    await handler(Signal(kind))
                except Exception:
                    # If one handler fails, the others still run, and signals keep arriving.
                    log.exception("a handler failed to check everything", kind=kind.value)

    def _tell_names(self) -> None:
        self._outbox.put(Signal(SignalKind.SHARE))

    def report_gap(self, seconds: float) -> None:
        """See the port."""
        since = self.now() - seconds - GAP_MARGIN_SECONDS
        self._gap_since = since if self._gap_since is None else min(since, self._gap_since)

    # ── names ─────────────────────────────────────────────────────────────────────────────────
    @asynccontextmanager
    async def share(
        self, group: str, names: Sequence[str], changed: Changed
    ) -> AsyncIterator[None]:
        """See the port."""
        share = Share(self._names, group, list(names), changed, self._tell_names)
        task = asyncio.create_task(share.run(), name=f"share of {group}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await share.leave()

    @asynccontextmanager
    async def exclusively(self, name: str) -> AsyncIterator[None]:
        """See the port. If the database is unreachable for so long that another process may enter,
        the block is cancelled and LostOwnership raised."""
        async with self._locks[name]:
            await self._enter(name)
            body, guard = asyncio.current_task(), asyncio.create_task(self._guard(name))
            assert body is not None  # noqa: S101 - in a task
            is_inside = True

            def end(ended: asyncio.Task[None]) -> None:
                if is_inside and not ended.cancelled():
                    body.cancel()

            guard.add_done_callback(end)
            try:
                yield
            except asyncio.CancelledError:
                if guard.done() and not guard.cancelled() and body.uncancel() == 0:
                    raise LostOwnership(f"the lease of {name} is lost") from None
                raise
            finally:
                is_inside = False  # a guard that ends now must not cancel what the task does next
                guard.cancel()
                await self._names.free(EXCLUSIVE, [name])
                self._tell_names()

    async def _enter(self, name: str) -> None:
        while True:
            told = self._names.told
            with suppress(StoreUnavailable):
                if await self._names.take(EXCLUSIVE, [name]):
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await told.wait()

    async def _guard(self, name: str) -> None:
        """Return when the name is no longer held."""
        while name in self._names.held(EXCLUSIVE):
            told = self._names.told
            with suppress(TimeoutError):
                async with asyncio.timeout(max(self._names.seconds_left(EXCLUSIVE), 0.0) + SOON):
                    await told.wait()

    # ── heartbeats ────────────────────────────────────────────────────────────────────────────
    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            while True:
                try:
                    await self._beat()
                    break
                except StoreUnavailable as error:
                    log.warning("no heartbeat", error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                except Exception:
                    # A failed heartbeat must not end the task: without the next one, everything
                    # would be lost.
                    log.exception("a heartbeat failed")
                    await asyncio.sleep(RETRY_SECONDS)

    async def _beat(self) -> None:
        """Renew everything with at most three statements. Raises StoreUnavailable."""
        since, held = self.now(), self._turns.snapshot()
        mine = {"me": self.process, "lease": LEASE_SECONDS}
        if held:
            fences = [lease.fence for lease in held]
            values = {
                **mine, "turns": [f.turn for f in fences], "attempts": [f.attempt for f in fences],
            }  # fmt: skip
            rows = await self._control.run(statements.RENEW_TURNS, values)
            self._turns.apply(held, rows, since)
        ((others,),) = await self._control.run(statements.BEAT, mine)
        self.members = 1 + int(others)
        await self._names.renew()
        if since - self._beat_at > 2 * RENEW_SECONDS:
            self._steady_since = since
            self.report_gap(since - self._beat_at)
        self._beat_at = since
        await self._store_gap()

    async def _store_gap(self) -> None:
        """Store the gap. Raises StoreUnavailable; the next heartbeat then tries again."""
        if (since := self._gap_since) is None:
            return
        values = {
            "me": self.process, "id": uuid.uuid4().hex,
            "seconds": self.now() - since, "settle": SETTLE_SECONDS,
        }  # fmt: skip
        await self._control.run(statements.REPORT_GAP, values)
        self._gap_since = None if self._gap_since == since else self._gap_since

    async def _leave(self) -> None:
        """Release what is left, and notify the others. `Store.release` handles the turns'
        leases."""
        # Events on their way to a connection that closes now lose one delivery attempt.
        self.report_gap(0.0)
        with suppress(StoreUnavailable):
            await self._store_gap()
            for statement in statements.LEAVE:
                await self._control.run(statement, (self.process,))
            self._outbox.put(Signal(SignalKind.SHARE))
            self._outbox.put(Signal(SignalKind.WAKE))
            await self._outbox.flush()

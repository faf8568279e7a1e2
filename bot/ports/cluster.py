"""The port to the other processes of the same bot, which share its database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bot.domain.cluster import Look, Signal, SignalKind
from bot.domain.operation import ClusterLoad
from bot.domain.turns import Fence, Outcome

LEASE_SECONDS = 10.0
"""How long a process may be silent before others take over what it holds."""

SEND_SECONDS = 3.0
"""A request to a platform is sent only while the turn's lease lasts for at least as long: by then
it has arrived, whatever happens to this process. (`bot.replies.delivery.IN_FLIGHT_SECONDS` is what
the next holder waits in addition.)"""


SETTLE_SECONDS = 480.0
"""How long a platform may still deliver events that a dead process did not acknowledge. Slack's
last retry comes six minutes after the first delivery (https://docs.slack.dev/apis/events-api/); a
minute is left for noticing the death, and one for clocks."""

GAP_MARGIN_SECONDS = 120.0
"""How much earlier than the last sign of life of a process its events may have been lost: they were
on their way, waited for the database, or have the time of a clock that differs."""


MAX_TEXT_BYTES = 7_900
"""PostgreSQL's NOTIFY takes payloads of less than 8,000 bytes."""


class TurnLease(Protocol):
    """This process's right to show and store one attempt at a turn."""

    @property
    def can_send(self) -> bool:
        """Whether a request may be sent now."""
        ...

    @property
    def forbids_sending(self) -> bool:
        """Whether a request that was begun may no longer reach the platform: the lease was lost,
        or ends too soon. False once it was released.
        """
        ...

    async def wait(self) -> None:
        """Return when a request may be sent: immediately, or after the next renewal if the database
        cannot be reached. Raises LostOwnership if the lease is lost."""
        ...

    def release(self) -> None:
        """Renew it no more: the attempt has ended."""
        ...


class LeaseWatcher(Protocol):
    """What follows from a renewal, for the attempt that has the lease."""

    def lose(self) -> None:
        """Another process has the turn, or the attempt is stale: end it without a word."""
        ...

    def __call__(self, reason: Outcome, /) -> None:
        """The turn was stopped or reset by way of another process whose signal did not arrive."""
        ...


class Cluster(Protocol):
    """The processes that share one database: who lives, who holds what, and signals between them.

    A process that could not renew its leases for LEASE_SECONDS, by its monotonic clock, no longer
    holds anything, and acts accordingly before others may take over.
    """

    @property
    def process(self) -> str:
        """This process's id, new with each start."""
        ...

    @property
    def members(self) -> int:
        """How many processes are alive, as last seen; at least 1. Budgets of an account that all
        of them use are divided by it."""
        ...

    @property
    def is_steady(self) -> bool:
        """Whether another process's lease that is over means its death. After an outage of the
        database it does not: the others need time to come back."""
        ...

    def load(self) -> ClusterLoad:
        """What this process holds, for the operator."""
        ...

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> TurnLease:
        """Renew the lease of a turn that was claimed, until it is released or lost.

        `since` is what `now` was before the claim.
        """
        ...

    def now(self) -> float:
        """Seconds that never go backwards and include the time in which the machine slept."""
        ...

    def send(self, signal: Signal) -> None:
        """Send soon to the other processes. The signal is lost if the database fails for long."""
        ...

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """Call `handler` for each signal of another process. After a gap in the connection, the
        handlers of WAKE and POLICY are called once with an empty signal: look at everything."""
        ...

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """Send texts of up to MAX_TEXT_BYTES bytes, each to one process, in this order.

        A process that is not connected at this moment misses them. Raises StoreUnavailable.
        """
        ...

    def hear(self, handler: Callable[[str], None]) -> None:
        """Call `handler` for each text that another process tells this one."""
        ...

    def report_gap(self, seconds: float) -> None:
        """This process may have lost events of the last `seconds`: have them read again.

        Stored with the next heartbeat, if others live. Their deaths, and outages of the database,
        are reported without this.
        """
        ...

    def share(
        self,
        group: str,
        names: Sequence[str],
        changed: Callable[[frozenset[str]], Awaitable[None]],
    ) -> AbstractAsyncContextManager[None]:
        """Hold an even share of `names` (such as the shards of a Discord bot) while inside.

        No two processes hold the same name of a group at the same time. `changed` is called with
        all names that are held now, once they are known and whenever they change; what it gives up
        is released to others when it returns. On exit everything is released immediately.
        """
        ...

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        """Wait until no other process is inside with the same name, such as for a shard's identify
        or a daily job. Leaves no lock behind when the process dies."""
        ...


class LeaseStore(Protocol):
    """The turns that processes hold, in the store. All methods raise StoreUnavailable."""

    async def look(self, platforms: Sequence[str], limit: int) -> Look:
        """Up to `limit` conversations of these platforms with a turn that no process holds."""
        ...

    async def reap(self, seen_at: float | None = None) -> Sequence[int]:
        """Free what dead processes held, and count their deaths; returns the conversations.

        Does nothing if it reaches the database late, after they looked dead at `seen_at`
        (`Look.at`): then the database was away, and everyone's leases may be over.
        """
        ...

    async def release(self) -> None:
        """Release what this process holds, because it ends. Its turns must have stopped."""
        ...

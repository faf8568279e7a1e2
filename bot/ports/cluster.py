"""The port to the other processes of the same bot, which share its database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bot.domain.cluster import Look, Signal, SignalKind
from bot.domain.operation import ClusterLoad
from bot.domain.turns import Fence, Outcome

LEASE_SECONDS = 10.0
"""How long a process may be silent before others take over its leases."""

SEND_SECONDS = 3.0
"""A request to a platform is only sent if the turn's lease lasts at least this long: by its end,
the request has arrived, whatever happens to this process. (The next holder waits for another
`bot.replies.delivery.IN_FLIGHT_SECONDS`.)"""


SETTLE_SECONDS = 480.0
"""How long a platform may still deliver events that a dead process did not acknowledge. Slack's
last retry comes six minutes after the first delivery (https://docs.slack.dev/apis/events-api/); one
minute is added for noticing the death, and one for differing clocks."""

GAP_MARGIN_SECONDS = 120.0
"""Events may have been lost this long before a process's last sign of life: they were still on
their way, waited for the database, or carry the time of a clock that differs."""


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
        """Whether a request that was begun must be kept from the platform: the lease was lost, or
        ends too soon. False once it was released."""
        ...

    async def wait(self) -> None:
        """Wait until a request may be sent: returns immediately, or after the next renewal if the
        database cannot be reached. Raises LostOwnership if the lease is lost."""
        ...

    def release(self) -> None:
        """Stop renewing the lease, because the attempt has ended."""
        ...


class LeaseWatcher(Protocol):
    """Tells the attempt that holds a lease what a renewal found out."""

    def lose(self) -> None:
        """End the attempt silently: another process has the turn, or the fence is stale."""
        ...

    def __call__(self, reason: Outcome, /) -> None:
        """End the attempt: the turn was stopped or reset through another process, whose signal did
        not arrive."""
        ...


class Cluster(Protocol):
    """The processes that share one database: which are alive, what each of them holds, and signals
    between them.

    A process that could not renew its leases for LEASE_SECONDS, by its monotonic clock, considers
    them lost, and acts on this before others may take over.
    """

    @property
    def process(self) -> str:
        """This process's id, new at each start."""
        ...

    @property
    def members(self) -> int:
        """How many processes are alive, as last seen; at least 1. They share the rate limits of an
        account that all of them use."""
        ...

    @property
    def is_steady(self) -> bool:
        """Whether an expired lease of another process means that it died. This is not the case
        right after an outage of the database, when the others need time to renew their leases."""
        ...

    def load(self) -> ClusterLoad:
        """What this process holds, for the operator."""
        ...

    def hold(self, fence: Fence, watcher: LeaseWatcher, *, since: float) -> TurnLease:
        """Renew the lease of a claimed turn until it is released or lost.

        `since` is the value of `now` before the claim.
        """
        ...

    def now(self) -> float:
        """Seconds that never go backwards, and include the time in which the machine slept."""
        ...

    def send(self, signal: Signal) -> None:
        """Send a signal to the other processes soon. It is lost if the database stays unavailable
        for long."""
        ...

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """Call `handler` for each signal of another process. After the connection was interrupted,
        call the handlers of WAKE and POLICY once with an empty signal, so that they check
        everything."""
        ...

    async def tell(self, texts: Sequence[tuple[str, str]]) -> None:
        """Send texts of up to MAX_TEXT_BYTES bytes in this order, each to one process.

        A process that is not connected at this moment misses them. Raises StoreUnavailable.
        """
        ...

    def hear(self, handler: Callable[[str], None]) -> None:
        """Call `handler` for each text that another process sends to this one."""
        ...

    def report_gap(self, seconds: float) -> None:
        """Report that this process may have lost events of the last `seconds`, so that they are
        read again.

        The gap is stored with the next heartbeat, if other processes live. Deaths of processes and
        outages of the database are reported automatically.
        """
        ...

    def share(
        self,
        group: str,
        names: Sequence[str],
        changed: Callable[[frozenset[str]], Awaitable[None]],
    ) -> AbstractAsyncContextManager[None]:
        """Hold an even share of `names` (such as the shards of a Discord bot) while inside the
        block.

        No two processes hold the same name of a group at the same time. `changed` is called with
        all names held, as soon as they are known and whenever they change; names that this set no
        longer contains are released to others once `changed` returns. On exit all names are
        released immediately.
        """
        ...

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        """Enter the block once no other process is in one with the same name, such as for a shard's
        identify or a daily job. If the process dies, no lock stays behind."""
        ...


class LeaseStore(Protocol):
    """The turns that processes hold, as stored in the database. All methods raise
    StoreUnavailable."""

    async def look(self, platforms: Sequence[str], limit: int) -> Look:
        """Find up to `limit` conversations of these platforms with a turn that no process holds."""
        ...

    async def reap(self, seen_at: float | None = None) -> Sequence[int]:
        """Free what dead processes held, and count their deaths. Returns the affected
        conversations.

        Does nothing if the database was unavailable since `seen_at` (`Look.at`), when the processes
        looked dead: then every lease may have expired.
        """
        ...

    async def release(self) -> None:
        """Release everything this process holds, because it is exiting. Its turns must have
        stopped."""
        ...

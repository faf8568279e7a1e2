"""The port to the other processes of the same bot, which share its database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bot.domain.cluster import Signal, SignalKind

LEASE_SECONDS = 10.0
"""How long a process may be silent before others take over what it holds."""


class Cluster(Protocol):
    """The processes that share one database: who lives, who holds what, and signals between them.

    A process that could not renew its leases for LEASE_SECONDS, by its monotonic clock, holds
    nothing any more, and acts so before others may take over.
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

    async def send(self, signal: Signal) -> None:
        """Tell the other processes. A failing database costs the signal, and raises nothing."""
        ...

    def listen(self, kind: SignalKind, handler: Callable[[Signal], Awaitable[None]]) -> None:
        """Call `handler` for each signal of another process. After a gap in the connection, the
        handlers of WAKE and POLICY are called once with an empty signal: look at everything."""
        ...

    def share(
        self,
        group: str,
        names: Sequence[str],
        changed: Callable[[frozenset[str]], Awaitable[None]],
    ) -> AbstractAsyncContextManager[None]:
        """Hold an even share of `names` (such as the shards of a Discord bot) while inside.

        No two processes hold the same name of a group at the same time. `changed` is called with
        all names that are held now, whenever they change; what it gives up is released to others
        when it returns. On exit everything is released immediately.
        """
        ...

    def exclusively(self, name: str) -> AbstractAsyncContextManager[None]:
        """Wait until no other process is inside with the same name, such as for a shard's identify
        or a daily job. Leaves no lock behind when the process dies."""
        ...

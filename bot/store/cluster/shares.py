"""Names that only one process holds at a time: an even share of a group, or one that it waits for.

Invariant: a name is held only while this process's last renewal keeps others from taking it. A name
that cannot be renewed in time is given up before others may take it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from bot.domain.errors import StoreUnavailable
from bot.ports.cluster import LEASE_SECONDS
from bot.store.cluster import statements
from bot.store.cluster.connection import ControlConnection

log = structlog.stdlib.get_logger(__name__)

BALANCE_SECONDS = 3.0
"""Seconds between two rounds of balancing without a request."""

SOON = 0.05
"""Seconds to wait after a lease has expired before taking its name."""

GIVE_UP_SECONDS = 2.0
"""A name is given up this many seconds before its lease ends, so that `changed` can return in
time."""

Changed = Callable[[frozenset[str]], Awaitable[None]]


class Names:
    """The names that this process holds, of all kinds, and when each was last renewed."""

    def __init__(self, control: ControlConnection, process: str, now: Callable[[], float]) -> None:
        self.control, self.process, self.now = control, process, now
        self.losses = 0
        self._renewed: dict[tuple[str, str], float] = {}
        self.told = asyncio.Event()
        """Set when another process frees names or names are lost, and then replaced with a new
        event."""

    def held(self, kind: str) -> frozenset[str]:
        """The names of a kind that this process currently holds."""
        oldest = self.now() - LEASE_SECONDS + GIVE_UP_SECONDS
        return frozenset(n for (k, n), at in self._renewed.items() if k == kind and at > oldest)

    def seconds_left(self, kind: str) -> float:
        """For how many seconds all names of a kind stay held without another renewal."""
        renewed = (at for (k, _), at in self._renewed.items() if k == kind)
        return min(renewed, default=self.now()) + LEASE_SECONDS - GIVE_UP_SECONDS - self.now()

    def counts(self) -> dict[str, int]:
        """The number of held names of each kind."""
        return dict(Counter(kind for kind, _ in self._renewed))

    def tell(self) -> None:
        """Wake everything that waits for names."""
        told, self.told = self.told, asyncio.Event()
        told.set()

    async def take(self, kind: str, names: Sequence[str]) -> frozenset[str]:
        """Take the names that are free, and return them. Raises StoreUnavailable."""
        if not names:
            return frozenset()
        since = self.now()
        values = {
            "kind": kind, "names": list(names), "me": self.process, "lease": LEASE_SECONDS,
        }  # fmt: skip
        taken = frozenset(
            str(row[0]) for row in await self.control.run(statements.TAKE_NAMES, values)
        )
        self._renewed |= {(kind, name): since for name in taken}
        return taken

    async def free(self, kind: str, names: Sequence[str]) -> None:
        """Release names to others. If the database fails, the names become free when their leases
        end."""
        for name in names:
            self._renewed.pop((kind, name), None)
        try:
            if names:
                await self.control.run(statements.FREE_NAMES, (kind, list(names), self.process))
        except StoreUnavailable as error:
            log.warning("names are free once their leases end", kind=kind, error=str(error))

    async def renew(self) -> None:
        """Renew all names; those that others have taken over are lost. Raises StoreUnavailable."""
        asked, since = list(self._renewed), self.now()
        if not asked:
            return
        kinds, names = zip(*asked, strict=True)
        values = {
            "kinds": list(kinds), "names": list(names), "me": self.process, "lease": LEASE_SECONDS,
        }  # fmt: skip
        rows = await self.control.run(statements.RENEW_NAMES, values)
        renewed = {(str(row[0]), str(row[1])) for row in rows}
        for key in asked:
            if key in renewed and key in self._renewed:
                self._renewed[key] = since
            elif key not in renewed and self._renewed.pop(key, None) is not None:
                self.losses += 1
                log.warning("a name is lost", kind=key[0], name=key[1])
                self.tell()


@dataclass(slots=True)
class Share:
    """An even share of a group's names, while `run` is running."""

    names: Names
    group: str
    wanted: Sequence[str]
    changed: Changed
    announce: Callable[[], None]
    """Tells the other processes that names were freed, or that a place was taken."""
    _shown: frozenset[str] | None = None
    _is_unsure: bool = False  # `changed` failed or was cancelled, so it is called again
    _showing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def _places(self) -> str:
        return f"{self.group} members"

    async def run(self) -> None:
        """Balance until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_balance())
            group.create_task(self._give_up_in_time())

    async def _keep_balance(self) -> None:
        pause = 0.0
        while True:
            told = self.names.told
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.0)):
                    await told.wait()
            try:
                pause = await self._balance()
                await self._show(self.names.held(self.group))
            except StoreUnavailable:
                pause = 0.5
            except Exception:
                # A failed round must not end the task; the next one may work.
                log.exception("a share could not be balanced", group=self.group)
                pause = BALANCE_SECONDS

    async def _give_up_in_time(self) -> None:
        """If renewals fail, call `changed` before others can take the names."""
        while True:
            await asyncio.sleep(max(self.names.seconds_left(self.group), 0.5))
            if self._shown is None:
                continue
            try:
                await self._show(self.names.held(self.group) & self._shown)
            except Exception:
                # A failure must not end the task; the next round tries again.
                log.exception("a share could not be given up", group=self.group)

    async def leave(self) -> None:
        """Release everything."""
        held = self.names.held(self.group)
        await self._show(frozenset())
        await self.names.free(self.group, sorted(held))
        await self.names.free(self._places, [self.names.process])
        self.announce()

    async def _balance(self) -> float:
        """Take missing names or free surplus ones. Returns the seconds until the next round."""
        is_new = self.names.process not in self.names.held(self._places)
        if is_new and await self.names.take(self._places, [self.names.process]):
            self.announce()
        rows = await self._read()
        members = sorted(holder for _, holder, is_name, _ in rows if not is_name)
        held = self.names.held(self.group)
        surplus = sorted(held)[self._quota(members) :]
        if surplus:
            await self._show(held - frozenset(surplus))
            await self.names.free(self.group, surplus)
            self.announce()
        taken = {name for name, _, is_name, _ in rows if is_name}
        room = self._quota(members) - len(held)
        free = [name for name in self.wanted if name not in taken or name in held]
        await self.names.take(self.group, [n for n in free if n not in held][: max(room, 0)])
        ends = [seconds + SOON for _, holder, _, seconds in rows if holder != self.names.process]
        return min((BALANCE_SECONDS, *ends))

    def _quota(self, members: Sequence[str]) -> int:
        """How many names this member gets; the first members get one more if there is a
        remainder."""
        if self.names.process not in members:
            return 0
        each, more = divmod(len(self.wanted), len(members))
        return each + (members.index(self.names.process) < more)

    async def _read(self) -> list[tuple[str, str, bool, float]]:
        values = {"kind": self.group, "places": self._places}
        rows = await self.names.control.run(statements.SHARE, values)
        return [(str(row[0]), str(row[1]), bool(row[2]), float(row[3])) for row in rows]

    async def _show(self, held: frozenset[str]) -> None:
        async with self._showing:
            if held != self._shown or self._is_unsure:
                self._shown, self._is_unsure = held, True
                await self.changed(held)
                self._is_unsure = False

"""The privacy port on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from bot.domain.errors import StoreError, StoreUnavailable
from bot.domain.inbox import Incoming
from bot.domain.privacy import Erasure, Person
from bot.store import locks
from bot.store.connected import Connected
from bot.store.database import Database, batches
from bot.store.erasure_list import ErasureList
from bot.store.operations import reads, writes, writes_at
from bot.store.postgres import erasures
from bot.store.postgres.pool import Connections
from bot.store.privacy import SqlPrivacy

log = structlog.stdlib.get_logger(__name__)

_VACUUM_SECONDS = 600.0


def _table_names(db: Database) -> Sequence[str]:
    found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return [row["tablename"] for row in found]


class PostgresPrivacy(SqlPrivacy):
    """Keeps the list of erasures in a table: see `bot.store.postgres.erasures`."""

    def __init__(self, connected: Connected, *, vacuuming: Connections, copy: Path | None) -> None:
        super().__init__(writer=connected.writer, readers=connected.readers, clock=connected.clock)
        self._vacuuming, self._purger = vacuuming, connected.purger
        self._copy = None if copy is None else ErasureList.at(copy)

    def was_erased(self, _incoming: Incoming) -> bool:
        """False, because the transaction that stores the message checks this: see
        `erasures.accept`."""
        return False

    async def list_erasure(self, person: Person) -> Erasure:
        """See the port."""
        entry = await self._add(person)
        await self._write_copy()
        return entry

    async def _write_copy(self) -> None:
        if self._copy is not None:
            await asyncio.to_thread(self._copy.mirror, *await self._all())

    async def _read_copy(self) -> None:
        if self._copy is None:
            return
        if not await self._join(self._copy.salt, self._copy.entries()):
            raise StoreError(
                f"{self._copy.path} is the list of erasures of another database: name another file "
                "in ERASURE_LIST."
            )
        await self._write_copy()

    async def apply_missing(self) -> None:
        """Apply the erasures that a restored backup lacks. Raises StoreError."""
        await self._read_copy()
        missing = await self._missing()
        for entry in missing:
            await self._erase_again(await self._person_of(entry), entry)
        if missing:
            await self.overwrite()
            log.warning("the database contained people who had been erased", erasures=len(missing))

    async def _erase_again(self, person: Person, entry: Erasure) -> None:
        """Erase in small transactions, the last of which records that the erasure is applied."""
        if person.id:
            names = await self.names_of(person, entry.at)
            for conversation in await self.conversations_of(person, entry.at):
                await self.erase_in(conversation, person, entry.at)
            for some in batches(await self.quoting(person.platform, names)):
                await self.erase_quotes(some, names)
        await self.erase_rest(person, entry)

    async def overwrite(self) -> bool:
        """Free the space of erased data. Copies in the server's log and in backups remain."""
        await self._purger.finish()
        try:
            tables = ", ".join(await self._tables())
            await self._vacuuming.execute(f"VACUUM {tables}", seconds=_VACUUM_SECONDS)
        except StoreUnavailable:
            return False
        return True

    _add = writes_at(erasures.add, lock=locks.everything)
    _join = writes(erasures.join, lock=locks.everything)
    _all = reads(erasures.salt_and_entries)
    _tables = reads(_table_names)
    _missing = reads(erasures.missing)
    _person_of = reads(erasures.person_of)

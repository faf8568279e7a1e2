"""The privacy port on the store's connections."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from bot.domain.inbox import Incoming
from bot.domain.privacy import Erasure, Person
from bot.store import erasure, erasure_list, export, leftovers, locks, personal_records, retention
from bot.store.connected import Connected
from bot.store.operations import Operations, reads, writes, writes_at

_TRIES, _PAUSE_SECONDS = 5, 1.0


class SqlPrivacy(Operations):
    """Implements `bot.ports.privacy.PrivacyStore`, except for the list of erasures."""

    conversations_of = reads(erasure.conversations_of)
    names_of = reads(erasure.names_of)
    quoting = reads(erasure.quoting)
    erase_in = writes_at(erasure.erase_in, lock=locks.by_id)
    erase_quotes = writes_at(erasure.erase_quotes)
    erase_rest = writes_at(personal_records.erase_rest)
    old_conversations = reads(retention.old_conversations)
    erase_step = writes_at(retention.erase_step, lock=locks.by_id)
    channels_with_usage = reads(retention.channels_with_usage)
    erase_usage = writes(retention.erase_usage)
    give_up_leftovers = writes(leftovers.give_up, lock=locks.nothing)
    pin = writes(retention.pin, lock=locks.by_key)
    export_person = reads(export.export_person)
    export_messages = reads(export.export_messages)

    def was_erased(self, incoming: Incoming) -> bool:
        """Whether a message is older than the erasure of its author. Raises StoreError."""
        raise NotImplementedError

    async def list_erasure(self, person: Person) -> Erasure:
        """See the port."""
        raise NotImplementedError

    async def overwrite(self) -> bool:
        """See the port."""
        raise NotImplementedError


class SqlitePrivacy(SqlPrivacy):
    """Keeps the list of erasures in a file beside the database."""

    def __init__(self, connected: Connected, *, path: Path) -> None:
        super().__init__(writer=connected.writer, readers=connected.readers, clock=connected.clock)
        self._path = path
        self._purger, self._indexer = connected.purger, connected.indexer
        self._list = erasure_list.ErasureList(path)

    def was_erased(self, incoming: Incoming) -> bool:
        """Whether a message is older than the erasure of its author. Raises StoreError."""
        key = incoming.key
        return self._list.has(key.platform, key.workspace, incoming.author.id, incoming.sent_at)

    async def list_erasure(self, person: Person) -> Erasure:
        """See the port."""
        return await asyncio.to_thread(self._list.add, person, self._clock.time())

    async def overwrite(self) -> bool:
        """See the port."""
        await self._purger.finish()
        await self._indexer.overwrite()
        for _ in range(_TRIES):
            if await asyncio.to_thread(partial(erasure_list.truncate_log, self._path)):
                return True
            await self._clock.sleep(_PAUSE_SECONDS)
        return False

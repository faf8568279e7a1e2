"""Exports everything that is known about a person as JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from bot.domain.conversations import ConversationKey
from bot.domain.privacy import AuditEntry, Person
from bot.ports.audit import EXPORTED, AuditLog
from bot.ports.privacy import PrivacyStore

PAGE = 100


class Exporter:
    """Exports people's data; each export is recorded in the audit before its first line."""

    def __init__(self, *, store: PrivacyStore, audit: AuditLog) -> None:
        self._store, self._audit = store, audit

    async def lines(self, person: Person, *, by: str, key: ConversationKey) -> AsyncGenerator[str]:
        """The lines of the export, including line ends. `by` is the person who asked for it, at
        `key`.

        Raises StoreUnavailable.
        """
        await self._audit.record(AuditEntry(EXPORTED, key, actor=by, subject=person.id))
        for record in await self._store.export_person(person):
            yield _line(record)
        after = 0
        while True:
            records, after = await self._store.export_messages(person, after=after, limit=PAGE)
            for record in records:
                yield _line(record)
            if not after:
                return


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"

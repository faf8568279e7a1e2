"""Everything that is known of a person, as JSON lines."""

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
    """Exports people; each export is in the audit before its first line."""

    def __init__(self, *, store: PrivacyStore, audit: AuditLog) -> None:
        self._store, self._audit = store, audit

    async def lines(self, person: Person, *, by: str, key: ConversationKey) -> AsyncGenerator[str]:
        """The lines, each with its end. `by` is who asked, in the place `key`.

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

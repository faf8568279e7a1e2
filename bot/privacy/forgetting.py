"""Erases a person's data and issues a receipt.

Invariant: the erasure is in the list beside the database before anything changes. After a crash,
the next start completes it.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bot.domain.conversations import ConversationKey
from bot.domain.privacy import AuditEntry, Erased, Erasure, Person, Receipt, erased_name
from bot.ports.audit import FORGOTTEN, AuditLog
from bot.ports.privacy import ErasedHere, PrivacyStore

log = structlog.stdlib.get_logger(__name__)

QUOTES = 100
"""The number of messages from which one transaction removes quotes."""


class Forgetter:
    """Erases people's data; `connect` it to the turns."""

    def __init__(
        self,
        *,
        store: PrivacyStore,
        audit: AuditLog,
        forget_rules: Callable[[Person], None] = lambda _person: None,
    ) -> None:
        """`forget_rules` makes the rules in memory forget who set them."""
        self._store, self._audit, self._forget_rules = store, audit, forget_rules
        self._follow: Callable[[ErasedHere], None] = lambda _here: None
        self._show: Callable[[], None] = lambda: None

    def connect_pages(self, show: Callable[[], None]) -> None:
        """Call `show`, which makes open pages read everything again, after each erasure."""
        self._show = show

    def connect(self, follow: Callable[[ErasedHere], None]) -> None:
        """Call `follow`, which ends or restarts turns, after each change of a conversation."""
        self._follow = follow

    async def forget(self, person: Person, *, by: str, key: ConversationKey) -> Receipt:
        """Erase all data about a person up to now. `by` is the person who asked for it, at `key`.

        Raises StoreError and StoreUnavailable; the next start then completes the erasure.
        """
        entry = await self._store.list_erasure(person)
        erased = await self._erase(person, entry)
        # The audit names the erasure instead of the person: erase_rest looks for the id on the
        # person's platform, but an administrator of the page may erase a person of another
        # platform.
        details = {"receipt": entry.id}
        await self._audit.record(
            AuditEntry(FORGOTTEN, key, actor=by, subject=erased_name(entry.id), details=details)
        )
        await self._store.erase_rest(person, entry)
        self._show()
        self._forget_rules(person)
        if not await self._store.overwrite():
            log.warning("erased data is still in the database's files: a later start frees it")
        log.info("a person was erased", receipt=entry.id, messages=erased.messages)
        return Receipt(entry.id, entry.at, erased)

    async def _erase(self, person: Person, entry: Erasure) -> Erased:
        names = await self._store.names_of(person, entry.at)
        erased = Erased()
        for conversation in await self._store.conversations_of(person, entry.at):
            here = await self._store.erase_in(conversation, person, entry.at)
            self._follow(here)
            erased += here.erased
        quoting = await self._store.quoting(person.platform, names)
        for start in range(0, len(quoting), QUOTES):
            some = quoting[start : start + QUOTES]
            self._follow(await self._store.erase_quotes(some, names))
        return erased

"""The audit port: an append-only record of who changed, read, exported or erased something, or was
refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.privacy import AuditEntry

READ, LISTED = "conversation.read", "conversations.listed"
EXPORTED, FORGOTTEN = "person.exported", "person.forgotten"
USAGE_READ, REPLIES_EXPORTED = "usage.read", "replies.exported"
BY_PAGE_ADMINS = (READ, LISTED, USAGE_READ)
SHARE_CREATED, SHARE_UPDATED = "share.created", "share.updated"
SHARE_REVOKED, SHARE_READ = "share.revoked", "share.read"
REFUSED = "access.refused"

OPERATOR = "operator"
"""The actor for commands run on the bot's machine, whose operating system knows the user."""


class AuditLog(Protocol):
    """Methods raise StoreUnavailable if the database fails.

    An action that cannot be recorded must not happen.
    """

    async def record(self, entry: AuditEntry) -> None:
        """Append an entry with the current time. It is durable when this returns."""
        ...

    async def entries(
        self, *, after: int = 0, since: float = 0.0, limit: int = 1_000
    ) -> Sequence[AuditEntry]:
        """Entries with an id above `after`, from `since` (Unix seconds) onwards, oldest first."""
        ...

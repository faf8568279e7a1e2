"""The port for stored installations. The store never sees credentials in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.installations import Installation, SealedInstallation


class InstallationReader(Protocol):
    """Reads installations, even while another process serves them. Raises StoreUnavailable."""

    async def list_installations(self, platform: str) -> Sequence[Installation]:
        """All installations of a platform, without credentials."""
        ...

    async def list_sealed(self, platform: str) -> Sequence[SealedInstallation]:
        """All installations of a platform, with their encrypted credentials."""
        ...

    async def read(self, platform: str, workspace: str) -> SealedInstallation | None:
        """One installation; None if the bot is not installed there."""
        ...


class InstallationStore(InstallationReader, Protocol):
    """Installations, and the OAuth states of installations in progress. Raises StoreUnavailable."""

    async def save(self, installation: Installation, sealed: str) -> int:
        """Store an installation, replacing an earlier one, and return its revision."""
        ...

    async def renew(
        self,
        platform: str,
        workspace: str,
        *,
        revision: int,
        sealed: str,
        expires_at: float | None,
    ) -> bool:
        """Replace the credentials if they still have `revision`, and clear the problem.

        False otherwise: another process renewed them, or people installed the app again.
        """
        ...

    async def record_problem(
        self, platform: str, workspace: str, *, revision: int, problem: str
    ) -> None:
        """Record the error code with which the platform refuses the credentials of `revision`; ""
        clears it."""
        ...

    async def remove(self, platform: str, workspace: str, *, installed_until: float) -> bool:
        """Delete an installation unless it is newer than `installed_until`, in Unix seconds."""
        ...

    async def issue_state(self, platform: str, digest: str, *, expires_at: float) -> None:
        """Store the digest of a state. Only the newest 10,000 unexpired states are valid."""
        ...

    async def consume_state(self, platform: str, digest: str) -> bool:
        """Whether the state was issued and has neither expired nor been consumed; consumes it."""
        ...

    async def workspaces_of(self, platform: str, channel: str, thread: str) -> Sequence[str]:
        """The workspaces that have a conversation in this thread, the most recently active first.

        Two installations may share a channel.
        """
        ...

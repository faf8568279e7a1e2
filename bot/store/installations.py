"""Installations of one app in many workspaces. Invariant: credentials are only stored encrypted.

Uses only SQL that SQLite and PostgreSQL share.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from bot.domain.installations import Installation, SealedInstallation
from bot.store.database import Database, Row
from bot.store.operations import Operations, reads, writes, writes_at

T = TypeVar("T")

MAX_STATES = 10_000
"""The most installations in progress at the same time; anyone can start one."""


# ── installations ─────────────────────────────────────────────────────────────────────────────
def list_installations(db: Database, platform: str) -> Sequence[Installation]:
    """See `InstallationReader.list_installations`."""
    return [each.installation for each in list_sealed(db, platform)]


def list_sealed(db: Database, platform: str) -> Sequence[SealedInstallation]:
    """See `InstallationReader.list_sealed`."""
    found = db.execute(
        "SELECT * FROM installations WHERE platform = ? ORDER BY name, workspace", (platform,)
    )
    return [_from_row(row) for row in found]


def read(db: Database, platform: str, workspace: str) -> SealedInstallation | None:
    """See `InstallationReader.read`."""
    row = db.execute(
        "SELECT * FROM installations WHERE platform = ? AND workspace = ?", (platform, workspace)
    ).fetchone()
    return None if row is None else _from_row(row)


def save(db: Database, installation: Installation, sealed: str) -> int:
    """See `InstallationStore.save`."""
    row = db.execute(
        "INSERT INTO installations"
        " (platform, workspace, name, details, sealed, revision, installed_at, expires_at)"
        " VALUES (:platform, :workspace, :name, :details, :sealed, 1, :installed_at, :expires_at)"
        " ON CONFLICT (platform, workspace) DO UPDATE SET name = excluded.name,"
        " details = excluded.details, sealed = excluded.sealed,"
        " revision = installations.revision + 1, installed_at = excluded.installed_at,"
        " expires_at = excluded.expires_at, problem = '', problem_at = 0"
        " RETURNING revision",
        {
            "platform": installation.platform,
            "workspace": installation.workspace,
            "name": installation.name,
            "details": json.dumps(dict(installation.details), ensure_ascii=False),
            "sealed": sealed,
            "installed_at": installation.installed_at,
            "expires_at": installation.expires_at,
        },
    ).fetchone()
    return int(row["revision"])


def renew(
    db: Database,
    platform: str,
    workspace: str,
    *,
    revision: int,
    sealed: str,
    expires_at: float | None,
) -> bool:
    """See `InstallationStore.renew`."""
    changed = db.execute(
        "UPDATE installations SET sealed = ?, expires_at = ?, revision = revision + 1,"
        " problem = '', problem_at = 0"
        " WHERE platform = ? AND workspace = ? AND revision = ?",
        (sealed, expires_at, platform, workspace, revision),
    )
    return changed.rowcount > 0


def record_problem(
    db: Database,
    now: float,
    platform: str,
    workspace: str,
    *,
    revision: int,
    problem: str,
) -> None:
    """See `InstallationStore.record_problem`."""
    db.execute(
        "UPDATE installations SET problem = ?, problem_at = CASE WHEN ? = '' THEN 0 ELSE ? END"
        " WHERE platform = ? AND workspace = ? AND revision = ? AND problem <> ?",
        (problem, problem, now, platform, workspace, revision, problem),
    )


def remove(db: Database, platform: str, workspace: str, *, installed_until: float) -> bool:
    """See `InstallationStore.remove`."""
    removed = db.execute(
        "DELETE FROM installations WHERE platform = ? AND workspace = ? AND installed_at <= ?",
        (platform, workspace, installed_until),
    )
    return removed.rowcount > 0


def _from_row(row: Row) -> SealedInstallation:
    return SealedInstallation(
        Installation(
            platform=row["platform"],
            workspace=row["workspace"],
            name=row["name"],
            details=json.loads(row["details"]),
            installed_at=row["installed_at"],
            expires_at=row["expires_at"],
            problem=row["problem"],
            problem_at=row["problem_at"],
            revision=row["revision"],
        ),
        row["sealed"],
    )


# ── states ────────────────────────────────────────────────────────────────────────────────────
def issue_state(db: Database, now: float, platform: str, digest: str, *, expires_at: float) -> None:
    """See `InstallationStore.issue_state`."""
    db.execute("DELETE FROM install_states WHERE expires_at <= ?", (now,))
    db.execute(
        "DELETE FROM install_states WHERE digest IN"
        " (SELECT digest FROM install_states ORDER BY expires_at DESC LIMIT ? OFFSET ?)",
        (MAX_STATES, MAX_STATES - 1),
    )
    db.execute(
        "INSERT INTO install_states (digest, platform, expires_at) VALUES (?, ?, ?)",
        (digest, platform, expires_at),
    )


def consume_state(db: Database, now: float, platform: str, digest: str) -> bool:
    """See `InstallationStore.consume_state`."""
    found = db.execute(
        "DELETE FROM install_states WHERE digest = ? AND platform = ? RETURNING expires_at",
        (digest, platform),
    ).fetchone()
    return found is not None and found["expires_at"] > now


# ── conversations ─────────────────────────────────────────────────────────────────────────────
def workspaces_of(db: Database, platform: str, channel: str, thread: str) -> Sequence[str]:
    """See `InstallationStore.workspaces_of`. `platform` alone is not a prefix of an index, so the
    query joins the installed workspaces, of which there are few."""
    found = db.execute(
        "SELECT conversations.workspace AS workspace FROM installations"
        " JOIN conversations ON conversations.platform = installations.platform"
        " AND conversations.workspace = installations.workspace"
        " AND conversations.channel = ? AND conversations.thread = ?"
        " WHERE installations.platform = ? ORDER BY conversations.updated_at DESC",
        (channel, thread, platform),
    )
    return [row["workspace"] for row in found]


class SqlInstallations(Operations):
    """Implements `bot.ports.installations.InstallationStore`."""

    list_installations = reads(list_installations)
    list_sealed = reads(list_sealed)
    read = reads(read)
    save = writes(save)
    renew = writes(renew)
    record_problem = writes_at(record_problem)
    remove = writes(remove)
    issue_state = writes_at(issue_state)
    consume_state = writes_at(consume_state)
    workspaces_of = reads(workspaces_of)


# ── beside a running bot ──────────────────────────────────────────────────────────────────────
Opener = Callable[[], AbstractContextManager[Database]]


class InstallationsBeside:
    """Implements `InstallationReader` for commands, even while the bot runs.

    `reading` and `writing` open the database (`bot.store.open_store`) and raise StoreUnavailable.
    """

    def __init__(self, *, reading: Opener, writing: Opener) -> None:
        self._reading, self._writing = reading, writing

    async def list_installations(self, platform: str) -> Sequence[Installation]:
        """See the port."""
        return await asyncio.to_thread(
            _run, self._reading, lambda db: list_installations(db, platform)
        )

    async def list_sealed(self, platform: str) -> Sequence[SealedInstallation]:
        """See the port."""
        return await asyncio.to_thread(_run, self._reading, lambda db: list_sealed(db, platform))

    async def read(self, platform: str, workspace: str) -> SealedInstallation | None:
        """See the port."""
        return await asyncio.to_thread(
            _run, self._reading, lambda db: read(db, platform, workspace)
        )

    async def remove(self, platform: str, workspace: str, *, installed_until: float) -> bool:
        """See `InstallationStore.remove`. Does one short write, for which the bot's next commit
        waits."""
        return await asyncio.to_thread(
            _run,
            self._writing,
            lambda db: remove(db, platform, workspace, installed_until=installed_until),
        )


def _run(opener: Opener, operation: Callable[[Database], T]) -> T:
    with opener() as db:
        return operation(db)

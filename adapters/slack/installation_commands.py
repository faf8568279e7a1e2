"""The operator's commands for installations, which also work while the bot runs."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime, tzinfo
from typing import Protocol

from adapters.slack.api import new_session, web_client
from adapters.slack.distribution import Distribution
from adapters.slack.doctor import missing_scopes
from adapters.slack.events import PLATFORM
from adapters.slack.installations import is_org_wide, scopes_of
from adapters.slack.oauth_client import give_back
from bot.domain import install_texts
from bot.domain.errors import StoreError
from bot.domain.installations import Installation
from bot.ports.clock import Clock
from bot.ports.installations import InstallationReader


class Delete(Protocol):
    """See `InstallationStore.remove`."""

    def __call__(self, platform: str, workspace: str, *, installed_until: float) -> Awaitable[bool]:
        """Delete an installation."""
        ...


async def describe(reader: InstallationReader, zone: tzinfo | None) -> Sequence[str]:
    """A line for each installation. Raises StoreUnavailable."""
    found = await reader.list_installations(PLATFORM)
    if not found:
        return [install_texts.NO_INSTALLATIONS]
    return [_line(each, zone) for each in found]


def _line(installation: Installation, zone: tzinfo | None) -> str:
    since = datetime.fromtimestamp(installation.installed_at, zone)
    missing = missing_scopes(scopes_of(installation))
    parts = (
        installation.workspace,
        installation.name + (" (organization)" if is_org_wide(installation) else ""),
        f"{since:%Y-%m-%d %H:%M}",
        f"missing: {', '.join(missing)}" if missing else "all scopes",
        f"refused: {installation.problem}" if installation.problem else "works",
    )
    return "  ".join(parts)


async def remove(
    distribution: Distribution,
    workspace: str,
    *,
    api_url: str | None,
    delete: Delete,
    clock: Clock,
) -> str:
    """Remove the app from a workspace; returns a sentence. Raises StoreError."""
    found = await distribution.reader.read(PLATFORM, workspace)
    if found is None:
        raise StoreError(install_texts.no_such_installation(workspace))
    stored, name = distribution.unseal(found), found.installation.name
    reason = "INSTALLATION_KEY does not decrypt the token"
    if stored is not None:
        async with new_session() as http:
            client = web_client("", api_url, http)
            reason = await give_back(client, distribution.app, stored.credentials.token)
    await delete(PLATFORM, workspace, installed_until=clock.time())
    return (
        install_texts.uninstalled_here(name, reason) if reason else install_texts.uninstalled(name)
    )

"""Builds the Slack app that many workspaces install, and runs the operator's commands on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.common.clock import SystemClock
from bot.common.local_cluster import LocalCluster
from bot.config.consistency import require_consistent
from bot.config.settings import Settings
from bot.domain.errors import SettingsError
from bot.ports.cluster import Cluster
from bot.ports.installations import InstallationReader, InstallationStore
from bot.store.open_store import installations_beside

if TYPE_CHECKING:
    from adapters.slack.distribution import Distribution


def build_distribution(
    settings: Settings,
    reader: InstallationReader,
    store: InstallationStore | None = None,
    cluster: Cluster | None = None,
) -> Distribution | None:
    """Build the Slack app that many workspaces install; None if the settings configure none.

    `cluster` connects the processes that renew its tokens; the default is this process alone.
    """
    if not settings.slack_client_id or settings.slack_client_secret is None:
        return None
    from adapters.slack.distribution import Distribution
    from adapters.slack.oauth_client import OAuthApp
    from bot.common.encryption import SecretBox

    app = OAuthApp(
        client_id=settings.slack_client_id,
        client_secret=settings.slack_client_secret.get_secret_value(),
        teams=settings.install_teams,
        redirect_uri=settings.slack_redirect_uri,
    )
    exclusively = (cluster or LocalCluster()).exclusively
    return Distribution(app, SecretBox(settings.installation_keys), reader, store, exclusively)


def list_installations(settings: Settings) -> Sequence[str]:
    """One line per installation. Raises StoreUnavailable."""
    from adapters.slack.installation_commands import describe

    beside = installations_beside(settings)
    return asyncio.run(describe(beside, settings.zone))


def uninstall(settings: Settings, workspace: str) -> str:
    """Remove the app from a workspace, at Slack and in the database; return a sentence.

    Raises SettingsError, StoreError or StoreUnavailable.
    """
    from adapters.slack.installation_commands import remove

    require_consistent(settings)
    beside = installations_beside(settings)
    distribution = build_distribution(settings, beside)
    if distribution is None:
        raise SettingsError("SLACK_CLIENT_ID", "set it: the bot serves one workspace with a token")
    removing = remove(
        distribution,
        workspace,
        api_url=settings.slack_api_url,
        delete=beside.remove,
        clock=SystemClock(),
    )
    return asyncio.run(removing)

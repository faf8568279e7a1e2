"""Builds the chat platforms' adapters from settings.

Only configured platforms are imported, because imports take most of the startup time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from bot.common.local_cluster import LocalCluster
from bot.config.settings import AUTO_SHARDS, Settings, SlackMode
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.installations import InstallationReader, InstallationStore
from bot.ports.model import ModelCatalog
from bot.ports.platform import Adapter
from bot.wiring.slack import build_distribution

if TYPE_CHECKING:
    from adapters.slack.distribution import Distribution


def build_platforms(
    settings: Settings,
    models: ModelCatalog,
    clock: Clock,
    cluster: Cluster | None = None,
    *,
    reader: InstallationReader,
    store: InstallationStore | None = None,
) -> dict[str, Adapter]:
    """Build the adapter of every configured platform; `cluster` connects the bot's processes.

    `reader` and `store` provide the workspaces that installed an app; without `store`, the adapters
    can only check them.
    """
    adapters: dict[str, Adapter] = {}
    cluster = cluster or LocalCluster()
    if settings.discord_token is not None:
        adapters["discord"] = _build_discord(
            settings, settings.discord_token, models, clock, cluster
        )
    if settings.has_slack:
        distribution = build_distribution(settings, reader, store, cluster)
        adapters["slack"] = _build_slack(settings, distribution, models, clock, cluster)
    return adapters


def _build_discord(
    settings: Settings, token: SecretStr, models: ModelCatalog, clock: Clock, cluster: Cluster
) -> Adapter:
    from adapters.discord.adapter import DiscordAdapter

    return DiscordAdapter(
        token=token.get_secret_value(),
        api_url=settings.discord_api_url,
        gateway_url=settings.discord_gateway_url,
        models=models,
        clock=clock,
        file_from_messages=settings.file_from_messages,
        guilds=settings.discord_servers,
        cluster=cluster,
        shards=_shards(settings),
    )


def _build_slack(
    settings: Settings,
    distribution: Distribution | None,
    models: ModelCatalog,
    clock: Clock,
    cluster: Cluster,
) -> Adapter:
    from adapters.slack.adapter import SlackAdapter

    socket = settings.slack_mode is SlackMode.SOCKET
    return SlackAdapter(
        bot_token=_secret(settings.slack_bot_token) or "",
        distribution=distribution,
        app_token=_secret(settings.slack_app_token) if socket else None,
        signing_secret=None if socket else _secret(settings.slack_signing_secret),
        api_url=settings.slack_api_url,
        command_prefix=settings.slack_command_prefix,
        models=models,
        clock=clock,
        file_from_messages=settings.file_from_messages,
        cluster=cluster,
    )


def slack_app_link(settings: Settings) -> str:
    """The address at which Slack creates the app, for Socket Mode."""
    from adapters.slack.manifests import new_app_link

    return new_app_link("socket", prefix=settings.slack_command_prefix)


def _shards(settings: Settings) -> int | None:
    """The number of Discord shards; None for as many as Discord recommends."""
    if settings.discord_shards == AUTO_SHARDS:
        return None
    if settings.discord_shards:
        return int(settings.discord_shards)
    return None if settings.uses_postgres else 1


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None

"""Checks that settings do not contradict each other, or open the bot to the wrong people."""

from __future__ import annotations

import ipaddress

from bot.config.fields import split
from bot.config.settings import Settings, SlackMode
from bot.domain.errors import SettingsError


def require_consistent(settings: Settings) -> None:
    """Raise SettingsError if settings contradict each other."""
    _require_whole_slack(settings)
    _require_safe_web(settings)
    _require_safe_metrics(settings)
    in_file = settings.file.sets("llm") or settings.file.is_unreadable
    if settings.has_platform and settings.llm is None and not in_file:
        raise SettingsError(
            "LLM",
            "set a model, such as openai/gpt-5-mini "
            "(or demo, to try the connection without a model)",
        )


def _require_whole_slack(settings: Settings) -> None:
    delivers = bool(settings.slack_app_token or settings.slack_signing_secret)
    if delivers and not settings.has_slack:
        raise SettingsError(
            "SLACK_BOT_TOKEN",
            "set the bot token (xoxb-…), too, or remove Slack's other settings",
        )
    if settings.has_slack and not delivers:
        raise SettingsError(
            "SLACK_CLIENT_ID" if settings.slack_client_id else "SLACK_BOT_TOKEN",
            "set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) with it",
        )
    _require_whole_distribution(settings)
    if settings.slack_mode is SlackMode.HTTP and settings.http_port is None:
        raise SettingsError(
            "HTTP_PORT", "Slack's HTTP mode needs a port to listen on, such as 8080"
        )


def _require_whole_distribution(settings: Settings) -> None:
    """Require what one app for many workspaces needs: its credentials, a key, and a port for the
    page."""
    if not settings.slack_client_id:
        if settings.slack_client_secret or settings.slack_install_teams:
            raise SettingsError(
                "SLACK_CLIENT_ID", "set it, too, or remove the other settings for installations"
            )
        return
    if settings.slack_bot_token is not None:
        raise SettingsError(
            "SLACK_BOT_TOKEN",
            "remove it, or SLACK_CLIENT_ID: a bot serves one workspace with a token, or those that "
            "install the app",
        )
    if settings.slack_client_secret is None:
        raise SettingsError("SLACK_CLIENT_SECRET", "set the secret that belongs to SLACK_CLIENT_ID")
    if not settings.installation_keys:
        raise SettingsError(
            "INSTALLATION_KEY",
            "set a key that encrypts the workspaces' tokens: `threadline keys new` makes one",
        )
    if settings.http_port is None:
        raise SettingsError(
            "HTTP_PORT", "the page where workspaces install the app needs a port, such as 8080"
        )


def _require_safe_web(settings: Settings) -> None:
    if settings.serves_site and not settings.web_tokens and not _is_loopback(settings.http_host):
        raise SettingsError(
            "HTTP_TOKENS",
            f"anyone who reaches {settings.http_host} could use the bot: set NAME:TOKEN for each "
            "user, or HTTP_HOST=127.0.0.1",
        )
    if settings.serves_web and not settings.web_tokens and split(settings.http_allowed_hosts):
        raise SettingsError(
            "HTTP_ALLOWED_HOSTS",
            "anyone could use the bot through a proxy: set HTTP_TOKENS to a NAME:TOKEN for "
            "each user",
        )


def _require_safe_metrics(settings: Settings) -> None:
    port = settings.metrics_port
    if settings.metrics_token is not None and port is None and not settings.serves_web:
        raise SettingsError(
            "METRICS_TOKEN", "no port serves /metrics: set METRICS_PORT or HTTP_PORT, too"
        )
    if port is not None and not settings.metrics_token and not _is_loopback(settings.metrics_host):
        raise SettingsError(
            "METRICS_TOKEN",
            f"anyone who reaches {settings.metrics_host} could read what the bot does and costs: "
            "set a token, or METRICS_HOST=127.0.0.1",
        )
    if port and settings.serves_web and port == settings.web_port:
        raise SettingsError(
            "METRICS_PORT",
            "it is the HTTP port: set another one, or only METRICS_TOKEN to serve /metrics there",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

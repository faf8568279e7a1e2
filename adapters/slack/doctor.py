"""Slack's part of `doctor`: checks tokens, scopes and channels with real calls, with advice.

A bot token cannot read its app's event subscriptions or commands, so for those the finding
names the settings page to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adapters.slack import handshake
from adapters.slack.api import WebApi
from adapters.slack.interactions import SHORTCUT, SLASHES
from adapters.slack.manifests import new_app_link
from adapters.slack.responses import Response
from adapters.slack.scopes import EVENTS, FOR_RULES, SCOPES
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.health import Finding, Verdict

_SECRET = re.compile(r"[0-9a-f]{32}")
REINSTALL = "then install the app into the workspace again"


async def check(
    *, api: WebApi, app_token: str | None, signing_secret: str | None, prefix: str
) -> Sequence[Finding]:
    """All findings. Raises nothing."""
    manifest = "manifest-socket.json" if app_token else "manifest-http.json"
    findings: list[Finding] = []
    try:
        response = await api.read("auth.test")
    except PlatformError as error:
        findings.append(
            _failed_request("SLACK_BOT_TOKEN", error, handshake.bot_token_advice(error.code))
        )
        if isinstance(error, Gone | Refused):
            findings.append(_new_app("socket" if app_token else "http", prefix))
    else:
        findings += [_bot(response), *_scopes(response.headers), await _channels(api)]
    findings.append(await _socket(api, app_token) if app_token else _http(signing_secret))
    findings += [_events(manifest), _commands(manifest, prefix)]
    return findings


def _new_app(mode: str, prefix: str) -> Finding:
    """How to create the app, in case it does not exist yet."""
    return Finding(
        "Slack app",
        Verdict.WARNING,
        "no app answers to this token",
        f"if you have none yet, this address creates it: {new_app_link(mode, prefix=prefix)}",
    )


def _failed_request(subject: str, error: PlatformError, advice: str) -> Finding:
    """A finding for a failed request; a network failure says nothing about the token."""
    if isinstance(error, Throttled):
        detail = f"Slack takes no more requests for {error.retry_after:.0f} s"
        return Finding(subject, Verdict.WARNING, detail, "run doctor again after that")
    if isinstance(error, Unsettled):
        advice = "check the network, HTTPS_PROXY and SLACK_API_URL"
        return Finding(subject, Verdict.FAILED, "Slack cannot be reached", advice)
    return Finding(subject, Verdict.FAILED, f"Slack refused: {error}", advice)


def _bot(response: Response) -> Finding:
    data = response.data
    if not data.get("bot_id"):
        detail = "this is a person's token, not a bot's"
        return Finding("SLACK_BOT_TOKEN", Verdict.FAILED, detail, handshake.COPY_XOXB)
    detail = f"@{data.get('user')} in {data.get('team')} ({data.get('team_id')})"
    name = data.get("user")
    return Finding("SLACK_BOT_TOKEN", Verdict.OK, detail, mention=f"@{name}" if name else "")


def _scopes(headers: Mapping[str, str]) -> list[Finding]:
    """A finding for each missing scope; a response header lists the token's scopes."""
    granted = {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",")} - {""}
    if not granted:
        advice = "compare the app's page “OAuth & Permissions” with the manifest"
        return [
            Finding(
                "Slack scopes", Verdict.WARNING, "Slack did not list the granted scopes", advice
            )
        ]
    missing = [scope for scope in SCOPES if scope not in granted]
    if not missing:
        return [Finding("Slack scopes", Verdict.OK, f"all {len(SCOPES)} are granted")]
    advice = "add it on the app's page “OAuth & Permissions” under “Bot Token Scopes”"
    return [
        Finding(
            f"Slack scope {scope}",
            Verdict.WARNING if scope in FOR_RULES else Verdict.FAILED,
            f"missing: {SCOPES[scope]}",
            f"{advice}, {REINSTALL}",
        )
        for scope in missing
    ]


async def _channels(api: WebApi) -> Finding:
    """Whether the bot is in any channel, where people can mention it."""
    try:
        response = await api.read(
            "users.conversations", types="public_channel,private_channel", limit=200
        )
        channels = response.items("channels")
    except PlatformError as error:
        return _failed_request("Slack channels", error, "add the scopes that are missing")
    if not channels:
        advice = "write /invite @the-bot in a channel; direct messages work without"
        return Finding("Slack channels", Verdict.WARNING, "the bot is in none", advice)
    return Finding("Slack channels", Verdict.OK, f"the bot is in {len(channels)}")


async def _socket(api: WebApi, app_token: str) -> Finding:
    try:
        await handshake.open_connection(app_token, api)
    except PlatformError as error:
        return _failed_request("SLACK_APP_TOKEN", error, handshake.app_token_advice(error.code))
    return Finding("SLACK_APP_TOKEN", Verdict.OK, "Socket Mode works")


def _http(signing_secret: str | None) -> Finding:
    """Whether the signing secret looks valid; only a request from Slack can prove it."""
    if not _SECRET.fullmatch(signing_secret or ""):
        advice = "copy the Signing Secret from the app's page “Basic Information”"
        detail = "it is not 32 hexadecimal digits"
        return Finding("SLACK_SIGNING_SECRET", Verdict.FAILED, detail, advice)
    advice = (
        "while the bot runs, save https://YOUR-HOST/slack/events as Request URL on the app's pages "
        "“Event Subscriptions”, “Interactivity & Shortcuts” and “Slash Commands”: "
        "Slack says “Verified” on the first when the secret is right"
    )
    detail = "it looks right; only Slack can confirm it"
    return Finding("SLACK_SIGNING_SECRET", Verdict.WARNING, detail, advice)


def _events(manifest: str) -> Finding:
    return Finding(
        "Slack event subscriptions",
        Verdict.WARNING,
        "a bot token cannot read them",
        f"compare the app's page “Event Subscriptions” with {manifest}: {', '.join(EVENTS)}; "
        "and “App Home” must allow messages to the app, or direct messages fail",
    )


def _commands(manifest: str, prefix: str) -> Finding:
    commands = ", ".join(f"/{prefix}{name}" for name in SLASHES)
    return Finding(
        "Slack commands",
        Verdict.WARNING,
        "a bot token cannot read them",
        f"compare the app's pages “Slash Commands” and “Interactivity & Shortcuts” with "
        f"{manifest}: {commands} and the message shortcut {SHORTCUT}"
        + ("" if prefix else "; if another app has such a command, set SLACK_COMMAND_PREFIX"),
    )

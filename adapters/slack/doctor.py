"""Slack's part of `doctor`: checks tokens, scopes and channels with real calls, with advice.

A bot token cannot read its app's event subscriptions or commands, so for those the finding
names the settings page to check.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from adapters.slack import handshake
from adapters.slack.api import WebApi, web_client
from adapters.slack.interactions import SHORTCUT, SLASHES
from adapters.slack.manifests import new_app_link
from adapters.slack.responses import Response
from adapters.slack.scopes import EVENTS, FOR_RULES, SCOPES
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.health import Finding, Verdict

_SECRET = re.compile(r"[0-9a-f]{32}")
REINSTALL = "then install the app into the workspace again"


@dataclass(frozen=True, slots=True)
class AppCheck:
    """Checks the app; `app_api` has its app-level token. Its methods never raise.

    The app's commands begin with `prefix`.
    """

    app_api: WebApi
    by_socket: bool
    signing_secret: str | None
    prefix: str

    @property
    def _mode(self) -> str:
        return "socket" if self.by_socket else "http"

    async def check(self) -> Sequence[Finding]:
        """Findings about how events arrive, and what to compare with the manifest."""
        manifest = f"manifest-{self._mode}.json"
        delivery = await _socket(self.app_api) if self.by_socket else _http(self.signing_secret)
        return [delivery, _events(manifest), _commands(manifest, self.prefix)]

    async def check_token(
        self, token: str, http: aiohttp.ClientSession, api_url: str | None
    ) -> Sequence[Finding]:
        """Check SLACK_BOT_TOKEN, its scopes, and the bot's channels."""
        api = WebApi(
            client=web_client(token, api_url, http),
            session=http,
            rate_limiter=self.app_api.rate_limiter,
            clock=self.app_api.clock,
        )
        try:
            response = await api.read("auth.test")
        except PlatformError as error:
            advice = handshake.bot_token_advice(error.code)
            failed = failed_request("SLACK_BOT_TOKEN", error, advice)
            unknown = isinstance(error, Gone | Refused)
            return [failed, *([_new_app(self._mode, self.prefix)] if unknown else [])]
        return [_bot(response), *_scopes(response.headers), await _channels(api)]


def _new_app(mode: str, prefix: str) -> Finding:
    """Advice on creating the app, in case it does not exist yet."""
    return Finding(
        "Slack app",
        Verdict.WARNING,
        "no app answers to this token",
        f"if you have none yet, this address creates it: {new_app_link(mode, prefix=prefix)}",
    )


def failed_request(subject: str, error: PlatformError, advice: str) -> Finding:
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
    granted = granted_scopes(headers)
    if not granted:
        advice = "compare the app's page “OAuth & Permissions” with the manifest"
        return [
            Finding(
                "Slack scopes", Verdict.WARNING, "Slack did not list the granted scopes", advice
            )
        ]
    missing = missing_scopes(granted)
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


def granted_scopes(headers: Mapping[str, str]) -> frozenset[str]:
    """A token's scopes, as listed in a response header; none without that header."""
    listed = (scope.strip() for scope in headers.get("x-oauth-scopes", "").split(","))
    return frozenset(filter(None, listed))


def missing_scopes(granted: Collection[str]) -> Sequence[str]:
    """The scopes that the app requests but a token lacks."""
    return [scope for scope in SCOPES if scope not in granted]


async def _channels(api: WebApi) -> Finding:
    """Whether the bot is in any channel, where people can mention it."""
    try:
        response = await api.read(
            "users.conversations", types="public_channel,private_channel", limit=200
        )
        channels = response.items("channels")
    except PlatformError as error:
        return failed_request("Slack channels", error, "add the scopes that are missing")
    if not channels:
        advice = "write /invite @the-bot in a channel; direct messages work without"
        return Finding("Slack channels", Verdict.WARNING, "the bot is in none", advice)
    return Finding("Slack channels", Verdict.OK, f"the bot is in {len(channels)}")


async def _socket(app_api: WebApi) -> Finding:
    try:
        await handshake.open_connection(app_api)
    except PlatformError as error:
        return failed_request("SLACK_APP_TOKEN", error, handshake.app_token_advice(error.code))
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

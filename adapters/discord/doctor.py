"""Discord's checks for `threadline doctor`: each makes a real API call and reports what to fix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import discord
from discord.http import Route

from adapters.discord.access import MAX_GUILDS
from adapters.discord.errors import attempt
from adapters.discord.session_starts import GatewayInfo, parse_gateway_info
from bot.domain import texts
from bot.domain.errors import PlatformError
from bot.domain.health import Finding, Verdict

PORTAL = "https://discord.com/developers/applications"
TOKEN_ADVICE = f"copy a new token from {PORTAL} (your application, “Bot”, “Reset Token”)."
INTENT_ADVICE = (
    f"at {PORTAL} open your application, choose “Bot” and turn on “Message Content Intent” "
    "under “Privileged Gateway Intents”."
)
# Permissions and the purpose of each. Findings name them as Discord's settings page does.
NEEDED = {
    "view_channel": "to see messages",
    "send_messages": "to answer",
    "send_messages_in_threads": "to answer in threads",
    "create_public_threads": "to open a thread for each conversation",
    "read_message_history": "to read a thread where it is mentioned, and to resume after a crash",
}
OPTIONAL = {"attach_files": "to send very long code as a file instead of text"}
PUBLIC_ADVICE = (
    f"at {PORTAL} open your application, choose “Bot” and turn off “Public Bot”, or list your own "
    "servers in DISCORD_GUILDS."
)
ENDPOINT_ADVICE = (
    f"at {PORTAL} open your application, choose “General Information” and clear “Interactions "
    "Endpoint URL”: the bot gets commands and buttons only without one."
)
# Time limits for logging in and for one check, in seconds.
LOGIN_SECONDS, CHECK_SECONDS = 30.0, 30.0


def permissions() -> discord.Permissions:
    """The required and the optional permissions."""
    return discord.Permissions(**dict.fromkeys(NEEDED | OPTIONAL, True))


def invite_url(application: int) -> str:
    """The link that adds the bot and its commands to a guild with these permissions."""
    return discord.utils.oauth_url(
        application, permissions=permissions(), scopes=("bot", "applications.commands")
    )


class Doctor:
    """Checks one account; `make_client` returns a client that is not connected yet.

    `shards` is the number that the bot uses; None: as many as Discord recommends.
    """

    def __init__(
        self, *, token: str, make_client: Callable[[], discord.Client], shards: int | None = 1
    ) -> None:
        self._token, self._make_client, self._shards = token, make_client, shards

    async def findings(self) -> Sequence[Finding]:
        """The results of all checks; raises no PlatformError."""
        async with self._make_client() as client:
            try:
                await attempt(client.login(self._token), within=LOGIN_SECONDS)
            except PlatformError as error:
                if isinstance(error.__cause__, discord.LoginFailure):
                    return [_failed("Discord token", "refused", TOKEN_ADVICE)]
                return [_unreachable(error)]
            found = [_login(client), _intent(client)]
            found += _public(client) + _interactions(client)
            found += await self._run("Discord guilds", client, _guilds)
            found += await self._run("Discord commands", client, _commands)
            found += await self._run("Discord sessions", client, self._sessions)
            found.append(_members_intent(client))
            return found

    async def _sessions(self, client: discord.Client) -> Iterable[Finding]:
        """Checks the number of shards, and how many sessions may begin today."""
        raw: Any = await attempt(client.http.request(Route("GET", "/gateway/bot")))
        return sessions_findings(parse_gateway_info(raw, 0.0), self._shards)

    async def _run(
        self,
        subject: str,
        client: discord.Client,
        check: Callable[[discord.Client], Any],
    ) -> list[Finding]:
        try:
            return list(await attempt(check(client), within=CHECK_SECONDS))
        except PlatformError as error:
            return [_failed(subject, f"could not be read: {error}", "run this again in a moment")]


def _unreachable(error: PlatformError) -> Finding:
    """What Discord answered is for people; the text of a network library's error is not."""
    answered = isinstance(error.__cause__, discord.HTTPException)
    detail = f"cannot be reached: {error}" if answered else "cannot be reached"
    return _failed("Discord", detail, "check the network, HTTPS_PROXY and DISCORD_API_URL")


def _login(client: discord.Client) -> Finding:
    name = client.user.name if client.user is not None else ""
    return Finding(
        "Discord token", Verdict.OK, f"logged in as {client.user}", mention=name and f"@{name}"
    )


def _intent(client: discord.Client) -> Finding:
    subject, application = "Discord message content intent", client.application
    flags = application.flags if application is not None else discord.ApplicationFlags()
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return _ok(subject, "granted")
    return _failed(subject, "not granted", INTENT_ADVICE)


def _members_intent(client: discord.Client) -> Finding:
    """Reports whether the members intent is missing: without it, role changes take effect later."""
    flags = client.application.flags if client.application is not None else None
    granted = flags is not None and (
        flags.gateway_guild_members or flags.gateway_guild_members_limited
    )
    when = "immediately" if granted else "within a minute (“Server Members Intent”: immediately)"
    return _ok("Discord roles", f"changes count {when}")


def _public(client: discord.Client) -> list[Finding]:
    """Warns about a public bot: anyone can add it to a guild and use it at the owner's expense."""
    subject, application = "Discord bot", client.application
    if application is None or not application.bot_public:
        return [_ok(subject, "private: only its owner can add it to a server")]
    said = "public: anyone can add it to their server and use it at your expense"
    return [Finding(subject, Verdict.WARNING, said, PUBLIC_ADVICE)]


def _interactions(client: discord.Client) -> list[Finding]:
    """Reports an address to which Discord sends commands and buttons instead of to the bot."""
    application = client.application
    url = application.interactions_endpoint_url if application is not None else None
    if not url:
        return []
    return [_failed("Discord commands and buttons", f"sent to {url}", ENDPOINT_ADVICE)]


async def _guilds(client: discord.Client) -> Iterable[Finding]:
    guilds = await attempt(client.http.get_guilds(limit=MAX_GUILDS))
    link = invite_url(client.application_id or 0)
    if not guilds:
        return [Finding("Discord guilds", Verdict.WARNING, "none", f"invite the bot: {link}")]
    return [_guild(guild, link) for guild in guilds]


def _guild(guild: Mapping[str, Any], link: str) -> Finding:
    """Checks the guild-wide permissions; channel overwrites are not checked."""
    subject = f"Discord guild {guild['name']} ({guild.get('id', 'no id')})"
    granted = discord.Permissions(int(guild["permissions"]))
    missing = {
        name: why
        for name, why in (NEEDED | OPTIONAL).items()
        if not (granted.administrator or getattr(granted, name))
    }
    if not missing:
        return _ok(subject, "all permissions")
    said = ", ".join(f"{name.replace('_', ' ')} ({why})" for name, why in missing.items())
    verdict = Verdict.FAILED if missing.keys() & NEEDED.keys() else Verdict.WARNING
    return Finding(subject, verdict, f"missing: {said}", f"invite the bot again: {link}")


async def _commands(client: discord.Client) -> Iterable[Finding]:
    registered = await attempt(client.http.get_global_commands(client.application_id or 0))
    missing = sorted(texts.SLASH_COMMANDS.keys() - {command["name"] for command in registered})
    if not missing:
        return [_ok("Discord commands", "registered")]
    names = ", ".join(f"/{name}" for name in missing)
    advice = "start the bot once: it registers them when it starts"
    return [Finding("Discord commands", Verdict.WARNING, f"not registered: {names}", advice)]


def sessions_findings(info: GatewayInfo, shards: int | None) -> list[Finding]:
    """Findings about session limits for a bot with this many shards (None: as recommended)."""
    left = f"{info.remaining} of {info.total} sessions left today"
    if info.is_used_up:
        hours = math.ceil(info.reset_after / 3600)
        advice = (
            f"new connections wait up to {hours} h, because Discord resets the token of a bot that "
            "uses up all; find out in the log why it connects so often"
        )
        return [_failed("Discord sessions", left, advice)]
    found = [_ok("Discord sessions", left)]
    count = info.shards if shards is None else shards
    said = f"{count} (Discord recommends {info.shards})"
    if count < info.shards:
        found.append(
            Finding("Discord shards", Verdict.WARNING, said, "set DISCORD_SHARDS=auto or more")
        )
    elif count > 1:
        found.append(_ok("Discord shards", said))
    return found


def _ok(subject: str, detail: str) -> Finding:
    return Finding(subject, Verdict.OK, detail)


def _failed(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, Verdict.FAILED, detail, advice)

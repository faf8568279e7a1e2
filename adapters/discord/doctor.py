"""What `doctor` tries on Discord: every point with a real call, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import discord

from adapters.discord.interactions import DESCRIPTIONS
from adapters.discord.rest import attempt
from bot.domain.errors import PlatformError
from bot.domain.health import Finding, Verdict

PORTAL = "https://discord.com/developers/applications"
TOKEN_ADVICE = f"copy a new token from {PORTAL} (your application, “Bot”, “Reset Token”)."
INTENT_ADVICE = (
    f"at {PORTAL} open your application, choose “Bot” and turn on “Message Content Intent” "
    "under “Privileged Gateway Intents”."
)
# What each permission is for; Discord's own words for it are made from the names.
NEEDED = {
    "view_channel": "to see messages",
    "send_messages": "to answer",
    "send_messages_in_threads": "to answer in threads",
    "create_public_threads": "to open a thread for each conversation",
    "read_message_history": "to read a thread in which it is mentioned, and to go on after a crash",
}
# Without it everything works, and something is less good.
WANTED = {"attach_files": "to send very long code as a file: without it, it comes as text"}
PUBLIC_ADVICE = (
    f"at {PORTAL} open your application, choose “Bot” and turn off “Public Bot”, or list your own "
    "servers in DISCORD_GUILDS."
)
# The longest that logging in, and one check, may take. Seconds.
LOGIN_SECONDS, CHECK_SECONDS = 30.0, 30.0
MOST_GUILDS = 200  # what one request gives


def permissions() -> discord.Permissions:
    """All that the bot needs, and what it can use."""
    return discord.Permissions(**dict.fromkeys(NEEDED | WANTED, True))


def invite(application: int) -> str:
    """The link that brings the bot into a guild with these permissions and its commands."""
    return discord.utils.oauth_url(
        application, permissions=permissions(), scopes=("bot", "applications.commands")
    )


class Doctor:
    """Checks one account; `client` makes a client that is not connected yet."""

    def __init__(self, *, token: str, client: Callable[[], discord.Client]) -> None:
        self._token, self._make = token, client

    async def findings(self) -> Sequence[Finding]:
        """Everything that was found; raises nothing."""
        async with self._make() as client:
            try:
                await attempt(client.login(self._token), within=LOGIN_SECONDS)
            except PlatformError as error:
                if isinstance(error.__cause__, discord.LoginFailure):
                    return [_failed("Discord token", "refused", TOKEN_ADVICE)]
                return [_failed("Discord", f"cannot be reached: {error}", "check the network")]
            found = [_ok("Discord token", f"logged in as {client.user}"), _intent(client)]
            found += _public(client)
            found += await self._tried("Discord guilds", client, _guilds)
            found += await self._tried("Discord commands", client, _commands)
            return found

    async def _tried(
        self,
        subject: str,
        client: discord.Client,
        check: Callable[[discord.Client], Any],
    ) -> list[Finding]:
        try:
            return list(await attempt(check(client), within=CHECK_SECONDS))
        except PlatformError as error:
            return [_failed(subject, f"could not be read: {error}", "run this again in a moment")]


def _intent(client: discord.Client) -> Finding:
    subject, application = "Discord message content intent", client.application
    flags = application.flags if application is not None else discord.ApplicationFlags()
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return _ok(subject, "granted")
    return _failed(subject, "not granted", INTENT_ADVICE)


def _public(client: discord.Client) -> list[Finding]:
    """Anybody may add a public bot to a server of theirs, and spend the owner's money there."""
    subject, application = "Discord bot", client.application
    if application is None or not application.bot_public:
        return [_ok(subject, "private: only its owner can add it to a server")]
    said = "public: anybody can add it to their server and use it at your expense"
    return [Finding(subject, Verdict.WARNING, said, PUBLIC_ADVICE)]


async def _guilds(client: discord.Client) -> Iterable[Finding]:
    guilds = await attempt(client.http.get_guilds(limit=MOST_GUILDS))
    link = invite(client.application_id or 0)
    if not guilds:
        return [Finding("Discord guilds", Verdict.WARNING, "none", f"invite the bot: {link}")]
    return [_guild(guild, link) for guild in guilds]


def _guild(guild: Mapping[str, Any], link: str) -> Finding:
    """The permissions in a guild as a whole; a channel may take some of them back."""
    subject = f"Discord guild {guild['name']}"
    has = discord.Permissions(int(guild["permissions"]))
    missing = {
        name: why
        for name, why in (NEEDED | WANTED).items()
        if not (has.administrator or getattr(has, name))
    }
    if not missing:
        return _ok(subject, "all permissions")
    said = ", ".join(f"{name.replace('_', ' ')} ({why})" for name, why in missing.items())
    verdict = Verdict.FAILED if missing.keys() & NEEDED.keys() else Verdict.WARNING
    return Finding(subject, verdict, f"missing: {said}", f"invite the bot again: {link}")


async def _commands(client: discord.Client) -> Iterable[Finding]:
    there = await attempt(client.http.get_global_commands(client.application_id or 0))
    missing = sorted(DESCRIPTIONS.keys() - {command["name"] for command in there})
    if not missing:
        return [_ok("Discord commands", "registered")]
    names = ", ".join(f"/{name}" for name in missing)
    advice = "they are registered when the bot starts: start it once"
    return [Finding("Discord commands", Verdict.WARNING, f"not registered: {names}", advice)]


def _ok(subject: str, detail: str) -> Finding:
    return Finding(subject, Verdict.OK, detail)


def _failed(subject: str, detail: str, advice: str) -> Finding:
    return Finding(subject, Verdict.FAILED, detail, advice)

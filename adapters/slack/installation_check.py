"""The installation checks for `doctor`: one line for each, with a real call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from adapters.slack.api import WebApi
from adapters.slack.doctor import failed_request, granted_scopes, missing_scopes
from adapters.slack.installations import StoredInstallation
from adapters.slack.oauth import INSTALL_PATH
from adapters.slack.rotation import LOST
from adapters.slack.scopes import FOR_RULES
from bot.domain.errors import PlatformError
from bot.domain.health import Finding, Verdict
from bot.domain.installations import Installation, SealedInstallation

CONCURRENT = 5
INSTALL_AGAIN = f"people there install the app again: https://YOUR-HOST{INSTALL_PATH}"

Unseal = Callable[[SealedInstallation], StoredInstallation | None]


async def check_installations(
    every: Sequence[SealedInstallation],
    *,
    unseal: Unseal,
    api_with: Callable[[str], WebApi],
    teams: Sequence[str],
    now: float,
) -> Sequence[Finding]:
    """A finding for each installation, and one about who may install the app.

    `now` is in Unix seconds.
    """
    few = asyncio.Semaphore(CONCURRENT)

    async def check(sealed: SealedInstallation) -> Finding:
        async with few:
            return await _check(sealed.installation, unseal(sealed), api_with, now)

    return [_who(teams, len(every)), *await asyncio.gather(*map(check, every))]


def _who(teams: Sequence[str], count: int) -> Finding:
    detail = f"{count} workspaces have the app"
    if not teams:
        advice = "name workspaces in SLACK_INSTALL_TEAMS to let them install it, or * for all"
        return Finding("Slack installations", Verdict.WARNING, f"{detail}; no other may", advice)
    who = "any workspace" if "*" in teams else ", ".join(teams)
    return Finding("Slack installations", Verdict.OK, f"{detail}; {who} may install it")


async def _check(
    installation: Installation,
    stored: StoredInstallation | None,
    api_with: Callable[[str], WebApi],
    now: float,
) -> Finding:
    subject = f"Slack {installation.workspace} ({installation.name})"
    if stored is None:
        advice = "set the INSTALLATION_KEY that it was stored with, or remove it"
        return Finding(subject, Verdict.FAILED, "no key decrypts its token", advice)
    expires_at = stored.credentials.expires_at
    if installation.problem in LOST - {"token_expired"}:
        detail = f"Slack refuses its token ({installation.problem})"
        return Finding(subject, Verdict.FAILED, detail, INSTALL_AGAIN)
    if expires_at is not None and expires_at <= now:  # renewing it is for the bot alone
        detail = "its token has expired, and is renewed when the workspace is used"
        return Finding(subject, Verdict.OK, detail)
    try:
        response = await api_with(stored.credentials.token).read("auth.test")
    except PlatformError as error:
        return failed_request(subject, error, INSTALL_AGAIN)
    granted = granted_scopes(response.headers)
    if not granted:
        detail, advice = "Slack did not list the granted scopes", "compare them with the manifest"
        return Finding(subject, Verdict.WARNING, detail, advice)
    missing = missing_scopes(granted)
    if not missing:
        return Finding(subject, Verdict.OK, f"@{response.data.get('user')}, with all scopes")
    verdict = Verdict.WARNING if FOR_RULES.issuperset(missing) else Verdict.FAILED
    return Finding(subject, verdict, f"missing scopes: {', '.join(missing)}", INSTALL_AGAIN)

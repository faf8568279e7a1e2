"""`threadline setup discord` and `slack`: run the platforms' own checks, and write `.env`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bot.cli.findings import format_finding
from bot.cli.questions import NoAnswer, ask, ask_hidden, say
from bot.config import env_writer
from bot.config.env_file import unquote
from bot.config.loader import load
from bot.config.settings import Settings
from bot.domain import connecting_texts as texts
from bot.domain.errors import SettingsError
from bot.domain.health import Finding, Verdict

FAILURE = 1
LATER = "later"
CHECK_SECONDS = 90.0
"""The limit for all checks of a platform together; each check has a shorter one."""

# The subjects of the checks that must pass before anything is written, by prefix.
_TOKENS = ("Discord token", "Discord", "SLACK_")
_NOWHERE = ("Discord guilds", "Slack channels")  # the bot was not added anywhere yet
_SETUP_COMMANDS = ("Discord commands",)  # `run` registers them
_MANIFEST = ("Slack event subscriptions", "Slack commands")  # settled by the link's manifest


def set_up_discord(settings: Settings) -> int:
    """Ask for the token, check everything, and say what is left to do."""
    say(texts.DISCORD_STEPS)
    return _set_up(settings, "discord", {"DISCORD_TOKEN": "The bot's token (hidden)"})


def set_up_slack(settings: Settings) -> int:
    """Like `set_up_discord`, with a link that creates the app."""
    from bot.wiring.platforms import slack_app_link

    say(texts.SLACK_STEPS.format(link=slack_app_link(settings)))
    names = {
        "SLACK_BOT_TOKEN": "Bot User OAuth Token, xoxb-… (hidden)",
        "SLACK_APP_TOKEN": "App-Level Token, xapp-… (hidden)",
    }
    return _set_up(settings, "slack", names)


def _set_up(settings: Settings, platform: str, names: Mapping[str, str]) -> int:
    failed = False
    while True:
        try:
            values = {name: unquote(ask_hidden(prompt)) for name, prompt in names.items()}
        except NoAnswer:
            if failed:  # the reason was already printed
                return FAILURE
            raise
        try:
            return _try(settings, platform, _put_right(values))
        except SettingsError as error:
            for setting, problem in error.problems:
                say(f"{setting}: {problem}.")
        failed = True


def _put_right(values: Mapping[str, str]) -> Mapping[str, str]:
    """Swap Slack's two tokens if each was entered in the other's place."""
    bot, app = values.get("SLACK_BOT_TOKEN", ""), values.get("SLACK_APP_TOKEN", "")
    if not (bot.startswith("xapp-") and app.startswith("xoxb-")):
        return values
    say(texts.SWAPPED)
    return {"SLACK_BOT_TOKEN": app, "SLACK_APP_TOKEN": bot}


def _try(settings: Settings, platform: str, values: Mapping[str, str]) -> int:
    """Check the tokens, write them if they work, and check again until nothing is missing.

    Raises SettingsError for values that are malformed or refused.
    """
    from bot.common import logs

    variables = settings.variables
    for name, value in values.items():
        if not value:
            raise SettingsError(name, "it is empty: paste the token")
        if unquote(variables.environ.get(name, "")) not in ("", value):
            raise SettingsError(name, texts.IN_ENVIRONMENT)
    if variables.path is None:
        raise SettingsError(next(iter(values)), texts.NO_FILE)
    trial = load({**variables.environ, **values}, variables.path)
    logs.configure(level="ERROR", form=trial.log_format, secrets=trial.secrets())
    findings = _check(trial, platform)
    refused = [each for each in findings if _is_failed_token(each)]
    if refused:
        raise SettingsError(refused[0].subject, f"{refused[0].detail}: {refused[0].advice}")
    env_writer.write(variables.path, values)
    say(f"{' and '.join(values)}: in .env now.")
    return _finish(trial, platform, findings)


def _finish(settings: Settings, platform: str, findings: Sequence[Finding]) -> int:
    """Say what is missing, check again once the person has fixed it, and say how to begin."""
    from bot.operation.control_socket import is_answering

    while _tell_missing(findings):
        try:
            if ask("Enter checks it again, “later” ends").lower() == LATER:
                break
        except NoAnswer:
            break
        findings = _check(settings, platform)
    if settings.llm is None and not settings.file.contents.llm:
        say(texts.NO_LLM)
    say(texts.RESTART if is_answering(settings.socket_path) else texts.START)
    if any(each.verdict is Verdict.FAILED for each in findings):
        return FAILURE
    mention = next((each.mention for each in findings if each.mention), "@the-bot")
    say(texts.ready(mention))
    return 0


def _tell_missing(findings: Sequence[Finding]) -> bool:
    """Print each problem; return whether any of them keeps the bot from answering."""
    for finding in findings:
        if finding.verdict is not Verdict.OK:
            say(format_finding(finding))
    return any(each.verdict is Verdict.FAILED or _is_nowhere(each) for each in findings)


def _is_nowhere(finding: Finding) -> bool:
    return finding.verdict is Verdict.WARNING and finding.subject in _NOWHERE


def _check(settings: Settings, platform: str) -> list[Finding]:
    """The platform's findings, except for those that a start or the manifest settles."""
    from bot.common.clock import SystemClock
    from bot.config.models import examine
    from bot.resources import build_models
    from bot.store.open_store import installations_beside
    from bot.wiring.platforms import build_platforms

    async def check() -> Sequence[Finding]:
        clock = SystemClock()
        models = build_models(settings, examine(settings)[0], clock)
        async with asyncio.timeout(CHECK_SECONDS):
            reader = installations_beside(settings)
            adapters = build_platforms(settings, models, clock, reader=reader)
            return await adapters[platform].check()

    say("Checking …")
    try:
        found = asyncio.run(check())
    except TimeoutError:
        return [Finding(platform, Verdict.FAILED, "no answer", "check the network, and try again")]
    settled = (*_SETUP_COMMANDS, *_MANIFEST)
    return [each for each in found if each.subject not in settled]


def _is_failed_token(finding: Finding) -> bool:
    failed = finding.verdict is Verdict.FAILED
    return failed and (finding.subject in _TOKENS or finding.subject.startswith("SLACK_"))

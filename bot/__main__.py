"""The command line: `python -m bot …`, installed as `threadline`.

Exit codes: 0 success, 1 failure, 2 invalid settings or command line.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bot import __version__
from bot.cli.completion import add_completion_command
from bot.cli.config_check import add_config_commands
from bot.cli.conversations import add_conversation_commands
from bot.cli.database import add_database_commands
from bot.cli.findings import format_finding
from bot.cli.parsers import Commands
from bot.cli.privacy_arguments import add_privacy_commands
from bot.cli.setup import add_setup_commands
from bot.cli.slack import add_key_commands, add_slack_commands
from bot.cli.status import add_status_command
from bot.cli.usage import add_usage_command
from bot.common import proxies
from bot.config.consistency import require_consistent
from bot.config.loader import load, unknown_names
from bot.config.models import resolve
from bot.config.policy_rules import resolve_policy
from bot.config.problems import require_all
from bot.config.settings import Settings
from bot.domain.errors import SettingsError, ThreadlineError
from bot.domain.health import Verdict
from bot.domain.model import DEMO
from bot.evaluation.arguments import add_feedback_commands
from bot.tracing import setup as tracing_setup

if TYPE_CHECKING:
    from bot.common.logs import Redactor
    from bot.llm.local_servers import LocalServer, LocalServerSearch

FAILURE, INVALID_SETTING = 1, 2


def main(
    arguments: Sequence[str] | None = None,
    *,
    local_servers: Sequence[LocalServer] | None = None,
) -> int:
    """Run one command and return its exit code. A failure prints one line to stderr.

    If no model is set, the servers in `local_servers` are offered; None means the well-known ones.
    """
    _write_any_character()
    parser = build_parser()
    options = parser.parse_args(arguments, argparse.Namespace(local_servers=local_servers))
    if options.run is None:
        parser.print_help()
        return INVALID_SETTING
    proxies.keep_loopback_direct(os.environ)
    try:
        _warn_of_unknown_names()
        settings = load(os.environ)
        code = int(options.run(settings, options) or 0)
        sys.stdout.flush()
        return code
    except SettingsError as error:
        for setting, problem in error.problems:
            print(f"threadline: {setting}: {problem}", file=sys.stderr)
        return INVALID_SETTING
    except ThreadlineError as error:
        print(f"threadline: {error}", file=sys.stderr)
        return FAILURE
    except BrokenPipeError:  # as in `threadline config | head -1`
        _discard_output()
        return FAILURE
    except KeyboardInterrupt:
        return FAILURE


def _write_any_character() -> None:
    """Where the locale lacks a character, such as “…” in ASCII, write a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="replace")


def _discard_output() -> None:
    """Send what is left in stdout's buffer nowhere: the interpreter flushes it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _warn_of_unknown_names() -> None:
    """Warn about misspelled settings, which would otherwise be ignored silently."""
    for name, other in unknown_names(os.environ).items():
        hint = f"did you mean {other}?" if other else ".env.example lists all settings"
        print(f"threadline: {name} is not a setting and is ignored: {hint}", file=sys.stderr)


def _run(settings: Settings, options: argparse.Namespace) -> None:
    from bot import app
    from bot.config.reload import ConfigSource

    require_all(
        partial(require_consistent, settings),
        partial(resolve, settings),
        partial(resolve_policy, settings),
    )
    redactor = _configure_logs(settings if settings.has_platform else _quiet(settings))
    redactor.add_kinds(resolve_policy(settings).redactions)
    tracing_setup.add_variables(os.environ, settings.variables.dotenv)
    redactor.add(tracing_setup.secrets(os.environ))

    search = _search_local_servers(settings, options)

    def listening(address: str) -> None:
        if not settings.has_platform:
            print(f"Threadline is at {address}", _connect_hint(settings), sep="\n", flush=True)
        if search is not None and (offer := search.offer()):
            print(offer, flush=True)

    source = ConfigSource(load=partial(load, os.environ), redact=redactor.add)
    asyncio.run(app.run(settings, listening=listening, source=source))


def _connect_hint(settings: Settings) -> str:
    """Return one line that explains how to connect a platform and a model."""
    chain = settings.llm_chain
    model = "LLM, and " if chain == (DEMO,) else ""
    return (
        f"No platform is connected, and {','.join(chain)} answers. Set {model}"
        "DISCORD_TOKEN or SLACK_BOT_TOKEN with SLACK_APP_TOKEN, in .env: `make connect` tries "
        "them and does so; `make chat` opens a chat in the terminal, also while the bot runs."
    )


def _chat(settings: Settings, options: argparse.Namespace) -> None:
    from bot.wiring import terminal

    _configure_logs(_silent(settings))
    search = _search_local_servers(settings, options)
    if search is not None and (offer := search.offer()):
        print(offer, file=sys.stderr)  # stdout is for answers only
    asyncio.run(terminal.chat(settings, options.word, options.name))


def _search_local_servers(
    settings: Settings, options: argparse.Namespace
) -> LocalServerSearch | None:
    """The search for a server to offer; None if the operator has chosen a model."""
    contents = settings.file.contents
    if settings.llm or contents.llm or settings.model_choices:
        return None
    from bot.llm.local_servers import LOCAL_SERVERS, LocalServerSearch

    servers = options.local_servers
    return LocalServerSearch(LOCAL_SERVERS if servers is None else servers)


def _quiet(settings: Settings) -> Settings:
    """Settings that log only warnings and errors, unless LOG_LEVEL is set."""
    return _with_level(settings, "WARNING")


def _silent(settings: Settings) -> Settings:
    """Settings that log only errors, for commands that report each failure themselves."""
    return _with_level(settings, "ERROR")


def _with_level(settings: Settings, level: str) -> Settings:
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": level})


def _configure_logs(settings: Settings) -> Redactor:
    """Log to stderr, with the settings' secrets removed; the redactor accepts further secrets."""
    from bot.common import logs

    return logs.configure(
        level=settings.log_level, form=settings.log_format, secrets=settings.secrets()
    )


def _export_feedback(settings: Settings, options: argparse.Namespace) -> None:
    from bot.evaluation.command import export_feedback

    export_feedback(settings, options, sys.stdout)


def _evaluate(settings: Settings, options: argparse.Namespace) -> int:
    from bot.evaluation.command import on_terminal
    from bot.wiring import evaluation

    _configure_logs(_quiet(settings))
    return evaluation.run(settings, options, on_terminal(partial(print, file=sys.stderr)))


def _doctor(settings: Settings, _options: argparse.Namespace) -> int:
    from bot import app

    _configure_logs(_silent(settings))

    async def print_findings() -> int:
        failed = False
        async for finding in app.doctor(settings):
            print(format_finding(finding), flush=True)
            failed = failed or finding.verdict is Verdict.FAILED
        return FAILURE if failed else 0

    return asyncio.run(print_findings())


def _version(_settings: Settings, _options: argparse.Namespace) -> None:
    print(f"threadline {__version__}")


_EPILOG = """\
examples:
  threadline setup                    connect a model, Discord or Slack
  threadline run                      the page, at http://127.0.0.1:8080, and all platforms
  threadline chat                     talk to it here; threadline chat work is another conversation
  cat error.log | threadline chat "what went wrong?"
  threadline doctor                   try every token, permission and model
  threadline config                   every setting in force, and where it comes from
  source <(threadline completion bash)

Settings come from the environment and .env; .env.example explains each. threadline.toml describes
servers and models; docs/models.md explains it."""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="threadline",
        description="A self-hosted assistant for Discord and Slack.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"threadline {__version__}")
    parser.set_defaults(run=None)
    _add_commands(parser.add_subparsers(title="commands", metavar="COMMAND"))
    return parser


def _add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """In the order in which --help lists them."""

    def add(name: str, run: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(run=run)
        return command

    add("run", _run, "serve every platform whose token is set, or the web page if none is")
    _add_chat_arguments(
        add(
            "chat",
            _chat,
            "chat in the terminal, or ask once: "
            "`cat log | threadline chat QUESTION` asks about a file",
        )
    )
    add_setup_commands(commands)
    add_database_commands(add)
    add_usage_command(add)
    add_status_command(add)
    add_conversation_commands(add)
    exporting = commands.add_parser("export", help="write a person's data, or votes on answers")
    exports = exporting.add_subparsers(title="kinds", metavar="KIND", required=True)
    add_privacy_commands(add, exports)
    add_feedback_commands(commands, exports, export=_export_feedback, evaluate=_evaluate)
    add("doctor", _doctor, "check tokens, intents, permissions, scopes and models, with advice")
    add_slack_commands(commands)
    add_config_commands(commands)
    add_completion_command(add, build_parser)
    add_key_commands(commands)
    add("version", _version, "print the version")


def _add_chat_arguments(chat: argparse.ArgumentParser) -> None:
    chat.add_argument(
        "word",
        nargs="?",
        metavar="NAME|QUESTION",
        help="at a keyboard a conversation's name (main); in a pipe a question about the input",
    )
    chat.add_argument("--name", metavar="NAME", help="the name of the conversation, also in a pipe")


if __name__ == "__main__":
    sys.exit(main())

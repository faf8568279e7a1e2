"""The command line: `python -m bot …`, installed as `threadline`.

Exit codes: 0 done, 1 a failure, 2 a wrong setting or a wrong command line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bot import __version__
from bot.common import proxies
from bot.config.settings import Settings, load, unknown_names
from bot.domain.errors import SettingsError, ThreadlineError
from bot.domain.health import Finding, Verdict

FAILURE, WRONG_SETTING = 1, 2
MARKS = {Verdict.OK: "ok  ", Verdict.WARNING: "warn", Verdict.FAILED: "FAIL"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every failure is one line on stderr."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.does is None:
        parser.print_help()
        return WRONG_SETTING
    proxies.keep_loopback_direct(os.environ)
    try:
        _warn_of_unknown_names()
        settings = load(os.environ)
        return int(options.does(settings, options) or 0)
    except SettingsError as error:
        for setting, problem in error.problems:
            print(f"threadline: {setting}: {problem}", file=sys.stderr)
        return WRONG_SETTING
    except ThreadlineError as error:
        print(f"threadline: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return FAILURE


def _warn_of_unknown_names() -> None:
    """A misspelled setting would otherwise be ignored in silence."""
    for name, other in unknown_names(os.environ).items():
        hint = f"did you mean {other}?" if other else ".env.example lists all settings"
        print(f"threadline: {name} is no setting and is ignored: {hint}", file=sys.stderr)


def _run(settings: Settings, _options: argparse.Namespace) -> None:
    from bot import app

    settings.require_consistent()
    app.configure_logs(settings if settings.has_platform else _quiet(settings))

    def listening(address: str) -> None:
        if not settings.has_platform:
            print(f"Threadline is at {address}", app.connect_hint(settings), sep="\n", flush=True)

    asyncio.run(app.run(settings, listening=listening))


def _chat(settings: Settings, options: argparse.Namespace) -> None:
    from bot import app

    app.configure_logs(_quiet(settings))
    asyncio.run(app.chat(settings, options.name))


def _quiet(settings: Settings) -> Settings:
    """In a conversation the log speaks up only when something is wrong, unless it is asked to."""
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


def _migrate(settings: Settings, _options: argparse.Namespace) -> None:
    from bot.store.migrate import MIGRATIONS, migrate

    applied = migrate(settings.database_path, MIGRATIONS)
    print("\n".join(f"applied {name}" for name in applied) or "up to date")


def _backup(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.backup import backup

    size = backup(settings.database_path, options.file, overwrite=options.force)
    megabytes = f"{size / 1e6:.1f} MB"
    print(f"backed up {settings.database_path} to {options.file} ({megabytes}, checked)")


def _restore(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.backup import restore

    kept = restore(settings.database_path, options.file)
    was = "" if kept is None else f"; what was there is kept as {kept}"
    print(f"restored {options.file} to {settings.database_path}{was}")


def _doctor(settings: Settings, _options: argparse.Namespace) -> int:
    from bot import app

    app.configure_logs(settings)

    async def examine() -> int:
        failed = False
        async for finding in app.doctor(settings):
            print(_line(finding), flush=True)
            failed = failed or finding.verdict is Verdict.FAILED
        return FAILURE if failed else 0

    return asyncio.run(examine())


def _line(finding: Finding) -> str:
    line = f"{MARKS[finding.verdict]}  {finding.subject}: {finding.detail}"
    return f"{line}\n      → {finding.advice}" if finding.advice else line


def _version(_settings: Settings, _options: argparse.Namespace) -> None:
    print(f"threadline {__version__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="threadline",
        description="The assistant that a team hosts itself in Discord and Slack.",
        epilog="Settings come from the environment and .env; .env.example explains each.",
    )
    parser.add_argument("--version", action="version", version=f"threadline {__version__}")
    parser.set_defaults(does=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, does: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(does=does)
        return command

    add(
        "run", _run, "serve every platform whose token is set; the page in the browser when none is"
    )
    chat = add("chat", _chat, "talk in the terminal; a name keeps several conversations apart")
    chat.add_argument("name", nargs="?", default="main", metavar="NAME", help="default: main")
    add("migrate", _migrate, "bring the database's schema up to date (run does it too)")
    backup = add("backup", _backup, "copy the database to a file, also while the bot runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="a new file")
    backup.add_argument("--force", action="store_true", help="overwrite FILE if it exists")
    restore = add(
        "restore", _restore, "put a backup in the database's place; the bot must be stopped"
    )
    restore.add_argument("file", type=Path, metavar="FILE", help="a file that `backup` made")
    add("doctor", _doctor, "try tokens, intents, permissions, scopes and the model, with advice")
    add("version", _version, "print the version")
    return parser


if __name__ == "__main__":
    sys.exit(main())

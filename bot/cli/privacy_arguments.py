"""The arguments of the commands in `bot.cli.privacy`, a module that only these commands import."""

from __future__ import annotations

import argparse
from pathlib import Path

from bot.cli.parsers import Add, Commands, Run
from bot.config.settings import Settings
from bot.domain import privacy_texts


def add_privacy_commands(add: Add, exports: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser, and `person` to the kinds of `export`."""
    forget = add("forget", _run("forget"), "erase a person's data, also from later restores")
    forget.add_argument("person", metavar=_PERSON, help=privacy_texts.NOT_A_PERSON)
    forget.add_argument("--yes", action="store_true", help="do not ask")
    text = "write everything known about a person, as JSON lines"
    export = exports.add_parser("person", help=text, description=f"{text.capitalize()}.")
    export.set_defaults(run=_run("export"))
    export.add_argument("person", metavar=_PERSON, help=privacy_texts.NOT_A_PERSON)
    export.add_argument("--out", type=Path, metavar="FILE", help="a new file, not stdout")
    audit = add("audit", _run("audit"), "print who changed, read or erased what, as JSON lines")
    audit.add_argument("--since", metavar="DAY", default="", help=privacy_texts.NOT_A_TIME)
    add(
        "prune", _run("prune"), "erase what is older than its place keeps it, as happens each night"
    )
    pin = add("pin", _run("pin"), "keep a conversation whatever its age")
    pin.add_argument("conversation", metavar="PLATFORM/WORKSPACE/CHANNEL/THREAD")
    pin.add_argument("--off", action="store_true", help="stop keeping it")


_PERSON = "PLATFORM/WORKSPACE/USER"


def _run(name: str) -> Run:
    def run(settings: Settings, options: argparse.Namespace) -> None:
        from bot.cli import privacy

        commands: dict[str, Run] = {
            "forget": privacy.forget_command,
            "export": privacy.export_command,
            "audit": privacy.audit_command,
            "prune": privacy.prune_command,
            "pin": privacy.pin_command,
        }
        commands[name](settings, options)

    return run

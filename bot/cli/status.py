"""`threadline status`: shows what the running bot is doing, live or once."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time

from bot.cli.parsers import Add
from bot.config.settings import Settings
from bot.domain import status_texts
from bot.domain.errors import ThreadlineError
from bot.domain.status import Status

FAILURE = 1
REFRESH_SECONDS = 2.0


class NoAnswer(ThreadlineError):
    """A bot is running but does not answer."""


def add_status_command(add: Add) -> None:
    """Add the command."""
    status = add(
        "status",
        _status,
        "show the running bot: platforms, turns, budgets and recent errors, live at a terminal",
    )
    status.add_argument("--once", action="store_true", help="show it once instead of live")
    status.add_argument("--json", action="store_true", help="print it once, as JSON")


def _status(settings: Settings, options: argparse.Namespace) -> int:
    """Show the status; return the exit code, which is 0 if a bot runs."""
    status = read_status(settings)
    if options.json:
        print(json.dumps(status.to_json(), ensure_ascii=False))
    elif options.once or status.pid is None or not sys.stdout.isatty():
        from bot.cli.status_table import print_once

        print_once(status)
    else:
        _show_live(settings, status)
    return FAILURE if status.pid is None else 0


def _show_live(settings: Settings, status: Status) -> None:
    """Show the status until the bot ends or the person presses Ctrl-C."""
    from bot.cli.status_table import live_table

    pressed = False

    def interrupt(*_: object) -> None:
        # Where Python ignores exceptions, in a finalizer for example, the flag remains.
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt), live_table(status) as show:
            while not pressed:
                time.sleep(REFRESH_SECONDS)
                show(read_status(settings))
    finally:
        signal.signal(signal.SIGINT, before)


def read_status(settings: Settings) -> Status:
    """The running bot's own status; if no bot runs, the status read from the database.

    Raises NoAnswer, or StoreUnavailable without a database.
    """
    from bot.operation.control_socket import ask

    try:
        answer = ask(settings.socket_path, "status")
    except (FileNotFoundError, ConnectionRefusedError):
        return _read_stored(settings)
    except PermissionError:
        raise NoAnswer(status_texts.OTHER_USER) from None
    except (OSError, ValueError):
        raise NoAnswer(status_texts.NO_ANSWER) from None
    try:
        return Status.from_json(answer)
    except (TypeError, ValueError, AttributeError):
        raise NoAnswer(status_texts.UNREADABLE) from None


def _read_stored(settings: Settings) -> Status:
    from bot import __version__
    from bot.config.policy_rules import resolve_policy
    from bot.operation.status import MOST_TURNS, budgets_of, counts_of
    from bot.store import overview, workload
    from bot.store.open_store import open_to_read, size_of

    now = time.time()
    budgets = budgets_of(resolve_policy(settings), now, settings.zone)
    with open_to_read(settings) as db:
        return Status(
            at=now,
            version=__version__,
            unfinished=counts_of(workload.unfinished(db)),
            leftovers=workload.leftovers(db),
            turns=tuple(overview.list_unfinished_turns(db, MOST_TURNS)),
            budgets=tuple(overview.budget_statuses(db, budgets)),
            database={"ok": 1, "size": size_of(settings, db)},
        )

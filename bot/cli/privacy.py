"""`threadline forget`, `export`, `audit`, `prune` and `pin`: for the operator, on the machine.

With SQLite, all but `audit` need the database for themselves, so the bot must be stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.common.clock import SystemClock
from bot.config.policy_rules import resolve_policy
from bot.config.settings import Settings
from bot.domain import privacy_texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import SettingsError, StoreError
from bot.domain.privacy import AuditEntry, Person
from bot.policy.rules import PolicyRules
from bot.ports.audit import OPERATOR
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.retention import RetentionKeeper
from bot.store import audit as audit_rows
from bot.store.open_store import open_for_operator, open_to_read

PAGE = 1_000


def parse_person(text: str) -> Person:
    """Parse `platform/workspace/user`; raises SettingsError."""
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise SettingsError(text, privacy_texts.NOT_A_PERSON)
    return Person(*parts)


def _place(person: Person) -> ConversationKey:
    return ConversationKey(person.platform, person.workspace, "", "")


# ── people ────────────────────────────────────────────────────────────────────────────────────
def forget_command(settings: Settings, options: argparse.Namespace) -> None:
    """Erase a person's data, after asking for confirmation."""
    person = parse_person(options.person)
    if not options.yes and input(privacy_texts.sure(str(person))).strip().lower() != "yes":
        raise StoreError(privacy_texts.NOTHING_ERASED)

    async def forget() -> None:
        async with open_for_operator(settings, SystemClock()) as store:
            forgetter = Forgetter(store=store.privacy(), audit=store.audit())
            receipt = await forgetter.forget(person, by=OPERATOR, key=_place(person))
            print(privacy_texts.erased_by_operator(str(person), receipt))

    asyncio.run(forget())


def export_command(settings: Settings, options: argparse.Namespace) -> None:
    """Write everything that is known about a person to a file."""
    person = parse_person(options.person)

    async def export() -> None:
        async with open_for_operator(settings, SystemClock()) as store:
            exporter = Exporter(store=store.privacy(), audit=store.audit())
            lines = exporter.lines(person, by=OPERATOR, key=_place(person))
            if options.out is None:
                async for line in lines:
                    sys.stdout.write(line)
                return
            with _new_file(options.out) as file:
                async for line in lines:
                    file.write(line)

    asyncio.run(export())


def _new_file(path: Path) -> Any:
    """Create a file that only its owner can read. Raises StoreError if it exists."""
    try:
        path.touch(mode=0o600, exist_ok=False)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}.") from error


# ── the audit ─────────────────────────────────────────────────────────────────────────────────
def audit_command(settings: Settings, options: argparse.Namespace) -> None:
    """Print the audit."""
    since = _time(options.since, settings)
    with open_to_read(settings) as db:
        after = 0
        while page := audit_rows.entries(db, after=after, since=since, limit=PAGE):
            after = page[-1].id
            for entry in page:
                print(_line(entry))


def _time(day: str, settings: Settings) -> float:
    try:
        moment = datetime.fromisoformat(day) if day else None
    except ValueError:
        raise SettingsError("--since", privacy_texts.NOT_A_TIME) from None
    if moment is None:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=settings.zone)).timestamp()


def _line(entry: AuditEntry) -> str:
    key = entry.key
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.at))
    known = {
        "id": entry.id,
        "at": moment,
        "action": entry.action,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "actor": entry.actor,
        "subject": entry.subject,
        "details": dict(entry.details),
    }
    return json.dumps(known, ensure_ascii=False)


# ── old conversations ─────────────────────────────────────────────────────────────────────────
def prune_command(settings: Settings, _options: argparse.Namespace) -> None:
    """Erase conversations that are older than their retention allows."""
    policy = PolicyRules(resolve_policy(settings))

    async def prune() -> None:
        clock = SystemClock()
        async with open_for_operator(settings, clock) as store:
            policy.set_overrides(await store.policies().list_overrides())
            keeper = RetentionKeeper(store=store.privacy(), days=policy.retention_days, clock=clock)
            print(privacy_texts.pruned(await keeper.prune()))

    asyncio.run(prune())


def pin_command(settings: Settings, options: argparse.Namespace) -> None:
    """Protect a conversation from retention, or stop protecting it."""
    parts = options.conversation.split("/")
    if len(parts) != 4:
        raise SettingsError(options.conversation, privacy_texts.NOT_A_CONVERSATION)
    key = ConversationKey(*parts)

    async def pin() -> None:
        async with open_for_operator(settings, SystemClock()) as store:
            if not await store.privacy().pin(key, pinned=not options.off):
                raise StoreError(privacy_texts.NO_SUCH_CONVERSATION)
            print(privacy_texts.NOT_PINNED if options.off else privacy_texts.PINNED)

    asyncio.run(pin())

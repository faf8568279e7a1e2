"""`threadline conversations`: lists and searches conversations, and prints one.

Invariant: conversation names are people's words, so every look is audited first, as it is for
administrators on the page.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from bot.cli.parsers import Add
from bot.config.settings import Settings
from bot.domain import status_texts
from bot.domain.conversations import Conversation, ConversationKey
from bot.domain.errors import SettingsError, StoreError
from bot.domain.overview import ConversationFilter, ListedConversation
from bot.domain.privacy import AuditEntry
from bot.domain.records import MessageRecord
from bot.ports.audit import LISTED, OPERATOR, READ

if TYPE_CHECKING:
    from bot.store.database import Database

PAGE = 500
SHORT_ID = 8
"""Characters of an id in the table; `show` accepts any unambiguous prefix."""

_ID = re.compile(r"[0-9a-fA-F-]{4,36}")


def add_conversation_commands(add: Add) -> None:
    """Add the commands."""
    listing = add(
        "conversations", _list, "list and search conversations; `show` prints one as Markdown"
    )
    listing.add_argument("--platform", default="", metavar="NAME", help="discord, slack or web")
    listing.add_argument(
        "--place",
        default="",
        metavar="ID",
        help="a workspace, channel or thread, or WORKSPACE/CHANNEL/THREAD",
    )
    listing.add_argument(
        "--person", default="", metavar="ID", help="those in which this person wrote"
    )
    listing.add_argument(
        "--since", default="", metavar="TIME", help="with activity since 2026-11-30, or 7d or 12h"
    )
    listing.add_argument("--name", default="", metavar="WORDS", help="words in the name")
    listing.add_argument("--limit", type=int, default=50, help="the most to list (50)")
    listing.add_argument("--json", action="store_true", help="as JSON lines")
    kinds = listing.add_subparsers(title="commands", metavar="COMMAND")
    text = "print one conversation as Markdown"
    show = kinds.add_parser("show", help=text, description=f"{text.capitalize()}.")
    show.set_defaults(run=_show)
    show.add_argument("conversation", metavar="ID", help=status_texts.NOT_AN_ID)


# ── the list ──────────────────────────────────────────────────────────────────────────────────
def _list(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store import overview
    from bot.store.open_store import open_to_read

    wanted = _filter(options)
    if options.limit < 1:
        raise SettingsError("--limit", "write a number from 1 on")
    # Without a place, so that an erasure finds the person in this entry wherever they wrote.
    nowhere, details = ConversationKey("", "", "", ""), {"platform": wanted.platform}
    _record(settings, AuditEntry(LISTED, nowhere, OPERATOR, wanted.person, details))
    with open_to_read(settings) as db:
        found = overview.conversations(db, wanted, options.limit)
    if options.json:
        for each in found:
            print(json.dumps(_to_json(each), ensure_ascii=False))
        return
    _print_table(found, options.limit, settings.zone)


def _filter(options: argparse.Namespace) -> ConversationFilter:
    from bot.evaluation.command import parse_since

    return ConversationFilter(
        platform=options.platform,
        place=options.place.strip("/"),
        person=options.person,
        since=parse_since("--since", options.since) if options.since else 0.0,
        words=tuple(options.name.split()),
    )


def _print_table(found: Sequence[ListedConversation], limit: int, zone: tzinfo | None) -> None:
    from bot.cli.status_table import print_whole, table_of

    if not found:
        print(status_texts.NOTHING_FOUND)
        return
    columns = ("id", "name", "place", "last activity", "messages", "model", "state")
    lines = [
        (
            each.uid[:SHORT_ID],
            each.name or "(no name)",
            f"{each.key.platform}/{each.key.workspace}/{each.key.channel}",
            _time(each.updated_at, zone),
            f"{each.messages:,}",
            each.model or each.answered_by or "",
            each.state.replace("_", " "),
        )
        for each in found
    ]
    print_whole(table_of(columns, lines))
    if len(found) == limit:
        print(status_texts.older_not_shown(limit))


def _to_json(each: ListedConversation) -> dict[str, Any]:
    key = each.key
    return {
        "id": each.uid,
        "name": each.name,
        "platform": key.platform,
        "workspace": key.workspace,
        "channel": key.channel,
        "thread": key.thread,
        "visibility": each.visibility,
        "created_at": each.created_at,
        "updated_at": each.updated_at,
        "messages": each.messages,
        "model": each.model,
        "answered_by": each.answered_by,
        "state": each.state,
    }


# ── one conversation ──────────────────────────────────────────────────────────────────────────
def _show(settings: Settings, options: argparse.Namespace) -> None:
    from bot.store.open_store import open_to_read

    with open_to_read(settings) as db:
        uid, conversation = _find(db, options.conversation)
        owner = conversation.began_by
        subject = owner.id if owner is not None else ""
        details = {"conversation": uid}
        _record(settings, AuditEntry(READ, conversation.key, OPERATOR, subject, details))
        for part in _markdown(db, uid, conversation, settings.zone):
            print(part)


def _find(db: Database, name: str) -> tuple[str, Conversation]:
    from bot.store import overview

    if name.count("/") < 3 and not _ID.fullmatch(name):
        raise SettingsError(name, status_texts.NOT_AN_ID)
    found = overview.find(db, name, limit=2)
    if not found:
        raise StoreError(status_texts.NO_SUCH_CONVERSATION)
    if len(found) > 1:
        raise StoreError(status_texts.AMBIGUOUS)
    return found[0]


def _markdown(
    db: Database, uid: str, conversation: Conversation, zone: tzinfo | None
) -> Iterator[str]:
    """Yield the conversation in parts of one or more lines, with control characters escaped."""
    from bot.common.logs import escape, one_line

    yield f"# {one_line(conversation.name) or '(no name)'}\n"
    yield f"- id: `{uid}`"
    yield f"- place: `{one_line(str(conversation.key))}` ({conversation.visibility.value})"
    yield f"- began: {_time(conversation.created_at, zone)}"
    if conversation.model:
        yield f"- model: {one_line(conversation.model)}"
    epoch = 1
    for message in _messages(db, conversation.id):
        if message.epoch != epoch:
            epoch = message.epoch
            yield "\n---\n\n*The conversation was reset here.*"
        yield f"\n## {one_line(_speaker(message))}, {_time(message.created_at, zone)}\n"
        yield escape(message.content)
        for attachment in message.attachments:
            yield f"\n- attached: {one_line(attachment.name)} ({attachment.state.value})"


def _messages(db: Database, conversation: int) -> Iterator[MessageRecord]:
    """Yield the messages that are not erased; those that wait for their turn come last."""
    from bot.store import message_views

    after = -1
    while True:
        page = message_views.messages(db, conversation, after, PAGE)
        yield from page
        indexes = [message.index for message in page if message.index is not None]
        if len(indexes) < PAGE:  # the waiting ones were on this page
            return
        after = indexes[-1]


def _speaker(message: MessageRecord) -> str:
    if message.is_reply:
        return f"Threadline ({message.model})" if message.model else "Threadline"
    return message.author.name if message.author is not None else message.role.value


def _record(settings: Settings, entry: AuditEntry) -> None:
    from bot.store.audit import append
    from bot.store.open_store import open_to_append

    with open_to_append(settings) as db:
        append(db, time.time(), entry)


def _time(at: float, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M")

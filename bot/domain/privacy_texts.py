"""Sentences about erasing and exporting a person's data: see `bot.domain.texts`."""

from __future__ import annotations

import math

from bot.domain.privacy import Erased, Receipt

FORGET_BUTTON = "Forget me"

CONFIRM = (
    "I will delete what I have of you in this workspace and in direct messages: your messages, "
    "files and name, the answers to you, and summaries of them. What other people wrote stays, and "
    "I delete no message that is shown here. This cannot be undone.\n\n"
    "To confirm, press the button, or write `/forget me yes`."
)
NOT_YOUR_BUTTON = "This button forgets the person who asked for it. `/forget me` forgets you."
HOW_TO_FORGET = "`/forget me` deletes everything that I have of you."

HOW_TO_EXPORT = (
    "The people who run this bot can give you what I have of you: `threadline export person "
    "{person}` writes it."
)
EXPORT_ON_PAGE = (
    "*Your usage*, at the top of the page, has a button that saves everything that is known of "
    "you. For programs it is `GET /me/export`."
)
EXPORT_READY = "This is everything that I have of you, as JSON lines. Only you see it."
EXPORT_IN_DM = "I have sent you a file with everything that I have of you, as a direct message."
EXPORT_NOT_SENT = (
    "I could not send you the file. If you do not see it, ask again, with the slash command "
    "`/export` if you wrote a message."
)
EXPORT_TOO_LARGE = "The file is larger than this place takes. " + HOW_TO_EXPORT
EXPORTS_BUSY = "I am making files for other people: ask again in a minute."


def export_too_early(seconds: float) -> str:
    """The person already got the file less than an hour ago."""
    wait = _number(max(1, math.ceil(seconds / 60)), "minute")
    return f"You can have this file once an hour: ask again in {wait}."


def forgotten(receipt: Receipt) -> str:
    """The receipt of an erasure."""
    return f"Done: {_counted(receipt.erased)}. Your receipt: `{receipt.id}`."


def _counted(erased: Erased) -> str:
    parts = [
        _number(erased.messages, "message"),
        _number(erased.files, "file"),
        _number(erased.replies, "answer"),
    ]
    return f"I have deleted {parts[0]}, {parts[1]} and {parts[2]}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# ── the command line ──────────────────────────────────────────────────────────────────────────
NOT_A_PERSON = (
    "write a person as PLATFORM/WORKSPACE/USER, such as slack/T123/U456; * is every workspace"
)
NOT_A_CONVERSATION = "write a conversation as PLATFORM/WORKSPACE/CHANNEL/THREAD"
NO_SUCH_CONVERSATION = "There is no such conversation."
NOTHING_ERASED = "Nothing was erased."
PINNED = "kept whatever its age"
NOT_PINNED = "kept as long as its place says"
NOT_A_TIME = "write a day, such as 2026-11-30"


def sure(person: str) -> str:
    """Ask the operator to confirm."""
    return f"Erase everything of {person}, for good? Write yes: "


def erased_by_operator(person: str, receipt: Receipt) -> str:
    """Tell the operator that a person's data was erased."""
    return f"{_counted(receipt.erased)} of {person}; receipt {receipt.id}"


def pruned(erased: Erased) -> str:
    """Tell the operator how much old data was erased."""
    return f"{_counted(erased)}; {_number(erased.conversations, 'conversation')} completely"

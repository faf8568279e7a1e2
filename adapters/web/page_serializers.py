"""The JSON for the page: messages, replies, threads and rows of the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.web.highlighter import Highlight
from adapters.web.hub import LiveReply
from adapters.web.images import RASTER_TYPES
from adapters.web.models import PlacedModels
from adapters.web.places import shared_channel
from adapters.web.render import html_of, html_of_person
from adapters.web.reply_changes import ReplyView
from adapters.web.serializers import (
    NO_COST,
    NO_TOKENS,
    api_attachment,
    cost_in,
    timestamp,
    tokens_of,
)
from bot.domain.attachments import AttachmentKind
from bot.domain.conversations import Conversation, Role
from bot.domain.money import Currency
from bot.domain.plain_text import plain
from bot.domain.records import (
    AttachmentRecord,
    MessageRecord,
    ReplyRecord,
    ThreadEntry,
    ThreadRecord,
)
from bot.domain.turns import Outcome, TurnResult
from bot.turns.display import sentence_of
from bot.turns.outcome import controls_for

BOT_NAME = "Threadline"
PREVIEW_CHARACTERS = 160
"""How many characters of the newest text to put in a list row: more than its one line shows."""

_STATES = {
    Outcome.ANSWERED: "done",
    Outcome.CUT_OFF: "cut_off",
    Outcome.FAILED: "failed",
    Outcome.STOPPED: "stopped",
    Outcome.RESET: "stopped",
    Outcome.GONE: "failed",
}


def page_message(message: MessageRecord, highlight: Highlight) -> dict[str, Any]:
    """A person's message, or one added as a record."""
    assistant = message.role is Role.ASSISTANT
    author = message.author.name if message.author else ""
    content = message.content
    return {
        "id": message.uid,
        "role": message.role.value,
        "author": BOT_NAME if assistant else author,
        "html": html_of(content, highlight) if assistant else html_of_person(content),
        "text": content,
        "created_at": timestamp(message.created_at),
        "state": "queued" if message.waiting else "done",
        "index": message.index,
        "turn": message.turn,
        "epoch": message.epoch,
        "attachments": [page_attachment(each) for each in message.attachments],
        "model": None,
        **NO_TOKENS,
        **NO_COST,
        "seconds": None,
    }


def page_attachment(attachment: AttachmentRecord) -> dict[str, Any]:
    """A file or link of a message; `preview`: whether there may be a picture of it."""
    is_image = attachment.kind is AttachmentKind.IMAGE or attachment.media_type in RASTER_TYPES
    return {**api_attachment(attachment), "preview": is_image and not attachment.is_link}


def page_reply(
    reply: ReplyRecord, live: LiveReply | None, highlight: Highlight, currency: Currency
) -> dict[str, Any]:
    """A reply from the database, or the live one while it is being written."""
    if reply.outcome is None:
        begun = _page_begun(reply)
        return begun if live is None else {**begun, **page_live(live, live.newest())}
    return {
        **_page_begun(reply),
        "html": html_of(reply.display, highlight),
        "text": reply.content or reply.display,
        "sentence": sentence_of(reply.display, reply.content),
        "state": _STATES[reply.outcome],
        "model": reply.model,
        **(NO_TOKENS if reply.usage is None else tokens_of(reply.usage)),
        **cost_in(currency, reply.cost),
        "seconds": None if reply.seconds is None else round(reply.seconds, 3),
        "controls": _controls(reply.outcome, reply),
        # Tells an answer from the one before a retry, even if both have the same text.
        "ended_at": None if reply.concluded_at is None else timestamp(reply.concluded_at),
        "votable": bool(reply.content) and reply.outcome not in (Outcome.RESET, Outcome.GONE),
    }


def _controls(outcome: Outcome, reply: ReplyRecord) -> list[str]:
    """The reply's controls, as under replies on every platform."""
    end = TurnResult(
        outcome=outcome,
        content=reply.content,
        display=reply.display,
        finish_reason=reply.finish_reason,
    )
    return [control.value for control in controls_for(end)]


def page_live(live: LiveReply, view: ReplyView) -> dict[str, Any]:
    """A running reply as it was at one moment."""
    return {
        **_page_empty(live.turn, live.begun_at),
        "html": view.html,
        "text": view.text,
        "state": view.state,
        "note": view.note,
    }


def page_growing(live: LiveReply, view: ReplyView) -> dict[str, Any]:
    """The same as HTML blocks, for a reader that follows changes from now on."""
    shape = {**page_live(live, view), "blocks": view.blocks, "version": view.version}
    del shape["html"]
    return shape


def _page_begun(reply: ReplyRecord) -> dict[str, Any]:
    return {**_page_empty(reply.turn, reply.created_at), "index": reply.index}


def _page_empty(turn: int, begun_at: float) -> dict[str, Any]:
    return {
        "id": f"turn-{turn}",
        "role": Role.ASSISTANT.value,
        "author": BOT_NAME,
        "html": "",
        "text": "",
        "created_at": timestamp(begun_at),
        "state": "writing",
        "model": None,
        **NO_TOKENS,
        **NO_COST,
        "seconds": None,
    }


def page_choices(conversation: Conversation, models: PlacedModels) -> dict[str, Any]:
    """The thread's model and effort. `takes_effort` is null if nothing is known about the model."""
    answering = models.answering(conversation)
    return {
        "model": conversation.model,
        "answering_model": answering.name,
        "effort": conversation.effort,
        "takes_effort": answering.facts.effort,
    }


def preview_of(text: str) -> str:
    """The beginning of a Markdown text on one line, without its marks."""
    return " ".join(plain(text).split())[:PREVIEW_CHARACTERS]


def page_entry(entry: ThreadEntry) -> dict[str, Any]:
    """A thread as one row of its owner's list. Its times are Unix seconds, which sort exactly."""
    record = entry.record
    return {
        "id": record.uid,
        "name": record.conversation.name,
        "preview": preview_of(entry.last),
        "by_user": entry.last_role is Role.USER,
        "active_at": entry.active_at,
        "answered_at": entry.answered_at,
        "unread": entry.unread,
        "busy": record.busy,
        "pinned": record.pinned,
        "archived": record.archived,
    }


def page_position(entry: ThreadEntry) -> str:
    """The entry's place in the list, for the next page."""
    record = entry.record
    return f"{int(record.pinned)}~{entry.active_at!r}~{record.uid}"


def page_thread(
    thread: ThreadRecord, choices: Mapping[str, Any], highlight: Highlight
) -> dict[str, Any]:
    """A thread as one line of the channel; `choices` are those of `page_choices`."""
    conversation = thread.record.conversation
    shared = shared_channel(conversation.key)
    return {
        "id": thread.record.uid,
        "channel": shared,
        "name": conversation.name,
        **choices,
        "created_at": timestamp(conversation.created_at),
        "updated_at": timestamp(conversation.updated_at),
        "root": page_message(thread.root, highlight),
        "replies": thread.replies,
        "epoch": conversation.epoch,
        "busy": thread.record.busy,
        "entry": page_entry(thread.entry) if shared is None else None,
        "active_at": thread.entry.active_at,
        "people": thread.people,
    }

"""What programs get as JSON: conversations, messages, files, tokens and money."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.web.models import PlacedModels
from bot.domain import attachment_labels
from bot.domain.context import ContextReport
from bot.domain.model import Usage
from bot.domain.money import USD, Currency
from bot.domain.records import (
    AttachmentRecord,
    ConversationRecord,
    MessageRecord,
)


def timestamp(seconds: float) -> str:
    """Unix seconds as `2023-12-04T17:28:52.678004Z`."""
    return f"{timestamp_bare(seconds)}Z"


def timestamp_bare(seconds: float) -> str:
    """Unix seconds as `2023-12-04T17:28:52.678004`: UTC without a suffix."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def api_message(message: MessageRecord, at: Callable[[float], str] = timestamp) -> dict[str, Any]:
    """A message of a conversation; `at` formats its time."""
    return {
        "id": message.uid,
        "author": message.role.value,
        "content": message.content,
        "created_at": at(message.created_at),
    }


def api_conversation(
    record: ConversationRecord,
    messages: Sequence[MessageRecord],
    at: Callable[[float], str] = timestamp,
) -> dict[str, Any]:
    """A conversation with its messages; `at` formats the times."""
    return {
        "id": record.uid,
        "messages": [api_message(entry, at) for entry in messages],
        "created_at": at(record.conversation.created_at),
    }


def api_details(
    record: ConversationRecord, messages: Sequence[MessageRecord], models: PlacedModels
) -> dict[str, Any]:
    """A conversation with all of its fields; `models` knows which model answers."""
    known = record.conversation
    return {
        **api_conversation(record, messages),
        "name": known.name,
        "model": known.model,
        "answering_model": models.answering(known).name,
        "effort": known.effort,
        "instructions": known.instructions,
        "temperature": known.temperature,
        "user_id": known.began_by.id if known.began_by else known.key.workspace,
        "updated_at": timestamp(known.updated_at),
        "pinned": record.pinned,
        "archived": record.archived,
    }


def api_record(message: MessageRecord, conversation: str, currency: Currency) -> dict[str, Any]:
    """A message as a record; `conversation` is the public id."""
    return {
        "id": message.uid,
        "role": message.role.value,
        "content": message.content,
        "index": message.index,
        "conversation_id": conversation,
        "created_at": timestamp(message.created_at),
        "attachments": [api_attachment(each) for each in message.attachments],
        "model": message.model,
        "usage": None if message.usage is None else tokens_of(message.usage),
        **cost_in(currency, message.cost),
    }


def cost_in(currency: Currency, cost: int | None) -> dict[str, Any]:
    """An amount of the books, in billionths of a US dollar, as programs and the page get it."""
    if cost is None:
        return dict(NO_COST)
    return {"cost": currency.number(cost), "currency": currency.code}


def tokens_of(usage: Usage) -> dict[str, int]:
    """The tokens of an answer by kind."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


NO_TOKENS: Mapping[str, None] = dict.fromkeys(tokens_of(Usage(0, 0)))
"""The same fields for a message whose tokens are not known."""

NO_COST: Mapping[str, None] = dict.fromkeys(cost_in(USD, 0))
"""The same for money."""


def api_context(report: ContextReport) -> dict[str, Any]:
    """What the model will get with the next question."""
    return {
        "model": report.model,
        "tokens": report.tokens,
        "budget": report.budget,
        "window": report.window,
        "parts": [
            {"kind": part.kind.value, "tokens": part.tokens, "count": part.count}
            for part in report.parts
        ],
        "cached_tokens": report.cached_tokens,
        "summarized": report.summarized,
        "left_out": report.left_out,
        "summary": report.summary,
    }


def api_attachment(attachment: AttachmentRecord) -> dict[str, Any]:
    """A file or link of a message, without its bytes."""
    omission = attachment.omission
    return {
        "id": attachment.uid,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "size": attachment.size,
        "state": attachment.state.value,
        "problem": None if omission is None else attachment_labels.reason(omission),
        "is_link": attachment.is_link,
    }

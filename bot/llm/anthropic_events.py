"""Parses the events of Anthropic's Messages API; never mistakes other fields for answer text.

Invariant: a stream is complete only if it has a stop reason. Gateways send `message_stop` however
the stream behind them ended, and may drop a stop reason that says "cut off"; but no known gateway
sends complete answers without any stop reason.

Events and blocks of unknown kinds are ignored, because Anthropic may add some at any time
(https://platform.claude.com/docs/en/api/versioning).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bot.domain.model import Delta, Usage
from bot.llm.chunks import DONE, EMPTY, ErrorEvent, MalformedChunk, parse_json
from bot.llm.finish_reasons import parse_finish_reason
from bot.llm.usage import parse_usage

_ERROR_FIELDS = {"detail", "message", "errors", "error_code", "error_message"}
_MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class MessagesParser:
    """Parses one response. Token counts arrive in several events, each with the total so far."""

    def __init__(self) -> None:
        self._counts: dict[str, Any] = {}
        self._has_stop_reason = self._has_text = False
        self._handlers: Mapping[Any, Callable[[dict[str, Any]], Delta]] = {
            "content_block_delta": _block_delta,
            "content_block_start": _block_start,
            "message_start": self._start,
            "message_delta": self._end,
            "message_stop": lambda _: self._stop(),
            "message": self._message,
        }

    def parse(self, data: bytes) -> Delta:
        """The Delta in an event's data, or one of `EMPTY` and `DONE`.

        Raises MalformedChunk, or ErrorEvent if the event is an error.
        """
        if data.strip() == b"[DONE]":
            return self._stop()  # some gateways end every kind of stream with this marker
        event = parse_json(data)
        if event is None or event == []:
            return EMPTY  # a gateway's keepalive
        if not isinstance(event, dict):
            raise MalformedChunk(f"not an object: {data[:80]!r}")
        kind = event.get("type")
        if event.get("error") or kind == "error" or (not kind and event.keys() & _ERROR_FIELDS):
            raise ErrorEvent(event.get("error") or event)
        try:
            handler = self._handlers.get(kind)  # TypeError: not a string
            delta = EMPTY if handler is None else handler(event)
        except _MALFORMED as error:
            raise MalformedChunk(f"not an event: {data[:80]!r}") from error
        self._has_text = self._has_text or delta.text != ""
        return delta

    def split(self, document: bytes) -> list[bytes]:
        """Split a body: one message, if the gateway ignores `stream`, or an event per line."""
        try:
            value = json.loads(document)
        except (ValueError, RecursionError):
            return [line for line in document.splitlines() if line.strip()]
        if isinstance(value, dict) and value.get("type") != "message":
            raise ErrorEvent(value.get("error") or value)
        return [document]

    def _start(self, event: dict[str, Any]) -> Delta:
        message = event.get("message")
        if isinstance(message, dict):
            self._count(message.get("usage"))
        return EMPTY

    def _end(self, event: dict[str, Any]) -> Delta:
        """The stop reason and the final token counts; may come more than once."""
        self._count(event.get("usage"))
        delta = event.get("delta") or {}
        finish, usage = parse_finish_reason(delta.get("stop_reason")), self._usage()
        self._has_stop_reason = self._has_stop_reason or finish is not None
        return Delta(finish_reason=finish, usage=usage) if finish or usage else EMPTY

    def _message(self, message: dict[str, Any]) -> Delta:
        """A whole message: the answer of a gateway that ignores `stream`, or MiniMax's last event,
        which repeats what has arrived."""
        self._count(message.get("usage"))
        blocks = [block for block in message["content"] if isinstance(block, dict)]
        blocks = [] if self._has_text else blocks
        return Delta(
            "".join(block["text"] for block in blocks if block.get("type") == "text"),
            "".join(block["thinking"] for block in blocks if block.get("type") == "thinking"),
            parse_finish_reason(message.get("stop_reason")),
            self._usage(),
        )

    def _stop(self) -> Delta:
        return DONE if self._has_stop_reason else EMPTY

    def _count(self, usage: Any) -> None:
        """Record the counts that are present: some gateways repeat a count as 0 or null."""
        if isinstance(usage, dict):
            self._counts |= {name: count for name, count in usage.items() if count}

    def _usage(self) -> Usage | None:
        return parse_usage(self._counts) if self._counts else None


def _block_start(event: dict[str, Any]) -> Delta:
    """The start of a block, which is nearly always empty."""
    block = event.get("content_block") or {}
    return _content(block, text="text", thinking="thinking")


def _block_delta(event: dict[str, Any]) -> Delta:
    return _content(event["delta"], text="text_delta", thinking="thinking_delta")


def _content(part: dict[str, Any], *, text: str, thinking: str) -> Delta:
    """The text or thinking in a part; other types contain nothing to show."""
    kind = part.get("type")
    if kind == text:
        return _delta(part.get("text"), "")
    return _delta("", part.get("thinking")) if kind == thinking else EMPTY


def _delta(text: Any, reasoning: Any) -> Delta:
    text, reasoning = text or "", reasoning or ""
    if not (isinstance(text, str) and isinstance(reasoning, str)):
        raise TypeError("content is a string")
    return Delta(text, reasoning) if text or reasoning else EMPTY

"""Parses the events of OpenAI's Responses API; unknown events and items are ignored.

Invariant: an answer is complete only if its last event says so. If the final event contains text
that did not arrive piece by piece, a missing end is appended, and any other missing text is an
error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bot.domain.model import Delta
from bot.llm.chunks import EMPTY, ErrorEvent, MalformedChunk, parse_json
from bot.llm.usage import parse_usage

_SEPARATOR = "\n\n"  # between two messages of one answer, and between two parts of a summary
_NO_REASON = "incomplete, for a reason that was not sent"


class ResponseEvents:
    """Parses one response."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._item: int | None = None  # the output item of the newest text
        self._reasoning_type = ""  # the first type counts: servers may send a summary, too
        self._handlers: Mapping[str, Callable[[dict[str, Any]], Delta]] = {
            "response.output_text.delta": self._add_text,
            "response.refusal.delta": self._add_text,
            "response.reasoning_summary_text.delta": self._add_reasoning,
            "response.reasoning_text.delta": self._add_reasoning,
            "response.reasoning_summary_part.added": self._start_summary_part,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.cancelled": self._end,
            "response.failed": self._end,
            "error": _raise_error,
        }

    def parse(self, data: bytes) -> Delta:
        """See `ResponseParser.parse`."""
        if data.strip() == b"[DONE]":
            return EMPTY  # some compatible servers; it does not say that the answer is complete
        event = parse_json(data)
        if not event and not isinstance(event, str | int):
            return EMPTY  # a gateway's keepalive
        if not isinstance(event, dict):
            raise MalformedChunk(f"not an object: {data[:80]!r}")
        kind = event.get("type")
        if not isinstance(kind, str):
            if event.get("error"):
                raise ErrorEvent(event["error"])
            raise MalformedChunk(f"no event: {data[:80]!r}")
        handler = self._handlers.get(kind)
        if handler is None and event.get("error"):
            raise ErrorEvent(event["error"])  # gateways put the error's own type there
        return handler(event) if handler is not None else EMPTY

    def split(self, document: bytes) -> list[bytes]:
        """See `ResponseParser.split`; a response that is not streamed becomes a final event."""
        response = parse_json(document)
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            raise ErrorEvent(response)
        return [json.dumps({"type": "response.completed", "response": response}).encode()]

    # ── pieces ────────────────────────────────────────────────────────────────────────────────
    def _add_text(self, event: dict[str, Any]) -> Delta:
        text = _piece(event)
        if not text:
            return EMPTY
        item = event.get("output_index")
        if isinstance(item, int):
            if self._item not in (None, item):
                text = _SEPARATOR + text
            self._item = item
        self._text.append(text)
        return Delta(text)

    def _add_reasoning(self, event: dict[str, Any]) -> Delta:
        self._reasoning_type = self._reasoning_type or event["type"]
        text = _piece(event)
        return Delta(reasoning=text) if text and event["type"] == self._reasoning_type else EMPTY

    def _start_summary_part(self, event: dict[str, Any]) -> Delta:
        return Delta(reasoning=_SEPARATOR) if event.get("summary_index") else EMPTY

    # ── the end ───────────────────────────────────────────────────────────────────────────────
    def _end(self, event: dict[str, Any]) -> Delta:
        response = event.get("response")
        if not isinstance(response, dict):
            raise MalformedChunk("the last event has no response")
        kind = event["type"].removeprefix("response.")
        status = response.get("status")
        if "failed" in (kind, status) or (response.get("error") and kind != "completed"):
            raise ErrorEvent(response.get("error") or {"message": "the response failed"})
        counts = response.get("usage")
        return Delta(
            text=self._missing_text(response),
            finish_reason=_finish_reason(kind, status, response.get("incomplete_details")),
            usage=parse_usage(counts) if isinstance(counts, dict) and counts else None,
        )

    def _missing_text(self, response: dict[str, Any]) -> str:
        """The end of the answer that the pieces did not contain.

        Raises MalformedChunk if any other part is missing. Blanks do not count, because some
        servers trim the whole text.
        """
        whole, received = _SEPARATOR.join(_output_texts(response)), "".join(self._text)
        if whole.startswith(received):
            self._text = [whole]  # so that a repeated last event has nothing to add
            return whole[len(received) :]
        if len("".join(whole.split())) > len("".join(received.split())):
            raise MalformedChunk("the whole answer has more text than its pieces")
        return ""


def _piece(event: dict[str, Any]) -> str:
    delta = event.get("delta")
    if not isinstance(delta, str):
        raise MalformedChunk(f"no text in {event['type']}")
    return delta


def _finish_reason(kind: str, status: Any, details: Any) -> str:
    """Translate a status to the words of `bot.llm.finish_reasons`."""
    if kind == "completed" and status in ("completed", None):
        return "stop"
    if "incomplete" in (kind, status):
        reason = details.get("reason") if isinstance(details, dict) else None
        return reason if isinstance(reason, str) and reason else _NO_REASON
    return status if isinstance(status, str) and status != "completed" else kind


def _output_texts(response: dict[str, Any]) -> list[str]:
    """The texts of a response's messages, in order."""
    output = response.get("output")
    messages = [
        item.get("content")
        for item in (output if isinstance(output, list) else ())
        if isinstance(item, dict) and item.get("type") == "message"
    ]
    texts = ("".join(map(_part_text, content)) for content in messages if isinstance(content, list))
    return [text for text in texts if text]


def _part_text(part: Any) -> str:
    text = part.get("text") or part.get("refusal") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""


def _raise_error(event: dict[str, Any]) -> Delta:
    raise ErrorEvent(event.get("error") or event)

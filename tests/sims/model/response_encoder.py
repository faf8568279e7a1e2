"""Encodes the events of a streamed response of the Responses API, in the order of the real one."""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.sims.model.encoder import Dialect, EventEncoder

_STATUS = {"stop": "completed", "length": "incomplete", "content_filter": "incomplete"}
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseEncoder(EventEncoder):
    """Encodes one response to `body`. Reasoning appears only if its summary was requested.

    A script's finish reason determines the last event: "stop" is `response.completed`, "length" and
    "content_filter" are `response.incomplete`, anything else `response.failed` with that code.
    """

    def __init__(self, dialect: Dialect, body: dict[str, Any], usage: dict[str, Any]) -> None:
        super().__init__(dialect)
        self._body, self._usage = body, usage
        self._summarizes = bool((body.get("reasoning") or {}).get("summary"))
        self.id = f"resp_{secrets.token_hex(24)}"
        self._created = int(time.time())
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._open = ""  # the type of the item that is being written
        self._text = ""
        self._status = "in_progress"
        self._finish = "stop"
        self._started = False

    # ── the parts of a stream, in order ───────────────────────────────────────────────────────
    def role(self) -> bytes:
        """The events before the first item."""
        if self._started:
            return b""
        self._started = True
        return self._send("response.created", response=self._response()) + self._send(
            "response.in_progress", response=self._response()
        )

    def reasoning(self, text: str) -> bytes:
        """A token of the reasoning's summary, or nothing."""
        if not self._summarizes:
            return self.role()
        data = self._ensure_item("reasoning")
        self._text += text
        return data + self._send(
            "response.reasoning_summary_text.delta", **self._place(summary_index=0), delta=text
        )

    def content(self, text: str) -> bytes:
        """A token."""
        data = self._ensure_item("message")
        self._text += text
        return data + self._send(
            "response.output_text.delta", **self._place(content_index=0), delta=text, logprobs=[]
        )

    def refusal(self, text: str) -> bytes:
        """The words of a refusal, in one piece."""
        data = self._ensure_item("refusal")
        self._text += text
        return data + self._send(
            "response.refusal.delta", **self._place(content_index=0), delta=text
        )

    def finish(self, reason: str) -> bytes:
        """The end of the last item."""
        self._finish, self._status = reason, _STATUS.get(reason, "failed")
        return self.role() + self._close_item()

    def end(self) -> bytes:
        """The last event, with the whole response."""
        return self._send(f"response.{self._status}", response=self._response())

    def error(self) -> bytes:
        """An error event."""
        return self._send(
            "error",
            code="server_error",
            message="The server had an error while processing your request. internal-detail-42",
            param=None,
        )

    def broken_json(self) -> bytes:
        """An event with truncated JSON."""
        return self.event(b'{"type":"response.output_text.delta","item_id":"msg_', "x")

    def whole(self, text: str, reasoning: str, finish: str, refusal: str) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        for write, value in (
            (self.reasoning, reasoning),
            (self.content, text),
            (self.refusal, refusal),
        ):
            if value:
                write(value)
        self.finish(finish)
        return self._response()

    # ── items ─────────────────────────────────────────────────────────────────────────────────
    def _ensure_item(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        data = self.role() + self._close_item()
        self._open, self._text = kind, ""
        prefix = "rs" if kind == "reasoning" else "msg"
        item: dict[str, Any] = {"id": f"{prefix}_{secrets.token_hex(8)}", "status": "in_progress"}
        if kind == "reasoning":
            item |= {"type": "reasoning", "summary": []}
        else:
            item |= {"type": "message", "role": "assistant", "content": []}
        self._output.append(item)
        place = self._place()
        data += self._send(
            "response.output_item.added", output_index=place["output_index"], item=item
        )
        if kind == "reasoning":
            return data + self._send(
                "response.reasoning_summary_part.added",
                **self._place(summary_index=0),
                part=self._part(),
            )
        return data + self._send(
            "response.content_part.added", **self._place(content_index=0), part=self._part()
        )

    def _close_item(self) -> bytes:
        if not self._open:
            return b""
        kind, item, part = self._open, self._output[-1], self._part()
        if kind == "reasoning":
            names, place = ("reasoning_summary_text", "reasoning_summary_part"), "summary_index"
            item["summary"] = [part]
        else:
            name = "refusal" if kind == "refusal" else "output_text"
            names, place = (name, "content_part"), "content_index"
            item["content"] = [part]
        item["status"] = "incomplete" if self._status == "incomplete" else "completed"
        whole = {"refusal" if kind == "refusal" else "text": self._text}
        self._open = ""
        at = self._place(**{place: 0})
        return (
            self._send(f"response.{names[0]}.done", **at, **whole)
            + self._send(f"response.{names[1]}.done", **at, part=part)
            + self._send("response.output_item.done", output_index=at["output_index"], item=item)
        )

    def _place(self, **more: int) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1, **more}

    def _part(self) -> dict[str, Any]:
        if self._open == "reasoning":
            return {"type": "summary_text", "text": self._text}
        if self._open == "refusal":
            return {"type": "refusal", "refusal": self._text}
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": self._text}

    def _response(self) -> dict[str, Any]:
        over = self._status != "in_progress"
        reason = _REASONS.get(self._finish) if self._status == "incomplete" else None
        failed = {"code": self._finish, "message": "The model failed. internal-detail-42"}
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": self._status,
            "background": False,
            "error": failed if self._status == "failed" else None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": self._body.get("instructions"),
            "max_output_tokens": self._body.get("max_output_tokens"),
            "model": self._body["model"],
            "output": self._output if over else [],
            "parallel_tool_calls": True,
            "previous_response_id": self._body.get("previous_response_id"),
            "prompt_cache_key": self._body.get("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None, **(self._body.get("reasoning") or {})},
            "store": self._body.get("store", True),
            "temperature": self._body.get("temperature", 1.0),
            "tools": [],
            "truncation": "disabled",
            "usage": response_usage(self._usage) if over else None,
            "metadata": {},
        }

    def _send(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return self.event(self.dumps(event), kind)


def response_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The counts of a chat completion, under the names of the Responses API."""
    details = usage.get("prompt_tokens_details") or {}
    spent = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": {
            "cached_tokens": details.get("cached_tokens", 0),
            "cache_write_tokens": 0,
        },
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": spent.get("reasoning_tokens", 0)},
        "total_tokens": usage.get("total_tokens", 0),
    }

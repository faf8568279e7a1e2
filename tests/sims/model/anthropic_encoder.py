"""Encodes answers as events of Anthropic's Messages API.

Every event has a name; blocks have an index and end before the next one begins; a `ping` takes the
place of comments (platform.claude.com/docs/en/build-with-claude/streaming).
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from tests.sims.model.encoder import Dialect

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}


class AnthropicEncoder:
    """Encodes the events of one response to `body`; `usage` has the final counts."""

    def __init__(self, dialect: Dialect, body: dict[str, Any], usage: dict[str, Any]) -> None:
        self._dialect, self._body, self._usage = dialect, body, _in_anthropics_names(usage)
        self.id = f"msg_{secrets.token_urlsafe(18)}"
        self._index = -1
        self._open = ""  # the type of the block that is open

    # ── the parts of a stream, in order ───────────────────────────────────────────────────────
    def role(self) -> bytes:
        """The message without content, and a ping, as the API sends one early."""
        counts = {} if self._dialect.usage == "never" else self._usage | {"output_tokens": 1}
        return (
            self._event("message_start", message=self._message([], None, counts)) + self.comment()
        )

    def reasoning(self, text: str) -> bytes:
        """A token of a thinking block."""
        start = self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        return start + self._delta({"type": "thinking_delta", "thinking": text})

    def content(self, text: str) -> bytes:
        """A token of a text block."""
        start = self._start("text", {"type": "text", "text": ""})
        return start + self._delta({"type": "text_delta", "text": text})

    def refusal(self, text: str) -> bytes:
        """Encode a refusal, which is ordinary text in this API."""
        return self.content(text)

    def finish(self, reason: str) -> bytes:
        """The end of the last block, and the stop reason with the final counts."""
        delta = {"stop_reason": _STOP_REASONS.get(reason, reason), "stop_sequence": None}
        fields: dict[str, Any] = {"delta": delta}
        if self._dialect.usage != "never":
            fields["usage"] = self._usage
        return self._stop() + self._event("message_delta", **fields)

    def end(self) -> bytes:
        """The end of the message."""
        return self._event("message_stop") if self._dialect.done else b""

    def error(self) -> bytes:
        """An error event."""
        problem = {"type": "api_error", "message": "Internal server error: internal-detail-42"}
        return self._event("error", error=problem)

    def broken_json(self) -> bytes:
        """An event with truncated JSON."""
        return self._frame("content_block_delta", b'{"type":"content_block_delta","index":0,"del')

    def garbage(self) -> bytes:
        """Bytes that are neither an event nor valid UTF-8."""
        return b"\xff\xfe\x00\x9d<html>\n\ndata: \xc3\x28\xa0\xa1\n\n"

    def comment(self) -> bytes:
        """A ping."""
        return self._event("ping")

    def whole(self, text: str, reasoning: str, finish: str, refusal: str) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        blocks = [{"type": "thinking", "thinking": reasoning, "signature": "c2ln"}] * bool(
            reasoning
        )
        blocks += [{"type": "text", "text": text or refusal}] * bool(text or refusal)
        return self._message(blocks, _STOP_REASONS.get(finish, finish), self._usage)

    # ── blocks and framing ────────────────────────────────────────────────────────────────────
    def _start(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._open == kind:
            return b""
        stopped = self._stop()
        self._open, self._index = kind, self._index + 1
        start = self._event("content_block_start", index=self._index, content_block=block)
        return stopped + start

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        signature = b""
        if self._open == "thinking":
            signature = self._delta({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        self._open = ""
        return signature + self._event("content_block_stop", index=self._index)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", index=self._index, delta=delta)

    def _message(
        self, content: list[Any], stop_reason: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self._body["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        text = json.dumps(
            {"type": kind, **fields}, ensure_ascii=self._dialect.ascii, separators=(",", ":")
        )
        return self._frame(kind, text.encode("utf-8", "surrogatepass"))

    def _frame(self, kind: str, data: bytes) -> bytes:
        end = self._dialect.newline.encode()
        field = b"data: " if self._dialect.space else b"data:"
        return b"".join((b"event: ", kind.encode(), end, field, data, end, end))


def _in_anthropics_names(usage: dict[str, Any]) -> dict[str, Any]:
    """Rename a script's usage fields, which may have OpenAI's names."""
    if "prompt_tokens" not in usage:
        return usage
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "input_tokens": usage["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.get("completion_tokens", 0),
    }

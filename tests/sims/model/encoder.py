"""Encodes events for the wire: OpenAI's exact framing, and the dialects of compatible servers.

An `Encoder` belongs to one response. The constant parts of chunks are encoded once, so a token
costs one small `json.dumps`.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

_MARK = "\x00"  # the placeholder for the text in a template


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server frames its stream; the defaults are OpenAI's.

    `usage`: "chunk" (a separate chunk, if requested), "finish" (in the chunk with the finish
    reason), "every" (in every chunk) or "never". `role`: "own" (a separate chunk with the first
    token), "early" (that chunk immediately, long before the first token), "every" (in each delta)
    or "none". `reasoning`: "field" (under `reasoning_key`), "tags" (in the text between `<think>`
    tags, which are tokens too) or "unopened" (the same, but the opening tag was part of the
    prompt). `keepalive` is the interval of comment lines in seconds, 0 for none. `per_segment` is
    the number of events in a TCP segment, `split` the number of pieces of each event.
    """

    newline: str = "\n"
    space: bool = True
    done: bool = True
    ids: bool = True
    usage: str = "chunk"
    role: str = "own"
    null_content: bool = False
    reasoning: str = "field"
    reasoning_key: str = "reasoning_content"
    event: str = ""
    keepalive: float = 0.0
    comment: str = "keep-alive"
    ascii: bool = False
    obfuscation: bool = True
    per_segment: int = 1
    split: int = 1


class EventEncoder:
    """Frames server-sent events in the server's dialect; every API sends the same broken ones."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def event(self, data: bytes, name: str = "") -> bytes:
        """One server-sent event; the dialect may name those that have no name."""
        end = self._dialect.newline.encode()
        name = name or self._dialect.event
        named = f"event: {name}".encode() + end if name else b""
        field = b"data: " if self._dialect.space else b"data:"
        return b"".join((named, field, data, end, end))

    def garbage(self) -> bytes:
        """Bytes that are neither an event nor valid UTF-8."""
        return b"\xff\xfe\x00\x9d<html>\n\ndata: \xc3\x28\xa0\xa1\n\n"

    def comment(self) -> bytes:
        """A comment line, which every client must ignore."""
        end = self._dialect.newline * 2
        return f": {self._dialect.comment}{end}".encode()

    def dumps(self, value: Any) -> bytes:
        """Compact JSON."""
        text = json.dumps(value, ensure_ascii=self._dialect.ascii, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")


class Encoder(EventEncoder):
    """Encodes the events of one response of the chat completions API to `body`."""

    def __init__(self, dialect: Dialect, body: dict[str, Any], usage: dict[str, Any]) -> None:
        super().__init__(dialect)
        self._model = body["model"]
        self._usage = usage
        options = body.get("stream_options") or {}
        self._usage_requested = bool(options.get("include_usage"))
        self._obfuscated = dialect.obfuscation and options.get("include_obfuscation", True)
        self.id = f"chatcmpl-{secrets.token_urlsafe(18)}"
        self._created = int(time.time())
        self._content = self._template("content")
        self._reasoning = self._template(dialect.reasoning_key)

    # ── the parts of a stream, in order ───────────────────────────────────────────────────────
    def role(self) -> bytes:
        """The first chunk: the role without text."""
        content = None if self._dialect.null_content else ""
        return self.chunk({"role": "assistant", "content": content, "refusal": None})

    def content(self, text: str) -> bytes:
        """A token."""
        before, after = self._content
        return b"".join((before, self.dumps(text), after))

    def reasoning(self, text: str) -> bytes:
        """A token of reasoning."""
        before, after = self._reasoning
        return b"".join((before, self.dumps(text), after))

    def refusal(self, text: str) -> bytes:
        """The words of a refusal, in one piece."""
        return self.chunk({"refusal": text})

    def finish(self, reason: str) -> bytes:
        """The chunk with the finish reason."""
        delta = {"content": None} if self._dialect.null_content else {}
        usage = self._usage if self._dialect.usage in ("finish", "every") else None
        return self.chunk(delta, finish=reason, usage=usage)

    def end(self) -> bytes:
        """The events after the finish reason: the usage chunk and `[DONE]`."""
        data = b""
        if self._dialect.usage in ("chunk", "every") and self._usage_requested:
            data += self.event(self.dumps(self._chunk([], self._usage)))
        if self._dialect.done:
            data += self.event(b"[DONE]")
        return data

    def error(self) -> bytes:
        """An error object in place of a chunk."""
        problem = {
            "message": "The server had an error while processing your request. internal-detail-42",
            "type": "server_error",
            "param": None,
            "code": None,
        }
        return self.event(self.dumps({"error": problem}))

    def broken_json(self) -> bytes:
        """An event with truncated JSON."""
        return self.event(b'{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"ind')

    # ── chunks ────────────────────────────────────────────────────────────────────────────────
    def chunk(
        self, delta: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = None
    ) -> bytes:
        """One `chat.completion.chunk` as an event."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self.event(self.dumps(self._chunk([choice], usage)))

    def whole(self, text: str, reasoning: str, finish: str, refusal: str) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal or None}
        if reasoning:
            message[self._dialect.reasoning_key] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        body = {**self._chunk([choice], self._usage), "object": "chat.completion"}
        body.pop("obfuscation", None)
        return body

    def _chunk(self, choices: list[Any], usage: dict[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {"id": self.id} if self._dialect.ids else {}
        body |= {"object": "chat.completion.chunk", "created": self._created, "model": self._model}
        if self._dialect.ids:
            body |= {"service_tier": "default", "system_fingerprint": "fp_0123456789"}
        body["choices"] = choices
        if usage is not None or self._usage_requested:
            body["usage"] = usage
        if self._obfuscated:
            body["obfuscation"] = "aJ0kR7x"  # the real API pads every chunk to hide its length
        return body

    def _template(self, key: str) -> tuple[bytes, bytes]:
        delta = {"role": "assistant"} if self._dialect.role == "every" else {}
        usage = self._usage if self._dialect.usage == "every" else None
        before, _, after = self.chunk({**delta, key: _MARK}, usage=usage).partition(b'"\\u0000"')
        return before, after

"""Parses one chat completion chunk into a Delta; never mistakes other fields for answer text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, Final

from jiter import from_json  # on a chunk four times as fast as json, and used by openai, too

from bot.domain.model import Delta, Usage
from bot.llm.finish_reasons import parse_finish_reason, prefer_native_reason
from bot.llm.usage import parse_usage

# DeepSeek, SGLang and llama.cpp use reasoning_content; OpenRouter, Ollama and newer vLLM reasoning.
# Servers that send several repeat the same text, so only the first one present is read.
_REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "reasoning_details")
_ERROR_FIELDS = {"message", "detail", "errors", "error_code", "error_msg", "error_message"}

# Some gateways send a word as an event to keep the connection open.
_HEARTBEAT = re.compile(rb"\W{0,4}(?:ping|pong|heartbeat|keep[-_ ]?alive)\W{0,4}", re.IGNORECASE)

# Sentinels, compared by identity.
EMPTY: Final = Delta()
"""A chunk without content, such as a role or an empty text."""
DONE: Final = Delta()
"""The `[DONE]` marker, or the end of an answer that was not streamed."""
KEEPALIVE: Final = Delta()
"""Bytes without a token, such as response headers or an SSE comment."""


class MalformedChunk(ValueError):
    """The data is not a chat completion chunk."""


class ErrorEvent(Exception):
    """The provider sent an error inside the stream; `error` is its object or text."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


def parse_chunk(data: bytes) -> Delta:
    """The Delta in an event's data, or one of `EMPTY` and `DONE`.

    Raises MalformedChunk, or ErrorEvent if the event is an error.
    """
    if data.strip() == b"[DONE]":
        return DONE
    chunk = parse_json(data)
    if not isinstance(chunk, dict):
        if chunk is None or chunk == []:
            return EMPTY
        if _is_error_list(chunk):
            raise ErrorEvent(chunk)
        raise MalformedChunk(f"not an object: {data[:80]!r}")
    if (error := _find_error(chunk)) is not None:
        raise ErrorEvent(error)
    try:
        return _delta(chunk)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise MalformedChunk(f"not a chunk: {data[:80]!r}") from error


class ChunkParser:
    """Parses one response of the chat completions API."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def parse(self, data: bytes) -> Delta:
        """See `parse_chunk`; a last chunk that repeats the whole answer adds only what is new."""
        delta = parse_chunk(data)
        if not delta.text:
            return delta
        if self._text and delta.finish_reason and b'"delta"' not in data:
            delta = self._without_repetition(delta)
        self._text.append(delta.text)
        return delta

    def _without_repetition(self, last: Delta) -> Delta:
        """`last` without the text that has arrived; some servers end with the whole message."""
        received = "".join(self._text)
        if last.text.startswith(received):
            return replace(last, text=last.text[len(received) :], reasoning="")
        is_same = "".join(last.text.split()) == "".join(received.split())
        return replace(last, text="", reasoning="") if is_same else last

    def split(self, document: bytes) -> list[bytes]:
        """One JSON value, or one per line: some bridges omit the `data:` prefix."""
        try:
            value = json.loads(document)
        except (ValueError, RecursionError):
            return [line for line in document.splitlines() if line.strip()]
        if isinstance(value, dict) and not value.keys() & {"choices", "error"}:
            raise ErrorEvent(value)
        return [document]


def _find_error(chunk: dict[str, Any]) -> Any:
    """The error in a chunk; None if there is none."""
    error = chunk.get("error")
    if error and not _is_blank(error):
        return chunk if "error_type" in chunk else error  # TGI puts the type next to it
    choices = chunk.get("choices")
    if choices is None and (chunk.get("object") == "error" or chunk.keys() & _ERROR_FIELDS):
        return chunk  # older vLLM, FastAPI's `detail`, Alibaba, Mistral
    if choices and isinstance(choices, list) and isinstance(choices[0], dict):
        error = choices[0].get("error")  # OpenRouter
        if error and not _is_blank(error):
            return error
    status = chunk.get("base_resp")  # MiniMax
    if isinstance(status, dict) and status.get("status_code"):
        return status
    groq = chunk.get("x_groq")
    return groq.get("error") or None if isinstance(groq, dict) else None


def _is_blank(error: Any) -> bool:
    """Whether an error says nothing: some gateways send an empty one with every chunk."""
    return isinstance(error, dict) and not any(error.values())


def _is_error_list(chunk: Any) -> bool:
    """Whether a list contains an error, as Gemini's does."""
    return isinstance(chunk, list) and any(
        isinstance(item, dict) and item.get("error") for item in chunk
    )


def parse_json(data: bytes) -> Any:
    """Parse the JSON in an event; None for a heartbeat. Raises MalformedChunk.

    Falls back to the standard library's lenient parser for half a surrogate pair, which servers
    send when they split an emoji between two chunks. `bot.llm.reasoning_splitter` joins the halves.
    """
    try:
        return from_json(data)
    except ValueError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        if _HEARTBEAT.fullmatch(data):
            return None
        raise MalformedChunk(f"not JSON: {data[:80]!r}") from error


def _delta(chunk: dict[str, Any]) -> Delta:
    choices = chunk.get("choices")
    usage = _usage(chunk)
    choice = next(filter(_is_first, choices), None) if choices else None
    if choice is None:
        return Delta(usage=usage) if usage else EMPTY
    text, reasoning = _content(choice)
    finish = choice.get("finish_reason")
    if finish is not None:
        finish = parse_finish_reason(finish)
        if finish and "native_finish_reason" in choice:
            finish = prefer_native_reason(finish, choice["native_finish_reason"])
    if not (text or reasoning or finish or usage):
        return EMPTY
    return Delta(text, reasoning, finish, usage)


def _usage(chunk: dict[str, Any]) -> Usage | None:
    """The token counts in a chunk, if there are any.

    MiniMax sends zeros with every chunk but the last: they must not stand for an answer that ends
    early.
    """
    groq = chunk.get("x_groq")
    for counts in (chunk.get("usage"), groq.get("usage") if isinstance(groq, dict) else None):
        if isinstance(counts, dict) and counts:
            usage = parse_usage({**counts, "timings": chunk.get("timings")})  # llama.cpp's cache
            if usage.input_tokens or usage.output_tokens:
                return usage
    return None


def _is_first(choice: Any) -> bool:
    """Whether this is the first choice; we request only one, and ignore any others."""
    return choice is not None and str(choice.get("index") or 0) == "0"


def _content(choice: dict[str, Any]) -> tuple[str, str]:
    """The text and the reasoning of a choice."""
    # An answer that is not streamed has `message` instead of `delta`; Perplexity sends both, with
    # all text so far in `message`.
    delta = choice.get("delta") or {} if "delta" in choice else choice.get("message") or {}
    text = delta.get("content") or delta.get("refusal") or choice.get("text") or ""
    reasoning = next((delta[key] for key in _REASONING if delta.get(key)), "")
    if not isinstance(reasoning, str):
        reasoning = _reasoning_text(reasoning)
    if not isinstance(text, str):
        text, more = _join_parts(text)
        reasoning += more
    return text, reasoning


def _reasoning_text(reasoning: Any) -> str:
    """The readable text of a reasoning object, without signatures and encrypted content.

    Gateways to Bedrock send one such object; OpenRouter's `reasoning_details` is a list of them.
    """
    if isinstance(reasoning, list):
        return "".join(map(_reasoning_text, reasoning))
    if isinstance(reasoning, dict):
        reasoning = reasoning.get("text") or reasoning.get("summary")
    return reasoning if isinstance(reasoning, str) else ""


def _join_parts(parts: Any) -> tuple[str, str]:
    """The text and reasoning of content parts, as Mistral's reasoning models send them.

    Parts of other kinds, such as references and images, are dropped.
    """
    text: list[str] = []
    reasoning: list[str] = []
    for part in [parts] if isinstance(parts, dict) else parts:
        if isinstance(part, str):
            text.append(part)
        elif not isinstance(part, dict):
            continue
        elif part.get("type") in ("thinking", "reasoning", "reasoning_text"):
            reasoning.append(_reasoning_text(part.get("thinking") or part))
        else:
            value = part.get("text") or part.get("refusal") or ""
            if isinstance(value, dict):
                value = value.get("value")
            text.append(value if isinstance(value, str) else "")
    return "".join(text), "".join(reasoning)

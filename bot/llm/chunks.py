"""From the data of one event to a Delta; pure. What is no text of the answer never becomes text."""

from __future__ import annotations

import json
from typing import Any, Final

from jiter import from_json  # four times as fast as json on a chunk; openai parses with it too

from bot.domain import Delta, Usage

NOTHING: Final = Delta()  # a chunk that says nothing: a role, an empty text
DONE: Final = Delta()  # the end of the stream; told apart by identity


class Malformed(ValueError):
    """The data is no chunk of a chat completion."""


class ErrorEvent(Exception):
    """The provider sent an error in the middle of the stream. `error` is its object or text."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


def read_chunk(data: bytes) -> Delta:
    """The Delta in an event's data, `NOTHING`, or `DONE`.

    Raises Malformed, or ErrorEvent when the event is an error.
    """
    if data == b"[DONE]":
        return DONE
    try:
        chunk = from_json(data)
    except ValueError:
        chunk = _tolerant(data)
    if not isinstance(chunk, dict):
        raise Malformed(f"no object: {data[:80]!r}")
    if chunk.get("error"):
        raise ErrorEvent(chunk["error"])
    try:
        return _delta(chunk)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Malformed(f"no chunk: {data[:80]!r}") from error


def _tolerant(data: bytes) -> Any:
    """Some servers cut an emoji into two chunks, each with half of a surrogate pair.

    A half is no text: it can be neither stored nor sent, and becomes U+FFFD.
    """
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except ValueError as error:
        raise Malformed(f"no JSON: {data[:80]!r}") from error


def _delta(chunk: dict[str, Any]) -> Delta:
    choices, counted = chunk.get("choices"), chunk.get("usage")
    usage = _usage(counted) if counted else None
    if not choices:
        return Delta(usage=usage) if usage else NOTHING
    choice = choices[0]
    delta = choice.get("delta") or {}
    text = delta.get("content") or delta.get("refusal") or ""
    # DeepSeek, SGLang and llama.cpp say reasoning_content; OpenRouter, Ollama and newer vLLM
    # reasoning; some say both, with the same words.
    reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
    if reasoning and not isinstance(reasoning, str):
        reasoning = thought(reasoning)
    if not isinstance(text, str):
        text, reasoning = _parts(text)
    finish = choice.get("finish_reason")
    if not (text or reasoning or finish or usage):
        return NOTHING
    return Delta(text, reasoning, finish, usage)


def thought(reasoning: Any) -> str:
    """A piece of reasoning, which gateways to Bedrock send as an object; what it says else is lost.

    A signature, or what is encrypted, is for nobody's eyes.
    """
    text = reasoning.get("text") if isinstance(reasoning, dict) else reasoning
    return text if isinstance(text, str) else ""


def _usage(counted: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=int(counted.get("prompt_tokens") or 0),
        output_tokens=int(counted.get("completion_tokens") or 0),
    )


def _parts(parts: list[dict[str, Any]]) -> tuple[str, str]:
    """Mistral's reasoning models send content as parts: the text, and the reasoning."""
    text: list[str] = []
    reasoning: list[str] = []
    for part in parts:
        if part.get("type") == "thinking":
            reasoning.extend(str(piece.get("text", "")) for piece in part.get("thinking", []))
        else:
            text.append(str(part.get("text", "")))
    return "".join(text), "".join(reasoning)

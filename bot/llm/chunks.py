"""From the data of one event to a Delta; pure. What is no text of the answer never becomes text."""

from __future__ import annotations

import json
from typing import Any, Final

from jiter import from_json  # four times as fast as json on a chunk; openai parses with it too

from bot.domain.model import Delta, Usage
from bot.llm.finish_reasons import named

# DeepSeek, SGLang and llama.cpp say reasoning_content; OpenRouter, Ollama and newer vLLM reasoning;
# some say both, with the same words, so that the first that is there is all of it.
_REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "reasoning_details")
_MOST_TOKENS = 10**12
_ERROR_WORDS = {"message", "detail", "errors", "error_code", "error_msg", "error_message"}

NOTHING: Final = Delta()  # a chunk that says nothing: a role, an empty text
DONE: Final = Delta()  # the end of the stream; told apart by identity
ALIVE: Final = Delta()  # bytes that are no token: headers, a comment; told apart by identity


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
    if data.strip() == b"[DONE]":
        return DONE
    try:
        chunk = from_json(data)
    except ValueError:
        chunk = _tolerant(data)
    if not isinstance(chunk, dict):
        if chunk is None or chunk == []:
            return NOTHING
        if _is_error(chunk):
            raise ErrorEvent(chunk)
        raise Malformed(f"no object: {data[:80]!r}")
    if (error := _error(chunk)) is not None:
        raise ErrorEvent(error)
    try:
        return _delta(chunk)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Malformed(f"no chunk: {data[:80]!r}") from error


def _error(chunk: dict[str, Any]) -> Any:
    """The error in a chunk, None when there is none."""
    if chunk.get("error"):
        # TGI says the type of it beside it.
        return chunk if "error_type" in chunk else chunk["error"]
    choices = chunk.get("choices")
    if choices is None and (chunk.get("object") == "error" or chunk.keys() & _ERROR_WORDS):
        return chunk  # older vLLM, FastAPI's `detail`, Alibaba, Mistral
    if choices and isinstance(choices, list) and isinstance(choices[0], dict):
        return choices[0].get("error") or None  # OpenRouter
    said = chunk.get("base_resp")  # MiniMax
    if isinstance(said, dict) and said.get("status_code"):
        return said
    groq = chunk.get("x_groq")
    return groq.get("error") or None if isinstance(groq, dict) else None


def _is_error(chunk: Any) -> bool:
    """Whether a list holds an error, as Gemini's does."""
    return isinstance(chunk, list) and any(
        isinstance(item, dict) and item.get("error") for item in chunk
    )


def _tolerant(data: bytes) -> Any:
    """Some servers cut an emoji into two chunks, each with half of a surrogate pair.

    `bot.llm.reasoning_split` joins the halves.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {data[:80]!r}") from error


def _delta(chunk: dict[str, Any]) -> Delta:
    choices = chunk.get("choices")
    counted = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
    usage = _usage(counted) if isinstance(counted, dict) and counted else None
    choice = next(filter(_is_first, choices), None) if choices else None
    if choice is None:
        return Delta(usage=usage) if usage else NOTHING
    # A whole answer has a message in its place; Perplexity repeats all of it beside each delta.
    delta = choice.get("delta") or {} if "delta" in choice else choice.get("message") or {}
    text = delta.get("content") or delta.get("refusal") or choice.get("text") or ""
    reasoning = next((delta[key] for key in _REASONING if delta.get(key)), "")
    if not isinstance(reasoning, str):
        reasoning = thought(reasoning)
    if not isinstance(text, str):
        text, more = _parts(text)
        reasoning += more
    finish = choice.get("finish_reason")
    if finish is not None:
        finish = named(finish)
    if not (text or reasoning or finish or usage):
        return NOTHING
    return Delta(text, reasoning, finish, usage)


def _is_first(choice: Any) -> bool:
    """Whether this is the one answer that was asked for: a second one is not mixed into it."""
    return choice is not None and str(choice.get("index") or 0) == "0"


def thought(reasoning: Any) -> str:
    """A piece of reasoning, which gateways to Bedrock send as an object; what it says else is lost.

    OpenRouter's `reasoning_details` are a list of such objects. A signature, or what is encrypted,
    is for no one's eyes.
    """
    if isinstance(reasoning, list):
        return "".join(map(thought, reasoning))
    if isinstance(reasoning, dict):
        reasoning = reasoning.get("text") or reasoning.get("summary")
    return reasoning if isinstance(reasoning, str) else ""


def _usage(counted: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=_count(counted.get("prompt_tokens") or counted.get("input_tokens")),
        output_tokens=_count(counted.get("completion_tokens") or counted.get("output_tokens")),
    )


def _count(tokens: Any) -> int:
    """A number of tokens; 0 for what is none, which costs no answer."""
    try:
        count = int(tokens or 0)
    except (OverflowError, TypeError, ValueError):
        return 0
    return count if 0 <= count <= _MOST_TOKENS else 0


def _parts(parts: Any) -> tuple[str, str]:
    """Mistral's reasoning models send content as parts: the text, and the reasoning.

    Other kinds of parts (references, images) are no text.
    """
    text: list[str] = []
    reasoning: list[str] = []
    for part in [parts] if isinstance(parts, dict) else parts:
        if isinstance(part, str):
            text.append(part)
        elif not isinstance(part, dict):
            continue
        elif part.get("type") in ("thinking", "reasoning", "reasoning_text"):
            reasoning.append(thought(part.get("thinking") or part))
        else:
            said = part.get("text") or part.get("refusal") or ""
            if isinstance(said, dict):
                said = said.get("value")
            text.append(said if isinstance(said, str) else "")
    return "".join(text), "".join(reasoning)

"""Anthropic's Messages API: who may call it, how requests are read, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from tests.sims.model.anthropic_cache import AnthropicCache, Block
from tests.sims.model.anthropic_errors import anthropic_error
from tests.sims.model.anthropic_images import image_size, refuse
from tests.sims.model.anthropic_validate import (
    MAX_BODY_BYTES,
    all_blocks,
    check_version,
    validate_message,
)
from tests.sims.model.claude import CLAUDE, DEFAULT, ClaudeModel
from tests.sims.model.error_responses import ErrorResponse, error_response
from tests.sims.model.tokens import TokenCounter

_UNKNOWN_IMAGE_TOKENS = 1_600  # about the most that an image costs without being scaled down


def traits(model: str, reasoning: Collection[str] = ()) -> ClaudeModel:
    """A model's traits; models in `reasoning` behave like the newest."""
    return CLAUDE["claude-opus-5"] if model in reasoning else CLAUDE.get(model, DEFAULT)


def check_access(headers: Mapping[str, str], keys: Collection[str]) -> None:
    """Reject a missing or wrong key, in either of two headers, if any keys are set."""
    key, authorization = headers.get("x-api-key"), headers.get("Authorization")
    if not keys:
        return
    if key is None and authorization is None:
        raise error_response("no_key", "anthropic")
    if key is not None and key not in keys:
        raise error_response("bad_key", "anthropic")
    if authorization is not None and authorization.removeprefix("Bearer ") not in keys:
        raise error_response("bad_token", "anthropic")


def read_request(
    headers: Mapping[str, str],
    body: Any,
    *,
    known: Collection[str],
    reasoning: Collection[str],
    blind: Collection[str],
) -> dict[str, Any]:
    """The body if the API accepts it; `blind` models take no images."""
    version = check_version(headers.get("anthropic-version"))
    if int(headers.get("Content-Length", 0)) > MAX_BODY_BYTES:
        raise error_response("too_large", "anthropic")
    name = body.get("model", "") if isinstance(body, dict) else ""
    valid = validate_message(body, version=version, model=traits(name, reasoning))
    if name not in known and name not in CLAUDE:
        raise error_response("unknown_model", "anthropic", missing=name)
    if name in blind and any(block["type"] == "image" for block in all_blocks(valid)):
        raise refuse("image input is not supported by this model")
    return valid


def check_length(body: Mapping[str, Any], tokens: int, window: int, model: ClaudeModel) -> None:
    """Reject a prompt that exceeds the window; for older models, with the answer's limit."""
    if tokens > window:
        raise error_response("too_long", "anthropic", **{"8192": str(window), "9001": str(tokens)})
    limit = body["max_tokens"]
    if model.strict_window and tokens + limit > window:
        raise refuse(
            f"input length and `max_tokens` exceed context limit: {tokens} + {limit} > {window},"
            " decrease input length or `max_tokens` and try again"
        )


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request in the form of the chat completions API, even if it is invalid."""
    messages = [_as_chat(message) for message in body.get("messages") or ()]
    if body.get("system"):
        messages.insert(0, _as_chat({"role": "system", "content": body["system"]}))
    return {
        "model": body.get("model"),
        "messages": messages,
        "max_tokens": body.get("max_tokens"),
    }


def _as_chat(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        return {"role": "", "content": ""}
    content = message.get("content")
    parts = [_part(block) for block in content] if isinstance(content, list) else content
    return {"role": message.get("role"), "content": parts}


def _part(block: Any) -> dict[str, Any]:
    if not isinstance(block, dict) or block.get("type") != "image":
        return {"type": "text", "text": block.get("text", "") if isinstance(block, dict) else ""}
    source = block.get("source") or {}
    url = f"data:{source.get('media_type')};base64,{source.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


class Accounts:
    """The prompt cache of all accounts, and the usage that the API reports."""

    def __init__(self) -> None:
        self._cache = AnthropicCache()

    def usage(
        self,
        body: dict[str, Any],
        *,
        key: str,
        model: ClaudeModel,
        counter: TokenCounter,
        now: float,
        output: int,
        thinking: int,
    ) -> dict[str, Any]:
        """The counts for an answer; looks the request up in the cache of its key and model."""
        blocks = _blocks(body, counter)
        scope = f"{key}\0{body['model']}"
        use = self._cache.use(scope, blocks, minimum=model.cache_minimum, now=now)
        return {
            "input_tokens": use.rest + counter.count([]),
            "cache_creation_input_tokens": use.written,
            "cache_read_input_tokens": use.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": use.written,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": output + thinking,
            "output_tokens_details": {"thinking_tokens": thinking},
            "service_tier": "standard",
        }


def _blocks(body: dict[str, Any], counter: TokenCounter) -> list[Block]:
    """A request's blocks as the cache compares them: changing thinking or effort invalidates all
    but the system prompt."""
    options = [body.get("thinking"), body.get("output_config")]
    parts = [("system", block) for block in _listed(body.get("system"))]
    for message in body["messages"]:
        parts += [(message["role"], block) for block in _listed(message["content"])]
    marked = body.get("cache_control") is not None
    return [
        Block(
            _content(role, block, [] if role == "system" else options),
            _tokens(block, counter),
            "cache_control" in block or (marked and index == len(parts) - 1),
        )
        for index, (role, block) in enumerate(parts)
    ]


def _listed(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _content(role: str, block: dict[str, Any], options: list[Any]) -> bytes:
    plain = {name: value for name, value in block.items() if name != "cache_control"}
    return json.dumps([role, plain, options], sort_keys=True).encode()


def _tokens(block: dict[str, Any], counter: TokenCounter) -> int:
    """A block's tokens; an image costs a token for each 750 pixels (guide "Vision")."""
    if block["type"] == "image":
        width, height = image_size(block)
        return -(-width * height // 750) or _UNKNOWN_IMAGE_TOKENS
    empty = counter.count([])
    return counter.count([{"role": "user", "content": block["text"]}]) - empty


def _model_list(known: Collection[str]) -> dict[str, Any]:
    data = [_model_card(name) for name in (*known, *CLAUDE)]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"],
        "last_id": data[-1]["id"],
    }


def models(
    headers: Mapping[str, str], name: str | None, *, keys: Collection[str], known: Collection[str]
) -> dict[str, Any]:
    """All models in one page, or the model `name`; raises ErrorResponse."""
    check_access(headers, keys)
    check_version(headers.get("anthropic-version"))
    if name is None:
        return _model_list(known)
    if name not in known and name not in CLAUDE:
        raise ErrorResponse(404, anthropic_error("not_found_error", f"model: {name}"))
    return _model_card(name)


def _model_card(name: str) -> dict[str, Any]:
    """One model with its capabilities (anthropic 2.14, `ModelInfo`)."""
    model = CLAUDE.get(name, DEFAULT)
    yes, no = {"supported": True}, {"supported": False}
    level = yes if model.effort else no
    return {
        "type": "model",
        "id": name,
        "display_name": name.title().replace("-", " "),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.window,
        "max_tokens": model.max_output,
        "capabilities": {
            "image_input": yes,
            "effort": {"supported": model.effort, "low": level, "medium": level, "high": level},
            "thinking": {"supported": True, "types": {"adaptive": yes if model.adaptive else no}},
        },
    }

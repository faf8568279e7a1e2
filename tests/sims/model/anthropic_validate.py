"""Validates requests of Anthropic's Messages API as strictly as the real one, with its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.sims.model.anthropic_images import check_image_block, check_image_sides, refuse
from tests.sims.model.claude import ClaudeModel

VERSIONS = ("2023-01-01", "2023-06-01", "2026-10-21")
MAX_BREAKPOINTS, MAX_BODY_BYTES = 4, 32 << 20

_KEYS = {  # anthropic 2.14, message_create_params.py
    "cache_control", "container", "diagnostics", "inference_geo", "max_tokens", "messages",
    "metadata", "model", "output_config", "service_tier", "speed", "stop_sequences", "stream",
    "system", "thinking", "tool_choice", "tools",
}  # fmt: skip
_SAMPLING = ("temperature", "top_p", "top_k")
_BLOCK_KEYS: Mapping[str, set[str]] = {
    "text": {"type", "text", "cache_control", "citations"},
    "image": {"type", "source", "cache_control", "transformations"},
}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING: Mapping[str, set[str]] = {
    "adaptive": {"type", "display"},
    "enabled": {"type", "budget_tokens", "display"},
    "disabled": {"type"},
    "between_tools": {"type"},
}
_THINKING_DOCS = (
    "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/"
    "extended-thinking"
)


def check_version(version: str | None) -> str:
    """The API version; raises ErrorResponse for a missing or unknown one."""
    if version is None:
        raise refuse("anthropic-version: header is required")
    if version not in VERSIONS:
        raise refuse(f'anthropic-version: "{version}" is not a valid version')
    return version


def validate_message(body: Any, *, version: str, model: ClaudeModel) -> dict[str, Any]:
    """Return the body if the real API would accept it; otherwise raise ErrorResponse."""
    if not isinstance(body, dict):
        raise refuse("The request body is not valid JSON: expected value at line 1 column 1")
    for key in ("model", "messages", "max_tokens"):
        if key not in body:
            raise refuse(f"{key}: Field required")
    for key in body:
        if key not in _KEYS and (key not in _SAMPLING or version == VERSIONS[-1]):
            raise refuse(f"{key}: Extra inputs are not permitted")
    if not isinstance(body.get("stream", False), bool):
        raise refuse("stream: Input should be a valid boolean")
    _max_tokens(body, model)
    _system(body.get("system"))
    _messages(body["messages"], model)
    _breakpoints(body)
    _thinking(body, model)
    _effort(body.get("output_config"), model)
    _sampling(body, model)
    return body


def _max_tokens(body: dict[str, Any], model: ClaudeModel) -> None:
    value = body["max_tokens"]
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse("max_tokens: Input should be a valid integer")
    if value < 0:
        raise refuse("max_tokens: Input should be greater than or equal to 0")
    if value > model.max_output:
        raise refuse(
            f"max_tokens: {value} > {model.max_output}, which is the maximum allowed number of"
            f" output tokens for {body['model']}"
        )


# ── content ───────────────────────────────────────────────────────────────────────────────────
def _system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise refuse("system: Input should be a valid list")
    for index, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise refuse(f"system.{index}.type: Input should be 'text'")
        _block(f"system.{index}", block, "system")


def _messages(messages: Any, model: ClaudeModel) -> None:
    if not isinstance(messages, list):
        raise refuse("messages: Input should be a valid list")
    if not messages:
        raise refuse("messages: at least one message is required")
    for index, message in enumerate(messages):
        _message(index, message, is_last=index == len(messages) - 1)
    if messages[0]["role"] != "user":
        raise refuse('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        _prefill(messages[-1]["content"], model)
    check_image_sides(messages)


def _message(index: int, message: Any, *, is_last: bool) -> None:
    if not isinstance(message, dict):
        raise refuse(f"messages.{index}: Input should be a valid dictionary or object")
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise refuse(
            f'messages: Unexpected role "{role}". The Messages API accepts a top-level `system`'
            ' parameter, not "system" as an input message role.'
        )
    for key in message.keys() - {"role", "content"}:
        raise refuse(f"messages.{index}.{key}: Extra inputs are not permitted")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise refuse(f"messages.{index}.content: Field required")
    if not content and not (is_last and role == "assistant"):
        raise refuse(
            f"messages.{index}: all messages must have non-empty content except for the optional"
            " final assistant message"
        )
    for number, block in enumerate(content if isinstance(content, list) else ()):
        _content_block(f"messages.{index}.content.{number}", block, role)


def _content_block(path: str, block: Any, role: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in _BLOCK_KEYS or (kind == "image" and role != "user"):
        tags = "'text', 'image'" if role == "user" else "'text'"
        raise refuse(
            f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected"
            f" tags: {tags}"
        )
    _block(path, block, "messages")
    if kind == "image":
        check_image_block(f"{path}.image", block)


def _block(path: str, block: dict[str, Any], where: str) -> None:
    kind = block["type"]
    for key in block.keys() - _BLOCK_KEYS[kind]:
        raise refuse(f"{path}.{kind}.{key}: Extra inputs are not permitted")
    _cache_control(f"{path}.cache_control", block)
    if kind != "text":
        return
    text = block.get("text")
    if not isinstance(text, str):
        raise refuse(f"{path}.text.text: Field required")
    if not text and "cache_control" in block:
        raise refuse(f"{path}.text: cache_control cannot be set for empty text blocks")
    if not text:
        raise refuse(f"{where}: text content blocks must be non-empty")
    if not text.strip():
        raise refuse(f"{where}: text content blocks must contain non-whitespace text")


def _prefill(content: Any, model: ClaudeModel) -> None:
    if not model.prefill:
        raise refuse(
            "This model does not support assistant message prefill. The conversation must end with"
            " a user message."
        )
    text = content if isinstance(content, str) else content[-1].get("text", "") if content else ""
    if text != text.rstrip():
        raise refuse("messages: final assistant content cannot end with trailing whitespace")


# ── cache breakpoints ─────────────────────────────────────────────────────────────────────────
def _cache_control(path: str, block: Mapping[str, Any]) -> None:
    control = block.get("cache_control")
    if control is None:
        return
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise refuse(f"{path}.type: Input should be 'ephemeral'")
    for key in control.keys() - {"type", "ttl"}:
        raise refuse(f"{path}.ephemeral.{key}: Extra inputs are not permitted")
    if control.get("ttl", "5m") not in ("5m", "1h"):
        raise refuse(f"{path}.ephemeral.ttl: Input should be '5m' or '1h'")


def _breakpoints(body: dict[str, Any]) -> None:
    _cache_control("cache_control", body)
    count = sum("cache_control" in block for block in all_blocks(body))
    if count > MAX_BREAKPOINTS:
        raise refuse(
            f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided."
            f" Found {count}."
        )


def all_blocks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All blocks of a request that has lists of them, in order."""
    system = body.get("system")
    yield from system if isinstance(system, list) else ()
    for message in body["messages"]:
        yield from message["content"] if isinstance(message["content"], list) else ()


# ── thinking, effort and sampling ─────────────────────────────────────────────────────────────
def _thinking(body: dict[str, Any], model: ClaudeModel) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in _THINKING:
        raise refuse(f"thinking: Input tag '{kind}' found using 'type' does not match any")
    for key in thinking.keys() - _THINKING[kind]:
        raise refuse(f"thinking.{kind}.{key}: Extra inputs are not permitted")
    if kind == "adaptive" and not model.adaptive:
        raise refuse("adaptive thinking is not supported on this model")
    if kind == "enabled":
        _budget(thinking.get("budget_tokens"), body["max_tokens"], model)


def _budget(budget: Any, max_tokens: int, model: ClaudeModel) -> None:
    if not model.budget:
        raise refuse(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive"'
            ' and "output_config.effort" to control thinking behavior.'
        )
    if not isinstance(budget, int):
        raise refuse("thinking.enabled.budget_tokens: Field required")
    if budget < 1_024:
        raise refuse(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        )
    if budget >= max_tokens:
        raise refuse(
            "`max_tokens` must be greater than `thinking.budget_tokens`. " + _THINKING_DOCS
        )


def _effort(config: Any, model: ClaudeModel) -> None:
    if config is None:
        return
    if not isinstance(config, dict):
        raise refuse("output_config: Input should be a valid dictionary or object")
    for key in config.keys() - {"effort", "format"}:
        raise refuse(f"output_config.{key}: Extra inputs are not permitted")
    effort = config.get("effort")
    if effort is None:
        return
    if not model.effort:
        raise refuse("This model does not support the effort parameter.")
    if effort not in _EFFORTS:
        raise refuse(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        )


def _sampling(body: dict[str, Any], model: ClaudeModel) -> None:
    for name in _SAMPLING:
        if name in body and not model.sampling:
            raise refuse(f"`{name}` is deprecated for this model.")
    temperature = body.get("temperature")
    if temperature is None:
        return
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise refuse("temperature: Input should be a valid number")
    if not 0 <= temperature <= 1:
        raise refuse("temperature: range: 0..1")
    if "top_p" in body:
        raise refuse(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only"
            " one."
        )
    kind = (body.get("thinking") or {}).get("type")
    if kind in ("adaptive", "enabled") and temperature != 1:
        raise refuse(
            "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. "
            + _THINKING_DOCS
        )

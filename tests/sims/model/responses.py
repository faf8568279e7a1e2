"""OpenAI's Responses API: validates requests as strictly as the real one, with its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.sims.model.error_responses import ErrorResponse, invalid_request
from tests.sims.model.images import check_image
from tests.sims.model.validate import MAX_CACHE_KEY_LENGTH

_KEYS = {  # openai 3.52, response_create_params.py
    "access_programs", "background", "context_management", "conversation", "image", "include",
    "input", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model",
    "moderation", "parallel_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
    "tools", "top_logprobs", "top_p", "truncation", "user",
}  # fmt: skip
_MOVED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
_TYPES: Mapping[str, tuple[type, str]] = {
    "model": (str, "a string"),
    "instructions": (str, "a string"),
    "previous_response_id": (str, "a string"),
    "prompt_cache_key": (str, "a string"),
    "store": (bool, "a boolean"),
    "stream": (bool, "a boolean"),
    "background": (bool, "a boolean"),
    "reasoning": (dict, "an object"),
    "stream_options": (dict, "an object"),
    "include": (list, "an array"),
    "max_output_tokens": (int, "an integer"),
}
_REASONING: Mapping[str, tuple[str, ...]] = {
    "effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "summary": ("auto", "concise", "detailed"),
    "generate_summary": ("auto", "concise", "detailed"),
    "context": ("auto", "current_turn", "all_turns"),
    "mode": ("standard", "pro"),
}
_ITEMS = (
    "message", "reasoning", "function_call", "function_call_output", "item_reference",
    "web_search_call", "file_search_call", "computer_call", "compaction",
)  # fmt: skip
_ROLES = ("assistant", "system", "developer", "user")
_INPUT_PARTS = ("input_text", "input_image", "input_file")
_OUTPUT_PARTS = ("output_text", "refusal")
MIN_OUTPUT_TOKENS = 16


def validate_response(body: Any, *, reasoning: bool = False) -> dict[str, Any]:
    """Return the body if the real API would accept it; otherwise raise ErrorResponse.

    A `reasoning` model rejects a temperature.
    """
    if not isinstance(body, dict):
        raise invalid_request("We could not parse the JSON body of your request.")
    for key in body:
        _known(key)
    if not body.get("model"):
        raise invalid_request(
            "Missing required parameter: 'model'.",
            param="model",
            code="missing_required_parameter",
        )
    for key, (kind, name) in _TYPES.items():
        _typed(key, body.get(key), kind, name)
    _numbers(body, reasoning)
    _reasoning(body.get("reasoning") or {})
    _options(body)
    _input(body.get("input"))
    return body


def as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request as the chat completions API has it: scripts, counts and limits are the same."""
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    items = body.get("input")
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items or ():
        if isinstance(item, dict) and "role" in item:
            messages.append({"role": item["role"], "content": _chat_content(item.get("content"))})
    return {**body, "messages": messages, "max_completion_tokens": body.get("max_output_tokens")}


def _chat_content(content: Any) -> Any:
    return [_chat_part(part) for part in content] if isinstance(content, list) else content


def _chat_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "input_image":
        url = {"url": part.get("image_url"), "detail": part.get("detail")}
        return {"type": "image_url", "image_url": url}
    return {"type": "text", "text": part.get("text") or part.get("refusal") or ""}


# ── fields ────────────────────────────────────────────────────────────────────────────────────
def _known(key: str) -> None:
    if key in _MOVED:
        raise invalid_request(
            f"Unsupported parameter: '{key}'. In the Responses API, this parameter has moved to"
            f" '{_MOVED[key]}'. Try again with the new parameter.",
            param=key,
            code="unsupported_parameter",
        )
    if key not in _KEYS:
        raise invalid_request(f"Unknown parameter: '{key}'.", param=key, code="unknown_parameter")


def _typed(param: str, value: Any, kind: type, name: str) -> None:
    is_number = kind is int and isinstance(value, bool)
    if value is not None and (is_number or not isinstance(value, kind)):
        raise _type_error(param, name, value)


def _type_error(param: str, wanted: str, value: Any) -> ErrorResponse:
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a decimal"}
    names |= {list: "an array", dict: "an object", type(None): "null"}
    return invalid_request(
        f"Invalid type for '{param}': expected {wanted}, but got {names[type(value)]} instead.",
        param=param,
        code="invalid_type",
    )


def _value_error(param: str, value: Any, known: tuple[str, ...]) -> ErrorResponse:
    names = ", ".join(f"'{name}'" for name in known[:-1]) + f", and '{known[-1]}'"
    return invalid_request(
        f"Invalid value: '{value}'. Supported values are: {names}.",
        param=param,
        code="invalid_value",
    )


def _numbers(body: dict[str, Any], reasoning: bool) -> None:
    limit = body.get("max_output_tokens")
    if limit is not None and limit < MIN_OUTPUT_TOKENS:
        raise invalid_request(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >="
            f" {MIN_OUTPUT_TOKENS}, but got {limit} instead.",
            param="max_output_tokens",
            code="integer_below_min_value",
        )
    temperature = body.get("temperature")
    if temperature is None:
        return
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise _type_error("temperature", "a decimal", temperature)
    if not 0 <= temperature <= 2:
        raise invalid_request(
            "Invalid 'temperature': decimal out of range. Expected a value between 0 and 2.",
            param="temperature",
        )
    if reasoning:
        raise invalid_request(
            "Unsupported parameter: 'temperature' is not supported with this model.",
            param="temperature",
            code="unsupported_parameter",
        )


def _reasoning(reasoning: Mapping[str, Any]) -> None:
    for key, value in reasoning.items():
        if key not in _REASONING:
            raise invalid_request(
                f"Unknown parameter: 'reasoning.{key}'.",
                param=f"reasoning.{key}",
                code="unknown_parameter",
            )
        if value is not None and value not in _REASONING[key]:
            raise _value_error(f"reasoning.{key}", value, _REASONING[key])


def _options(body: Mapping[str, Any]) -> None:
    options = body.get("stream_options")
    if options is not None and not body.get("stream"):
        raise invalid_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    for key in options or ():
        if key != "include_obfuscation":
            raise invalid_request(
                f"Unknown parameter: 'stream_options.{key}'.",
                param=f"stream_options.{key}",
                code="unknown_parameter",
            )
    if len(body.get("prompt_cache_key") or "") > MAX_CACHE_KEY_LENGTH:
        raise invalid_request(
            "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length"
            f" {MAX_CACHE_KEY_LENGTH}.",
            param="prompt_cache_key",
            code="string_above_max_length",
        )


# ── input ─────────────────────────────────────────────────────────────────────────────────────
def _input(items: Any) -> None:
    if items is None:
        raise invalid_request(
            "Missing required parameter: 'input'.",
            param="input",
            code="missing_required_parameter",
        )
    if isinstance(items, str):
        return
    if not isinstance(items, list):
        raise _type_error("input", "one of a string or array of input items", items)
    if not items:
        raise invalid_request(
            "Invalid 'input': empty array. Expected an array with minimum length 1.",
            param="input",
            code="empty_array",
        )
    for index, item in enumerate(items):
        _item(f"input[{index}]", item)


def _item(path: str, item: Any) -> None:
    if not isinstance(item, dict):
        raise _type_error(path, "an input item", item)
    kind = item.get("type", "message")
    if kind not in _ITEMS:
        raise _value_error(f"{path}.type", kind, _ITEMS)
    if kind != "message":
        return
    for key in item:
        if key not in ("type", "role", "content", "id", "status", "phase"):
            param = f"{path}.{key}"
            raise invalid_request(
                f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter"
            )
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise _value_error(f"{path}.role", role, _ROLES)
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise _type_error(f"{path}.content", "one of an array of objects or string", content)
    for index, part in enumerate(content):
        _part(f"{path}.content[{index}]", role, part)


def _part(path: str, role: str, part: Any) -> None:
    if not isinstance(part, dict):
        raise _type_error(path, "an object", part)
    known = _OUTPUT_PARTS if role == "assistant" else _INPUT_PARTS
    kind = part.get("type")
    if kind not in known:
        raise _value_error(path, kind, known)
    allowed = {"type", "text", "image_url", "detail", "file_id", "file_url", "file_data"}
    allowed |= {"filename", "refusal", "annotations", "logprobs", "prompt_cache_breakpoint"}
    for key in part.keys() - allowed:
        param = f"{path}.{key}"
        raise invalid_request(
            f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter"
        )
    if kind in ("input_text", "output_text"):
        _typed(f"{path}.text", part.get("text") or None, str, "a string")
        if part.get("text") is None:
            raise invalid_request(
                f"Missing required parameter: '{path}.text'.",
                param=f"{path}.text",
                code="missing_required_parameter",
            )
    elif kind == "input_image":
        if part.get("detail", "auto") not in ("low", "high", "auto", "original"):
            raise _value_error(f"{path}.detail", part["detail"], ("low", "high", "auto"))
        check_image(path, role, {"image_url": {"url": part.get("image_url")}})

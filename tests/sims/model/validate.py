"""Validates chat completion requests as strictly as the real API, with the same error messages."""

from __future__ import annotations

import re
from typing import Any

from tests.sims.model.error_responses import ErrorResponse, error_response, invalid_request
from tests.sims.model.images import check_image

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
_NAME = re.compile(r"^[^\s<|\\/>]{1,64}$")  # display names often violate this
_MESSAGE_KEYS = {
    "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio",
}  # fmt: skip
_NUMBERS = {  # inclusive ranges
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
_KEYS = {
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n",
    "stop", "seed", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format",
    "logprobs", "top_logprobs", "logit_bias", "metadata", "store", "reasoning_effort", "verbosity",
    "service_tier", "modalities", "audio", "prediction", "web_search_options", "safety_identifier",
    "prompt_cache_key", "functions", "function_call", *_NUMBERS,
}  # fmt: skip
MAX_CACHE_KEY_LENGTH = 64
_KIND = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def validate(body: Any, *, reasoning: bool = False, strict: bool = False) -> dict[str, Any]:
    """Return the body if the real API would accept it; otherwise raise ErrorResponse.

    A `reasoning` model rejects `max_tokens` and a temperature other than 1. A `strict` chat
    template rejects messages whose roles do not alternate.
    """
    if not isinstance(body, dict):
        raise invalid_request("We could not parse the JSON body of your request.")
    if not body.get("model"):
        raise invalid_request("you must provide a model parameter")
    _parameters(body)
    _messages(body.get("messages"))
    _limits(body)
    if reasoning:
        _reasoning(body)
    if strict:
        _alternation(body["messages"])
    return body


def _kind(value: Any) -> str:
    return "null" if value is None else _KIND.get(type(value), "object")


def _parameters(body: dict[str, Any]) -> None:
    for key in body:
        if key not in _KEYS:
            raise invalid_request(
                f"Unknown parameter: '{key}'.", param=key, code="unknown_parameter"
            )
    for key in ("model", "user", "prompt_cache_key", "reasoning_effort"):
        _typed(body, key, str)
    if len(body.get("prompt_cache_key") or "") > MAX_CACHE_KEY_LENGTH:
        raise invalid_request(
            "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length"
            f" {MAX_CACHE_KEY_LENGTH}.",
            param="prompt_cache_key",
            code="string_above_max_length",
        )
    _typed(body, "stream", bool)
    _typed(body, "stream_options", dict)
    if body.get("stream_options") is not None and not body.get("stream"):
        raise invalid_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    for key in body.get("stream_options") or {}:
        if key not in ("include_usage", "include_obfuscation"):
            path = f"stream_options.{key}"
            raise invalid_request(
                f"Unknown parameter: '{path}'.", param=path, code="unknown_parameter"
            )


def _typed(body: dict[str, Any], key: str, kind: type) -> None:
    value = body.get(key)
    if value is not None and not isinstance(value, kind):
        raise _type_error(key, _KIND.get(kind, "an object"), value)


def _type_error(param: str, wanted: str, value: Any) -> ErrorResponse:
    return invalid_request(
        f"Invalid type for '{param}': expected {wanted}, but got {_kind(value)} instead.",
        param=param,
        code="invalid_type",
    )


# ── messages ──────────────────────────────────────────────────────────────────────────────────
def _messages(messages: Any) -> None:
    if messages is None:
        raise invalid_request(
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not isinstance(messages, list):
        raise _type_error("messages", "an array of objects", messages)
    if not messages:
        raise invalid_request(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            param="messages",
            code="empty_array",
        )
    for index, message in enumerate(messages):
        _message(f"messages[{index}]", message)
    _tools(messages)


def _message(path: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _type_error(path, "an object", message)
    role = message.get("role")
    if role is None:
        param = f"{path}.role"
        raise invalid_request(
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    if role not in ROLES:
        raise _value_error(f"{path}.role", role, ROLES)
    for key in message:
        if key not in _MESSAGE_KEYS:
            param = f"{path}.{key}"
            raise invalid_request(
                f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter"
            )
    _name(path, message)
    _content(f"{path}.content", message)


def _name(path: str, message: dict[str, Any]) -> None:
    name = message.get("name")
    if name is None:
        return
    if not isinstance(name, str):
        raise _type_error(f"{path}.name", "a string", name)
    if not _NAME.match(name):
        raise invalid_request(
            f"Invalid '{path}.name': string does not match pattern. Expected a string that"
            r" matches the pattern '^[^\s<|\\/>]+$'.",
            param=f"{path}.name",
            code="invalid_value",
        )


def _content(path: str, message: dict[str, Any]) -> None:
    content = message.get("content")
    if content is None and message["role"] == "assistant" and message.get("tool_calls"):
        return
    if isinstance(content, str):
        _unicode(path, content)
    elif isinstance(content, list) and content:
        for index, part in enumerate(content):
            _part(f"{path}[{index}]", message["role"], part)
    else:
        raise _type_error(path, "one of a string or array of objects", content)


def _part(path: str, role: str, part: Any) -> None:
    if not isinstance(part, dict):
        raise _type_error(path, "an object", part)
    kind = part.get("type")
    if kind not in PARTS:
        raise _value_error(f"{path}.type", kind, PARTS)
    if kind not in part:
        param = f"{path}.{kind}"
        raise invalid_request(
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    if kind == "text":
        if not isinstance(part["text"], str):
            raise _type_error(f"{path}.text", "a string", part["text"])
        _unicode(f"{path}.text", part["text"])
    elif kind == "image_url":
        check_image(path, role, part)


def _unicode(path: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid_request(f"Invalid '{path}': half of a surrogate pair.", param=path) from None


def _alternation(messages: list[dict[str, Any]]) -> None:
    """Check that roles alternate, with the wording of Gemma's and Mistral's chat templates;
    servers answer with 400."""
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    roles = [message["role"] for message in turns]
    if any(role != ("user", "assistant")[n % 2] for n, role in enumerate(roles)):
        raise invalid_request(
            "After the optional system message, conversation roles must alternate"
            " user/assistant/user/assistant/..."
        )
    if len(roles) % 2 == 0:
        raise invalid_request("Expected last role User for serving but got assistant")
    for index, message in enumerate(messages):
        if message["content"] == "":
            raise invalid_request(f"messages.{index}: text content blocks must be non-empty")


def _tools(messages: list[dict[str, Any]]) -> None:
    called: set[str] = set()
    for index, message in enumerate(messages):
        called.update(call.get("id", "") for call in message.get("tool_calls") or [])
        if message["role"] == "tool" and message.get("tool_call_id") not in called:
            raise invalid_request(
                "Invalid parameter: messages with role 'tool' must be a response to a preceding"
                " message with 'tool_calls'.",
                param=f"messages[{index}].role",
            )


def _value_error(param: str, value: Any, known: tuple[str, ...]) -> ErrorResponse:
    names = ", ".join(f"'{name}'" for name in known)
    return invalid_request(
        f"Invalid value: '{value}'. Supported values are: {names}.",
        param=param,
        code="invalid_value",
    )


# ── numbers ───────────────────────────────────────────────────────────────────────────────────
def _limits(body: dict[str, Any]) -> None:
    for key, (low, high) in _NUMBERS.items():
        value = body.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _type_error(key, "a decimal", value)
        _range(key, value, low, high)
    for key in ("max_tokens", "max_completion_tokens", "n"):
        value = body.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise _type_error(key, "an integer", value)
        _range(key, value, 1, 128 if key == "n" else 10**9)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise invalid_request(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            param="max_tokens",
        )


def _range(key: str, value: float, low: float, high: float) -> None:
    kind = "integer" if isinstance(value, int) else "decimal"
    if value < low:
        text = f"Invalid '{key}': {kind} below minimum value. Expected a value >= {low}."
        raise invalid_request(text, param=key, code=f"{kind}_below_min_value")
    if value > high:
        text = f"Invalid '{key}': {kind} above maximum value. Expected a value <= {high}."
        raise invalid_request(text, param=key, code=f"{kind}_above_max_value")


def _reasoning(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is not None:
        raise invalid_request(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if body.get("temperature") not in (None, 1):
        raise invalid_request(
            "Unsupported value: 'temperature' does not support this value with this model. Only"
            " the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        )


def check_key(header: str | None, keys: set[str], flavor: str) -> None:
    """Reject a missing or wrong `Authorization` header if any keys are set."""
    if not keys:
        return
    scheme, _, key = (header or "").partition(" ")
    if scheme != "Bearer" or not key:
        raise error_response("no_key", flavor)
    if key not in keys:
        raise error_response("bad_key", flavor)

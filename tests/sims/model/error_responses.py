"""Error responses with the statuses and wordings of OpenAI and of Hugging Face's router.

The bodies match the real services, including those that are not JSON (a proxy's 502) and those with
shapes unlike OpenAI's ({"error": "text"}).
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from tests.sims.model.anthropic_errors import ANTHROPIC


class ErrorResponse(Exception):
    """Raised to answer a request with an error instead of a completion."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}

    def response(self) -> web.Response:
        """The HTTP response; a string body is a proxy's HTML page."""
        page = isinstance(self.body, str)
        kind = "text/html; charset=UTF-8" if page else "application/json"
        body = self.body if page else json.dumps(self.body, indent=2)
        return web.Response(
            status=self.status,
            body=body.encode(),
            headers={"Content-Type": kind, **self.headers},
        )


def error_body(
    message: str, kind: str, code: str | None, param: str | None = None
) -> dict[str, Any]:
    """An error object in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def invalid_request(
    message: str, *, param: str | None = None, code: str | None = None
) -> ErrorResponse:
    """A 400 for an invalid request."""
    return ErrorResponse(400, error_body(message, "invalid_request_error", code, param))


def _page(title: str) -> str:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


_OPENAI: dict[str, tuple[int, Any]] = {
    "rate_limited": (
        429,
        error_body(
            "Rate limit reached for sim on requests per min (RPM): Limit 3, Used 3, Requested 1.",
            "requests",
            "rate_limit_exceeded",
        ),
    ),
    "quota": (
        429,
        error_body(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
    ),
    "server_error": (
        500,
        error_body("The server had an error while processing your request.", "server_error", None),
    ),
    "bad_gateway": (502, _page("502 Bad Gateway")),
    "unavailable": (
        503,
        error_body(
            "The engine is currently overloaded, please try again later.", "server_error", None
        ),
    ),
    "gateway_timeout": (504, _page("504 Gateway Time-out")),
    "overloaded": (
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ),
    "no_key": (
        401,
        error_body(
            "You didn't provide an API key. Provide it in an Authorization header, Bearer auth.",
            "invalid_request_error",
            None,
        ),
    ),
    "bad_key": (
        401,
        error_body(
            "Incorrect API key provided: sk-***1234.", "invalid_request_error", "invalid_api_key"
        ),
    ),
    "forbidden": (
        403,
        error_body(
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        ),
    ),
    "unknown_model": (
        404,
        error_body(
            "The model `missing` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
    ),
    "too_long": (
        400,
        error_body(
            "This model's maximum context length is 8192 tokens. However, your messages resulted"
            " in 9001 tokens. Please reduce the length of the messages.",
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        ),
    ),
    "content_filter": (
        400,
        error_body(
            "The response was filtered due to the prompt triggering the content policy.",
            "invalid_request_error",
            "content_filter",
            "prompt",
        ),
    ),
    "loading": (
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
    ),
    "moderated": (
        403,
        {
            "error": {
                "message": 'm requires moderation. Your input was flagged for "x".',
                "code": 403,
            }
        },
    ),
    "wrong_path": (404, {"detail": "Not Found"}),
    "no_system_role": (400, {"detail": "System role not supported"}),
    "no_streaming": (
        400,
        error_body(
            "Your organization must be verified to stream this model.",
            "invalid_request_error",
            "unsupported_value",
            "stream",
        ),
    ),
    "bad_request": (400, error_body("Something else is wrong.", "invalid_request_error", None)),
}

_HUGGINGFACE: dict[str, tuple[int, Any]] = {
    "rate_limited": (429, {"error": "Rate limit reached. Please log in or use a HF access token"}),
    "quota": (402, {"error": "You have exceeded your monthly included credits."}),
    "server_error": (500, {"error": "Internal Server Error"}),
    "unavailable": (503, {"error": "Service Unavailable"}),
    "overloaded": (429, {"error": "Model is overloaded", "error_type": "overloaded"}),
    "no_key": (401, {"error": "Invalid username or password."}),
    "bad_key": (401, {"error": "Invalid credentials in Authorization header"}),
    "forbidden": (
        403,
        {"error": "This authentication method does not have sufficient permissions."},
    ),
    "unknown_model": (
        400,
        error_body(
            "The requested model 'missing' does not exist",
            "invalid_request_error",
            "model_not_found",
            "model",
        ),
    ),
    "unsupported_model": (
        400,
        error_body(
            "The requested model 'sim' is not supported by any provider you have enabled.",
            "invalid_request_error",
            "model_not_supported",
            "model",
        ),
    ),
    "too_long": (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."
            " Given: 9001 `inputs` tokens and 512 `max_new_tokens`",
            "error_type": "validation",
        },
    ),
}

FLAVORS: dict[str, dict[str, tuple[int, Any]]] = {
    "openai": _OPENAI,
    "huggingface": {**_OPENAI, **_HUGGINGFACE},
    "anthropic": {**_OPENAI, **ANTHROPIC},
}


def error_response(
    kind: str, flavor: str = "openai", retry_after: float | str | None = None, **named: str
) -> ErrorResponse:
    """The error `kind`; `named` replaces words in its message, as in `missing="gpt-9"`.

    `retry_after` is the header's value: seconds or an HTTP date.
    """
    status, body = FLAVORS[flavor][kind]
    if named:
        text = json.dumps(body)
        for word, value in named.items():
            text = text.replace(word, json.dumps(value)[1:-1])
        body = json.loads(text)
    return ErrorResponse(
        status, body, {} if retry_after is None else {"Retry-After": str(retry_after)}
    )

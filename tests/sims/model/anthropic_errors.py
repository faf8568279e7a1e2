"""Error responses with the statuses and wordings of Anthropic's API.

`docs/platform-facts-models.md` has their sources.
"""

from __future__ import annotations

from typing import Any


def anthropic_error(kind: str, message: str) -> dict[str, Any]:
    """An error in Anthropic's shape."""
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }


_INVALID = "invalid_request_error"

ANTHROPIC: dict[str, tuple[int, Any]] = {
    "rate_limited": (
        429,
        anthropic_error(
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50,000 input tokens per"
            " minute.",
        ),
    ),
    "quota": (
        400,
        anthropic_error(
            _INVALID,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans &"
            " Billing to upgrade or purchase credits.",
        ),
    ),
    "usage_limit": (
        400,
        anthropic_error(
            _INVALID,
            "You have reached your specified API usage limits. You will regain access on 2026-12-01"
            " at 00:00 UTC.",
        ),
    ),
    "billing": (402, anthropic_error("billing_error", "Your payment method was declined.")),
    "server_error": (500, anthropic_error("api_error", "Internal server error")),
    "unavailable": (503, anthropic_error("api_error", "Service unavailable")),
    "gateway_timeout": (504, anthropic_error("timeout_error", "Request timed out")),
    "overloaded": (529, anthropic_error("overloaded_error", "Overloaded")),
    "no_key": (401, anthropic_error("authentication_error", "x-api-key header is required")),
    "bad_key": (401, anthropic_error("authentication_error", "invalid x-api-key")),
    "bad_token": (401, anthropic_error("authentication_error", "Invalid bearer token")),
    "forbidden": (
        403,
        anthropic_error(
            "permission_error", "Your API key does not have permission to use the resource."
        ),
    ),
    "unknown_model": (404, anthropic_error("not_found_error", "model: missing")),
    "wrong_path": (404, anthropic_error("not_found_error", "Not Found")),
    "too_long": (
        400,
        anthropic_error(_INVALID, "prompt is too long: 9001 tokens > 8192 maximum"),
    ),
    "too_large": (
        413,
        anthropic_error("request_too_large", "Request exceeds the maximum size"),
    ),
    "content_filter": (
        400,
        anthropic_error(_INVALID, "Output blocked by content filtering policy"),
    ),
    "bad_request": (400, anthropic_error(_INVALID, "Invalid request data")),
}

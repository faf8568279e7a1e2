"""From what a provider says to our error tree; pure. No word of the provider is kept.

Providers differ in status and code for the same failure, so a failure is told by its code first,
then by its words, then by its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bot.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelFailed,
    Overloaded,
    RateLimited,
    UnknownModel,
)

# No money left: waiting does not help, and those who run the bot must look at the account.
_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_FILTERED = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
_NO_MODEL = {"model_not_found", "model_not_supported", "model_not_available"}
_RATE = {"rate_limit_exceeded", "rate_limit_error"}
_OVERLOAD = {"overloaded", "overloaded_error", "server_error", "internal_server_error"}

# How they say it: OpenAI, vLLM and OpenRouter "maximum context length", llama.cpp "context size",
# TGI and Together "`inputs` tokens", Anthropic "prompt is too long", Gemini "input token count".
_TOO_LONG_WORDS = re.compile(
    r"context[ _-]?(length|size|window)|inputs` tokens|prompt is too long|input token count"
    r"|request too large|reduce the length",
    re.IGNORECASE,
)
_FILTER_WORDS = re.compile(r"content (management )?(filter|policy)|safety system", re.IGNORECASE)
_NO_MODEL_WORDS = re.compile(
    r"model\b.{0,200}\b(does not exist|not found)|(unknown|invalid) model",
    re.IGNORECASE | re.DOTALL,
)
_OVERLOAD_WORDS = re.compile(r"overloaded|no capacity|at capacity", re.IGNORECASE)

# Statuses whose words are worth reading: a request that was wrong, or a server that tripped on it.
_ABOUT_THE_REQUEST = (None, 400, 403, 413, 422, 429, 500)


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider said. `status` is None in mid-stream; `retry_after` is in seconds."""

    status: int | None
    code: str = ""
    words: str = ""
    retry_after: float | None = None

    @classmethod
    def of(cls, status: int | None, body: Any, headers: Mapping[str, str] | None = None) -> Report:
        """Read an error's body in any provider's shape: nested, flat, or a text."""
        error = body.get("error", body) if isinstance(body, dict) else body
        codes: list[Any] = [body.get("error_type")] if isinstance(body, dict) else []
        words = str(error)
        if isinstance(error, dict):
            codes += [error.get("code"), error.get("type")]
            words = str(error.get("message") or error.get("detail") or "")
        named = [code.lower() for code in codes if isinstance(code, str) and code]
        if status is None and isinstance(error, dict) and isinstance(error.get("code"), int):
            status = error["code"]  # OpenRouter puts the status there
        return cls(status, " ".join(named), words, retry_after(headers or {}))

    def says(self, codes: set[str]) -> bool:
        """Whether one of these codes was given."""
        return not codes.isdisjoint(self.code.split())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait that a response's headers ask for: a number, or an HTTP date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            continue
    return None


def failure(report: Report, *, model: str) -> ModelError:
    """The error of the tree that a report means; its text is the status and the code alone."""
    text = " ".join(str(part) for part in (report.status, report.code) if part)
    if report.status == 402 or report.says(_QUOTA):
        return KeyRefused(f"{text}: no credit left", model=model)
    if report.status in _ABOUT_THE_REQUEST:
        kind = _about_the_request(report)
        if kind is not None:
            return kind(text, model=model)
    if report.status == 429 or report.says(_RATE):
        return RateLimited(text, model=model, retry_after=report.retry_after)
    return _by_status(report.status)(text, model=model)


def in_stream(report: Report, *, model: str, started: bool) -> ModelError:
    """The error that a report in mid-stream means: after some text a general one is a cut."""
    error = failure(report, model=model)
    if started and isinstance(error, Overloaded | ModelFailed | RateLimited):
        return CutOff(str(error), model=model)
    return error


def _about_the_request(report: Report) -> type[ModelError] | None:
    words = f"{report.code} {report.words}"
    if report.says(_FILTERED) or _FILTER_WORDS.search(words):
        return ContentRefused
    if report.says(_NO_MODEL) or _NO_MODEL_WORDS.search(words):
        return UnknownModel
    if _TOO_LONG_WORDS.search(words):
        return ContextTooLong
    if report.says(_OVERLOAD) or _OVERLOAD_WORDS.search(words):
        return Overloaded
    return None


def _by_status(status: int | None) -> type[ModelError]:
    if status in (401, 403):
        return KeyRefused
    if status == 404:
        return UnknownModel
    if status == 413:
        return ContextTooLong
    if status is not None and (status == 408 or status >= 500):
        return Overloaded
    return ModelFailed

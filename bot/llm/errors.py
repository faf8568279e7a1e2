"""Translates a provider's error into our error tree.

Rules for codes and wordings come first (`bot.llm.error_rules`), then the status decides. An error's
text has the status and the codes only; `provider_message` keeps the provider's words for the log.
"""

from __future__ import annotations

from bot.domain.errors import (
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelFailed,
    Overloaded,
    RateLimited,
    UnknownModel,
    WrongAddress,
)
from bot.llm.error_report import ErrorReport
from bot.llm.error_rules import RULES
from bot.llm.token_counts import parse_token_counts

_MAX_CODE_LENGTH = 60
"""Characters: a longer "code" is a message in the wrong field."""


def to_model_error(report: ErrorReport, *, model: str) -> ModelError:
    """The error that a report describes."""
    codes = [code for code in report.codes if len(code) <= _MAX_CODE_LENGTH]
    text = " ".join(str(part) for part in (report.status, *codes) if part)
    kind = classify(report)
    error: ModelError
    if issubclass(kind, ContextTooLong):
        counts = parse_token_counts(report)
        error = kind(text, model=model, window=counts.window, asked=counts.requested)
    else:
        error = kind(text, model=model, retry_after=report.retry_after)
    error.provider_message = report.raw
    return error


def to_stream_error(report: ErrorReport, *, model: str, started: bool) -> ModelError:
    """The error that a report describes; once text has come, a general failure means CutOff."""
    error = to_model_error(report, model=model)
    if started and isinstance(error, Overloaded | ModelFailed | RateLimited):
        cut = CutOff(str(error), model=model)
        cut.provider_message = error.provider_message
        return cut
    return error


def classify(report: ErrorReport) -> type[ModelError]:
    """The class of error that a report describes."""
    return next((rule.error for rule in RULES if rule.matches(report)), None) or _by_status(report)


def _by_status(report: ErrorReport) -> type[ModelError]:
    status = report.status
    if status in (401, 403, 407):
        return KeyRefused
    if status == 404:
        return WrongAddress if report.is_web_page else UnknownModel
    if status == 413:
        return ContextTooLong
    if status is not None and (status in (408, 409, 424, 425, 498, 499) or status >= 500):
        return Overloaded
    return ModelFailed

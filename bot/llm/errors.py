"""Translates a provider's error into our error tree.

Rules for codes and wordings come first (`bot.llm.error_rules`), then the status decides. An error's
text contains only the status and the codes; `provider_message` keeps the provider's words for the
log.
"""

from __future__ import annotations

import re

from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    CutOff,
    ImageRefused,
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
from bot.llm.waits import wait_in_words

_MAX_CODE_LENGTH = 60
"""Characters: anything longer in a "code" field is a message in the wrong field."""


_IMAGE_LIMIT = re.compile(
    r"(?:at most|up to|maximum(?: of| is)?|limit(?: of| is)?|more than|only) (\d{1,3}|one) image",
    re.IGNORECASE,
)

# Statuses of an invalid request. If no rule matches the wording, an image is the likeliest reason.
_IMAGE_STATUSES = (400, 415, 422)


def to_model_error(report: ErrorReport, *, model: str, images: bool = False) -> ModelError:
    """The error that a report describes. `images`: the request had images.

    An unknown rejection of a request with images becomes an ImageRefused: the turn then asks
    without them, and learns whether they were the reason.
    """
    codes = [code for code in report.codes if len(code) <= _MAX_CODE_LENGTH]
    text = " ".join(str(part) for part in (report.status, *codes) if part)
    kind = classify(report, images=images)
    if images and kind is ModelFailed and report.status in _IMAGE_STATUSES:
        kind = ImageRefused
    error: ModelError
    if report.redirect:
        error = WrongAddress(f"redirected to {report.redirect}", model=model)
    elif issubclass(kind, ContextTooLong):
        counts = parse_token_counts(report)
        error = kind(text, model=model, window=counts.window, asked=counts.requested)
    elif issubclass(kind, ImageRefused):
        error = kind(text, model=model, limit=_image_limit(report))
    else:
        error = kind(text, model=model, retry_after=_wait(report, kind))
    error.provider_message = report.raw
    return error


def _wait(report: ErrorReport, kind: type[ModelError]) -> float | None:
    """The wait in seconds that the provider asks for.

    Words count only in errors that a wait ends, because an error may repeat a person's words.
    """
    if report.retry_after is not None or not issubclass(kind, RateLimited | Overloaded):
        return report.retry_after
    wait = wait_in_words(report.text)
    return report.reset_after if wait is None and kind is RateLimited else wait


def to_stream_error(
    report: ErrorReport, *, model: str, started: bool, images: bool = False
) -> ModelError:
    """The error that a report describes. Once text has arrived, a general failure means CutOff."""
    error = to_model_error(report, model=model, images=images and not started)
    if started and isinstance(error, Overloaded | ModelFailed | RateLimited):
        cut = CutOff(str(error), model=model)
        cut.provider_message = error.provider_message
        return cut
    return error


def classify(report: ErrorReport, *, images: bool = False) -> type[ModelError]:
    """The class of error that a report describes. `images`: the request had images."""
    if report.redirect:
        return WrongAddress
    rules = (rule for rule in RULES if images or rule.error not in (CannotSee, ImageRefused))
    return next((rule.error for rule in rules if rule.matches(report)), None) or _by_status(report)


def _image_limit(report: ErrorReport) -> int | None:
    """The largest number of images, if the report names it."""
    found = _IMAGE_LIMIT.search(report.text)
    if found is None:
        return None
    return 1 if found[1].lower() == "one" else int(found[1])


def _by_status(report: ErrorReport) -> type[ModelError]:
    status = report.status
    if status in (401, 403, 407):
        return KeyRefused
    if status in (404, 410):
        return WrongAddress if report.is_web_page else UnknownModel
    if status == 451:
        return ContentRefused  # StepFun's filter
    if status == 501 and report.is_web_page:
        return WrongAddress  # a plain web server, which does not accept POST
    if status == 413:
        return ContextTooLong
    if status is not None and (status in (408, 409, 424, 425, 498, 499) or status >= 500):
        return Overloaded
    return ModelFailed

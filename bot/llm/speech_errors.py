"""Translates a transcription API's error into the reason that people see."""

from __future__ import annotations

import re

from bot.domain.attachments import Omission
from bot.domain.errors import (
    AttachmentError,
    ContentRefused,
    KeyRefused,
    ModelError,
    NoCredit,
    Overloaded,
    RateLimited,
    UnknownModel,
    WrongAddress,
)
from bot.llm.error_report import ErrorReport
from bot.llm.errors import classify

RETRY_SECONDS = 5.0
"""Seconds to wait before another attempt if the server suggests no time."""

_REJECTED = (400, 413, 415, 422)

# For rejected recordings, in this order; all other rejections mean a damaged file.
_WORDINGS: tuple[tuple[Omission, re.Pattern[str]], ...] = (
    (
        Omission.TOO_LARGE,
        re.compile(r"content size limit|too (large|long|big)|longer than|exceed", re.IGNORECASE),
    ),
    (
        Omission.NO_SPEECH,
        re.compile(r"too short|no (speech|audio)|silen(t|ce)|minimum audio length", re.IGNORECASE),
    ),
    (
        Omission.UNSUPPORTED,
        re.compile(
            r"(invalid|unsupported|unrecognized|unknown) (file|audio|media) (format|type)"
            r"|supported formats|(format|codec|type)\b.{0,40}not (supported|recognized|allowed)",
            re.IGNORECASE,
        ),
    ),
)

# The first match counts, so a subclass stands before its base class.
_BY_ERROR: tuple[tuple[type[ModelError], Omission], ...] = (
    (NoCredit, Omission.NO_ACCESS),
    (KeyRefused, Omission.NO_ACCESS),
    (UnknownModel, Omission.NO_TRANSCRIPTION),
    (WrongAddress, Omission.NO_TRANSCRIPTION),
    (ContentRefused, Omission.MODEL_REFUSED),
)


def to_attachment_error(report: ErrorReport) -> AttachmentError:
    """The error that a report describes; for rate limits and overloads, with a wait."""
    detail = " ".join(str(part) for part in (report.status, *report.codes[:2]) if part)
    if report.status == 413:
        return AttachmentError(Omission.TOO_LARGE, detail)
    kind = classify(report)
    for error, omission in _BY_ERROR:
        if issubclass(kind, error):
            return AttachmentError(omission, detail)
    if report.status in _REJECTED and not issubclass(kind, RateLimited):
        found = (omission for omission, words in _WORDINGS if words.search(report.text))
        return AttachmentError(next(found, Omission.DAMAGED), detail)
    if issubclass(kind, RateLimited | Overloaded):
        wait = RETRY_SECONDS if report.retry_after is None else report.retry_after
        return AttachmentError(Omission.UNREACHABLE, detail, retry_after=wait)
    return AttachmentError(Omission.UNREACHABLE, detail)

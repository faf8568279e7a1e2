"""Tells which rejections another form of the request may avoid, and which parameter they name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.domain.errors import ContextTooLong, ModelError, ModelFailed, Overloaded
from bot.llm.error_report import ErrorReport
from bot.llm.errors import classify

# Statuses that reject a parameter; chat templates fail with 500, errors in the stream have None.
_STATUSES = (None, 400, 403, 404, 405, 415, 422, 500, 501)
_ERRORS = (ModelFailed, ContextTooLong, Overloaded)


def classify_rejection(report: ErrorReport, *, images: bool) -> type[ModelError] | None:
    """The class of error, or None if no other form of the request would help."""
    error = classify(report, images=images)
    rejected = report.status in _STATUSES and error in _ERRORS
    return error if rejected and not report.is_web_page else None


def rejected_parameter(
    report: ErrorReport, text: str, names: Mapping[str, str | None]
) -> str | None:
    """The parameter that a report is about, or mentions first, among the keys of `names`.

    Their values are patterns for other names of the parameter, None for the key alone.
    """
    path = report.param.split(".")
    for name in names:
        if name in path:
            return name
    mentions = {name: re.search(rf"\b{pattern or name}\b", text) for name, pattern in names.items()}
    positions = {name: match.start() for name, match in mentions.items() if match is not None}
    return min(positions, key=lambda name: positions[name], default=None)

"""Decides which rejections a different request may avoid, and which parameter they name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.domain.errors import ContextTooLong, ModelError, ModelFailed, Overloaded
from bot.llm.error_report import ErrorReport
from bot.llm.errors import classify
from bot.llm.parameter_rules import MENTIONS

# Statuses that reject a parameter; chat templates fail with 500, errors in the stream have None.
_STATUSES = (None, 400, 403, 404, 405, 415, 422, 500, 501)
_ERRORS = (ModelFailed, ContextTooLong, Overloaded)


def classify_rejection(report: ErrorReport, *, images: bool) -> type[ModelError] | None:
    """The class of error; None if no different request would help."""
    error = classify(report, images=images)
    rejected = report.status in _STATUSES and error in _ERRORS
    return error if rejected and not report.is_web_page else None


def rejected_parameter(report: ErrorReport, text: str, names: Sequence[str]) -> str | None:
    """The name in `names` that the report gives as its parameter, or else mentions first."""
    path = report.param.split(".")
    for name in names:
        if name == report.param or name in path:
            return name
    positions = {name: _mention(name, text) for name in names}
    found = {name: position for name, position in positions.items() if position is not None}
    return min(found, key=lambda name: found[name], default=None)


def _mention(name: str, text: str) -> int | None:
    """The offset at which the text mentions a parameter, by its name or in other words."""
    found = re.search(rf"\b{name}\b", text) or (
        MENTIONS[name].search(text) if name in MENTIONS else None
    )
    return None if found is None else found.start()

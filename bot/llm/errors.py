"""From what a provider says to our error tree; pure.

The table in `bot.llm.refusals` tells the kind. People never see the provider's words: an error's
text is the status and the code alone, and `said` keeps the words for the log.
"""

from __future__ import annotations

from bot.domain.errors import (
    ContextTooLong,
    CutOff,
    ModelError,
    ModelFailed,
    Overloaded,
    RateLimited,
)
from bot.llm.refusals import kind_of
from bot.llm.report import Report
from bot.llm.token_counts import counts

_SHORT_CODE = 60
"""Characters: codes are names; what is longer is a message in the wrong field."""


def failure(report: Report, *, model: str) -> ModelError:
    """The error of the tree that a report means."""
    codes = [code for code in report.codes if len(code) <= _SHORT_CODE]
    text = " ".join(str(part) for part in (report.status, *codes) if part)
    kind = kind_of(report)
    error: ModelError
    if issubclass(kind, ContextTooLong):
        said = counts(report)
        error = kind(text, model=model, window=said.window, asked=said.asked)
    else:
        error = kind(text, model=model, retry_after=report.retry_after)
    error.said = report.said
    return error


def in_stream(report: Report, *, model: str, started: bool) -> ModelError:
    """The error that a report in mid-stream means: after some text a general one is a cut."""
    error = failure(report, model=model)
    if started and isinstance(error, Overloaded | ModelFailed | RateLimited):
        cut = CutOff(str(error), model=model)
        cut.said = error.said
        return cut
    return error

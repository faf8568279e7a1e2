"""One rule that recognizes a provider's error by its status, codes and wording."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.domain.errors import ModelError
from bot.llm.error_report import ErrorReport


def any_of(*patterns: str) -> re.Pattern[str]:
    """A pattern that matches where one of `patterns` does, whatever the case."""
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


ANYTHING = any_of("")
NOTHING = any_of(r"(?!)")

REQUEST: frozenset[int | None] = frozenset({None, 400, 403, 409, 413, 422, 424, 451, 500})
"""Statuses of an invalid request, or of a server that failed on it."""


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Recognizes one kind of error. If `statuses` is None, any status matches.

    The status None in `statuses` stands for an error inside a stream.
    """

    error: type[ModelError]
    statuses: frozenset[int | None] | None
    codes: frozenset[str]
    wording: re.Pattern[str]

    def matches(self, report: ErrorReport) -> bool:
        """Whether the report describes this error. The wording of a web page is ignored."""
        if self.statuses is not None and report.status not in self.statuses:
            return False
        if not self.codes.isdisjoint(report.codes):
            return True
        text = "" if report.is_web_page else f"{' '.join(report.codes)} · {report.text}"
        return self.wording.search(text) is not None

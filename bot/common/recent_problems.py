"""Keeps the latest warnings and errors of the log in memory, for `threadline status`.

Only the fixed wording of each line is kept, never its values, which may contain texts and ids of
people.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bot.domain.status import LoggedProblem

MOST = 20


class RecentProblems(logging.Handler):
    """A handler for the root logger; see `listening`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._latest: deque[LoggedProblem] = deque(maxlen=MOST)

    @property
    def latest(self) -> tuple[LoggedProblem, ...]:
        """The latest problems, oldest first."""
        return tuple(self._latest)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's fixed wording."""
        # A record of structlog holds its values; a library's record holds a template and arguments.
        values: Any = record.msg
        is_ours = isinstance(values, dict)
        turn = values.get("turn") if is_ours else None
        self._latest.append(
            LoggedProblem(
                at=record.created,
                level=record.levelname.lower(),
                event=str(values.get("event", "")) if is_ours else "",
                logger=record.name,
                turn=turn if isinstance(turn, int) else None,
            )
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is logged while inside the block."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)

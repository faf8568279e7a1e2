"""Whether a model may be asked: one that keeps failing is left alone for a while.

Invariant: a model that rests is not asked; after failures in a row one request alone tries it
again, and whoever comes meanwhile is told the failure that is known already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import INFO, WARNING

import structlog

from bot.errors import ContentRefused, ContextTooLong, ModelError, ModelFailed, RateLimited

log = structlog.stdlib.get_logger(__name__)

FAILURES = 5
"""In a row, until a model rests: one question alone, with its three tries, does not reach it."""

FIRST_REST, LONGEST_REST = 15.0, 120.0
"""Seconds of rest; doubled with every try that fails, up to the second, so that the end of a long
failure is noticed within two minutes."""

LONGEST_ASKED_REST = 300.0
"""Seconds that a provider's Retry-After may keep a model away; some ask for a day."""

# They say something about the request, not about the provider.
_HEALTHY = (ContentRefused, ContextTooLong)


class Call:
    """One request that was let through."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self.started = False

    def token(self) -> None:
        """Something of the answer came."""
        if not self.started:
            self.started = True
            self._breaker._answering()


class Breaker:
    """The state of one model; all chains that ask it share it. `now` counts in seconds.

    Failures in mid-answer count too: only a whole answer ends a row of them.
    """

    def __init__(self, name: str, *, now: Callable[[], float]) -> None:
        self._name, self._now = name, now
        self._failures = 0
        self._error: ModelError = ModelFailed()  # the last one, for those who come while it rests
        self._until = 0.0  # it rests until then
        self._rest = 0.0  # how long, after failures in a row; 0 until one try is answered again
        self._trying: Call | None = None  # the one request that tries it again

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Around one request; raises the known failure, without asking, while the model rests."""
        self._refuse()
        call = Call(self)
        if self._rest:
            self._trying = call
            log.info("a model that rested is tried again", model=self._name)
        try:
            yield call
            self._whole()
        except _HEALTHY:
            self._whole()
            raise
        except ModelError as error:
            self._failed(error, call)
            raise
        finally:
            if self._trying is call:  # however it ended, also given up by whoever asked
                self._trying = None

    def _refuse(self) -> None:
        left = self._until - self._now()
        if left <= 0 and self._trying is None:
            return
        kind, reason = type(self._error), f"it rests: {self._error}"
        if issubclass(kind, RateLimited):
            asked = None if self._rest else max(left, 0.0)
            raise kind(reason, model=self._name, retry_after=asked)
        raise kind(reason, model=self._name)

    # ── what came of a request ────────────────────────────────────────────────────────────────
    def _answering(self) -> None:
        """It answers: everybody may ask again, but one more failure and it rests again."""
        if self._rest:
            log.info("the model answers again", model=self._name)
            self._rest, self._until, self._trying = 0.0, 0.0, None

    def _whole(self) -> None:
        self._answering()
        self._failures = 0

    def _failed(self, error: ModelError, call: Call) -> None:
        self._failures += 1
        asked = error.retry_after if isinstance(error, RateLimited) else None
        if asked is not None:
            # It knows when it takes requests again: nobody need try it for the others.
            self._rest, self._trying = 0.0, None
            self._leave_alone(min(asked, LONGEST_ASKED_REST), error)
        elif self._trying is call or (self._failures >= FAILURES and not self._rest):
            self._rest = min(2 * self._rest or FIRST_REST, LONGEST_REST)
            self._leave_alone(self._rest, error)

    def _leave_alone(self, seconds: float, error: ModelError) -> None:
        self._error = error
        self._until = max(self._until, self._now() + seconds)
        log.log(
            WARNING if self._rest else INFO,  # a wait that was asked for is everyday business
            "the model is left alone for a while",
            model=self._name,
            seconds=round(seconds, 1),
            error=type(error).__name__,
            failures=self._failures,
        )

"""Whether a model may be asked: one that keeps failing is left alone for a while.

Invariant: a model that rests is not asked; after failures in a row one request alone tries it
again, and whoever comes meanwhile is told the failure that is known already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from logging import INFO, WARNING

import structlog

from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    ModelError,
    ModelFailed,
    ModelLoading,
    Unreachable,
)

log = structlog.stdlib.get_logger(__name__)

FAILURES = 5
"""In a row, until a model rests: one question alone, with its three tries, does not reach it."""

FIRST_REST, LONGEST_REST = 15.0, 120.0
"""Seconds of rest; doubled with every try that fails, up to the second, so that the end of a long
failure is noticed within two minutes."""

LONGEST_ASKED_REST = 300.0
"""Seconds that a provider's Retry-After may keep a model away; some ask for a day."""

AT_ONCE = 1.0
"""Seconds: a connection that is refused sooner costs so little that it may be tried each time. So
the first question after the server's start is answered."""

# They say something about the request, not about the provider.
_HEALTHY = (ContentRefused, ContextTooLong)


class Call:
    """One request that was let through."""

    def __init__(self, breaker: Breaker, *, began: float, counted: int) -> None:
        self._breaker = breaker
        self.began = began
        self.counted = counted  # failures that the breaker knew then
        self.started = False

    def token(self) -> None:
        """Something of the answer came."""
        if not self.started:
            self.started = True
            self._breaker._answering()


class Breaker:
    """The state of one model; all chains that ask it share it. `now` counts in seconds.

    Failures in mid-answer count too: only a whole answer ends a row of them. What failed together
    failed once: a request that began before the last failure was seen adds nothing to it, so that
    ten answers cut by one restart of the server are one failure.
    """

    def __init__(self, name: str, *, now: Callable[[], float]) -> None:
        self._name, self._now = name, now
        self._failures = 0
        self._counted = 0  # all failures that counted, ever
        self._error: ModelError = ModelFailed()  # the last one, for those who come while it rests
        self._until = 0.0  # it rests until then
        self._rest = 0.0  # how long, after failures in a row; 0 until one try is answered again
        self._trying: Call | None = None  # the one request that tries it again

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Around one request; raises the known failure, without asking, while the model rests."""
        self._refuse()
        call = Call(self, began=self._now(), counted=self._counted)
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
        error = copy(self._error)
        error.args = (f"it rests: {self._error}",)
        error.model = self._name
        error.__cause__ = error.__traceback__ = None
        if error.retry_after is not None:
            error.retry_after = None if self._rest else max(left, 0.0)
        raise error

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
        if isinstance(error, ModelLoading):
            return  # the server is well: the chain waits for it
        if isinstance(error, Unreachable) and self._now() - call.began < AT_ONCE:
            if self._trying is call:
                self._rest = 0.0
            return
        if call.counted == self._counted:
            self._counted += 1
            self._failures += 1
        if error.retry_after is not None:
            # It knows when it takes requests again: no request need try it for the others.
            self._rest, self._trying = 0.0, None
            self._leave_alone(min(error.retry_after, LONGEST_ASKED_REST), error)
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

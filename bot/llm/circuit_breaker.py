"""A circuit breaker for one model: while the model keeps failing, requests to it are rejected.

Invariant: no request reaches the model while the breaker is open. After failures in a row, a single
request tests the model when the breaker half-opens; all others are rejected with the last known
failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from logging import INFO, WARNING

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    ImageRefused,
    ModelError,
    ModelFailed,
    ModelLoading,
    Unreachable,
)
from bot.domain.operation import BreakerState

log = structlog.stdlib.get_logger(__name__)

FAILURE_THRESHOLD = 5
"""Failures in a row that open the breaker: the three tries of one question cannot reach it."""

OPEN_SECONDS = Backoff(first=15.0, longest=120.0)
"""How long the breaker stays open, doubled by each failed test. The maximum ensures that a recovery
is noticed within two minutes."""

MAX_RETRY_AFTER = 300.0
"""The longest Retry-After that is honored, in seconds; some providers ask for a day."""

INSTANT_REFUSAL = 1.0
"""A connection refused faster than this many seconds is not a failure, because trying again costs
almost nothing. So the first question after the server has started is answered."""

# Failures of the request rather than of the provider.
_REQUEST_ERRORS = (CannotSee, ContentRefused, ContextTooLong, ImageRefused)


class Call:
    """A request that the breaker let through."""

    def __init__(self, breaker: CircuitBreaker, *, began: float, known_failures: int) -> None:
        self._breaker = breaker
        self.began = began
        self.known_failures = known_failures  # the breaker's total when the request began
        self._has_token = False

    def record_token(self) -> None:
        """Report that the model is answering; only the first token has an effect."""
        if not self._has_token:
            self._has_token = True
            self._breaker._close()


class CircuitBreaker:
    """The state of one model, shared by all chains that use it. `now` returns seconds.

    Only a complete answer resets the failure count; an answer cut off in the middle adds to it.
    Simultaneous failures count once: a request that began before the last counted failure adds
    nothing, so ten answers cut off by one server restart are one failure.
    """

    def __init__(self, name: str, *, now: Callable[[], float]) -> None:
        self._name, self._now = name, now
        self._failures = 0  # in a row
        self._total_failures = 0
        self._error: ModelError = ModelFailed()  # raised while the breaker is open
        self._open_until = 0.0
        self._openings = 0  # openings after failures in a row; 0 after a successful test
        self._test: Call | None = None  # the request that tests a half-open breaker

    @property
    def name(self) -> str:
        """The model's name."""
        return self._name

    @property
    def state(self) -> BreakerState:
        """How the breaker treats a request now."""
        if self._open_until > self._now():
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN if self._openings else BreakerState.CLOSED

    @property
    def rests_for(self) -> float:
        """Seconds until the next request may pass; 0 if requests pass now."""
        return max(0.0, self._open_until - self._now())

    @property
    def failure(self) -> ModelError:
        """The last failure; a placeholder if there was none."""
        return self._error

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Guard one request; while open, raise the last failure without a request."""
        self._reject_if_open()
        call = Call(self, began=self._now(), known_failures=self._total_failures)
        if self._openings:
            self._test = call
            log.info("testing the model again", model=self._name)
        try:
            yield call
            self._reset()
        except _REQUEST_ERRORS:
            self._reset()
            raise
        except ModelError as error:
            self._record_failure(error, call)
            raise
        finally:
            if self._test is call:  # also when the request was cancelled
                self._test = None

    def _reject_if_open(self) -> None:
        remaining = self._open_until - self._now()
        if remaining <= 0 and self._test is None:
            return
        error = copy(self._error)
        error.args = (f"circuit breaker open: {self._error}",)
        error.model = self._name
        error.__cause__ = error.__traceback__ = None
        if error.retry_after is not None:
            error.retry_after = None if self._openings else max(remaining, 0.0)
        raise error

    # ── results of requests ───────────────────────────────────────────────────────────────────
    def _close(self) -> None:
        """Let all requests through, but keep the failure count: one more failure reopens."""
        if self._openings:
            log.info("the model answers again", model=self._name)
            self._openings, self._open_until, self._test = 0, 0.0, None

    def _reset(self) -> None:
        self._close()
        self._failures = 0

    def _record_failure(self, error: ModelError, call: Call) -> None:
        if isinstance(error, ModelLoading):
            return  # the server is healthy, and the chain waits for it
        if isinstance(error, Unreachable) and self._now() - call.began < INSTANT_REFUSAL:
            if self._test is call:
                self._openings = 0
            return
        if call.known_failures == self._total_failures:
            self._total_failures += 1
            self._failures += 1
        if error.retry_after is not None:
            # The provider said when it accepts requests again, so no test request is needed.
            self._openings, self._test = 0, None
            self._open(min(error.retry_after, MAX_RETRY_AFTER), error)
        elif self._test is call or (self._failures >= FAILURE_THRESHOLD and not self._openings):
            self._openings += 1
            self._open(OPEN_SECONDS.after(self._openings), error)

    def _open(self, seconds: float, error: ModelError) -> None:
        self._error = error
        self._open_until = max(self._open_until, self._now() + seconds)
        log.log(
            WARNING if self._openings else INFO,  # honoring a Retry-After is routine
            "circuit breaker opened",
            model=self._name,
            seconds=round(seconds, 1),
            error=type(error).__name__,
            failures=self._failures,
        )

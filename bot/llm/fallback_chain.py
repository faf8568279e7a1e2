"""A fallback chain: when a model fails before its first text, the next model is asked.

Once a model has written text, its failure ends the turn: an answer never mixes two models.
Reasoning does not count as text; consumers discard it when a later delta names another model. The
chain retries only after every model has failed, only if a retry may help, and only within the limit
to the first token. So a single model is retried, and a failing first model never delays the others.
A model that keeps failing is skipped (`bot.llm.circuit_breaker`). So is a model known not to accept
images if the request has some; the turn may then ask again without them. If no other model answers,
the chain polls a server that is still loading its model, and yields one notice about it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    ImageRefused,
    ModelError,
    ModelLoading,
    Overloaded,
    RateLimited,
    TimedOut,
)
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.llm.circuit_breaker import Call, CircuitBreaker
from bot.llm.stream_timeout import LOADING_SECONDS
from bot.llm.traced_stream import trace_stream
from bot.ports.clock import Clock
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

MAX_ROUNDS = 3
RETRY_PAUSES = Backoff(first=0.5, longest=1.0)
"""Seconds, before jitter: two retries outlast most overloads."""

LOADING_PAUSE = 2.0
"""Seconds between requests to a server that is loading its model; it rejects them cheaply."""

# A model that timed out has already used up the time for a retry.
_TRANSIENT = (RateLimited, Overloaded)

# The turn can fix the first three by asking with less; the last ones pass.
_MOST_USEFUL: tuple[tuple[type[ModelError], ...], ...] = (
    (ContextTooLong,),
    (ImageRefused,),
    (CannotSee,),
    (*_TRANSIENT, TimedOut),
)


class FallbackChain:
    """Several models as one, in order of preference, named as in the settings.

    `breakers` belong to `models`, in the same order. `first_token_seconds` bounds all retries.
    `in_use` guards each stream, from its first request to its end. `facts` returns the first
    model's facts; by default, the model's own.
    """

    def __init__(
        self,
        models: Sequence[ChatModel],
        *,
        breakers: Sequence[CircuitBreaker],
        first_token_seconds: float,
        clock: Clock,
        in_use: Callable[[], AbstractContextManager[None]] = nullcontext,
        facts: Callable[[], ModelFacts] | None = None,
    ) -> None:
        self._in_use, self._facts = in_use, facts
        self._models, self._breakers = tuple(models), tuple(breakers)
        self._first_token_seconds, self._clock = first_token_seconds, clock
        self.name = ",".join(model.name for model in models)

    @property
    def facts(self) -> ModelFacts:
        """Facts about the first model."""
        return self._facts() if self._facts is not None else self._models[0].facts

    @property
    def sees(self) -> bool | None:
        """Whether any model accepts images; None if that depends on models not asked yet."""
        known = {model.sees for model in self._models}
        return True if True in known else None if None in known else False

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer of the first model that succeeds; raises a ModelError if none does."""
        began, retries, announced = self._clock.monotonic(), 0, False
        with self._in_use():
            while True:
                failures: list[ModelError] = []
                async with aclosing(self._try_each(request, failures)) as deltas:
                    async for delta in deltas:
                        yield delta
                if not failures:
                    return
                loading = _is_loading(failures)
                pause = LOADING_PAUSE if loading else _retry_pause(failures, retries)
                limit = LOADING_SECONDS if loading else self._first_token_seconds
                if pause is None or self._clock.monotonic() + pause > began + limit:
                    raise _most_useful(failures)
                if loading and not announced:
                    yield Delta(loading=True)
                announced = announced or loading
                retries += not loading
                log.info("no model answers; waiting", models=self.name, seconds=round(pause, 2))
                await self._clock.sleep(pause)

    async def check(self) -> Finding:
        """Check every model: one working model is enough; the others become warnings."""
        findings = [await model.check() for model in self._models]
        if len(findings) == 1:
            return findings[0]
        verdicts = {finding.verdict for finding in findings}
        verdict = Verdict.WARNING if len(verdicts) > 1 else verdicts.pop()
        detail = "; ".join(f"{finding.subject}: {finding.detail}" for finding in findings)
        bad = [finding.advice for finding in findings if finding.verdict is not Verdict.OK]
        return Finding(self.name, verdict, detail, " ".join(bad))

    async def aclose(self) -> None:
        """Close all models."""
        for model in self._models:
            await model.aclose()

    async def _try_each(
        self, request: ChatRequest, failures: list[ModelError]
    ) -> AsyncGenerator[Delta, None]:
        """Ask each model once until one answers; `failures` ends up empty if one did."""
        for position, (model, breaker) in enumerate(zip(self._models, self._breakers, strict=True)):
            if request.has_images and model.sees is False:
                failures.append(CannotSee("known from an earlier request", model=model.name))
                continue
            call: Call | None = None
            has_text = False
            try:
                with breaker.call() as call:
                    async with aclosing(trace_stream(model, request)) as deltas:
                        async for delta in deltas:
                            if not delta.loading:
                                call.record_token()
                            has_text = has_text or delta.text != ""
                            yield delta
            except ModelError as error:
                if has_text or isinstance(error, ContentRefused):
                    raise  # a filter judged the question: do not try another model
                failures.append(error)
                if call is not None:  # otherwise the breaker rejected the call and has logged why
                    self._log_failure(position, error)
            else:
                failures.clear()
                return

    def _log_failure(self, position: int, error: ModelError) -> None:
        following = self._models[position + 1 :]
        log.warning(
            "the model failed before its first text",
            model=self._models[position].name,
            error=type(error).__name__,
            reason=str(error),
            cause=repr(error.__cause__),
            provider_message=error.provider_message,
            next=following[0].name if following else None,
        )


def _retry_pause(failures: Sequence[ModelError], retries: int) -> float | None:
    """Seconds to wait before the next round, or None if another round would not help."""
    if retries + 1 == MAX_ROUNDS or _is_too_long(failures):
        return None
    pauses = []
    for error in failures:
        if not isinstance(error, _TRANSIENT):
            continue
        if error.retry_after is not None:
            pauses.append(error.retry_after)
        else:
            # Jitter keeps turns that failed together from retrying together.
            pauses.append(RETRY_PAUSES.after(retries + 1) * random.uniform(0.75, 1.25))  # noqa: S311
    return min(pauses, default=None)


def _most_useful(failures: Sequence[ModelError]) -> ModelError:
    """The failure to report: one that the turn can fix or that will pass, otherwise the first."""
    for kinds in _MOST_USEFUL:
        found = next((error for error in failures if isinstance(error, kinds)), None)
        if found is not None:
            return found
    return failures[0]


def _is_loading(failures: Sequence[ModelError]) -> bool:
    return not _is_too_long(failures) and any(isinstance(e, ModelLoading) for e in failures)


def _is_too_long(failures: Sequence[ModelError]) -> bool:
    return any(isinstance(error, ContextTooLong) for error in failures)

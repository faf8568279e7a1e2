"""A chain of models: when one fails before its first word, the next is asked, and the log says so.

After the first word nothing falls over: an answer comes from one model. Reasoning is no word of it:
what a model that failed had thought is forgotten when the next delta names another one. A chain
waits and asks again only when every model has failed, when time may help, and within the limit to
the first token; so one model alone is retried, and several are not kept waiting by the first. A
model that keeps failing rests for a while (`bot.llm.circuit_breaker`): the chain asks the next.
A server that says that it is loading the model is waited for, with a word to people, when no other
answers.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import structlog

from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    ModelError,
    ModelLoading,
    Overloaded,
    RateLimited,
    TimedOut,
)
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta
from bot.llm.circuit_breaker import Breaker, Call
from bot.llm.stream_timeout import LOADING_SECONDS
from bot.ports.clock import Clock
from bot.ports.model import ChatModel

log = structlog.stdlib.get_logger(__name__)

# Two more tries, after about half a second and about a second: what most overloads take to pass.
MAX_ROUNDS = 3
FIRST_WAIT = 0.5
LOADING_PAUSE = 2.0
"""Seconds between two looks at a server that is loading: each costs it next to nothing."""

# Failures that pass by themselves. A model that took too long has used up the time to retry.
_PASSING = (RateLimited, Overloaded)


class Chain:
    """Several models as one, first choice first. `first_token_seconds` bounds all retries.

    `breakers` are the models' own, in the same order.
    """

    def __init__(
        self,
        models: Sequence[ChatModel],
        *,
        breakers: Sequence[Breaker],
        first_token_seconds: float,
        clock: Clock,
    ) -> None:
        self._models, self._breakers = tuple(models), tuple(breakers)
        self._seconds, self._clock = first_token_seconds, clock

    @property
    def name(self) -> str:
        """As in the settings: the models' names with commas."""
        return ",".join(model.name for model in self._models)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer of the first model that gives one; raises a ModelError when none does."""
        began, attempt, told = self._clock.monotonic(), 0, False
        while True:
            failures: list[ModelError] = []
            async with aclosing(self._round(request, failures)) as deltas:
                async for delta in deltas:
                    yield delta
            if not failures:
                return
            loading = _loading(failures)
            wait = LOADING_PAUSE if loading else _wait(failures, attempt)
            seconds = LOADING_SECONDS if loading else self._seconds
            if wait is None or self._clock.monotonic() + wait > began + seconds:
                break
            if loading and not told:
                yield Delta(loading=True)
            told = told or loading
            attempt += not loading
            log.info("no model answers: waiting", models=self.name, seconds=round(wait, 2))
            await self._clock.sleep(wait)
        raise _most_hopeful(failures)

    async def check(self) -> Finding:
        """Every model is tried; one that works is enough, and each that does not is a warning."""
        findings = [await model.check() for model in self._models]
        if len(findings) == 1:
            return findings[0]
        bad = [finding for finding in findings if finding.verdict is not Verdict.OK]
        verdicts = {finding.verdict for finding in findings}
        if not bad:
            verdict = Verdict.OK
        else:
            verdict = Verdict.FAILED if verdicts == {Verdict.FAILED} else Verdict.WARNING
        detail = "; ".join(f"{finding.subject}: {finding.detail}" for finding in findings)
        return Finding(self.name, verdict, detail, " ".join(finding.advice for finding in bad))

    async def aclose(self) -> None:
        """Close all models."""
        for model in self._models:
            await model.aclose()

    async def _round(
        self, request: ChatRequest, failures: list[ModelError]
    ) -> AsyncGenerator[Delta, None]:
        """Ask each model once, until one answers; `failures` is empty then."""
        for number, (model, breaker) in enumerate(zip(self._models, self._breakers, strict=True)):
            call: Call | None = None
            said = False
            try:
                with breaker.call() as call:
                    async with aclosing(cast(Any, model.stream(request))) as deltas:
                        async for delta in deltas:
                            if not delta.loading:
                                call.token()
                            said = said or delta.text != ""
                            yield delta
            except ModelError as error:
                if said or isinstance(error, ContentRefused):
                    raise  # a refusal is an answer about the question: nobody else is asked
                failures.append(error)
                if call is not None:  # of one that rests, the breaker has told the log
                    self._report(model, error, number + 1)
            else:
                failures.clear()
                return

    def _report(self, model: ChatModel, error: ModelError, number: int) -> None:
        others = self._models[number:]
        log.warning(
            "the model failed before its first word",
            model=model.name,
            error=type(error).__name__,
            reason=str(error),
            cause=repr(error.__cause__),
            said=error.said,
            next=others[0].name if others else None,
        )


def _wait(failures: Sequence[ModelError], attempt: int) -> float | None:
    """Seconds until asking again makes sense, or None when it makes none."""
    if attempt + 1 == MAX_ROUNDS or _too_long(failures):
        return None  # a shorter request helps more than time
    waits = []
    for error in failures:
        if error.retry_after is not None and isinstance(error, _PASSING):
            waits.append(error.retry_after)
        elif isinstance(error, _PASSING):
            # Jitter: many turns fail at the same moment, and should not come back as one.
            waits.append(FIRST_WAIT * 2**attempt * random.uniform(0.75, 1.25))  # noqa: S311
    return min(waits, default=None)


def _most_hopeful(failures: Sequence[ModelError]) -> ModelError:
    """What the turn should know: a failure that it can help, or that passes, else the first's."""
    if _too_long(failures):
        return next(error for error in failures if isinstance(error, ContextTooLong))
    passing = (*_PASSING, TimedOut)
    return next((error for error in failures if isinstance(error, passing)), failures[0])


def _loading(failures: Sequence[ModelError]) -> bool:
    return not _too_long(failures) and any(isinstance(e, ModelLoading) for e in failures)


def _too_long(failures: Sequence[ModelError]) -> bool:
    return any(isinstance(error, ContextTooLong) for error in failures)

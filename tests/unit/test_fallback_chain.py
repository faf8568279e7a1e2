"""Fallback chains: which model is asked next, what is retried, and which failure is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bot.context.summary_answer import SummaryAnswer
from bot.domain.conversations import Message, Role
from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelFailed,
    ModelLoading,
    Overloaded,
    RateLimited,
    TimedOut,
    UnknownModel,
)
from bot.domain.health import Finding, Verdict
from bot.domain.model import ChatRequest, Delta, ModelFacts, ReasoningDisplay, Usage
from bot.llm.circuit_breaker import FAILURE_THRESHOLD, OPEN_SECONDS, CircuitBreaker
from bot.llm.fallback_chain import LOADING_PAUSE, MAX_ROUNDS, FallbackChain
from bot.llm.stream_timeout import LOADING_SECONDS
from bot.ports.model import ChatModel
from bot.turns.outcome import ReplyDraft
from bot.turns.reasoning import ReasoningView

REQUEST = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))
ANSWER = (Delta("yes"), Delta(finish_reason="stop"))
Step = Delta | ModelError


class Scripted:
    """A model that plays one script per request, and repeats the last one."""

    def __init__(self, name: str, *scripts: tuple[Step, ...]) -> None:
        self._name, self._scripts = name, scripts
        self.requests = self.closed = 0
        self.sees: bool | None = None
        self.facts = ModelFacts()
        self.finding = Finding(name, Verdict.OK, "fine")

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        assert request is REQUEST
        script = self._scripts[min(self.requests, len(self._scripts) - 1)]
        self.requests += 1
        try:
            for step in script:
                if isinstance(step, ModelError):
                    raise step
                yield step
        finally:
            self.closed += 1

    async def check(self) -> Finding:
        return self.finding

    async def aclose(self) -> None:
        self.closed = -1


class SleepClock:
    """A clock that advances only by sleeping; it records every sleep."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def time(self) -> float:
        return 1_000.0 + sum(self.sleeps)

    def monotonic(self) -> float:
        return self.time()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


def chain(
    *models: ChatModel, clock: SleepClock | None = None, seconds: float = 60.0
) -> FallbackChain:
    clock = clock or SleepClock()
    breakers = [CircuitBreaker(model.name, now=clock.monotonic) for model in models]
    return FallbackChain(models, breakers=breakers, first_token_seconds=seconds, clock=clock)


async def text(model: ChatModel) -> str:
    return "".join([delta.text async for delta in model.stream(REQUEST)])


@pytest.mark.parametrize(
    "error",
    [
        RateLimited(),
        RateLimited(retry_after=20.0),
        Overloaded(),
        KeyRefused(),
        UnknownModel(),
        ContextTooLong(),
        TimedOut(),
        CutOff(),
        ModelFailed(),
    ],
)
async def test_a_model_that_fails_before_its_first_token_is_followed_by_the_next(
    error: ModelError,
) -> None:
    """There is no wait, and no retry of the first model."""
    first, second, clock = Scripted("a:1", (error,)), Scripted("b:2", ANSWER), SleepClock()
    assert await text(chain(first, second, clock=clock)) == "yes"
    assert (first.requests, second.requests, clock.sleeps) == (1, 1, [])


async def test_counts_of_a_failed_model_are_not_those_of_the_answer() -> None:
    """The failed model's finish reason does not count for the answer either."""
    failed = Delta(reasoning="hm", model="a:1", usage=Usage(9_000, 700), finish_reason="length")
    answers = (
        ((Delta("yes", model="b:2"),), None, None),
        (
            (Delta("yes", model="b:2", usage=Usage(5, 1), finish_reason="stop"),),
            Usage(5, 1),
            "stop",
        ),
    )
    for answer, usage, finish in answers:
        models = Scripted("a:1", (failed, Overloaded())), Scripted("b:2", answer)
        draft, summary = ReplyDraft("", ReasoningView(ReasoningDisplay.SHOWN)), SummaryAnswer()
        async for delta in chain(*models).stream(REQUEST):
            draft.add(delta, 1.0)
            summary.add(delta)
        assert (draft.usage, draft.finish_reason) == (usage, finish)
        assert (summary.usage, summary.finish_reason, summary.text) == (usage, finish, "yes")


async def test_the_log_names_the_model_and_the_reason() -> None:
    """One line for each failed model."""
    error = RateLimited("429 rate_limit_exceeded", model="a:1")
    with capture_logs() as lines:
        await text(chain(Scripted("a:1", (error,)), Scripted("b:2", ANSWER)))
    (line,) = lines
    assert line["log_level"] == "warning"
    assert (line["model"], line["next"]) == ("a:1", "b:2")
    assert (line["error"], line["reason"]) == ("RateLimited", "429 rate_limit_exceeded")


async def test_after_the_first_text_no_other_model_is_asked() -> None:
    """An answer comes from one model: its text stays, and its failure is raised."""
    deltas = (Delta(reasoning="hm"), Delta("y"), Delta(reasoning="hm"))
    first, second = Scripted("a:1", (*deltas, CutOff())), Scripted("b:2", ANSWER)
    got = []
    with pytest.raises(CutOff):
        async for delta in chain(first, second).stream(REQUEST):
            got.append(delta)
    assert tuple(got) == deltas
    assert second.requests == 0


@pytest.mark.parametrize("error", [CutOff(), TimedOut(started=True), Overloaded()])
async def test_a_model_that_fails_while_reasoning_is_followed_by_the_next(
    error: ModelError,
) -> None:
    """Reasoning is not part of the answer."""
    first = Scripted("a:1", (Delta(reasoning="hm"), Delta(), error))
    second = Scripted("b:2", (Delta("yes", model="b:2"), Delta(finish_reason="stop")))
    deltas = [delta async for delta in chain(first, second).stream(REQUEST)]
    assert "".join(delta.text for delta in deltas) == "yes"
    assert (first.requests, second.requests) == (1, 1)


async def test_a_refusal_during_reasoning_is_final() -> None:
    first = Scripted("a:1", (Delta(reasoning="hm"), ContentRefused()))
    second = Scripted("b:2", ANSWER)
    with pytest.raises(ContentRefused):
        await text(chain(first, second))
    assert second.requests == 0


async def test_a_refused_question_is_not_sent_to_another_model() -> None:
    """A filter judged the question; the model did not fail."""
    second = Scripted("b:2", ANSWER)
    with pytest.raises(ContentRefused):
        await text(chain(Scripted("a:1", (ContentRefused(),)), second))
    assert second.requests == 0


async def test_a_single_model_is_retried_after_a_transient_failure() -> None:
    """The pauses grow from about half a second."""
    model, clock = Scripted("a:1", (Overloaded(),), (Overloaded(),), ANSWER), SleepClock()
    assert await text(chain(model, clock=clock)) == "yes"
    assert 0.3 < clock.sleeps[0] < 0.7 < clock.sleeps[1] < 1.3


async def test_it_gives_up_after_three_rounds() -> None:
    """A server that stays overloaded is not retried forever."""
    model, clock = Scripted("a:1", (Overloaded(),)), SleepClock()
    with pytest.raises(Overloaded):
        await text(chain(model, clock=clock))
    assert (model.requests, len(clock.sleeps)) == (MAX_ROUNDS, MAX_ROUNDS - 1)


@pytest.mark.parametrize("error", [KeyRefused(), UnknownModel(), TimedOut(), ModelFailed()])
async def test_permanent_failures_are_not_retried(error: ModelError) -> None:
    """A wrong key stays wrong, and a timeout has already cost the whole limit once."""
    model = Scripted("a:1", (error,))
    with pytest.raises(type(error)):
        await text(chain(model))
    assert model.requests == 1


async def test_retry_after_sets_the_pause() -> None:
    model, clock = Scripted("a:1", (RateLimited(retry_after=7.0),), ANSWER), SleepClock()
    assert await text(chain(model, clock=clock)) == "yes"
    assert clock.sleeps == [7.0]


async def test_a_retry_after_beyond_the_first_token_limit_fails_immediately() -> None:
    """People then learn how long the wait is, instead of waiting for a failure."""
    model, clock = Scripted("a:1", (RateLimited(retry_after=90.0),)), SleepClock()
    with pytest.raises(RateLimited) as caught:
        await text(chain(model, clock=clock, seconds=60.0))
    assert (model.requests, clock.sleeps, caught.value.retry_after) == (1, [], 90.0)


async def test_a_chain_waits_only_when_all_have_failed() -> None:
    """The chain waits for the shortest Retry-After, and does not ask a model with a longer one."""
    first = Scripted("a:1", (RateLimited(retry_after=20.0),), ANSWER)
    second, clock = Scripted("b:2", (RateLimited(retry_after=5.0),), ANSWER), SleepClock()
    assert await text(chain(first, second, clock=clock)) == "yes"
    assert (first.requests, second.requests, clock.sleeps) == (1, 2, [5.0])


async def test_a_question_that_is_too_long_is_reported_instead_of_an_overload() -> None:
    """The turn can shorten the question; waiting for the overload to pass would not help."""
    models = Scripted("a:1", (Overloaded(),)), Scripted("b:2", (ContextTooLong(),))
    clock = SleepClock()
    with pytest.raises(ContextTooLong):
        await text(chain(*models, clock=clock))
    assert (models[0].requests, clock.sleeps) == (1, [])


# ── a model that keeps failing ────────────────────────────────────────────────────────────────
async def test_a_model_that_keeps_failing_is_skipped_and_the_next_answers() -> None:
    """Once the breaker half-opens, one question tests the model, which then comes first again."""
    failing: list[tuple[Step, ...]] = [(Overloaded(),)] * FAILURE_THRESHOLD
    first, second = Scripted("a:1", *failing, ANSWER), Scripted("b:2", ANSWER)
    clock = SleepClock()
    both = chain(first, second, clock=clock)
    for _ in range(FAILURE_THRESHOLD + 3):
        assert await text(both) == "yes"
    assert (first.requests, second.requests) == (FAILURE_THRESHOLD, FAILURE_THRESHOLD + 3)
    await clock.sleep(OPEN_SECONDS.first)
    assert await text(both) == "yes"
    assert await text(both) == "yes"
    assert (first.requests, second.requests) == (FAILURE_THRESHOLD + 2, FAILURE_THRESHOLD + 3)


async def test_the_log_says_when_the_breaker_opens_and_closes() -> None:
    """Questions that skip the model add no lines."""
    failing: list[tuple[Step, ...]] = [(Overloaded(),)] * FAILURE_THRESHOLD
    clock = SleepClock()
    both = chain(Scripted("a:1", *failing, ANSWER), Scripted("b:2", ANSWER), clock=clock)
    with capture_logs() as lines:
        for _ in range(FAILURE_THRESHOLD + 3):
            await text(both)
        await clock.sleep(OPEN_SECONDS.first)
        await text(both)
    events = [line["event"] for line in lines]
    assert events[:FAILURE_THRESHOLD] == [
        *["the model failed before its first text"] * (FAILURE_THRESHOLD - 1),
        "circuit breaker opened",
    ]
    assert events[FAILURE_THRESHOLD:] == [
        "the model failed before its first text",
        "testing the model again",
        "the model answers again",
    ]


async def test_a_single_model_with_an_open_breaker_fails_immediately() -> None:
    """No request is sent, so there is no further timeout."""
    model, clock = Scripted("a:1", *[(TimedOut(),)] * FAILURE_THRESHOLD, ANSWER), SleepClock()
    alone = chain(model, clock=clock)
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(TimedOut):
            await text(alone)
    with pytest.raises(TimedOut):
        await text(alone)
    assert (model.requests, clock.sleeps) == (FAILURE_THRESHOLD, [])
    await clock.sleep(OPEN_SECONDS.first)
    assert await text(alone) == "yes"


async def test_a_transient_failure_is_reported_before_a_permanent_one() -> None:
    """A wrong setting is for the log; people can act on a failure that will pass."""
    models = Scripted("a:1", (TimedOut(),)), Scripted("b:2", (UnknownModel(),))
    with pytest.raises(TimedOut):
        await text(chain(*models))
    with pytest.raises(TimedOut):
        await text(chain(*reversed(models)))
    with pytest.raises(KeyRefused):
        await text(chain(Scripted("a:1", (KeyRefused(),)), Scripted("b:2", (UnknownModel(),))))


async def test_closing_the_chains_stream_closes_the_models_stream() -> None:
    """A stopped turn ends the request immediately, not at the next garbage collection."""
    model = Scripted("a:1", ANSWER)
    stream = chain(model).stream(REQUEST)
    await anext(stream)
    assert model.closed == 0
    await stream.aclose()  # type: ignore[attr-defined]
    assert model.closed == 1


async def test_a_chain_is_named_after_its_models_and_closes_them() -> None:
    models = Scripted("a:1", ANSWER), Scripted("b:2", ANSWER)
    both = chain(*models)
    assert both.name == "a:1,b:2"
    await both.aclose()
    assert [model.closed for model in models] == [-1, -1]


async def test_one_working_model_makes_the_check_a_warning() -> None:
    """Only if no model works does the check fail."""
    good, bad = Scripted("a:1", ANSWER), Scripted("b:2", ANSWER)
    bad.finding = Finding("b:2", Verdict.FAILED, "KeyRefused", "check the key")
    assert (await chain(good).check()).verdict is Verdict.OK
    both = await chain(good, bad).check()
    assert both.verdict is Verdict.WARNING
    assert "KeyRefused" in both.detail and both.advice == "check the key"
    assert (await chain(bad, bad).check()).verdict is Verdict.FAILED


# ── a model that is loading ───────────────────────────────────────────────────────────────────
async def test_a_loading_model_is_polled_with_one_notice_to_people() -> None:
    """The chain polls far longer than for other failures, and counts no failure."""
    loading, clock = (ModelLoading("503"),), SleepClock()
    model = Scripted("a:1", *[loading] * 20, ANSWER)
    deltas = [delta async for delta in chain(model, clock=clock, seconds=5.0).stream(REQUEST)]
    assert deltas == [Delta(loading=True), *ANSWER]
    assert clock.sleeps == [LOADING_PAUSE] * 20


async def test_another_model_answers_while_the_first_is_loading() -> None:
    first, second = Scripted("a:1", (ModelLoading(),)), Scripted("b:2", ANSWER)
    deltas = [delta async for delta in chain(first, second).stream(REQUEST)]
    assert deltas == list(ANSWER)


async def test_a_model_that_never_finishes_loading_fails() -> None:
    clock = SleepClock()
    with pytest.raises(ModelLoading):
        await text(chain(Scripted("a:1", (ModelLoading(),)), clock=clock))
    assert LOADING_SECONDS - LOADING_PAUSE <= sum(clock.sleeps) <= LOADING_SECONDS


async def test_a_loading_notice_is_not_an_answer() -> None:
    """A failure after it still leads to the next model."""
    first = Scripted("a:1", (Delta(loading=True), TimedOut()))
    assert await text(chain(first, Scripted("b:2", ANSWER))) == "yes"


async def test_retry_after_of_an_overloaded_model_sets_the_pause() -> None:
    clock = SleepClock()
    model = Scripted("a:1", (Overloaded("503", retry_after=7.0),), ANSWER)
    assert await text(chain(model, clock=clock)) == "yes"
    assert clock.sleeps == [7.0]

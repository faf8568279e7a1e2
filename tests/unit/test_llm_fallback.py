"""Chains: who is asked next, who is asked again, and what people hear when nobody answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

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
from bot.domain.model import ChatRequest, Delta
from bot.llm.chain import LOADING_PAUSE, MAX_ROUNDS, Chain
from bot.llm.circuit_breaker import FAILURES, FIRST_REST, Breaker
from bot.llm.stream_timeout import LOADING_SECONDS
from bot.ports.model import ChatModel

REQUEST = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))
ANSWER = (Delta("yes"), Delta(finish_reason="stop"))
Step = Delta | ModelError


class Scripted:
    """A model that plays one script for each request, and its last one for all that follow."""

    def __init__(self, name: str, *scripts: tuple[Step, ...]) -> None:
        self._name, self._scripts = name, scripts
        self.asked = self.closed = 0
        self.finding = Finding(name, Verdict.OK, "fine")

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        assert request is REQUEST
        script = self._scripts[min(self.asked, len(self._scripts) - 1)]
        self.asked += 1
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


class Naps:
    """A clock that only sleeping moves on; sleeps are remembered."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def time(self) -> float:
        return 1_000.0 + sum(self.taken)

    def monotonic(self) -> float:
        return self.time()

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)


def chain(*models: ChatModel, naps: Naps | None = None, seconds: float = 60.0) -> Chain:
    clock = naps or Naps()
    breakers = [Breaker(model.name, now=clock.monotonic) for model in models]
    return Chain(models, breakers=breakers, first_token_seconds=seconds, clock=clock)


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
async def test_before_its_first_token_a_failed_model_is_followed_by_the_next(
    error: ModelError,
) -> None:
    """At once, without a wait and without asking the first again."""
    first, second, naps = Scripted("a:1", (error,)), Scripted("b:2", ANSWER), Naps()
    assert await text(chain(first, second, naps=naps)) == "yes"
    assert (first.asked, second.asked, naps.taken) == (1, 1, [])


async def test_the_log_names_the_model_and_the_reason() -> None:
    """One line for each model that fell."""
    error = RateLimited("429 rate_limit_exceeded", model="a:1")
    with capture_logs() as lines:
        await text(chain(Scripted("a:1", (error,)), Scripted("b:2", ANSWER)))
    (line,) = lines
    assert line["log_level"] == "warning"
    assert (line["model"], line["next"]) == ("a:1", "b:2")
    assert (line["error"], line["reason"]) == ("RateLimited", "429 rate_limit_exceeded")


async def test_after_the_first_word_nothing_falls_over() -> None:
    """An answer comes from one model: what it said stays, and its failure is the turn's."""
    said = (Delta(reasoning="hm"), Delta("y"), Delta(reasoning="hm"))
    first, second = Scripted("a:1", (*said, CutOff())), Scripted("b:2", ANSWER)
    got = []
    with pytest.raises(CutOff):
        async for delta in chain(first, second).stream(REQUEST):
            got.append(delta)
    assert tuple(got) == said
    assert second.asked == 0


@pytest.mark.parametrize("error", [CutOff(), TimedOut(started=True), Overloaded()])
async def test_a_model_that_fails_while_it_reasons_is_followed_by_the_next(
    error: ModelError,
) -> None:
    """Nothing of its answer was there yet, however long it thought."""
    first = Scripted("a:1", (Delta(reasoning="hm"), Delta(), error))
    second = Scripted("b:2", (Delta("yes", model="b:2"), Delta(finish_reason="stop")))
    deltas = [delta async for delta in chain(first, second).stream(REQUEST)]
    assert "".join(delta.text for delta in deltas) == "yes"
    assert (first.asked, second.asked) == (1, 1)


async def test_a_refusal_while_it_reasons_is_not_taken_to_another_model() -> None:
    first = Scripted("a:1", (Delta(reasoning="hm"), ContentRefused()))
    second = Scripted("b:2", ANSWER)
    with pytest.raises(ContentRefused):
        await text(chain(first, second))
    assert second.asked == 0


async def test_a_refused_question_is_not_taken_to_another_model() -> None:
    """A filter's refusal is an answer about the question, not a failure of the model."""
    second = Scripted("b:2", ANSWER)
    with pytest.raises(ContentRefused):
        await text(chain(Scripted("a:1", (ContentRefused(),)), second))
    assert second.asked == 0


async def test_one_model_is_asked_again_after_a_failure_that_passes() -> None:
    """The wait grows, and starts at about half a second."""
    model, naps = Scripted("a:1", (Overloaded(),), (Overloaded(),), ANSWER), Naps()
    assert await text(chain(model, naps=naps)) == "yes"
    assert 0.3 < naps.taken[0] < 0.7 < naps.taken[1] < 1.3


async def test_it_gives_up_after_some_rounds() -> None:
    """A server that stays overloaded is not asked for ever."""
    model, naps = Scripted("a:1", (Overloaded(),)), Naps()
    with pytest.raises(Overloaded):
        await text(chain(model, naps=naps))
    assert (model.asked, len(naps.taken)) == (MAX_ROUNDS, MAX_ROUNDS - 1)


@pytest.mark.parametrize("error", [KeyRefused(), UnknownModel(), TimedOut(), ModelFailed()])
async def test_what_does_not_pass_is_not_asked_again(error: ModelError) -> None:
    """A wrong key stays wrong; and a limit in time has been waited for once already."""
    model = Scripted("a:1", (error,))
    with pytest.raises(type(error)):
        await text(chain(model))
    assert model.asked == 1


async def test_the_wait_that_a_provider_asks_for_is_kept() -> None:
    """Neither shorter nor longer."""
    model, naps = Scripted("a:1", (RateLimited(retry_after=7.0),), ANSWER), Naps()
    assert await text(chain(model, naps=naps)) == "yes"
    assert naps.taken == [7.0]


async def test_a_wait_beyond_the_first_tokens_limit_is_told_at_once() -> None:
    """People then hear how long it takes, instead of waiting for nothing."""
    model, naps = Scripted("a:1", (RateLimited(retry_after=90.0),)), Naps()
    with pytest.raises(RateLimited) as caught:
        await text(chain(model, naps=naps, seconds=60.0))
    assert (model.asked, naps.taken, caught.value.retry_after) == (1, [], 90.0)


async def test_a_chain_waits_only_when_all_have_failed() -> None:
    """Then for the shortest wait; whoever asked for a longer one is not asked before it is over."""
    first = Scripted("a:1", (RateLimited(retry_after=20.0),), ANSWER)
    second, naps = Scripted("b:2", (RateLimited(retry_after=5.0),), ANSWER), Naps()
    assert await text(chain(first, second, naps=naps)) == "yes"
    assert (first.asked, second.asked, naps.taken) == (1, 2, [5.0])


async def test_a_question_that_is_too_long_for_all_is_the_turns_to_shorten() -> None:
    """Another one's overload passes, but waiting for it would not make the question shorter."""
    models = Scripted("a:1", (Overloaded(),)), Scripted("b:2", (ContextTooLong(),))
    naps = Naps()
    with pytest.raises(ContextTooLong):
        await text(chain(*models, naps=naps))
    assert (models[0].asked, naps.taken) == (1, [])


# ── a model that keeps failing ────────────────────────────────────────────────────────────────
async def test_a_model_that_keeps_failing_is_left_alone_and_the_next_answers() -> None:
    """Until its rest is over; then one question tries it, and it is the first choice again."""
    failing: list[tuple[Step, ...]] = [(Overloaded(),)] * FAILURES
    first, second = Scripted("a:1", *failing, ANSWER), Scripted("b:2", ANSWER)
    naps = Naps()
    both = chain(first, second, naps=naps)
    for _ in range(FAILURES + 3):
        assert await text(both) == "yes"
    assert (first.asked, second.asked) == (FAILURES, FAILURES + 3)
    await naps.sleep(FIRST_REST)
    assert await text(both) == "yes"
    assert await text(both) == "yes"
    assert (first.asked, second.asked) == (FAILURES + 2, FAILURES + 3)


async def test_the_log_tells_when_a_model_is_left_alone_and_when_it_is_back() -> None:
    """And nothing for each question that went past it meanwhile."""
    failing: list[tuple[Step, ...]] = [(Overloaded(),)] * FAILURES
    naps = Naps()
    both = chain(Scripted("a:1", *failing, ANSWER), Scripted("b:2", ANSWER), naps=naps)
    with capture_logs() as lines:
        for _ in range(FAILURES + 3):
            await text(both)
        await naps.sleep(FIRST_REST)
        await text(both)
    events = [line["event"] for line in lines]
    assert events[:FAILURES] == [
        *["the model failed before its first word"] * (FAILURES - 1),
        "the model is left alone for a while",
    ]
    assert events[FAILURES:] == [
        "the model failed before its first word",
        "a model that rested is tried again",
        "the model answers again",
    ]


async def test_one_model_that_rests_is_not_asked_and_people_hear_why_at_once() -> None:
    """Within the usual second and a half, not after another limit in time."""
    model, naps = Scripted("a:1", *[(TimedOut(),)] * FAILURES, ANSWER), Naps()
    alone = chain(model, naps=naps)
    for _ in range(FAILURES):
        with pytest.raises(TimedOut):
            await text(alone)
    with pytest.raises(TimedOut):
        await text(alone)
    assert (model.asked, naps.taken) == (FAILURES, [])
    await naps.sleep(FIRST_REST)
    assert await text(alone) == "yes"


async def test_people_hear_of_the_failure_that_passes() -> None:
    """A wrong setting of the second choice is for the log; the first one's wait is for people."""
    models = Scripted("a:1", (TimedOut(),)), Scripted("b:2", (UnknownModel(),))
    with pytest.raises(TimedOut):
        await text(chain(*models))
    with pytest.raises(TimedOut):
        await text(chain(*reversed(models)))
    with pytest.raises(KeyRefused):
        await text(chain(Scripted("a:1", (KeyRefused(),)), Scripted("b:2", (UnknownModel(),))))


async def test_closing_the_chain_closes_the_stream_below() -> None:
    """A stopped turn ends the request at once, not when memory is collected."""
    model = Scripted("a:1", ANSWER)
    stream = chain(model).stream(REQUEST)
    await anext(stream)
    assert model.closed == 0
    await stream.aclose()  # type: ignore[attr-defined]
    assert model.closed == 1


async def test_a_chain_has_the_settings_name_and_closes_its_models() -> None:
    """The name is what LLM says."""
    models = Scripted("a:1", ANSWER), Scripted("b:2", ANSWER)
    both = chain(*models)
    assert both.name == "a:1,b:2"
    await both.aclose()
    assert [model.closed for model in models] == [-1, -1]


async def test_a_chain_is_as_well_as_its_best_model() -> None:
    """One that works is enough, but the other is named."""
    good, bad = Scripted("a:1", ANSWER), Scripted("b:2", ANSWER)
    bad.finding = Finding("b:2", Verdict.FAILED, "KeyRefused", "check the key")
    assert (await chain(good).check()).verdict is Verdict.OK
    both = await chain(good, bad).check()
    assert both.verdict is Verdict.WARNING
    assert "KeyRefused" in both.detail and both.advice == "check the key"
    assert (await chain(bad, bad).check()).verdict is Verdict.FAILED


# ── a model that loads ────────────────────────────────────────────────────────────────────────
async def test_a_model_that_loads_is_waited_for_with_one_word_to_people() -> None:
    """Far longer than other failures, and without counting as one."""
    loading, naps = (ModelLoading("503"),), Naps()
    model = Scripted("a:1", *[loading] * 20, ANSWER)
    deltas = [delta async for delta in chain(model, naps=naps, seconds=5.0).stream(REQUEST)]
    assert deltas == [Delta(loading=True), *ANSWER]
    assert naps.taken == [LOADING_PAUSE] * 20


async def test_another_model_answers_while_one_loads() -> None:
    first, second = Scripted("a:1", (ModelLoading(),)), Scripted("b:2", ANSWER)
    deltas = [delta async for delta in chain(first, second).stream(REQUEST)]
    assert deltas == list(ANSWER)


async def test_a_model_that_never_gets_ready_is_given_up() -> None:
    naps = Naps()
    with pytest.raises(ModelLoading):
        await text(chain(Scripted("a:1", (ModelLoading(),)), naps=naps))
    assert LOADING_SECONDS - LOADING_PAUSE <= sum(naps.taken) <= LOADING_SECONDS


async def test_a_word_about_loading_is_no_answer() -> None:
    """What fails after it is still followed by the next."""
    first = Scripted("a:1", (Delta(loading=True), TimedOut()))
    assert await text(chain(first, Scripted("b:2", ANSWER))) == "yes"


async def test_a_wait_that_an_overloaded_model_asks_for_is_kept() -> None:
    naps = Naps()
    model = Scripted("a:1", (Overloaded("503", retry_after=7.0),), ANSWER)
    assert await text(chain(model, naps=naps)) == "yes"
    assert naps.taken == [7.0]

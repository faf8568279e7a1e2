"""The breaker of one model: exactly when it rests, for how long, and who tries it again."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, ExitStack

import pytest

from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelLoading,
    Overloaded,
    RateLimited,
    Unreachable,
)
from bot.llm.circuit_breaker import (
    AT_ONCE,
    FAILURES,
    FIRST_REST,
    LONGEST_ASKED_REST,
    LONGEST_REST,
    Breaker,
    Call,
)
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker("a:1", now=clock.monotonic)


def fail(breaker: Breaker, error: ModelError | None = None, times: int = 1) -> None:
    """Requests that are let through and fail."""
    for _ in range(times):
        fault = error or Overloaded("503")
        with pytest.raises(type(fault)) as caught, breaker.call():
            raise fault
        assert caught.value is fault, "it was not let through"


def entered(call: AbstractContextManager[Call]) -> AbstractContextManager[object]:
    """What ends a call that has begun."""
    stack = ExitStack()
    stack.push(call)
    return stack


def answer(breaker: Breaker) -> None:
    with breaker.call() as call:
        call.token()


def rests(breaker: Breaker) -> bool:
    """Whether a request is refused; one that is let through is given up without a result."""
    try:
        with breaker.call():
            raise GeneratorExit
    except ModelError:
        return True
    except GeneratorExit:
        return False


def test_it_rests_after_failures_in_a_row_and_not_before(
    breaker: Breaker, clock: ManualClock
) -> None:
    fail(breaker, times=FAILURES - 1)
    answer(breaker)
    fail(breaker, times=FAILURES)
    with pytest.raises(Overloaded, match="it rests: 503"), breaker.call():
        raise AssertionError("it was asked")
    clock.jump(FIRST_REST - 0.001)
    assert rests(breaker)
    clock.jump(0.001)
    answer(breaker)


def test_every_kind_of_failure_counts_and_the_last_is_told(breaker: Breaker) -> None:
    fail(breaker, times=FAILURES - 1)
    fail(breaker, KeyRefused("401"))
    with pytest.raises(KeyRefused, match="401"), breaker.call():
        raise AssertionError("it was asked")


@pytest.mark.parametrize("kind", [ContentRefused, ContextTooLong])
def test_what_the_request_is_to_blame_for_is_no_failure(
    breaker: Breaker, kind: type[ModelError]
) -> None:
    fail(breaker, kind(), times=2 * FAILURES)
    fail(breaker, times=FAILURES - 1)
    fail(breaker, kind())
    fail(breaker, times=FAILURES - 1)
    assert not rests(breaker)


def test_a_provider_that_breaks_every_answer_off_rests_too(breaker: Breaker) -> None:
    """A first token alone does not end the row."""
    for _ in range(FAILURES):
        with pytest.raises(CutOff), breaker.call() as call:
            call.token()
            raise CutOff
    assert rests(breaker)


def test_one_request_alone_tries_it_again(breaker: Breaker, clock: ManualClock) -> None:
    """Whoever comes meanwhile is refused, and let through as soon as the first token is there."""
    fail(breaker, times=FAILURES)
    clock.jump(FIRST_REST)
    with breaker.call() as trying:
        assert rests(breaker)
        clock.jump(100.0)
        assert rests(breaker)
        trying.token()
        answer(breaker)


def test_a_try_that_fails_doubles_the_rest_up_to_a_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    fail(breaker, times=FAILURES)
    clock.jump(FIRST_REST)
    for rest in (2 * FIRST_REST, 4 * FIRST_REST, LONGEST_REST, LONGEST_REST):
        fail(breaker)
        clock.jump(rest - 0.001)
        assert rests(breaker)
        clock.jump(0.001)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_a_try_that_is_given_up_leaves_it_to_the_next(
    breaker: Breaker, clock: ManualClock, error: type[BaseException]
) -> None:
    """A person pressed stop before the first token: that says nothing about the model."""
    fail(breaker, times=FAILURES)
    clock.jump(FIRST_REST)
    with pytest.raises(error), breaker.call():
        raise error
    answer(breaker)


def test_after_a_rest_one_more_failure_is_enough(breaker: Breaker, clock: ManualClock) -> None:
    """Until an answer was whole."""
    fail(breaker, times=FAILURES)
    clock.jump(FIRST_REST)
    with pytest.raises(CutOff), breaker.call() as call:
        call.token()
        raise CutOff
    assert rests(breaker)
    clock.jump(FIRST_REST)
    answer(breaker)
    fail(breaker, times=FAILURES - 1)
    assert not rests(breaker)


def test_late_failures_of_requests_from_before_do_not_lengthen_the_rest(
    breaker: Breaker, clock: ManualClock
) -> None:
    with pytest.raises(Overloaded), breaker.call():
        fail(breaker, times=FAILURES)
        clock.jump(FIRST_REST / 2)
        raise Overloaded
    clock.jump(FIRST_REST / 2)
    answer(breaker)


# ── a provider that says how long ─────────────────────────────────────────────────────────────
def test_retry_after_is_kept_from_the_first_429_on(breaker: Breaker, clock: ManualClock) -> None:
    """Those who come meanwhile hear how much of it is left; afterwards all are let through."""
    fail(breaker, RateLimited("429", retry_after=20.0))
    clock.jump(5.0)
    with pytest.raises(RateLimited) as caught, breaker.call():
        raise AssertionError("it was asked")
    assert caught.value.retry_after == 15.0
    clock.jump(15.0)
    with breaker.call(), breaker.call():
        answer(breaker)


def test_answers_under_way_do_not_shorten_retry_after(breaker: Breaker, clock: ManualClock) -> None:
    with breaker.call() as earlier:
        fail(breaker, RateLimited(retry_after=20.0))
        earlier.token()
    assert rests(breaker)
    clock.jump(20.0)
    answer(breaker)


def test_a_wait_of_a_day_is_not_believed(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, RateLimited(retry_after=86_400.0))
    clock.jump(LONGEST_ASKED_REST)
    answer(breaker)


def test_429s_without_a_wait_are_failures_like_others(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, RateLimited(), times=FAILURES)
    with pytest.raises(RateLimited) as caught, breaker.call():
        raise AssertionError("it was asked")
    assert caught.value.retry_after is None
    clock.jump(FIRST_REST)
    answer(breaker)


def test_a_wait_that_an_overloaded_server_asks_for_is_kept_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    fail(breaker, Overloaded("503", retry_after=20.0))
    clock.jump(5.0)
    with pytest.raises(Overloaded) as caught, breaker.call():
        raise AssertionError("it was asked")
    assert caught.value.retry_after == 15.0
    clock.jump(15.0)
    answer(breaker)


# ── what is not the model's failure, or is one failure only ───────────────────────────────────
def test_failures_that_began_together_count_once(breaker: Breaker) -> None:
    """Ten answers cut by one restart of the server."""
    for _ in range(FAILURES - 1):
        calls = [breaker.call() for _ in range(10)]
        for call in calls:
            call.__enter__().token()
        for call in calls:
            with pytest.raises(CutOff), entered(call):
                raise CutOff
    assert not rests(breaker)
    fail(breaker)
    assert rests(breaker)


def test_a_refused_connection_costs_no_rest(breaker: Breaker) -> None:
    """It is as quick as asking the breaker, and the server may be up now."""
    fail(breaker, Unreachable(), times=3 * FAILURES)
    assert not rests(breaker)


def test_a_connection_that_takes_long_to_fail_counts(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(FAILURES):
        with pytest.raises(Unreachable), breaker.call():
            clock.jump(AT_ONCE)
            raise Unreachable(address="gpu:8000")
    with pytest.raises(Unreachable) as caught, breaker.call():
        raise AssertionError("it was asked")
    assert caught.value.address == "gpu:8000"


def test_a_refused_connection_ends_the_rest(breaker: Breaker, clock: ManualClock) -> None:
    """The try after a rest found no server: the next one may find it."""
    fail(breaker, times=FAILURES)
    clock.jump(FIRST_REST)
    fail(breaker, Unreachable())
    answer(breaker)


def test_a_model_that_loads_is_not_kept_away_from(breaker: Breaker) -> None:
    fail(breaker, ModelLoading(), times=3 * FAILURES)
    answer(breaker)

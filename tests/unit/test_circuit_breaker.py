"""The circuit breaker of one model: when it opens, for how long, and how it is tested again."""

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
from bot.domain.operation import BreakerState
from bot.llm.circuit_breaker import (
    FAILURE_THRESHOLD,
    INSTANT_REFUSAL,
    MAX_RETRY_AFTER,
    OPEN_SECONDS,
    Call,
    CircuitBreaker,
)
from tests.support.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker("a:1", now=clock.monotonic)


def fail(breaker: CircuitBreaker, error: ModelError | None = None, times: int = 1) -> None:
    """Make requests that the breaker lets through and that then fail."""
    for _ in range(times):
        failure = error or Overloaded("503")
        with pytest.raises(type(failure)) as caught, breaker.call():
            raise failure
        assert caught.value is failure, "the breaker rejected the request"


def resume(call: AbstractContextManager[Call]) -> AbstractContextManager[object]:
    """A context manager that ends a call already begun."""
    stack = ExitStack()
    stack.push(call)
    return stack


def answer(breaker: CircuitBreaker) -> None:
    with breaker.call() as call:
        call.record_token()


def is_open(breaker: CircuitBreaker) -> bool:
    """Whether the breaker rejects a request; a request that it lets through is abandoned."""
    try:
        with breaker.call():
            raise GeneratorExit
    except ModelError:
        return True
    except GeneratorExit:
        return False


def test_it_opens_after_failures_in_a_row_and_not_before(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    answer(breaker)
    fail(breaker, times=FAILURE_THRESHOLD)
    with pytest.raises(Overloaded, match="circuit breaker open: 503"), breaker.call():
        raise AssertionError("the model was asked")
    clock.jump(OPEN_SECONDS.first - 0.001)
    assert is_open(breaker)
    clock.jump(0.001)
    answer(breaker)


def test_every_kind_of_failure_counts_and_the_last_is_reported(breaker: CircuitBreaker) -> None:
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    fail(breaker, KeyRefused("401"))
    with pytest.raises(KeyRefused, match="401"), breaker.call():
        raise AssertionError("the model was asked")


@pytest.mark.parametrize("kind", [ContentRefused, ContextTooLong])
def test_failures_of_the_request_do_not_count(
    breaker: CircuitBreaker, kind: type[ModelError]
) -> None:
    fail(breaker, kind(), times=2 * FAILURE_THRESHOLD)
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    fail(breaker, kind())
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    assert not is_open(breaker)


def test_cut_off_answers_open_the_breaker(breaker: CircuitBreaker) -> None:
    """A first token does not reset the count."""
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(CutOff), breaker.call() as call:
            call.record_token()
            raise CutOff
    assert is_open(breaker)


def test_only_one_request_tests_a_half_open_breaker(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """Other requests are rejected until the test's first token arrives."""
    fail(breaker, times=FAILURE_THRESHOLD)
    clock.jump(OPEN_SECONDS.first)
    with breaker.call() as test:
        assert is_open(breaker)
        clock.jump(100.0)
        assert is_open(breaker)
        test.record_token()
        answer(breaker)


def test_each_failed_test_doubles_the_open_time_up_to_a_maximum(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    fail(breaker, times=FAILURE_THRESHOLD)
    clock.jump(OPEN_SECONDS.first)
    for seconds in (30.0, 60.0, 120.0, 120.0):
        fail(breaker)
        clock.jump(seconds - 0.001)
        assert is_open(breaker)
        clock.jump(0.001)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
def test_after_an_abandoned_test_the_next_request_tests_the_model(
    breaker: CircuitBreaker, clock: ManualClock, error: type[BaseException]
) -> None:
    """A person pressed stop before the first token, which says nothing about the model."""
    fail(breaker, times=FAILURE_THRESHOLD)
    clock.jump(OPEN_SECONDS.first)
    with pytest.raises(error), breaker.call():
        raise error
    answer(breaker)


def test_after_reopening_one_failure_is_enough_until_an_answer_is_complete(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    fail(breaker, times=FAILURE_THRESHOLD)
    clock.jump(OPEN_SECONDS.first)
    with pytest.raises(CutOff), breaker.call() as call:
        call.record_token()
        raise CutOff
    assert is_open(breaker)
    clock.jump(OPEN_SECONDS.first)
    answer(breaker)
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    assert not is_open(breaker)


def test_late_failures_of_earlier_requests_do_not_extend_the_open_time(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    with pytest.raises(Overloaded), breaker.call():
        fail(breaker, times=FAILURE_THRESHOLD)
        clock.jump(OPEN_SECONDS.first / 2)
        raise Overloaded
    clock.jump(OPEN_SECONDS.first / 2)
    answer(breaker)


# ── Retry-After ───────────────────────────────────────────────────────────────────────────────
def test_retry_after_is_honored_from_the_first_429_on(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """Rejected requests get the remaining wait; after it, all requests pass."""
    fail(breaker, RateLimited("429", retry_after=20.0))
    clock.jump(5.0)
    with pytest.raises(RateLimited) as caught, breaker.call():
        raise AssertionError("the model was asked")
    assert caught.value.retry_after == 15.0
    clock.jump(15.0)
    with breaker.call(), breaker.call():
        answer(breaker)


def test_a_running_answer_does_not_shorten_retry_after(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    with breaker.call() as earlier:
        fail(breaker, RateLimited(retry_after=20.0))
        earlier.record_token()
    assert is_open(breaker)
    clock.jump(20.0)
    answer(breaker)


def test_a_retry_after_of_a_day_is_shortened(breaker: CircuitBreaker, clock: ManualClock) -> None:
    fail(breaker, RateLimited(retry_after=86_400.0))
    clock.jump(MAX_RETRY_AFTER)
    answer(breaker)


def test_429s_without_retry_after_count_as_failures(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    fail(breaker, RateLimited(), times=FAILURE_THRESHOLD)
    with pytest.raises(RateLimited) as caught, breaker.call():
        raise AssertionError("the model was asked")
    assert caught.value.retry_after is None
    clock.jump(OPEN_SECONDS.first)
    answer(breaker)


def test_retry_after_of_an_overloaded_server_is_honored(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    fail(breaker, Overloaded("503", retry_after=20.0))
    clock.jump(5.0)
    with pytest.raises(Overloaded) as caught, breaker.call():
        raise AssertionError("the model was asked")
    assert caught.value.retry_after == 15.0
    clock.jump(15.0)
    answer(breaker)


# ── failures that do not count, or count once ─────────────────────────────────────────────────
def test_concurrent_failures_count_once(breaker: CircuitBreaker) -> None:
    """One server restart cuts off ten answers."""
    for _ in range(FAILURE_THRESHOLD - 1):
        calls = [breaker.call() for _ in range(10)]
        for call in calls:
            call.__enter__().record_token()
        for call in calls:
            with pytest.raises(CutOff), resume(call):
                raise CutOff
    assert not is_open(breaker)
    fail(breaker)
    assert is_open(breaker)


def test_instantly_refused_connections_do_not_open_the_breaker(breaker: CircuitBreaker) -> None:
    """Trying again costs almost nothing, and the server may be up by now."""
    fail(breaker, Unreachable(), times=3 * FAILURE_THRESHOLD)
    assert not is_open(breaker)


def test_slow_connection_failures_count(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for _ in range(FAILURE_THRESHOLD):
        with pytest.raises(Unreachable), breaker.call():
            clock.jump(INSTANT_REFUSAL)
            raise Unreachable(address="gpu:8000")
    with pytest.raises(Unreachable) as caught, breaker.call():
        raise AssertionError("the model was asked")
    assert caught.value.address == "gpu:8000"


def test_an_instantly_refused_test_closes_the_breaker(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """The test found no server running; the next request may find one."""
    fail(breaker, times=FAILURE_THRESHOLD)
    clock.jump(OPEN_SECONDS.first)
    fail(breaker, Unreachable())
    answer(breaker)


def test_a_loading_model_does_not_open_the_breaker(breaker: CircuitBreaker) -> None:
    fail(breaker, ModelLoading(), times=3 * FAILURE_THRESHOLD)
    answer(breaker)


async def test_the_state_says_whether_requests_are_rejected(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """After a Retry-After no test is needed; after consecutive failures, a single request tests."""
    states = [breaker.state]
    fail(breaker, RateLimited("429", retry_after=9.0))
    states.append(breaker.state)
    await clock.advance(9)
    states.append(breaker.state)
    assert states == [BreakerState.CLOSED, BreakerState.OPEN, BreakerState.CLOSED]
    fail(breaker, times=FAILURE_THRESHOLD - 1)
    assert breaker.state is BreakerState.OPEN
    await clock.advance(OPEN_SECONDS.first)
    assert breaker.state is BreakerState.HALF_OPEN
    with breaker.call() as call:
        assert breaker.state is BreakerState.HALF_OPEN
        call.record_token()
        assert breaker.state is BreakerState.CLOSED

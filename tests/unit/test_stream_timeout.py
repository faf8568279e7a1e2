"""Time limits of a stream: only tokens extend them, and only waiting counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.llm.stream_timeout import StreamTimedOut, StreamTimeout, StreamTimeouts
from tests.support.clock import timers_without_waiting

QUICK = StreamTimeouts(first_token=0.2, between_tokens=0.1)


@pytest.fixture(autouse=True)
async def _time() -> AsyncIterator[None]:
    with timers_without_waiting():
        yield


async def forever() -> None:
    """Never returns."""
    await asyncio.Event().wait()


async def test_the_limit_to_the_first_token_spans_all_waits() -> None:
    """Several waits without a token share one limit."""
    with StreamTimeout(StreamTimeouts(first_token=1.0, between_tokens=9)) as timeout:
        await timeout.wait(asyncio.sleep(0.3))
        with pytest.raises(StreamTimedOut):
            await timeout.wait(asyncio.sleep(0.95))
        assert not timeout.started


async def test_each_token_restarts_the_limit() -> None:
    """An answer may take longer than the limit."""
    with StreamTimeout(StreamTimeouts(first_token=1.0, between_tokens=1.0)) as timeout:
        for _ in range(4):
            await timeout.wait(asyncio.sleep(0.3))
            timeout.record_token()
        with pytest.raises(StreamTimedOut):
            await timeout.wait(forever())
        assert timeout.started


async def test_the_limit_between_tokens_may_be_the_shorter_one() -> None:
    """This limit replaces the one for the first token, even if that would expire later."""
    with StreamTimeout(StreamTimeouts(first_token=30, between_tokens=0.1)) as timeout:
        await timeout.wait(asyncio.sleep(0.01))
        timeout.record_token()
        async with asyncio.timeout(60):
            with pytest.raises(StreamTimedOut):
                await timeout.wait(forever())


async def test_the_consumers_own_work_does_not_count() -> None:
    """The limit runs only while something waits for the model."""
    with StreamTimeout(StreamTimeouts(first_token=9, between_tokens=1.0)) as timeout:
        await timeout.wait(asyncio.sleep(0))
        timeout.record_token()
        await asyncio.sleep(1.1)
        assert await timeout.wait(asyncio.sleep(0, "in time")) == "in time"


async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    """A stopped turn stays cancelled."""

    async def wait() -> None:
        with StreamTimeout(StreamTimeouts(9, 9)) as timeout:
            await timeout.wait(forever())

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_leaves_the_task_uncancelled() -> None:
    """It can therefore continue with the next model."""
    with StreamTimeout(QUICK) as timeout, pytest.raises(StreamTimedOut):
        await timeout.wait(forever())
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    await asyncio.sleep(0)


async def test_leaving_the_context_cancels_the_timer() -> None:
    """A limit that was not reached has no later effect."""
    with StreamTimeout(QUICK) as timeout:
        await timeout.wait(asyncio.sleep(0))
    await asyncio.sleep(0.25)
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_keepalives_extend_the_wait_of_a_model_that_thinks() -> None:
    """OpenAI's models send keepalives for minutes between the parts of a summary."""
    with StreamTimeout(StreamTimeouts(1.0, between_tokens=1.0, loading=5.0)) as timeout:
        await timeout.wait(asyncio.sleep(0.9))
        for _ in range(2):
            timeout.record_reasoning()
            await timeout.wait(asyncio.sleep(1.9))  # twice the limit of an answer
            timeout.record_keepalive()
            await timeout.wait(asyncio.sleep(1.9))
        timeout.record_keepalive()
        with pytest.raises(StreamTimedOut):  # 5 s after the last reasoning
            await timeout.wait(asyncio.sleep(1.3))


async def test_keepalives_do_not_extend_the_wait_within_an_answer() -> None:
    with StreamTimeout(StreamTimeouts(9, between_tokens=1.0)) as timeout:
        for record in (timeout.record_reasoning, timeout.record_token):
            await timeout.wait(asyncio.sleep(0))
            record()
        await timeout.wait(asyncio.sleep(0.6))
        timeout.record_keepalive()
        with pytest.raises(StreamTimedOut):
            await timeout.wait(asyncio.sleep(0.6))

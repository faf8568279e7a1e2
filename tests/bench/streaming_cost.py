"""CPU per streamed chunk of the complete streaming path, compared with a bare loop, and the loop's
lag.

Model, document, pages, publisher and rate limiter are real; the surface renders but sends nothing.
The model's server is a separate process. Both ways are measured in the same run, with the garbage
collector tuned as in the bot.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

from adapters.discord import rest
from bot.common.clock import SystemClock
from bot.common.gc_tuning import collect_when_idle
from bot.domain.conversations import Message, Role
from bot.domain.model import ChatRequest
from bot.domain.replies import Control
from bot.domain.turns import Fence
from bot.llm.openai import make_client
from bot.replies.publisher import Publisher
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.bench import age
from tests.bench.table import show
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.model_kit import openai_model, openai_provider
from tests.support.surfaces import FakeLedger, FakeSurface

# (concurrent streams, chunks each, chunks a second): the goal's own, and a smaller one.
SHAPES = ((100, 100, 25.0), (1_000, 60, 10.0))
FIRST_DELAY = {100: 1.0, 1_000: 6.0}  # seconds within which all requests are sent
LOOK = 0.005  # seconds between checks of the loop
REQUEST = ChatRequest(messages=(Message(role=Role.USER, content="measure"),))
MESSAGES: list[Any] = [{"role": "user", "content": "measure"}]


class Bench:
    """Two ways to read a stream; each returns when the stream has ended."""

    def __init__(self, base_url: str) -> None:
        self.client = make_client(openai_provider(base_url))
        self._model = openai_model("sim", base_url, client=self.client)
        self._clock = SystemClock()
        self.rate_limiter = AccountRateLimiter(rest.limits, self._clock)

    async def bare(self, _number: int) -> None:
        """Read bytes and discard them."""
        create = self.client.chat.completions.with_streaming_response.create
        options: Any = {"include_usage": True}
        async with create(
            model="sim", messages=MESSAGES, stream=True, stream_options=options
        ) as response:
            async for _ in response.iter_bytes():
                pass

    async def ours(self, number: int) -> None:
        """Read deltas and publish them."""
        surface = FakeSurface(rate_limiter=self.rate_limiter, clock=self._clock)
        surface.scopes = rest.message_scopes(str(number))
        publisher = Publisher(
            surface=surface,
            ledger=FakeLedger(),
            fence=Fence(number, 1),
            clock=self._clock,
            controls=(Control.STOP,),
        )
        async with publisher as reply, aclosing(cast(Any, self._model.stream(REQUEST))) as deltas:
            async for delta in deltas:
                reply.write(delta.text)
            reply.finish()
            await reply.wait_until_shown()


async def run() -> None:
    """Print the table."""
    rows = []
    async with ModelSim() as sim, collect_when_idle(lambda: True, SystemClock()):
        bench = Bench(sim.base_url)
        for streams, chunks, rate in SHAPES:
            costs: dict[str, float] = {}
            for name, way in {"bare loop": bench.bare, "streaming": bench.ours}.items():
                await sim.script(*_answers(streams, chunks, rate))
                costs[name], lags = await _measure(way, streams, chunks)
                rows.append(_row(f"{name}, {streams} streams of {rate:.0f}/s", costs, name, lags))
        await bench.client.close()
    show(
        "Streaming with a surface that does nothing",
        ("", "CPU µs/chunk", "ratio", "lag p50 ms", "p99", "longest"),
        rows,
        "Goals: a ratio of at most 2; a lag below 50 ms at p99 with 1,000 streams.",
    )


def _row(name: str, costs: dict[str, float], way: str, lags: list[float]) -> list[object]:
    slow = (statistics.median(lags), statistics.quantiles(lags, n=100)[98], max(lags))
    ratio = costs[way] / costs["bare loop"]
    return [name, f"{costs[way] * 1e6:.1f}", ratio, *(f"{lag * 1e3:.1f}" for lag in slow)]


def _answers(streams: int, chunks: int, rate: float) -> list[Answer]:
    """Uneven schedules, different for each stream, because chunks that arrive together are read
    together."""
    return [
        Answer(
            chunks=age.chunks(chunks),
            rate=rate,
            first_delay=FIRST_DELAY[streams] + k / streams / rate,
            jitter=1.0,
            seed=k,
            times=1,
        )
        for k in range(streams)
    ]


async def _measure(
    way: Callable[[int], Awaitable[None]], streams: int, chunks: int
) -> tuple[float, list[float]]:
    """Seconds of CPU per chunk from the first tokens on, and the loop's lags, in seconds."""
    gc.collect()
    readers = [asyncio.ensure_future(way(number)) for number in range(streams)]
    await asyncio.sleep(FIRST_DELAY[streams] - 0.2)
    lags: list[float] = []
    watch = asyncio.create_task(_watch(lags))
    begun = time.process_time()
    await asyncio.gather(*readers)
    cost = (time.process_time() - begun) / (streams * chunks)
    watch.cancel()
    return cost, lags


async def _watch(lags: list[float]) -> None:
    """How much later than requested the loop wakes a task."""
    while True:
        due = time.monotonic() + LOOK
        await asyncio.sleep(LOOK)
        lags.append(time.monotonic() - due)

"""CPU per streamed chunk of our models, compared with a bare loop over the raw response.

The server is a separate process that paces its chunks, so each is read separately, as with a real
model. Requests are sent before the measurement starts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

from bot.common.clock import SystemClock
from bot.domain.conversations import Message, Role
from bot.domain.model import ChatRequest
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.llm.openai import make_client
from bot.ports.model import ChatModel
from tests.bench.table import show
from tests.sims.model import Answer, ModelSim
from tests.support.model_kit import huggingface_model, openai_model, openai_provider

STREAMS, CHUNKS, RATE = 100, 40, 25.0  # 2,500 chunks/s: only a few per iteration of the loop
FIRST_DELAY = 1.0  # seconds within which all requests are sent
ROUNDS = 2  # the smallest result counts: other processes only add to it
BARE = "bare loop over the raw response"
REQUEST = ChatRequest(messages=(Message(role=Role.USER, content="measure"),))
MESSAGES: list[Any] = [{"role": "user", "content": "measure"}]


class Bench:
    """Ways to read one stream; each returns at the end of the stream."""

    def __init__(self, base_url: str) -> None:
        self.client = make_client(openai_provider(base_url))
        model = openai_model("sim", base_url, client=self.client)
        huggingface = huggingface_model("sim", base_url)
        chain = FallbackChain(
            [model],
            breakers=[CircuitBreaker("sim", now=time.monotonic)],
            first_token_seconds=60,
            clock=SystemClock(),
        )
        self.readers: dict[str, Callable[[], Awaitable[None]]] = {
            BARE: self.bare,
            "bare loop, JSON decode": self.decode,
            "openai:MODEL": lambda: drain(model),
            "openai:MODEL in a chain": lambda: drain(chain),
            "huggingface:MODEL": lambda: drain(huggingface),
            "huggingface's own client": lambda: self.huggingface_client(base_url),
            "openai's own parser": self.parse,
        }

    async def bare(self) -> None:
        """Read the bytes and ignore them."""
        async with self._raw() as response:
            async for _ in response.iter_bytes():
                pass

    async def decode(self) -> None:
        """Read the bytes, split them into lines and decode the JSON."""
        async with self._raw() as response:
            async for data in response.iter_bytes():
                for line in data.split(b"\n\n"):
                    if line.startswith(b"data: {"):
                        json.loads(line[6:])

    async def parse(self) -> None:
        """Use openai's parser, as most programs do."""
        stream = await self.client.chat.completions.create(
            model="sim", messages=MESSAGES, stream=True
        )
        async for _ in stream:
            pass

    async def huggingface_client(self, base_url: str) -> None:
        """Use Hugging Face's client and its parser."""
        from huggingface_hub import AsyncInferenceClient

        async with AsyncInferenceClient(base_url=base_url, api_key="hf") as client:
            stream = await client.chat_completion(MESSAGES, model="sim", stream=True)
            async for _ in stream:
                pass

    def _raw(self) -> Any:
        create = self.client.chat.completions.with_streaming_response.create
        stream_options: Any = {"include_usage": True}
        return create(model="sim", messages=MESSAGES, stream=True, stream_options=stream_options)


def schedules() -> list[Answer]:
    """A different, uneven schedule per stream, because chunks that arrive together are read
    together."""
    return [
        Answer(
            chunks=["token "] * CHUNKS,
            rate=RATE,
            first_delay=FIRST_DELAY + k / STREAMS / RATE,
            jitter=1.0,
            seed=k,
            times=1,
        )
        for k in range(STREAMS)
    ]


async def drain(model: ChatModel) -> None:
    """Read an answer to its end."""
    async with aclosing(cast(Any, model.stream(REQUEST))) as deltas:
        async for _ in deltas:
            pass


async def measure(sim: ModelSim, read: Callable[[], Awaitable[None]]) -> float:
    """Seconds of CPU per chunk for `STREAMS` streams, from their first tokens to their ends."""
    await sim.script(*schedules())
    gc.collect()
    readers = [asyncio.ensure_future(read()) for _ in range(STREAMS)]
    await asyncio.sleep(FIRST_DELAY - 0.2)
    began = time.process_time()
    await asyncio.gather(*readers)
    return (time.process_time() - began) / (STREAMS * CHUNKS)


async def run() -> None:
    """Print a table: microseconds of CPU per chunk, and the ratio to the bare loop."""
    async with ModelSim() as sim:
        bench = Bench(sim.base_url)
        best = dict.fromkeys(bench.readers, float("inf"))
        for _ in range(ROUNDS):
            for name, read in bench.readers.items():
                best[name] = min(best[name], await measure(sim, read))
        await bench.client.close()
    show(
        f"Reading a model's stream: {STREAMS} concurrent streams, {RATE:.0f} chunks/s each",
        ("", "µs of CPU a chunk", "ratio"),
        [(name, f"{cost * 1e6:.1f}", cost / best[BARE]) for name, cost in best.items()],
        "The goal for all of our streaming is a ratio of at most 2.",
    )


if __name__ == "__main__":
    asyncio.run(run())

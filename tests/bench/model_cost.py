"""CPU per streamed chunk: our models beside a bare loop over the raw response, in the same run.

The server is a process of its own, and its chunks are paced, so that each one is read by itself,
as chunks of a real model are. What is subtracted as idle is a run without any stream.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from bot.domain import ChatRequest, Message, Role
from bot.llm.fallback import Chain
from bot.llm.huggingface import HuggingFaceModel
from bot.llm.openai import OpenAIModel, make_client
from bot.llm.patience import Limits
from bot.ports import ChatModel
from tests.sims.model import Answer, ModelSim

STREAMS, CHUNKS, RATE = 100, 50, 25.0  # 2,500 chunks/s: each turn of the loop has few of them
ROUNDS = 2  # the smallest of them counts: other processes only add
REQUEST = ChatRequest(messages=(Message(role=Role.USER, content="measure"),))
MESSAGES: list[Any] = [{"role": "user", "content": "measure"}]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one way of reading took."""

    name: str
    microseconds: float  # CPU per chunk
    hold: float  # the longest turn of the loop, in seconds, without the start of the streams


class Bench:
    """Ways to read one stream; each returns when the stream has ended."""

    def __init__(self, base_url: str) -> None:
        self.client = make_client(api_key="key", base_url=base_url)
        model = OpenAIModel(model="sim", client=self.client, limits=Limits())
        face = HuggingFaceModel(model="sim", token="hf", base_url=base_url, limits=Limits())
        self.ways: dict[str, Callable[[], Awaitable[None]]] = {
            "bare loop over the raw response": self.bare,
            "bare loop, JSON decoded": self.decoded,
            "openai:MODEL": lambda: drain(model),
            "openai:MODEL in a chain": lambda: drain(Chain([model], first_token_seconds=60)),
            "huggingface:MODEL": lambda: drain(face),
            "huggingface's own client, bare": lambda: self.face(base_url),
            "openai's own parser": self.parsed,
        }

    async def bare(self) -> None:
        """Read bytes and look at none."""
        async with self._raw() as response:
            async for _ in response.iter_bytes():
                pass

    async def decoded(self) -> None:
        """Read bytes, cut them at line ends and decode what is JSON."""
        async with self._raw() as response:
            async for data in response.iter_bytes():
                for line in data.split(b"\n\n"):
                    if line.startswith(b"data: {"):
                        json.loads(line[6:])

    async def parsed(self) -> None:
        """What most programs do."""
        stream = await self.client.chat.completions.create(
            model="sim", messages=MESSAGES, stream=True
        )
        async for _ in stream:
            pass

    async def face(self, base_url: str) -> None:
        """Hugging Face's client without anything of ours."""
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
    """Uneven, and different for each stream: chunks that come together are read together."""
    return [
        Answer(
            chunks=["token "] * CHUNKS,
            rate=RATE,
            first_delay=1.2 + k / STREAMS / RATE,
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


async def measure(sim: ModelSim, name: str, read: Callable[[], Awaitable[None]]) -> Cost:
    """CPU per chunk of `STREAMS` streams at once, from their first tokens to their ends."""
    await sim.script(*schedules())
    gc.collect()
    readers = [asyncio.ensure_future(read()) for _ in range(STREAMS)]
    await asyncio.sleep(1.0)  # the requests are made, and no token is due yet
    watch = asyncio.ensure_future(longest_turn())
    begun = time.process_time()
    await asyncio.gather(*readers)
    spent = time.process_time() - begun
    watch.cancel()
    hold = await watch
    return Cost(name, spent / (STREAMS * CHUNKS) * 1e6, hold)


async def longest_turn() -> float:
    """How late the loop called back at worst, in seconds, until cancelled."""
    worst = 0.0
    try:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - before - 0.005)
    except asyncio.CancelledError:
        return worst


async def run() -> None:
    """Print a table: microseconds of CPU per chunk, and the ratio to the bare loop."""
    async with ModelSim() as sim:
        bench = Bench(sim.base_url)
        costs: dict[str, list[Cost]] = {name: [] for name in bench.ways}
        for _ in range(ROUNDS):
            for name, read in bench.ways.items():
                costs[name].append(await measure(sim, name, read))
        await bench.client.close()
    best = {name: min(found, key=lambda cost: cost.microseconds) for name, found in costs.items()}
    show(best)


def show(best: dict[str, Cost]) -> None:
    """Print the table."""
    bare = best["bare loop over the raw response"].microseconds
    print(f"{'CPU per streamed chunk':34} {'µs':>8} {'ratio':>7} {'longest turn':>13}")
    for cost in best.values():
        ratio = cost.microseconds / bare
        print(f"{cost.name:34} {cost.microseconds:8.1f} {ratio:7.2f} {cost.hold * 1e3:10.1f} ms")


if __name__ == "__main__":
    asyncio.run(run())

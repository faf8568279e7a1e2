"""A request with five images of 1 MB: our model compared with a bare openai client.

The goal is a ratio of at most 1.2 for both time and CPU. The longest step is the CPU time between
two iterations of the event loop, during which nothing else in the bot runs.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import openai

from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.model import ChatRequest
from bot.llm.openai import make_client
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.bench.table import show
from tests.sims.model import ModelSim
from tests.support.model_kit import huggingface_model, openai_model, openai_provider

IMAGES, BYTES = 5, 1_000_000
ROUNDS = 5  # the smallest result counts: other processes only add to it
PEER = "bare openai client"


@dataclass(frozen=True)
class Figures:
    """Seconds for a request, of its CPU in this process, and of its longest step."""

    seconds: float
    cpu: float
    step: float

    def best(self, other: Figures) -> Figures:
        """The smaller value of each figure."""
        return Figures(
            min(self.seconds, other.seconds),
            min(self.cpu, other.cpu),
            min(self.step, other.step),
        )


def images() -> list[bytes]:
    """Random bytes behind a PNG's signature."""
    return [b"\x89PNG\r\n\x1a\n" + os.urandom(BYTES) for _ in range(IMAGES)]


def bare(client: openai.AsyncOpenAI, pictures: list[bytes]) -> Callable[[], Awaitable[None]]:
    """Encode the images and send them, as most programs do."""

    async def ask() -> None:
        content: list[Any] = [{"type": "text", "text": "look"}]
        for data in pictures:
            url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        stream = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": content}], stream=True
        )
        async for _ in stream:
            pass

    return ask


def ours(model: ChatModel, pictures: list[bytes]) -> Callable[[], Awaitable[None]]:
    """Ask through our model."""
    parts = tuple(ImagePart("image/png", data, 1_000, 1_000) for data in pictures)
    request = ChatRequest((Message(Role.USER, "look", parts=parts),))

    async def ask() -> None:
        async with aclosing(cast(Any, model.stream(request))) as deltas:
            async for _ in deltas:
                pass

    return ask


async def measure(ask: Callable[[], Awaitable[None]]) -> Figures:
    """Send one request alone to measure time and CPU, and one beside a task that watches the
    loop."""
    began, cpu = time.perf_counter(), time.process_time()
    await ask()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    asking, step = asyncio.ensure_future(ask()), 0.0
    while not asking.done():
        turn = time.thread_time()
        await asyncio.sleep(0)
        step = max(step, time.thread_time() - turn)
    await asking
    return Figures(seconds, cpu, step)


async def run() -> None:
    """Print a table of the peer and our models."""
    async with ModelSim() as sim:
        await sim.pace(rate=0, first_delay=0.0)
        client = make_client(openai_provider(sim.base_url))
        plain = openai.AsyncOpenAI(api_key="key", base_url=sim.base_url, max_retries=0)
        timeouts = StreamTimeouts()
        hugging = huggingface_model("sim", sim.base_url, timeouts=timeouts)
        pictures = images()
        asks = {
            PEER: bare(plain, pictures),
            "openai:MODEL": ours(
                openai_model("sim", sim.base_url, client=client, timeouts=timeouts), pictures
            ),
            "huggingface:MODEL": ours(hugging, pictures),
        }
        best: dict[str, Figures] = {}
        for ask in asks.values():
            await ask()  # lazy imports
        for _ in range(ROUNDS):
            for name, ask in asks.items():
                new = await measure(ask)
                best[name] = new.best(best.get(name, new))
        await client.close()
        await plain.close()
    peer = best[PEER]
    show(
        f"A request with {IMAGES} images of 1 MB (goal: a ratio of at most 1.2, steps below 50 ms)",
        ("", "ms", "ratio", "ms of CPU", "ratio", "longest step, ms"),
        [
            (
                name,
                f"{1e3 * one.seconds:.0f}",
                one.seconds / peer.seconds,
                f"{1e3 * one.cpu:.0f}",
                one.cpu / peer.cpu,
                f"{1e3 * one.step:.1f}",
            )
            for name, one in best.items()
        ],
    )


if __name__ == "__main__":
    asyncio.run(run())

"""The bot beside a bare `openai` client, against the same server in the same run.

The peer is a process that asks and reads through the client's own parser, as most programs do, and
does nothing with the text. Ours stores the question, asks, pages the answer, streams it to a
program and stores it. The goal is a ratio of 1.2 for the time to the first token and for the CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.api_streams import CHUNKS, STREAMS, cpu_seconds, ours, schedules
from tests.bench.table import show
from tests.sims.model import ModelSim
from tests.support.harness import ROOT

ALONE = 20  # questions one after another: the time to the first token without a queue
ROUNDS = 2  # the smallest counts: other processes only add
GOAL = 1.2
PEER = "bare openai client"


@dataclass(frozen=True)
class Figures:
    """Seconds to the first token of one question alone, and of CPU for 1,000 tokens of many."""

    first: float
    cpu: float


Ask = Callable[[int], Awaitable[float]]  # the seconds until the first token


@contextlib.asynccontextmanager
async def peer(sim: ModelSim) -> AsyncIterator[tuple[int, Ask]]:
    """The bare client's process: it takes a number a line, and says how long the first token
    took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.bare_client",
        sim.base_url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stdout is not None
    waiting: dict[int, asyncio.Future[float]] = {}
    stdin, stdout = process.stdin, process.stdout

    async def hear() -> None:
        async for line in stdout:
            number, seconds = line.split()
            waiting.pop(int(number)).set_result(float(seconds))

    async def ask(k: int) -> float:
        answer = waiting[k] = asyncio.get_running_loop().create_future()
        stdin.write(b"%d\n" % k)
        return await answer

    hearing = asyncio.create_task(hear())
    try:
        yield process.pid, ask
    finally:
        hearing.cancel()
        stdin.close()
        await process.wait()


async def measure(sim: ModelSim, pid: int, ask: Ask) -> Figures:
    """One after another, then all at once."""
    await sim.pace(rate=200.0, first_delay=0.02)
    await ask(0)  # whatever the first one imports
    first = median([await ask(k) for k in range(ALONE)])
    await sim.script(*schedules())
    before = cpu_seconds(pid)
    await asyncio.gather(*(ask(k) for k in range(STREAMS)))
    return Figures(first, (cpu_seconds(pid) - before) * 1_000 / (STREAMS * CHUNKS))


async def run() -> None:
    """Print a table of the peer and of ours."""
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            sim = await stack.enter_async_context(ModelSim())
            asked: dict[str, tuple[int, Ask]] = {
                PEER: await stack.enter_async_context(peer(sim)),
            }
            for llm in ("openai:sim", "huggingface:sim"):
                place = Path(folder) / llm.partition(":")[0]
                place.mkdir()
                pid, watch = await stack.enter_async_context(ours(sim, place, llm))
                asked[llm] = (pid, _first_of(watch))
            for _ in range(ROUNDS):
                for name, (pid, ask) in asked.items():
                    new = await measure(sim, pid, ask)
                    old = found.get(name, new)
                    found[name] = Figures(min(new.first, old.first), min(new.cpu, old.cpu))
    bare = found[PEER]
    show(
        f"Beside a bare openai client (goal: {GOAL})",
        ("", "first token, ms", "ratio", "CPU of 1,000 tokens, ms", "ratio"),
        [
            (
                name,
                f"{1e3 * one.first:.1f}",
                one.first / bare.first,
                f"{1e3 * one.cpu:.0f}",
                one.cpu / bare.cpu,
            )
            for name, one in found.items()
        ],
        "Ours stores the question and the answer, and streams to a program over HTTP meanwhile.",
    )


def _first_of(watch: Callable[[int], Any]) -> Ask:
    async def ask(k: int) -> float:
        seen = await watch(k)
        return float(seen.first_byte - seen.asked)

    return ask


# ── the peer's process ────────────────────────────────────────────────────────────────────────
async def consume(base_url: str) -> None:
    """Ask for each number that comes in a line; ends with the input."""
    import openai

    client = openai.AsyncOpenAI(api_key="key", base_url=base_url)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        async for line in reader:
            group.create_task(_consume(client, int(line)))


async def _consume(client: Any, k: int) -> None:
    began, first = time.time(), 0.0
    messages = [{"role": "user", "content": f"measure {k}."}]
    stream = await client.chat.completions.create(model="sim", messages=messages, stream=True)
    async for chunk in stream:
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.time() - began
    print(k, first, flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(consume(sys.argv[1]))
    else:
        asyncio.run(run())

"""The bot compared with a bare `openai` client, against the same server in the same run.

The peer is a process that sends requests and reads answers through the client's own parser, as most
programs do, and ignores the text. The bot stores the question, asks the model, paginates the
answer, streams it to a program and stores it. The goal is a ratio of at most 1.2 for the time to
the first token and for the CPU.
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

ALONE = 20  # sequential questions: the time to the first token without queueing
ROUNDS = 2  # the smallest result counts: other processes only add to it
GOAL = 1.2
PEER = "bare openai client"


@dataclass(frozen=True)
class Figures:
    """Seconds to the first token of a lone question, and of CPU per 1,000 concurrent tokens."""

    first_token: float
    cpu: float


Ask = Callable[[int], Awaitable[float]]  # returns the seconds until the first token


@contextlib.asynccontextmanager
async def peer(sim: ModelSim) -> AsyncIterator[tuple[int, Ask]]:
    """The bare client's process: for each number read from a line, writes the time to the first
    token."""
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

    async def read_results() -> None:
        async for line in stdout:
            number, seconds = line.split()
            waiting.pop(int(number)).set_result(float(seconds))

    async def ask(k: int) -> float:
        answer = waiting[k] = asyncio.get_running_loop().create_future()
        stdin.write(b"%d\n" % k)
        return await answer

    reading = asyncio.create_task(read_results())
    try:
        yield process.pid, ask
    finally:
        reading.cancel()
        stdin.close()
        await process.wait()


async def measure(sim: ModelSim, pid: int, ask: Ask) -> Figures:
    """Ask sequential questions, then `STREAMS` concurrent ones."""
    await sim.pace(rate=200.0, first_delay=0.02)
    await ask(0)  # triggers lazy imports
    first_token = median([await ask(k) for k in range(ALONE)])
    await sim.script(*schedules())
    before = cpu_seconds(pid)
    await asyncio.gather(*(ask(k) for k in range(STREAMS)))
    return Figures(first_token, (cpu_seconds(pid) - before) * 1_000 / (STREAMS * CHUNKS))


async def run() -> None:
    """Print a table of the peer and the bot."""
    best: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as stack:
            sim = await stack.enter_async_context(ModelSim())
            clients: dict[str, tuple[int, Ask]] = {
                PEER: await stack.enter_async_context(peer(sim)),
            }
            for llm in ("openai:sim", "huggingface:sim"):
                data = Path(folder) / llm.partition(":")[0]
                data.mkdir()
                pid, watch = await stack.enter_async_context(ours(sim, data, llm))
                clients[llm] = (pid, _time_to_first_token(watch))
            for _ in range(ROUNDS):
                for name, (pid, ask) in clients.items():
                    new = await measure(sim, pid, ask)
                    old = best.get(name, new)
                    best[name] = Figures(
                        min(new.first_token, old.first_token), min(new.cpu, old.cpu)
                    )
    bare = best[PEER]
    show(
        f"Compared with a bare openai client (goal: a ratio of at most {GOAL})",
        ("", "first token, ms", "ratio", "CPU of 1,000 tokens, ms", "ratio"),
        [
            (
                name,
                f"{1e3 * one.first_token:.1f}",
                one.first_token / bare.first_token,
                f"{1e3 * one.cpu:.0f}",
                one.cpu / bare.cpu,
            )
            for name, one in best.items()
        ],
        "The bot also stores the question and the answer, and streams to a program over HTTP.",
    )


def _time_to_first_token(watch: Callable[[int], Any]) -> Ask:
    async def ask(k: int) -> float:
        seen = await watch(k)
        return float(seen.first_byte - seen.asked)

    return ask


# ── the peer's process ────────────────────────────────────────────────────────────────────────
async def consume(base_url: str) -> None:
    """Ask a question for each number on stdin, until its end."""
    import openai

    client = openai.AsyncOpenAI(api_key="key", base_url=base_url)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with asyncio.TaskGroup() as group:
        async for line in reader:
            group.create_task(_consume(client, int(line)))


async def _consume(client: Any, k: int) -> None:
    began, first_token = time.time(), 0.0
    messages = [{"role": "user", "content": f"measure {k}."}]
    stream = await client.chat.completions.create(model="sim", messages=messages, stream=True)
    async for chunk in stream:
        if not first_token and chunk.choices and chunk.choices[0].delta.content:
            first_token = time.time() - began
    print(k, first_token, flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        asyncio.run(consume(sys.argv[1]))
    else:
        asyncio.run(run())

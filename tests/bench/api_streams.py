"""Concurrent API streams: time to the first byte, and delay and CPU per chunk, compared with bare
servers.

The bot, the model and the peers are separate processes. The peers are a bare endpoint that passes
on the model's chunks (no database, history or users) and a bare loop that reads and discards them.
CPU is the server process's time as counted by the operating system.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.table import show
from tests.sims.model import Answer, ModelSim
from tests.support.harness import ROOT, BotProcess
from tests.support.ports import free_port

STREAMS, CHUNKS, RATE = 100, 80, 25.0
FIRST_DELAY = 1.0  # seconds within which all questions are stored and all requests sent
ROUNDS = 2  # the smallest cost counts: other processes only add to it
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Seen:
    """A client's record of one stream; times are `time.time()`."""

    asked: float
    first_byte: float = 0.0
    pieces: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """One server's results, in seconds: CPU per chunk, and pairs of medians and 99th
    percentiles."""

    cpu: float
    first: tuple[float, float]
    delay: tuple[float, float]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def schedules() -> list[Answer]:
    """Uneven schedules, a different one for each stream."""
    return [
        Answer(
            match=f"measure {k}.",
            chunks=["token "] * CHUNKS,
            rate=RATE,
            first_delay=FIRST_DELAY + k / STREAMS / RATE,
            jitter=1.0,
            seed=k,
            times=1,
        )
        for k in range(STREAMS)
    ]


async def watch(http: aiohttp.ClientSession, url: str, message: str) -> Seen:
    """Ask, and record when each piece arrives."""
    seen = Seen(time.time())
    body = {"message": message, "stream": True}
    async with http.post(url, json=body) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b'data: {"content"'):
                now = time.time()
                seen.first_byte = seen.first_byte or now
                seen.pieces.append(now)
    return seen


async def measure(sim: ModelSim, pid: int, ask: Callable[[int], Any]) -> Result:
    """Read all streams of one server concurrently."""
    await sim.script(*schedules())
    since = len(await sim.streams())
    watching = [asyncio.ensure_future(ask(k)) for k in range(STREAMS)]
    await asyncio.sleep(FIRST_DELAY - 0.2)
    before = cpu_seconds(pid)
    seen = await asyncio.gather(*watching)
    cpu = (cpu_seconds(pid) - before) / (STREAMS * CHUNKS)
    records = {r.body["messages"][-1]["content"]: r for r in await sim.streams(since=since)}
    written = [records[f"measure {k}."].times for k in range(STREAMS)]
    first = sorted(one.first_byte - times[0] for one, times in zip(seen, written, strict=True))
    # A piece may carry several tokens; the last piece always contains the last one.
    delay = sorted(one.pieces[-1] - times[-1] for one, times in zip(seen, written, strict=True))
    return Result(cpu, (_median(first), first[-1]), (_median(delay), delay[-1]))


def _median(values: list[float]) -> float:
    return values[len(values) // 2]


# ── servers ───────────────────────────────────────────────────────────────────────────────────
@contextlib.asynccontextmanager
async def ours(
    sim: ModelSim, folder: Path, llm: str = "openai:sim"
) -> AsyncIterator[tuple[int, Callable[[int], Any]]]:
    """The bot, with one conversation per stream."""
    environ = {
        "LLM": llm,
        "OPENAI_BASE_URL": sim.base_url,
        "HF_BASE_URL": sim.base_url,
        "OPENAI_API_KEY": "key",
        "LOG_LEVEL": "WARNING",
        "HTTP_MAX_STREAMS": str(2 * STREAMS),
    }
    async with BotProcess(folder, environ) as bot, _session() as http:
        base = f"http://127.0.0.1:{bot.http_port}/conversation"

        async def ask(k: int) -> Seen:
            return await watch(http, f"{base}/completion/{made[k]}", f"measure {k}.")

        made = [await _prepare(http, base) for _ in range(STREAMS)]
        yield bot.pid, ask


async def _prepare(http: aiohttp.ClientSession, base: str) -> str:
    async with http.post(base) as response:
        identity: str = (await response.json())["id"]
        return identity


@contextlib.asynccontextmanager
async def peer(sim: ModelSim, kind: str) -> AsyncIterator[tuple[int, Callable[[int], Any]]]:
    """This module as a server: "endpoint" passes chunks on, "loop" reads and reports at the end."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.api_streams", kind, str(port), sim.base_url, cwd=ROOT
    )
    try:
        async with _session() as http:
            await _listening(port)
            url = f"http://127.0.0.1:{port}/"
            yield process.pid, lambda k: watch(http, url, f"measure {k}.")
    finally:
        process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise RuntimeError("the peer did not start")


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def serve(kind: str, port: int, base_url: str) -> None:
    """The peer's process."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    from bot.llm.openai import make_client
    from tests.support.model_kit import openai_provider

    client = make_client(openai_provider(base_url))

    async def raw(message: str) -> AsyncIterator[bytes]:
        create: Any = client.chat.completions.with_streaming_response.create
        messages = [{"role": "user", "content": message}]
        async with create(model="sim", messages=messages, stream=True) as response:
            async for data in response.iter_bytes():
                yield data

    async def pass_on(message: str) -> AsyncIterator[bytes]:
        async for _ in raw(message):
            yield b'data: {"content":"token "}\n\n'

    async def swallow(message: str) -> AsyncIterator[bytes]:
        async for _ in raw(message):
            pass
        yield b'data: {"content":"token "}\n\n'

    async def answer(request: Request) -> Response:
        message = (await request.json())["message"]
        body = pass_on(message) if kind == "endpoint" else swallow(message)
        return StreamingResponse(body, media_type="text/event-stream")

    app = Starlette(routes=[Route("/", answer, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="warning", lifespan="off")


async def run() -> None:
    """Print a table of the three servers."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            ModelSim() as sim,
            peer(sim, "loop") as loop,
            peer(sim, "endpoint") as endpoint,
            ours(sim, Path(folder)) as bot,
        ):
            servers = {"bare loop": loop, "bare endpoint": endpoint, "POST /conversation/…": bot}
            for _ in range(ROUNDS):
                for name, (pid, ask) in servers.items():
                    result = await measure(sim, pid, ask)
                    known = results.get(name)
                    results[name] = result if known is None or result.cpu < known.cpu else known
    bare = results["bare loop"].cpu
    show(
        f"API streams: {STREAMS} concurrent, {RATE:.0f} chunks/s each",
        ("", "first byte, ms", "(worst)", "last byte, ms", "(worst)", "CPU/chunk, µs", "ratio"),
        [(name, *_figures(name, result), result.cpu / bare) for name, result in results.items()],
        "First and last byte: behind the model's first and last token; a bare loop sends nothing",
        "before its end. CPU includes what the end of each reply costs, in the database above all.",
    )


def _figures(name: str, result: Result) -> tuple[str, ...]:
    first = ("", "") if name == "bare loop" else tuple(f"{1e3 * t:.1f}" for t in result.first)
    return (*first, *(f"{1e3 * t:.1f}" for t in result.delay), f"{1e6 * result.cpu:.0f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        asyncio.run(run())

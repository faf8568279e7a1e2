"""What an idle process costs: on SQLite with the page only, on PostgreSQL, and with both platforms.

All of them are measured over the same minute, beside a bare uvicorn server without a bot.
`cpu` in `tests.bench.processes` reads the kernel's account, which is exact to 10 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.processes import cpu, durable_server
from tests.sims.discord.client import DiscordSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, SlackDriver
from tests.support.ports import free_port
from tests.support.postgres_server import prepare

SETTLE_SECONDS = 45.0  # a start reads what it missed, and discord.py's first heartbeats come
MEASURED_SECONDS = 60.0
QUICK_SECONDS = 10.0

BARE = "async def app(scope, receive, send): pass"


async def run() -> None:
    """Print the table."""
    await measure(SETTLE_SECONDS, MEASURED_SECONDS)


async def quick() -> None:
    """A rough one."""
    await measure(QUICK_SECONDS, QUICK_SECONDS)


async def measure(settle: float, seconds: float) -> None:
    """Start everything, wait, and print what each process computes."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(durable_server())
        prepare(server)
        platforms = await stack.enter_async_context(both_platforms())
        alone, both = server.create("bench_idle"), server.create("bench_both")
        processes = {"a bare uvicorn server": stack.enter_context(bare_server())}
        for name, settings in {
            "SQLite, page only": {},
            "PostgreSQL, page only": {"DATABASE_URL": alone},
            "SQLite, Slack and Discord": platforms,
            "PostgreSQL, Slack and Discord": {**platforms, "DATABASE_URL": both},
        }.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bot = await stack.enter_async_context(BotProcess(folder, _environ(settings)))
            processes[name] = bot.pid
        await asyncio.sleep(settle)
        before, began = {name: cpu(pid) for name, pid in processes.items()}, time.monotonic()
        await asyncio.sleep(seconds)
        passed = time.monotonic() - began
        print(f"{'idle, share of a core':44}{'CPU':>8}")
        for name, pid in processes.items():
            print(f"{name:44}{(cpu(pid) - before[name]) / passed:8.2%}")


def _environ(settings: Mapping[str, str]) -> Mapping[str, str]:
    return {"LLM": "echo", "LOG_LEVEL": "INFO", "METRICS_TOKEN": "t" * 20, **settings}


@contextlib.asynccontextmanager
async def both_platforms() -> AsyncIterator[Mapping[str, str]]:
    """The settings of a bot on both simulated platforms."""
    async with SlackSim() as slack, DiscordSim() as discord:
        yield {**SlackDriver(slack).settings(), **DiscordDriver(discord).settings()}


@contextlib.contextmanager
def bare_server() -> Iterator[int]:
    """The process id of a uvicorn server without anything behind it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        words = ("-m", "uvicorn", "bare:app", "--port", str(free_port()), "--lifespan", "off")
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env={"PATH": os.environ.get("PATH", "")},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    asyncio.run(run())

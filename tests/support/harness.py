"""The bot as its users run it: `python -m bot run` in a process of its own, against simulators."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

import aiohttp

from tests.support.fork_server import Child, spawn
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
# Importing discord.py, Bolt and openai takes a second or two on an idle core.
START_SECONDS = 40.0


async def command(*words: str, folder: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run `python -m bot WORDS` in `folder` to its end: exit code, stdout, stderr."""
    with TemporaryFile() as out, TemporaryFile() as err:
        process = await spawn(
            *("bot", *words),
            folder=folder,
            environ={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **environ},
            stdout=out.fileno(),
            stderr=err.fileno(),
        )
        code = await asyncio.wait_for(process.wait(), 60)
        said = []
        for stream in (out, err):
            stream.seek(0)
            said.append(stream.read().decode())
    return code, said[0], said[1]


class BotProcess:
    """One run of the bot; the same `folder` again is a restart with the same database.

    `environ` are its settings; the machine's own environment is not passed on, but for PATH.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.http_port = free_port()
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDEVMODE": os.environ.get("PYTHONDEVMODE", ""),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "DEBUG",
            "HTTP_PORT": str(self.http_port),
            "DATABASE_URL": f"sqlite:///{folder / 'threadline.db'}",
            **environ,
        }
        self._log_path = folder / "bot.log"
        self._process: Child | None = None

    def set(self, **settings: str) -> None:
        """Change settings before the next start."""
        self._environ.update(settings)

    async def start(self) -> None:
        """Begin to run; does not wait until it is connected."""
        with self._log_path.open("ab") as log:
            self._process = await spawn(
                *("bot", "run"),
                folder=self.folder,
                environ=self._environ,
                stdout=log.fileno(),
                stderr=log.fileno(),
            )

    async def ready(self) -> None:
        """Wait until /healthz says that every platform is connected."""
        deadline = time.monotonic() + START_SECONDS
        while not await self.healthy():
            assert self.process.returncode is None, f"the bot ended: {self.log_tail()}"
            assert time.monotonic() < deadline, f"the bot did not start: {self.log_tail()}"
            await asyncio.sleep(0.05)

    async def healthy(self) -> bool:
        """Whether /healthz answers 200."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.http_port}/healthz") as response,
            ):
                return response.status == 200
        except aiohttp.ClientError:
            return False

    @property
    def process(self) -> Child:
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id, for kills."""
        return self.process.pid

    async def kill(self) -> None:
        """SIGKILL: no clean-up of any kind."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    async def ended(self, seconds: float = START_SECONDS) -> int:
        """Wait until it ends by itself, and give the exit code."""
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def __aenter__(self) -> Self:
        await self.start()
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            await self.kill()

    # ── its log ───────────────────────────────────────────────────────────────────────────────
    def log_text(self) -> str:
        """Everything it wrote to stdout and stderr, over all runs in this folder."""
        return self._log_path.read_text(errors="replace")

    def log_tail(self, lines: int = 30) -> str:
        """The end of it, for a failing test's message."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    async def logged(self, event: str, count: int = 1, seconds: float = 20.0) -> None:
        """Wait until the log has `event` so many times."""
        deadline = time.monotonic() + seconds
        while len(self.events(event)) < count:
            assert time.monotonic() < deadline, f"{event!r} was not logged {count} times"
            await asyncio.sleep(0.02)

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The JSON lines of the log whose event contains `event`."""
        lines = [line for line in self.log_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if event in entry.get("event", "")]

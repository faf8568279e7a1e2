"""The bot as its users run it: `python -m bot run` in a separate process, against simulators."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self

import aiohttp

from tests.sims.kit import pause_since
from tests.support.fork_server import SWITCH, Child, spawn
from tests.support.new_database import create
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 100.0
"""Importing discord.py, Bolt and openai takes a second or two on an idle core; at a load of 20, a
start took a minute."""


async def command(
    *words: str,
    folder: Path,
    environ: Mapping[str, str],
    module: str = "bot",
    piped: str | None = None,
) -> tuple[int, str, str]:
    """Run `python -m MODULE WORDS` in `folder`; returns its exit code, stdout and stderr.

    `piped` is written to its stdin through a pipe; None means no input.
    """
    with TemporaryFile() as out, TemporaryFile() as err, contextlib.ExitStack() as stack:
        stdin, write = subprocess.DEVNULL, None
        if piped is not None:
            stdin, write = os.pipe()
            stack.callback(os.close, stdin)
        process = await spawn(
            *(module, *words),
            folder=folder,
            environ={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **environ},
            stdin=stdin,
            stdout=out.fileno(),
            stderr=err.fileno(),
        )
        stack.close()  # the pipe breaks when the process ends
        if piped is not None and write is not None:
            writing = asyncio.to_thread(_write_all, write, piped.encode())
            await asyncio.wait_for(writing, 60)
        code = await asyncio.wait_for(process.wait(), 60)
        outputs = []
        for stream in (out, err):
            stream.seek(0)
            outputs.append(stream.read().decode())
    return code, outputs[0], outputs[1]


def _write_all(pipe: int, data: bytes) -> None:
    """Write to a pipe until its reader has enough, and close it."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


class BotProcess:
    """A bot process with the database in `folder`; starting it again is a restart.

    `environ` are its settings; of the test's environment, only PATH is passed on.
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
        """Start the process, without waiting for its connections."""
        if os.environ.get(SWITCH) == "1":  # otherwise with a new interpreter, as people start it
            self._create_database()
        with self._log_path.open("ab") as log:
            self._process = await spawn(
                *("bot", "run"),
                folder=self.folder,
                environ=self._environ,
                stdout=log.fileno(),
                stderr=log.fileno(),
            )

    def _create_database(self) -> None:
        """Create the database in `folder`, unless it exists or another one is set."""
        path = self.folder / "threadline.db"
        if self._environ["DATABASE_URL"] == f"sqlite:///{path}" and not path.exists():
            create(path)

    async def ready(self) -> None:
        """Wait until /healthz reports every platform as connected."""
        began = time.monotonic()
        while not await self.healthy():
            assert self.process.returncode is None, f"the bot exited: {self.log_tail()}"
            late = time.monotonic() > began + START_SECONDS
            assert not late, f"the bot did not start: {self.log_tail()}"
            await asyncio.sleep(max(0.05, pause_since(began)))

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
        """Send SIGKILL and wait."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """Send SIGTERM and wait for the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    async def wait_exit(self, seconds: float = START_SECONDS) -> int:
        """Wait until the process exits on its own; returns the exit code."""
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def __aenter__(self) -> Self:
        await self.start()
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            await self.kill()

    # ── the log ───────────────────────────────────────────────────────────────────────────────
    def log_text(self) -> str:
        """Stdout and stderr of all runs in this folder."""
        return self._log_path.read_text(errors="replace")

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log, for the message of a failing test."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    async def wait_for_log(self, event: str, count: int = 1, seconds: float = 60.0) -> None:
        """Wait until `event` was logged `count` times."""
        began = time.monotonic()
        while len(self.events(event)) < count:
            late = time.monotonic() > began + seconds
            assert not late, f"{event!r} was not logged {count} times"
            await asyncio.sleep(pause_since(began))

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The JSON log entries whose event contains `event`."""
        written = json.dumps(event, ensure_ascii=False)[1:-1]  # most lines need not be parsed
        lines = [
            line for line in self.log_text().splitlines() if line[:1] == "{" and written in line
        ]
        return [entry for entry in map(json.loads, lines) if event in entry.get("event", "")]

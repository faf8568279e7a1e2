"""Starts bots fast: a process that has imported everything forks one for each run.

`python -m tests.kills.nursery` reads commands as JSON lines on stdin and tells on stdout of those
that ended. A bot is a process of its own, which runs `tests.kills.wrapped` and nothing of the
parent; at the end of stdin all are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

ROOT = Path(__file__).parents[2]


# ── the tests' side ───────────────────────────────────────────────────────────────────────────
class Nursery:
    """The forking process, as an async context manager of the tests."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.kills.nursery",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.wait({self._reader}, timeout=10)

    async def fork(self, *, folder: Path, environ: Mapping[str, str]) -> int:
        """A new bot's process id; it begins with `go`, so that it can be aimed at before."""
        async with self._one_at_a_time:
            self._tell(do="fork", folder=str(folder), environ=dict(environ))
            return await asyncio.wait_for(self._born.get(), 60)

    def go(self, pid: int) -> None:
        """Let it run."""
        self._tell(do="go", pid=pid)

    async def ended(self, pid: int) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await asyncio.shield(self._ends[pid])

    def _tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "born" in told:
                self._ends[told["born"]] = asyncio.get_running_loop().create_future()
                self._born.put_nowait(told["born"])
            elif not self._ends[told["ended"]].done():
                self._ends[told["ended"]].set_result(told["code"])


# ── the forking process ───────────────────────────────────────────────────────────────────────
class _Parent:
    """One thread, no event loop: what forks must be simple."""

    def __init__(self) -> None:
        self._gates: dict[int, int] = {}  # by process: writing to it lets the process run
        self._waking, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._waking, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._waking in ready:
                    os.read(self._waking, 1_024)
                    self._reap()
                if 0 not in ready:
                    continue
                read = os.read(0, 65_536)
                if not read:
                    return self._end()
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    self._carry_out(json.loads(line))

    def _carry_out(self, command: Mapping[str, Any]) -> None:
        if command["do"] == "go":
            if command["pid"] in self._gates:  # it may have been killed before it began
                os.write(self._gates[command["pid"]], b"!")
            return
        gate, opener = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            _live(gate, Path(command["folder"]), command["environ"])
        os.close(gate)
        self._gates[pid] = opener
        _say(born=pid)

    def _reap(self) -> None:
        while self._gates:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            os.close(self._gates.pop(pid))
            _say(ended=pid, code=os.waitstatus_to_exitcode(status))

    def _end(self) -> None:
        for pid in self._gates:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _live(gate: int, folder: Path, environ: Mapping[str, str]) -> NoReturn:
    """The bot's life, from the fork to the exit."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(folder / "bot.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        if os.read(gate, 1):
            from tests.kills import wrapped

            code = wrapped.main(["run"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(**told: Any) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


# What the product imports when it is configured, so that no fork has to.
_MODULES = (
    "adapters.discord.client",
    "adapters.slack.client",
    "adapters.web.server",
    "bot.app",
    "bot.llm.openai",
    "tests.kills.wrapped",
)


if __name__ == "__main__":
    for module in _MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    _Parent().serve()

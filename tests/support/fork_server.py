"""Processes that begin with their imports done: one that has imported everything forks them.

Importing discord.py, Bolt and openai takes seconds, a fork milliseconds. What is forked is a
process of its own all the same: a fresh interpreter state that no test has touched, a folder,
an environment and descriptors of its own, and the module runs as `python -m` runs it, to the
interpreter's end. It dies with whoever asked for it.

Tests fork (`tests/conftest.py` says so); benchmarks and `THREADLINE_FORKS=0` start everything from
nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2]
SWITCH = "THREADLINE_FORKS"
# The first fork waits for the imports, on a machine that may be busy.
BIRTH_SECONDS = 60.0
_NUMBER = struct.Struct("q")  # a process id, then an exit code


class Child(Protocol):
    """What is common to a process that was forked and one that was executed."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, signal: int) -> None: ...


# ── the tests' side ───────────────────────────────────────────────────────────────────────────
async def spawn(
    module: str,
    *words: str,
    folder: Path,
    environ: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
) -> Child:
    """Run `python -m MODULE WORDS…` in `folder`; descriptors are the caller's to close."""
    if os.environ.get(SWITCH) == "1":
        return await fork(
            module, *words, folder=folder, environ=environ, streams=(stdin, stdout, stderr)
        )
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *words),
        cwd=folder,
        env=environ,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )


async def fork(
    module: str,
    *words: str,
    folder: Path,
    environ: Mapping[str, str],
    streams: tuple[int, int, int],
    held: bool = False,
) -> Forked:
    """Fork it; one that is `held` begins with `go`, so that it can be aimed at before."""
    ours, theirs = socket.socketpair()
    gate, opener = os.pipe()
    order = _Order(module, words, str(folder), dict(environ))
    nothing = os.open(os.devnull, os.O_RDWR)
    given = [nothing if stream == subprocess.DEVNULL else stream for stream in streams]
    with theirs:
        _nursery().ask(order, [theirs.fileno(), gate, *given])
    os.close(nothing)
    os.close(gate)
    child = await Forked.born(ours, opener)
    if not held:
        child.go()
    return child


class Forked:
    """A forked process; when nobody waits for its end any more, it is killed."""

    def __init__(self, pid: int, link: socket.socket, opener: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._opener = opener
        self._ending = asyncio.create_task(self._listen(link))

    @classmethod
    async def born(cls, link: socket.socket, opener: int) -> Forked:
        """Wait for the process id that the forking process tells over `link`."""
        link.setblocking(False)
        try:
            async with asyncio.timeout(BIRTH_SECONDS):
                told = await asyncio.get_running_loop().sock_recv(link, _NUMBER.size)
            assert told, "the forking process has ended"
            return cls(_NUMBER.unpack(told)[0], link, opener)
        except BaseException:
            os.close(opener)
            link.close()
            raise

    async def _listen(self, link: socket.socket) -> int:
        with link:
            try:
                told = await asyncio.get_running_loop().sock_recv(link, _NUMBER.size)
            finally:
                self._close_gate()
        # Nothing is told when the forking process is gone, which takes all of its own along.
        self.returncode = _NUMBER.unpack(told)[0] if told else -signal.SIGKILL
        return self.returncode

    def go(self) -> None:
        """Let it run; it may have been killed before it began."""
        if self._opener >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._opener, b"!")
            self._close_gate()

    def _close_gate(self) -> None:
        if self._opener >= 0:
            os.close(self._opener)
            self._opener = -1

    async def wait(self) -> int:
        """Its exit code, negative for a signal."""
        return await asyncio.shield(self._ending)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        os.kill(self.pid, signal)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be run."""

    module: str
    words: Sequence[str]
    folder: str
    environ: Mapping[str, str]


class _Nursery:
    """The forking process of this process."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        self._one_at_a_time = threading.Lock()
        known = {name: os.environ[name] for name in ("PATH", "PYTHONDEVMODE") if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "tests.support.fork_server", str(theirs.fileno())],
                cwd=ROOT,
                env={**known, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._close)

    def ask(self, order: _Order, descriptors: Sequence[int]) -> None:
        """Have it forked; it takes the descriptors' copies."""
        message = json.dumps([order.module, order.words, order.folder, order.environ]).encode()
        with self._one_at_a_time:
            socket.send_fds(self._channel, [message + b"\n"], descriptors)

    def _close(self) -> None:
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


_starting = threading.Lock()


def _nursery() -> _Nursery:
    """The one of this process, started when it is first needed, from whichever thread."""
    with _starting:
        return _the_nursery()


@functools.cache
def _the_nursery() -> _Nursery:
    return _Nursery()


# ── the forking process ───────────────────────────────────────────────────────────────────────
class _Parent:
    """One thread, no event loop: what forks must be simple."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._links: dict[int, socket.socket] = {}  # by process: told of its birth and its end
        self._selector = selectors.DefaultSelector()
        self._waking, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever pressed it ends us
        self._selector.register(channel, selectors.EVENT_READ)
        self._selector.register(self._waking, selectors.EVENT_READ)

    def serve(self) -> _Newborn | None:
        """Fork until nobody can ask any more. Returns in each child as well: with its life."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._channel:
                    ordered = self._ordered()
                    if ordered is None:
                        self._end()
                        return None
                    if (newborn := self._fork(*ordered)) is not None:
                        return newborn
                elif key.fileobj == self._waking:
                    os.read(self._waking, 1_024)
                    self._reap()
                elif key.data in self._links:  # nobody waits for it any more
                    self._selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def _ordered(self) -> tuple[_Order, list[int]] | None:
        message, descriptors = b"", list[int]()
        while not message.endswith(b"\n"):
            read, more, _, _ = socket.recv_fds(self._channel, 2**20, 8)
            if not read:
                return None
            message, descriptors = message + read, descriptors + more
        return _Order(*json.loads(message)), descriptors

    def _fork(self, order: _Order, descriptors: Sequence[int]) -> _Newborn | None:
        link = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            link.close()
            self._forget()
            return _Newborn(order, *descriptors[1:])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self._links[pid] = link
        link.send(_NUMBER.pack(pid))
        self._selector.register(link, selectors.EVENT_READ, pid)
        return None

    def _forget(self) -> None:
        """In a child: nothing of the parent is left but what was imported."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for link in (self._channel, *self._links.values()):
            link.close()
        os.close(self._waking)
        os.close(self._wake)

    def _reap(self) -> None:
        while self._links:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._links.pop(pid) as link, contextlib.suppress(OSError, KeyError):
                self._selector.unregister(link)
                link.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _end(self) -> None:
        for pid in self._links:
            os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class _Newborn:
    """A child, before its life."""

    order: _Order
    gate: int
    stdin: int
    stdout: int
    stderr: int

    def live(self) -> None:
        """Run the module as `python -m` does."""
        for ours, descriptor in enumerate((self.stdin, self.stdout, self.stderr)):
            os.dup2(descriptor, ours)
            os.close(descriptor)
        os.chdir(self.order.folder)
        os.environ.clear()
        os.environ.update(self.order.environ)
        sys.argv = [self.order.module, *self.order.words]
        begin = os.read(self.gate, 1)
        os.close(self.gate)
        if begin:
            runpy.run_module(self.order.module, run_name="__main__", alter_sys=True)


# What is imported when the bot is configured and a simulator starts, so that no fork has to; the
# libraries' own only when they are first used. One that is not there any more costs time only.
_MODULES = (
    "adapters.discord.adapter",
    "adapters.slack.adapter",
    "adapters.web.adapter",
    "adapters.web.server",
    "bot.app",
    "bot.llm.openai",
    "httpcore2",
    "openai.resources.chat.completions.completions",
    "pydantic.v1",
    "tests.kills.bugs",
    "tests.sims.discord.sim",
    "tests.sims.model.server",
    "tests.sims.slack.sim",
    "truststore",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
)


def _main(channel: socket.socket) -> Any:
    for module in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    assert threading.active_count() == 1, "a thread does not survive a fork"
    gc.collect()
    gc.freeze()
    return _Parent(channel).serve()


if __name__ == "__main__":
    newborn = _main(socket.socket(fileno=int(sys.argv[1])))
    if newborn is not None:
        newborn.live()

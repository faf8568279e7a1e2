"""A server process that imports everything once and forks the processes of tests.

Importing discord.py, Bolt and openai takes seconds, a fork milliseconds. A forked process is still
independent: no test has touched its interpreter; it has a separate folder, environment and
descriptors; and it runs the module as `python -m` does. It is killed when its test process ends.

A test process starts a fork server on first use. The workers of one run share the server that their
controller started (`share`): the imports take two seconds of CPU time and 100 MB.

`tests/conftest.py` enables forking; benchmarks and `THREADLINE_FORKS=0` execute each process.
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
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.llm.model_facts import known_facts
from bot.llm.prices import listed_prices, load_snapshot
from bot.llm.tls import tls_context

ROOT = Path(__file__).parents[2]
SWITCH = "THREADLINE_FORKS"
ADDRESS = "THREADLINE_FORK_SERVER"
"""The environment variable that names the socket of the run's fork server."""
START_SECONDS = 100.0
"""Seconds: the first fork waits for the imports, perhaps on a busy machine."""
_NUMBER = struct.Struct("q")  # a process id, then an exit code


class Child(Protocol):
    """A forked or an executed process."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    async def wait(self) -> int: ...
    def kill(self) -> None: ...
    def send_signal(self, signal: int) -> None: ...


# ── in the test process ───────────────────────────────────────────────────────────────────────
async def spawn(
    module: str,
    *words: str,
    folder: Path,
    environ: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: int,
) -> Child:
    """Run `python -m MODULE WORDS…` in `folder`; the caller closes the descriptors."""
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
    """Fork a process; a `held` one waits for `go`, so that a test can prepare for its pid."""
    ours, theirs = socket.socketpair()
    gate, opener = os.pipe()
    command = _Command(module, words, str(folder), dict(environ))
    nothing = os.open(os.devnull, os.O_RDWR)
    given = [nothing if stream == subprocess.DEVNULL else stream for stream in streams]
    with theirs:
        _fork_server().ask(command, [theirs.fileno(), gate, *given])
    os.close(nothing)
    os.close(gate)
    child = await Forked.start(ours, opener)
    if not held:
        child.go()
    return child


class Forked:
    """A forked process; it is killed when the event loop that waits for it closes."""

    def __init__(self, pid: int, link: socket.socket, opener: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._opener = opener
        self._ending = asyncio.create_task(self._listen(link))

    @classmethod
    async def start(cls, link: socket.socket, opener: int) -> Forked:
        """Wait for the process id that the fork server sends over `link`."""
        link.setblocking(False)
        try:
            async with asyncio.timeout(START_SECONDS):
                data = await asyncio.get_running_loop().sock_recv(link, _NUMBER.size)
            assert data, "the fork server has exited"
            return cls(_NUMBER.unpack(data)[0], link, opener)
        except BaseException:
            os.close(opener)
            link.close()
            raise

    async def _listen(self, link: socket.socket) -> int:
        with link:
            try:
                data = await asyncio.get_running_loop().sock_recv(link, _NUMBER.size)
            finally:
                self._close_gate()
        # The link closes without data if the fork server dies, which kills all of its children.
        self.returncode = _NUMBER.unpack(data)[0] if data else -signal.SIGKILL
        return self.returncode

    def go(self) -> None:
        """Let the process run, if it has not been killed."""
        if self._opener >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._opener, b"!")
            self._close_gate()

    def _close_gate(self) -> None:
        if self._opener >= 0:
            os.close(self._opener)
            self._opener = -1

    async def wait(self) -> int:
        """Wait for the exit code, negative for a signal."""
        return await asyncio.shield(self._ending)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError if the process has exited."""
        os.kill(self.pid, signal)


@dataclass(frozen=True, slots=True)
class _Command:
    """A module to run, with its words, folder and environment."""

    module: str
    words: Sequence[str]
    folder: str
    environ: Mapping[str, str]


class _ForkServer:
    """This test process's channel to a fork server."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._one_at_a_time = threading.Lock()

    def ask(self, command: _Command, descriptors: Sequence[int]) -> None:
        """Send a command, with copies of the child's descriptors."""
        message = json.dumps(
            [command.module, command.words, command.folder, command.environ]
        ).encode()
        with self._one_at_a_time:
            socket.send_fds(self._channel, [message + b"\n"], descriptors)


def share() -> None:
    """Start the fork server of a run, for the workers that inherit this process's environment.

    It ends with this process.
    """
    folder = tempfile.mkdtemp(prefix="threadline-forks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen(64)
        os.environ[ADDRESS] = f"{folder}/socket"
        _start(listener)


def _start(*listeners: socket.socket) -> socket.socket:
    """Start a fork server, which ends with this process; returns the channel to it."""
    channel, theirs = socket.socketpair()
    known = {name: os.environ[name] for name in ("PATH", "PYTHONDEVMODE") if name in os.environ}
    descriptors = [each.fileno() for each in (theirs, *listeners)]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.support.fork_server", *map(str, descriptors)],
            cwd=ROOT,
            env={**known, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
    atexit.register(_end, channel, process)
    return channel


def _end(channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
    channel.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)


def _join(address: str) -> socket.socket:
    """The channel to the run's fork server."""
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(address)
    return channel


_starting = threading.Lock()


def _fork_server() -> _ForkServer:
    """The fork server of this process, joined or started on first use; may be called on any
    thread."""
    with _starting:
        return _the_fork_server()


@functools.cache
def _the_fork_server() -> _ForkServer:
    address = os.environ.get(ADDRESS)
    return _ForkServer(_join(address) if address else _start())


# ── in the fork server ────────────────────────────────────────────────────────────────────────
class _Server:
    """Single-threaded and without an event loop, so that forking is safe."""

    def __init__(self, channel: socket.socket, listener: socket.socket | None) -> None:
        self._owner, self._listener = channel, listener
        self._channels = [channel]  # to test processes
        self._links: dict[
            int, socket.socket
        ] = {}  # by process id; receives the pid, then the exit code
        self._selector = selectors.DefaultSelector()
        self._waking, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # the test process handles Ctrl-C and then closes the channel
        for source in filter(None, (channel, listener)):
            self._selector.register(source, selectors.EVENT_READ)
        self._selector.register(self._waking, selectors.EVENT_READ)

    def serve(self) -> _Child | None:
        """Fork until the owner's channel closes, then return None; returns in each child, too."""
        while True:
            for key, _ in self._selector.select():
                source = key.fileobj
                if source is self._listener:
                    self._accept()
                elif isinstance(source, socket.socket) and source in self._channels:
                    received = self._receive_command(source)
                    if received is not None:
                        if (child := self._fork(*received)) is not None:
                            return child
                    elif source is self._owner:
                        self._end()
                        return None
                    else:
                        self._leave(source)
                elif source == self._waking:
                    os.read(self._waking, 1_024)
                    self._reap()
                elif key.data in self._links:  # its event loop has closed
                    self._selector.unregister(source)
                    os.kill(key.data, signal.SIGKILL)

    def _accept(self) -> None:
        assert self._listener is not None
        channel, _ = self._listener.accept()
        self._channels.append(channel)
        self._selector.register(channel, selectors.EVENT_READ)

    def _leave(self, channel: socket.socket) -> None:
        """Forget a test process that has ended. The links to its children end them."""
        self._selector.unregister(channel)
        self._channels.remove(channel)
        channel.close()

    @staticmethod
    def _receive_command(channel: socket.socket) -> tuple[_Command, list[int]] | None:
        message, descriptors = b"", list[int]()
        while not message.endswith(b"\n"):
            read, more, _, _ = socket.recv_fds(channel, 2**20, 8)
            if not read:
                return None
            message, descriptors = message + read, descriptors + more
        return _Command(*json.loads(message)), descriptors

    def _fork(self, command: _Command, descriptors: Sequence[int]) -> _Child | None:
        link = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            link.close()
            self._forget()
            return _Child(command, *descriptors[1:])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self._links[pid] = link
        with contextlib.suppress(OSError):  # its test no longer waits: the selector ends the child
            link.send(_NUMBER.pack(pid))
        self._selector.register(link, selectors.EVENT_READ, pid)
        return None

    def _forget(self) -> None:
        """Undo, in a child, everything of the server except the imports."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for each in filter(None, (self._listener, *self._channels, *self._links.values())):
            each.close()
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
class _Child:
    """A child before it runs its module."""

    command: _Command
    gate: int
    stdin: int
    stdout: int
    stderr: int

    def run(self) -> None:
        """Run the module as `python -m` does."""
        for ours, descriptor in enumerate((self.stdin, self.stdout, self.stderr)):
            os.dup2(descriptor, ours)
            os.close(descriptor)
        os.chdir(self.command.folder)
        os.environ.clear()
        os.environ.update(self.command.environ)
        sys.argv = [self.command.module, *self.command.words]
        begin = os.read(self.gate, 1)
        os.close(self.gate)
        if begin:
            runpy.run_module(self.command.module, run_name="__main__", alter_sys=True)


# Modules that the bot and the simulators import when they start, and that libraries import on first
# use. A missing module only costs time.
_MODULES = (
    "adapters.discord.adapter",
    "adapters.slack.adapter",
    "adapters.web.adapter",
    "adapters.web.server",
    "bot.app",
    "bot.cli.completion",
    "bot.cli.config_check",
    "bot.cli.conversations",
    "bot.cli.database",
    "bot.cli.privacy_arguments",
    "bot.cli.setup",
    "bot.cli.slack",
    "bot.cli.status",
    "bot.cli.usage",
    "bot.common.logs",
    "bot.evaluation.arguments",
    "bot.wiring.terminal",
    "bot.llm.openai",
    "encodings.idna",
    "genai_prices.data",
    "genai_prices.data_snapshot",
    "httpcore2",
    "openai.resources.chat.chat",
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


def _main(channel: socket.socket, listener: socket.socket | None = None) -> Any:
    for module in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    known_facts("sim", "")  # compiles the table's patterns
    listed_prices(load_snapshot(), "127.0.0.1", "sim", 1, 0.0)  # so does this
    tls_context()
    assert threading.active_count() == 1, "a thread does not survive a fork"
    gc.collect()
    gc.freeze()
    return _Server(channel, listener).serve()


if __name__ == "__main__":
    child = _main(*(socket.socket(fileno=int(each)) for each in sys.argv[1:]))
    if child is not None:
        child.run()

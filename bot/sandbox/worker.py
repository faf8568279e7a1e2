"""Runs one function over untrusted bytes in a child process with limits.

For parsers without a known bound on time and memory. Invariant: a task that exceeds a limit loses
only its result and the child; no thread or other task waits for it longer than
`WorkerLimits.seconds`. The child's environment is empty, so it inherits no secret.

WorkerFailed
├── TaskFailed    the function raised an error, or its output is too large
├── TaskTooCostly the task ran into its limit of CPU time, memory or time, and the child was killed
│   └── TaskCrashed the child died of a bug in native code
└── WorkerBusy    other tasks occupied the worker for the whole time limit
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from bot.domain.errors import ThreadlineError
from bot.sandbox import child
from bot.sandbox.child import HEADER, READY, ExitStatus

STARTUP_SECONDS = 20.0
"""Limit for importing the function's module in the child, on a busy machine."""

_ROOT = str(Path(__file__).parents[2])
_CHUNK = 65_536
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})


class WorkerFailed(ThreadlineError):
    """A task produced no result."""


class TaskFailed(WorkerFailed):
    """The function raised an error for this input, or its output is larger than allowed."""


class TaskTooCostly(WorkerFailed):
    """The task hit a limit and the child was killed; the next task starts a new child."""


class TaskCrashed(TaskTooCostly):
    """The child died of an invalid memory access or instruction; the next task starts a new one."""


class WorkerBusy(WorkerFailed):
    """Other tasks occupied the worker for the whole time limit."""


class _ExitedIdle(TaskTooCostly):
    """The child exited without a signal, because it was idle just before the task arrived."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The limits of one task. `seconds` of wall-clock time also stop a child that sleeps.

    `descriptors` is the most open files: 32 permits late imports, 0 forbids all files and sockets.
    `niceness` is added to the child's, as with the command `nice`.
    """

    cpu_seconds: float = 0.5
    seconds: float = 5.0
    memory_bytes: int = 512 * 1024 * 1024  # of address space, including the interpreter's
    output_bytes: int = 4 * 1024 * 1024
    descriptors: int = 32
    niceness: int = 0


class Worker:
    """Runs `task` ("package.module:function", bytes to bytes) in a child that starts on demand.

    `run` blocks, so call it from a separate thread pool: the event loop's default pool also
    resolves host names. One task runs at a time; the child exits after a minute without tasks.
    """

    def __init__(self, task: str, limits: WorkerLimits | None = None) -> None:
        self._task, self._limits = task, limits or WorkerLimits()
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def run(self, data: bytes) -> bytes:
        """The function's result for `data`. Raises WorkerFailed."""
        if not self._lock.acquire(timeout=self._limits.seconds):
            raise WorkerBusy("the worker is occupied")
        try:
            return self._run(data)
        finally:
            self._lock.release()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Kill the child; a task that it is running fails."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()  # `run` then raises in its thread and releases the lock
        with self._lock:
            if self._child is not None:
                self._child.end()
                self._child = None

    def _run(self, data: bytes) -> bytes:
        try:
            status, result = self._ask(data)
        except _ExitedIdle:
            status, result = self._ask(data)
        if status is not ExitStatus.DONE:
            raise TaskFailed(result.decode("utf-8", "replace"))
        return result

    def _ask(self, data: bytes) -> tuple[ExitStatus, bytes]:
        child = self._live_child()
        try:
            return child.ask(data, self._limits)
        except (OSError, EOFError) as error:
            self._child = None
            raise _ended(child.end(), error) from error

    def _live_child(self) -> _Child:
        """The running child; replaces one that has exited or was killed."""
        if self._closed:
            raise WorkerFailed("the worker is closed")
        if self._child is not None and self._child.has_ended():
            self._child.end()
            self._child = None
        if self._child is None:
            self._child = _Child(self._task, self._limits)
        if self._closed:  # `close` was called while the child started, and did not find it
            self._child.end()
            self._child = None
            raise WorkerFailed("the worker is closed")
        return self._child


def _ended(code: int, error: Exception) -> TaskTooCostly:
    """The error for a child that exited with `code`, which is a negative signal number if it was
    killed."""
    if code == 0:
        return _ExitedIdle("the worker exited")
    if -code in _CRASHES:
        return TaskCrashed(f"the worker crashed: {signal.Signals(-code).name}")
    return TaskTooCostly(f"the worker ended: {error}")


class _Child:
    """The child process and its two non-blocking pipes."""

    def __init__(self, task: str, limits: WorkerLimits) -> None:
        words = [str(value) for value in astuple(limits)]
        self._process = subprocess.Popen(  # noqa: S603 - only our own arguments
            [sys.executable, "-m", child.__name__, task, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env={"PYTHONPATH": os.pathsep.join([_ROOT, *sys.path])},
            start_new_session=True,  # Ctrl-C in the terminal must not reach the child
        )
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101
        self._write, self._read = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        try:
            self._receive(len(READY), time.monotonic() + STARTUP_SECONDS)
        except (OSError, EOFError) as error:
            self.end()
            raise WorkerFailed(f"the worker cannot start: {error!r}") from error

    def ask(self, data: bytes, limits: WorkerLimits) -> tuple[ExitStatus, bytes]:
        """Run one task. Raises OSError or EOFError if the child exits or exceeds the time limit."""
        deadline = time.monotonic() + limits.seconds
        self._send(HEADER.pack(0, len(data)), deadline)
        self._send(data, deadline)
        status, size = HEADER.unpack(self._receive(HEADER.size, deadline))
        if size > limits.output_bytes:
            raise OSError("the output is too large")
        return ExitStatus(status), self._receive(size, deadline)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def end(self) -> int:
        """Kill and reap the child, and close the pipes. Returns the exit code, negative for a
        signal."""
        self.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

    def _send(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._write, select.POLLOUT, deadline)
            left = left[os.write(self._write, left[:_CHUNK]) :]

    def _receive(self, size: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self._wait(self._read, select.POLLIN, deadline)
            part = os.read(self._read, min(_CHUNK, size - len(parts)))
            if not part:
                raise EOFError("the child exited")
            parts += part
        return bytes(parts)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()  # unlike select, it supports descriptors above 1024
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
            raise TimeoutError("the time limit is exceeded")

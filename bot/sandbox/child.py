"""The worker's child process: reads tasks from stdin and runs them under limits set in the kernel.

Invariant: the kernel enforces all limits: CPU time by a timer whose signal kills the process,
memory by the size of the address space, files by their number and size. With 0 descriptors, the
function cannot open a file or a socket, so its module must import everything that it needs.
"""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from importlib import import_module

HEADER = struct.Struct("!BI")  # a status (unused in requests), and the number of bytes that follow
READY = b"!"
IDLE_SECONDS = 60.0
"""The child exits after this time without a task, to free its memory."""


class ExitStatus(IntEnum):
    """The result of a task."""

    DONE = 0
    FAILED = 1


def main() -> None:
    """Run tasks until stdin ends or no task arrives for `IDLE_SECONDS`."""
    task, cpu, _seconds, memory, output, descriptors, niceness = sys.argv[1:]
    source, sink = _pipes()
    module, _, name = task.partition(":")
    function: Callable[[bytes], bytes] = getattr(import_module(module), name)
    os.nice(int(niceness))
    gc.freeze()  # the imported modules live as long as the child, so collections can skip them
    _limit(int(memory), int(descriptors))
    _write(sink, READY)
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        head = _read(source, HEADER.size)
        if head is None:
            return
        data = _read(source, HEADER.unpack(head)[1])
        if data is None:
            return
        status, result = _execute(function, data, float(cpu), int(output))
        _write(sink, HEADER.pack(status, len(result)) + result)


def _pipes() -> tuple[int, int]:
    """Duplicate stdin and stdout, and point the originals to /dev/null for the function."""
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return source, sink


def _limit(memory: int, descriptors: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the default kills, even inside a C function


def _execute(
    function: Callable[[bytes], bytes], data: bytes, cpu: float, most: int
) -> tuple[ExitStatus, bytes]:
    signal.setitimer(signal.ITIMER_PROF, cpu)
    try:
        result = function(data)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a parser may raise anything
        return ExitStatus.FAILED, type(error).__name__.encode()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return (ExitStatus.DONE, result) if len(result) <= most else (ExitStatus.FAILED, b"too large")


def _read(source: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(source, min(65_536, size - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(sink: int, data: bytes) -> None:
    left = memoryview(data)  # slices without copying
    while left:
        left = left[os.write(sink, left) :]


if __name__ == "__main__":
    main()

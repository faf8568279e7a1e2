"""The worker's child process: reads tasks from stdin, under limits that the kernel enforces.

Invariant: nothing here is trusted to be quick or small: CPU time by a timer whose signal kills,
memory by the address space, files by their number and size.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from importlib import import_module

HEADER = struct.Struct("!BI")  # a status (unused in requests), and how many bytes follow
READY = b"!"
IDLE_SECONDS = 60.0
"""After so long without a task the child exits: an idle bot keeps no memory for it."""

MOST_DESCRIPTORS = 32
"""A module that is imported late opens a file or two."""


class Status(IntEnum):
    """What became of a task."""

    DONE = 0
    FAILED = 1


def main() -> None:
    """Serve until the input ends, or nothing comes for a while."""
    task, cpu, _seconds, memory, output = sys.argv[1:]
    source, sink = _pipes()
    module, _, name = task.partition(":")
    function: Callable[[bytes], bytes] = getattr(import_module(module), name)
    _limit(int(memory))
    _write(sink, READY)
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        head = _read(source, HEADER.size)
        if head is None:
            return
        data = _read(source, HEADER.unpack(head)[1])
        if data is None:
            return
        status, result = _carry_out(function, data, float(cpu), int(output))
        _write(sink, HEADER.pack(status, len(result)) + result)


def _pipes() -> tuple[int, int]:
    """Input and output; what the function reads or prints itself goes nowhere."""
    source, sink = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return source, sink


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # kills, also in the middle of a C function


def _carry_out(
    function: Callable[[bytes], bytes], data: bytes, cpu: float, most: int
) -> tuple[Status, bytes]:
    signal.setitimer(signal.ITIMER_PROF, cpu)
    try:
        result = function(data)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises costs this task alone
        return Status.FAILED, type(error).__name__.encode()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return (Status.DONE, result) if len(result) <= most else (Status.FAILED, b"too large")


def _read(source: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(source, min(65_536, size - len(parts)))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]


if __name__ == "__main__":
    main()

"""Ports for servers that tests start, and start again.

The kernel soon gives a port that it gave once to another socket: outgoing connections of this
machine use the same range. These ports lie below it, and a locked file reserves each of them
until the test process that asked ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import socket
import tempfile
from io import TextIOWrapper
from pathlib import Path

# Linux hands out ports from 32768, macOS and Windows from 49152 (RFC 6335).
FIRST, LAST = 10_240, 32_000
_reserved: list[TextIOWrapper] = []


def free_port() -> int:
    """A port on which nothing listens, reserved for this process."""
    folder = Path(tempfile.gettempdir()) / "threadline-test-ports"
    folder.mkdir(exist_ok=True)
    for port in random.sample(range(FIRST, LAST), 1_000):
        lock = (folder / str(port)).open("w")
        with contextlib.suppress(OSError), socket.socket() as probe:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _reserved.append(lock)
            return port
        lock.close()
    raise RuntimeError("a thousand ports were taken")

"""A function for limited workers that misbehaves as its input says."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path


def misbehave(task: bytes) -> bytes:
    """Return `task`, or misbehave in the way that it names."""
    match task.partition(b" "):
        case (b"backtrack", *_):
            re.fullmatch(r"(a|a)*b", "a" * 60)
        case (b"memory", *_):
            return bytes(2_000_000_000)[:1]
        case (b"raise", *_):
            raise ValueError("a parser's own")
        case (b"long", *_):
            return bytes(1_000_000)
        case (b"print", *_):
            print("not into the pipe", flush=True)
            return b"printed"
        case (b"exit", *_):
            os._exit(1)
        case (b"sleep", *_):
            time.sleep(60)
        case (b"environ", *_):
            return repr(dict(os.environ)).encode()
        case (b"write", _, path):
            Path(os.fsdecode(path)).write_bytes(b"x")
        case (b"descriptors", *_):
            for _ in range(100):
                os.open(os.devnull, os.O_RDONLY)
        case (b"socket", *_):
            socket.socket()
        case (b"open", *_):
            Path(os.devnull).read_bytes()
        case (b"crash", *_):
            os.kill(os.getpid(), signal.SIGSEGV)
        case (b"leave", *_):
            os._exit(0)
        case _:
            sys.stdout.flush()
    return task

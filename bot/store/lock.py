"""One process per database: the scheduler of each believes that all turns are its own.

The lock is the operating system's, on a file beside the database: it ends with the process,
however that ends, and the file itself means nothing and stays.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.domain.errors import InUse, StoreUnavailable


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the database at `path`. Raises InUse when another process does.

    StoreUnavailable when the lock file cannot be made. Two names of one file are one database.
    """
    real = path.resolve()
    descriptor = _open(real.with_name(f"{real.name}.lock"), path)
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _open(lock: Path, path: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise StoreUnavailable(
            f"The database {path} cannot be opened: {lock} cannot be made ({exc.strerror})."
        ) from exc


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        raise InUse(
            f"The database {path} is in use by another Threadline (process {holder}): "
            "stop it, or name another file in DATABASE_URL."
        ) from exc
    with suppress(OSError):  # a full disk: the number is for people, the lock needs none
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

"""Allows only one process per database, because each scheduler assumes that it alone runs turns.

The lock is an OS lock on a file next to the database. The OS releases it when the process ends, for
whatever reason; the file stays and has no meaning.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.domain.errors import InUse, StoreUnavailable


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Lock the database at `path`. Symbolic links to one file share its lock.

    Raises InUse if another process has it, StoreUnavailable if the lock file cannot be created.
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
            f"The database {path} cannot be opened: {lock} cannot be created ({exc.strerror})."
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
    with suppress(OSError):  # on a full disk: the process id is informational
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

"""Bots to be killed: each is forked (`tests.support.fork_server`), and held until it is aimed at.

A bot is a process of its own, which runs `tests.kills.instrumented`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.fork_server import Forked, fork


class ProcessPool:
    """The bots of one test, as an async context manager; at its end all are killed."""

    async def __aenter__(self) -> Self:
        self._children: dict[int, Forked] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in self._children.values():
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    async def fork(self, *, folder: Path, environ: Mapping[str, str]) -> int:
        """A new bot's process id; it begins with `go`, so that it can be aimed at before."""
        with (folder / "bot.log").open("ab") as log:
            child = await fork(
                *("tests.kills.instrumented", "run"),
                folder=folder,
                environ=environ,
                streams=(subprocess.DEVNULL, log.fileno(), log.fileno()),
                held=True,
            )
        self._children[child.pid] = child
        return child.pid

    def go(self, pid: int) -> None:
        """Let it run."""
        self._children[pid].go()

    async def ended(self, pid: int) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._children[pid].wait()

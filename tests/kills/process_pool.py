"""Bot processes that can be killed: forked, and held until a kill is armed.

Each process runs `tests.kills.instrumented`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.fork_server import Forked, fork


class ProcessPool:
    """The bot processes of one test, as an async context manager that kills them at its end."""

    async def __aenter__(self) -> Self:
        self._children: dict[int, Forked] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        for child in tuple(self._children.values()):
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    async def fork(self, *, folder: Path, environ: Mapping[str, str]) -> int:
        """Fork a bot and return its process id; it does nothing until `go`."""
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
        """Let the process run."""
        self._children[pid].go()

    async def wait(self, pid: int) -> int:
        """Wait for the process to exit; returns its exit code, negative for a signal."""
        return await self._children[pid].wait()

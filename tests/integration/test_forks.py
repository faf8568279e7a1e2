"""A forked process behaves like an executed one, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import fork_server
from tests.support.fork_server import ADDRESS, SWITCH, fork
from tests.support.harness import command
from tests.support.store_kit import look

SILENT = (subprocess.DEVNULL,) * 3


@pytest.mark.parametrize("forked", ["1", "0"])
async def test_a_process_has_separate_arguments_folder_environment_streams_and_exit_code(
    forked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, forked)
    said = await command("version", folder=tmp_path, environ={})
    assert said == (0, "threadline 0.1.0\n", "")
    code, out, err = await command("run", folder=tmp_path, environ={"LLM": "gpt-5"})
    assert (code, out) == (2, "")
    assert err.startswith("threadline: LLM: ")
    relative = {"DATABASE_URL": "sqlite:///here.db"}
    assert (await command("migrate", folder=tmp_path, environ=relative))[0] == 0
    assert look(tmp_path / "here.db", "SELECT count(*) FROM turns") == [(0,)]


async def test_a_held_process_starts_with_go(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "sqlite:///here.db"}
    held = await fork("bot", "migrate", folder=tmp_path, environ=environ, streams=SILENT, held=True)
    killed = await fork(
        "bot", "migrate", folder=tmp_path, environ=environ, streams=SILENT, held=True
    )
    killed.kill()
    assert await killed.wait() == killed.returncode == -signal.SIGKILL
    assert held.returncode is None
    assert _files(tmp_path) == []
    held.go()
    assert await held.wait() == 0
    assert (tmp_path / "here.db").exists()


async def test_a_process_dies_with_the_event_loop_that_forked_it(tmp_path: Path) -> None:
    """A failing test leaves no process behind."""

    def start_and_leave() -> int:
        async def start() -> int:
            process = await fork("bot", "run", folder=tmp_path, environ=web, streams=SILENT)
            assert process.returncode is None
            return process.pid

        return asyncio.run(start())

    web = {"HTTP_PORT": "0", "DATABASE_URL": "sqlite:///here.db"}
    pid = await asyncio.to_thread(start_and_leave)
    async with asyncio.timeout(60):
        while _is_running(pid):
            await asyncio.sleep(0.01)


async def test_a_shared_server_outlives_each_of_its_test_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ADDRESS not in os.environ:  # a run without workers
        monkeypatch.setenv(ADDRESS, "")
        fork_server.share()
    channels = [fork_server._join(os.environ[ADDRESS]) for _ in range(2)]
    children = []
    for channel in channels:
        joined = fork_server._ForkServer(channel)
        monkeypatch.setattr(fork_server, "_fork_server", lambda joined=joined: joined)
        children.append(
            await fork("bot", "version", folder=tmp_path, environ={}, streams=SILENT, held=True)
        )
    channels[0].close()
    children[1].go()
    assert await children[1].wait() == 0
    children[0].kill()
    assert await children[0].wait() == -signal.SIGKILL
    channels[1].close()


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

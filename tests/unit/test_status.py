"""`threadline status`: its socket, its table, and the problems that it remembers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.cli.status import NoAnswer, read_status
from bot.cli.status_table import print_once
from bot.common import logs
from bot.common.recent_problems import MOST, RecentProblems
from bot.config.settings import Settings
from bot.domain import status_texts
from bot.domain.operation import LeftoverCount
from bot.domain.policy import Budget, BudgetScope, Period, PolicyConfig, PolicyValues, Rule
from bot.domain.status import (
    BudgetStatus,
    LoggedProblem,
    PlatformStatus,
    ScopeStatus,
    Status,
    TurnStatus,
)
from bot.operation import control_socket
from bot.operation.control_socket import ControlSocket, ask
from bot.operation.status import budgets_of

STATUS = Status(
    at=1_000_000.0,
    version="0.1.0",
    pid=42,
    started_at=900_000.0,
    platforms=(
        PlatformStatus("discord", True, {"gateway": "connected"}, 999_990.0),
        PlatformStatus("slack", False, {"trouble": "refused\x1b[2J"}),
    ),
    parts={"configuration": "threadline.toml is invalid"},
    slots={"used": 3, "all": 200, "queued": 0},
    unfinished={"discord": {"running": 3}},
    turns=(TurnStatus(7, "discord", "running", 1, 999_900.0),),
    leftovers=(LeftoverCount("slack", "status", 2, 999_940.0),),
    scopes=(ScopeStatus("discord", "channel", 0, 5, 2), ScopeStatus("slack", "other", None, None)),
    breakers={"openai/gpt-5": "half_open"},
    database={"ok": 1, "size": 123_456_789},
    budgets=(BudgetStatus("a dollar a day", "person", "day", 12, 2, 0.97),),
    problems=(
        LoggedProblem(999_999.0, "warning", "the platform throttles", "bot.x", 7),
        LoggedProblem(999_999.0, "error", "", "discord.gateway"),
    ),
)


def settings(folder: Path) -> Settings:
    return Settings(database_url=f"sqlite:///{folder / 'threadline.db'}")


@asynccontextmanager
async def serving(path: Path, **answers: Any) -> AsyncIterator[ControlSocket]:
    """A socket whose responses are values, exceptions, or events to wait for."""

    def make(value: Any) -> Any:
        async def answer() -> Mapping[str, Any]:
            if isinstance(value, asyncio.Event):
                await value.wait()
            if isinstance(value, Exception):
                raise value
            found: Mapping[str, Any] = {} if isinstance(value, asyncio.Event) else value
            return found

        return answer

    control = ControlSocket(path, {name: make(value) for name, value in answers.items()})
    running = asyncio.create_task(control.run())
    async with asyncio.timeout(10):
        while not path.exists():  # noqa: ASYNC240 - nothing tells when the socket is there
            await asyncio.sleep(0.001)
    try:
        yield control
    finally:
        running.cancel()
        await asyncio.wait({running})


# ── the socket ────────────────────────────────────────────────────────────────────────────────
async def test_only_the_bots_user_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    before = os.umask(0o022)
    os.umask(before)
    async with serving(path, status=STATUS.to_json()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(before) == before
        assert Status.from_json(await asyncio.to_thread(ask, path, "status")) == STATUS
    assert not path.exists()


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        ask(path, "status")
    async with serving(path, status={"a": 1}):
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await asyncio.to_thread(ask, path, "status") == {"a": 1}
                    break
                except (ConnectionRefusedError, FileNotFoundError):  # the old one, or none yet
                    await asyncio.sleep(0.001)


async def test_a_path_longer_than_addresses_of_sockets_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with serving(folder / "s.sock", status={"a": 1}):
        assert await asyncio.to_thread(ask, folder / "s.sock", "status") == {"a": 1}


async def test_a_file_in_its_place_costs_the_socket_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("mine")
    with structlog.testing.capture_logs() as lines:
        async with serving(path, status={}):
            await asyncio.sleep(0)
    assert path.read_text() == "mine"
    assert [line["event"] for line in lines] == ["no control socket"]


async def test_odd_clients_and_failing_answers_cost_only_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "LINE_SECONDS", 0.2)
    path = tmp_path / "s.sock"
    async with serving(path, status={"a": 1}, slow=asyncio.Event(), broken=ValueError("no")):
        silent = [await asyncio.open_unix_connection(path) for _ in range(20)]
        found = await asyncio.to_thread(ask, path, "unknown")
        assert found == {"error": "This bot knows status, slow, broken, and nothing else."}
        for line in (b"x" * 100_000, b"\xff\xfe\n"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line)
            assert len(await reader.read()) < 200
            writer.close()
        with pytest.raises(ValueError):  # the line is empty
            await asyncio.to_thread(ask, path, "broken")
        monkeypatch.setattr(control_socket, "ANSWER_SECONDS", 0.1)
        with pytest.raises(ValueError):
            await asyncio.to_thread(ask, path, "slow")
        assert await asyncio.to_thread(ask, path, "status") == {"a": 1}
        for _, writer in silent:
            writer.close()


def test_links_to_one_database_share_its_socket(tmp_path: Path) -> None:
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    urls = [f"sqlite:///{tmp_path / name}" for name in ("real.db", "link.db")]
    first, second = (Settings(database_url=url).socket_path for url in urls)
    assert first == second == tmp_path / "real.db.sock"
    assert Settings(control_socket=Path("/run/bot.sock")).socket_path == Path("/run/bot.sock")


async def test_a_bot_that_lives_keeps_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with serving(path, status={"first": 1}):
        with structlog.testing.capture_logs() as lines:
            async with serving(path, status={"second": 2}):
                assert await asyncio.to_thread(ask, path, "status") == {"first": 1}
        assert [line["event"] for line in lines] == ["no control socket"]
        assert await asyncio.to_thread(ask, path, "status") == {"first": 1}


async def test_the_socket_of_a_bot_that_ends_is_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes in one folder may replace each other."""
    monkeypatch.setattr(control_socket, "RETRY_SECONDS", 0.001)
    path = tmp_path / "s.sock"
    with structlog.testing.capture_logs() as lines:
        async with AsyncExitStack() as second:
            async with serving(path, status={"first": 1}):
                await second.enter_async_context(serving(path, status={"second": 2}))
                while not lines:
                    await asyncio.sleep(0)
            async with asyncio.timeout(10):
                while not path.exists():
                    await asyncio.sleep(0)
            assert await asyncio.to_thread(ask, path, "status") == {"second": 2}
    assert [line["event"] for line in lines] == ["no control socket"]


async def test_a_missing_folder_is_used_once_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "RETRY_SECONDS", 0.001)
    path = tmp_path / "later" / "s.sock"
    with structlog.testing.capture_logs() as lines:
        running = asyncio.create_task(ControlSocket(path, {}).run())
        while not lines:
            await asyncio.sleep(0)
        path.parent.mkdir()
        async with asyncio.timeout(10):
            while not path.exists():
                await asyncio.sleep(0)
        assert "knows" in (await asyncio.to_thread(ask, path, "status"))["error"]
    running.cancel()
    await asyncio.wait({running})
    assert [line["event"] for line in lines] == ["no control socket"]


# ── reading it ────────────────────────────────────────────────────────────────────────────────
async def test_answers_of_other_versions(tmp_path: Path) -> None:
    """Fields from a newer bot are ignored; an unreadable response gives one sentence."""
    path = settings(tmp_path).socket_path
    newer = {**STATUS.to_json(), "moon": "full"}
    async with serving(path, status=newer):
        assert await asyncio.to_thread(read_status, settings(tmp_path)) == STATUS
    for answer in ({"error": "no"}, {"at": 1}):
        async with serving(path, status=answer):
            with pytest.raises(NoAnswer, match="update this command"):
                await asyncio.to_thread(read_status, settings(tmp_path))


async def test_a_bot_that_hangs_is_one_sentence(tmp_path: Path) -> None:
    path = settings(tmp_path).socket_path
    async with serving(path, status=ValueError("no answer")):
        with pytest.raises(NoAnswer, match="does not answer"):
            await asyncio.to_thread(read_status, settings(tmp_path))


# ── the table ─────────────────────────────────────────────────────────────────────────────────
def test_the_table_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    print_once(STATUS)
    out = capsys.readouterr().out
    for words in (
        "Threadline 0.1.0  process 42, running for 1 d 3 h",
        "database works  123.5 MB",
        "configuration threadline.toml is invalid",
        "discord   connected  10 s ago    never       gateway connected",
        "slack     DOWN       never       never       trouble refused\\x1b[2J",
        "3 of 200 slots used, 0 queued  discord: 3 running",
        "7     discord   running  1        1 min 40 s",
        "slack            2 × status  1 min ago",
        "discord channel  0 of 5   2",
        "slack other      unknown  0",
        "openai/gpt-5  half open",
        "a dollar a day  person, day  97%          2 of 12",
        "a library: discord.gateway",
        "the platform throttles",
    ):
        assert words in out, out
    assert "\x1b" not in out


def test_without_a_bot_the_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_once(Status(at=1.0, version="0.1.0", database={"ok": 1, "size": 5_000}))
    out = capsys.readouterr().out
    assert status_texts.NOT_RUNNING in out and status_texts.NOTHING_UNFINISHED in out


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3_601, "1 h"), (90_061, "1 d 1 h")],
)
def test_durations_have_two_units(value: float, text: str) -> None:
    assert status_texts.seconds(value) == text


async def test_at_a_terminal_the_table_is_live_until_ctrl_c(tmp_path: Path) -> None:
    seen, arrived = bytearray(), asyncio.Event()
    master, terminal = pty.openpty()
    loop = asyncio.get_running_loop()

    def read() -> None:
        seen.extend(os.read(master, 65_536))
        arrived.set()

    async def wait_for(words: bytes) -> None:
        async with asyncio.timeout(60):
            while words not in seen:
                arrived.clear()
                await arrived.wait()

    path = settings(tmp_path).socket_path
    environ = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'threadline.db'}"}
    environ |= {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "120", "LINES": "60"}
    loop.add_reader(master, read)
    async with serving(path, status=STATUS.to_json()):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "status"),
            cwd=tmp_path,
            env=environ | {"TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        await wait_for(b"process")
        await wait_for(b"half open")
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    loop.remove_reader(master)
    os.close(master)
    os.close(terminal)


# ── problems and budgets ──────────────────────────────────────────────────────────────────────
def test_problems_keep_our_words_and_no_values(tmp_path: Path) -> None:
    problems = RecentProblems()
    stream = (tmp_path / "log").open("w")
    logs.configure(level="INFO", form="json", secrets=[], stream=stream)
    try:
        with problems.listening():
            log = structlog.stdlib.get_logger("bot.test")
            log.info("all is well")
            log.warning("the platform throttles", turn=7, channel="C123", text="hush")
            logging.getLogger("library").error("cannot reach %s", "C123")
        log.error("too late")
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[0].close()
        stream.close()
    ours, library = problems.latest
    assert (ours.level, ours.event, ours.turn) == ("warning", "the platform throttles", 7)
    assert (library.level, library.event, library.logger) == ("error", "", "library")
    told = json.dumps(Status(at=0, version="", problems=problems.latest).to_json())
    assert "C123" not in told and "hush" not in told


def test_only_the_latest_problems_are_kept() -> None:
    problems = RecentProblems()
    for number in range(3 * MOST):
        record = logging.LogRecord("bot", logging.ERROR, "", 0, {"event": str(number)}, (), None)
        problems.emit(record)
    assert [each.event for each in problems.latest] == [
        str(number) for number in range(2 * MOST, 3 * MOST)
    ]


def test_budgets_of_all_rules_are_listed_once() -> None:
    day = Budget(name="a", scope=BudgetScope.PERSON, period=Period.DAY, amount=Decimal("1.5"))
    month = Budget(name="b", scope=BudgetScope.ALL, period=Period.MONTH, tokens=1_000)
    config = PolicyConfig(
        default=PolicyValues(budgets=(day,)),
        rules=(Rule((), PolicyValues(budgets=(month, day)), "rule 1"),),
    )
    first, second = budgets_of(config, 0.0, None)
    assert (first.name, first.limit, first.in_money) == ("a", 1_500_000_000, True)
    assert (second.name, second.limit, second.in_money) == ("b", 1_000, False)
    assert len(first.span) == 10 and len(second.span) == 7

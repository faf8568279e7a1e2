"""A real Prometheus scrapes the bot and fires alerts; the bot reports its state to systemd."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.sims.discord.client import DiscordSim
from tests.sims.model.client import ModelSim
from tests.support.fork_server import spawn
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver
from tests.support.ports import free_port
from tests.support.prometheus import Prometheus
from tests.support.promql import needs_prometheus, panel_expressions
from tests.support.web_kit import Person

TOKEN = "metrics-token-of-24-chars"


@needs_prometheus
async def test_alerts_fire_for_a_failing_model_and_for_a_dead_bot(
    model: ModelSim, tmp_path: Path
) -> None:
    """Before that, a question is answered, every panel has a valid query, and nothing fires."""
    port = free_port()
    async with DiscordSim() as sim:
        discord = DiscordDriver(sim)
        settings = {
            **discord.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "METRICS_PORT": str(port),
            "METRICS_TOKEN": TOKEN,
            "METRICS_HOST": "127.0.0.1",
        }
        bot = BotProcess(tmp_path, settings)
        target = Prometheus(tmp_path / "prometheus", target=f"127.0.0.1:{port}", token=TOKEN)
        async with bot, target as prometheus:
            await sim.until(prometheus.ready)
            await model.say("All is well.")
            await discord.mention("Are you well?")

            async def counts(expression: str) -> list[Any]:
                return await prometheus.query(expression)

            answered = 'threadline_turns_total{platform="discord", outcome="answered"} == 1'
            await sim.until(lambda: counts(answered))
            await sim.until(lambda: counts('threadline_rate_limit_remaining{scope="channel"} >= 0'))
            await sim.until(
                lambda: counts('threadline_first_text_seconds_count{platform="discord"}')
            )
            for _, expression in panel_expressions():
                await prometheus.query(expression)

            async def is_quiet() -> bool:  # once the first scrape has shown that the bot is up
                return await prometheus.firing() == {}

            await sim.until(is_quiet)
            await model.refuse("rate_limited", times=None, retry_after=600)
            await discord.mention("And now?")

            async def fires(alert: str) -> dict[str, str] | None:
                return (await prometheus.firing()).get(alert)

            labels = await sim.until(lambda: fires("ModelFailing"))
            assert (labels["provider"], labels["severity"]) == ("openai", "ticket")

            await bot.kill()
            labels = await sim.until(lambda: fires("ThreadlineDown"))
            assert labels["instance"] == f"127.0.0.1:{port}"


# ── systemd ───────────────────────────────────────────────────────────────────────────────────
WATCHDOG_SECONDS = 0.6
"""With this value, the bot feeds the watchdog every 0.2 s."""


class Systemd:
    """A service manager's socket, which keeps every state that it receives."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.states: list[str] = []

    async def receive(self, seconds: float = 60.0) -> str:
        """The next datagram; raises TimeoutError."""
        loop = asyncio.get_running_loop()
        datagram = await asyncio.wait_for(loop.sock_recv(self._socket, 4_096), seconds)
        self.states += datagram.decode().splitlines()
        return datagram.decode()

    async def wait_for(self, state: str) -> None:
        """Receive datagrams until one has this state."""
        while state not in (await self.receive()).splitlines():
            pass

    def drop_received(self) -> None:
        """Discard datagrams sent before now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(4_096)


@contextlib.contextmanager
def service_socket() -> Iterator[tuple[Systemd, str]]:
    # A socket path has at most 107 characters, and a test's own folder may be nested too deeply.
    with (
        tempfile.TemporaryDirectory(prefix="notify") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
    ):
        path = f"{folder}/socket"
        listening.bind(path)
        listening.setblocking(False)
        yield Systemd(listening), path


async def test_systemd_hears_of_the_start_of_a_hanging_loop_and_of_the_end(
    model: ModelSim, tmp_path: Path
) -> None:
    """READY=1 first; then the watchdog is fed, except while the loop hangs; then STOPPING=1, from
    which moment /readyz answers 503, even while an answer is still being written."""
    port, hang, hanging = free_port(), tmp_path / "hang", tmp_path / "hanging"
    await model.say("To the very end.", wait_at=1)
    with service_socket() as (systemd, path), (tmp_path / "log").open("wb") as log:
        bot = await spawn(
            *("tests.kills.instrumented", "run"),
            folder=tmp_path,
            environ={
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "LLM": "openai:sim",
                "OPENAI_BASE_URL": model.base_url,
                "DATABASE_URL": f"sqlite:///{tmp_path / 'threadline.db'}",
                "HTTP_PORT": str(port),
                "NOTIFY_SOCKET": path,
                "WATCHDOG_USEC": str(round(WATCHDOG_SECONDS * 1e6)),
                "PLANTED": "loop_hangs",
            },
            stdout=log.fileno(),
            stderr=log.fileno(),
        )
        try:
            assert (await systemd.receive()).startswith("READY=1\nSTATUS=")
            await systemd.wait_for("WATCHDOG=1")
            await systemd.wait_for("WATCHDOG=1")
            hang.touch()
            await model.until(lambda: exists(hanging))
            systemd.drop_received()
            try:
                unexpected = await systemd.receive(2 * WATCHDOG_SECONDS)
            except TimeoutError:
                unexpected = ""
            assert unexpected == ""
            hang.unlink()
            await systemd.wait_for("WATCHDOG=1")

            async with Person(f"http://127.0.0.1:{port}") as person:
                await person.say("@threadline take your time")
                await model.until(lambda: model.streams(match="take your time"))
                bot.send_signal(signal.SIGTERM)
                await systemd.wait_for("STOPPING=1")
                status, report = await readiness(port)
                assert status == 503 and report["draining"] is True
                assert report["not_ready"][0].startswith("The bot finishes running answers")
                await systemd.wait_for("WATCHDOG=1")  # draining may take a while
                await model.release()
                assert await asyncio.wait_for(bot.wait(), 60) == 0
        finally:
            if bot.returncode is None:
                bot.kill()
                await bot.wait()
        assert systemd.states.count("READY=1") == systemd.states.count("STOPPING=1") == 1
        assert "STATUS=web works" in systemd.states


async def exists(path: Path) -> bool:
    return path.exists()  # noqa: ASYNC240 - a test's own file


async def readiness(port: int) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/readyz") as response,
    ):
        return response.status, await response.json()

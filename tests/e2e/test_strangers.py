"""Strangers and hostile texts never bring down the page, /healthz, the model or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, until

# Code blocks whose lexers block the interpreter: unlisted ones for hours, and some listed
# languages.
HOSTILE = "\n\n".join(
    f"````{language}\n{code}\n````"
    for language, code in (
        ("rita", "Say: " * 21 + "x"),
        ("mcschema", "<!--" + "-" * 30),
        ("easytrieve", "\t" * 2_500),
        ("markdown", "```rita\n" + "Say: " * 21 + "x\n```"),
        ("bash", "$'" + "\\0" * 60),
        ("c", "a& //a\n a //a\n" + "\n" * 3_000),
        ("python", "x = 1"),
    )
)


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


def settings(model: ModelSim) -> dict[str, str]:
    return {
        "LLM": "openai:sim",
        "OPENAI_BASE_URL": model.base_url,
        "HTTP_TOKENS": HTTP_TOKENS,
    }


async def test_hostile_code_is_shown_and_blocks_nothing(model: ModelSim, tmp_path: Path) -> None:
    """Each block is asked about, streamed, read, and read again after a restart; SIGTERM works each
    time."""
    bot = BotProcess(tmp_path, settings(model))
    url = f"http://127.0.0.1:{bot.http_port}"
    await model.say(HOSTILE, rate=0)
    async with bot, Person(url, TOKENS["alice"]) as alice:
        async with alice.stream("GET", "/app/events") as events:
            await anext(events)
            thread = (await alice.say(f"@threadline what is this?\n\n{HOSTILE}"))["thread"]

            async def is_answered() -> bool:
                return any(one["state"] == "done" for one in await alice.replies(thread))

            await until(is_answered, 60)
            assert await bot.healthy()
        assert await bot.terminate() == 0
    async with bot, Person(url, TOKENS["alice"]) as alice:
        shown = (await alice.get(f"/app/threads/{thread}"))["messages"]
        assert [one["html"].count('<pre class="code"') for one in shown] == [0, 7]
        assert '<span class="n">x</span>' in shown[1]["html"]
        assert await bot.healthy()
        assert await bot.terminate() == 0


def descriptors(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


class FewDescriptors(BotProcess):
    """A bot limited to 256 descriptors, as on some systems."""

    async def start(self) -> None:
        with (self.folder / "bot.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "run"),
                cwd=self.folder,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
            )


async def test_silent_connections_lock_no_client_out(model: ModelSim, tmp_path: Path) -> None:
    """With more silent connections than descriptors, /healthz and the model keep working."""
    bot = FewDescriptors(tmp_path, settings(model))
    await model.say("Here I am.", rate=0)
    async with bot:
        with contextlib.ExitStack() as silent:
            for _ in range(400):
                stranger = silent.enter_context(socket.socket())
                stranger.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    stranger.connect(("127.0.0.1", bot.http_port))
            assert await bot.healthy()
            async with Person(f"http://127.0.0.1:{bot.http_port}", TOKENS["alice"]) as alice:
                answers = await asyncio.gather(
                    *(alice.post("/api/chat", {"prompt": f"are you there? {n}"}) for n in range(20))
                )
            assert {one["assistantMessage"]["content"] for one in answers} == {"Here I am."}
            assert descriptors(bot.pid) < 250
        assert "Too many open files" not in bot.log_text()
        assert await bot.terminate() == 0

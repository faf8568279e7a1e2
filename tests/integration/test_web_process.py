"""The standalone bot: the address, curl, restarts, the settings.

The curl commands are from the introduction of a small chat backend, with our port.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import urllib.request
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, until

# Verbatim, except for `localhost:8000` and the conversation's id.
CURL_LINES = r"""
curl -X POST localhost:8000/conversation

curl -X POST -H "Content-Type: application/json" -d '{
  "message": "What is the current day?",
  "stream": "false"
}' localhost:8000/conversation/completion/248f789b-28cd-4cea-8c33-a2621430f81b

curl -X POST -N -H "Content-Type: application/json" -d '{
  "message": "What is the current day?",
  "stream": "true"
}' localhost:8000/conversation/completion/248f789b-28cd-4cea-8c33-a2621430f81b

curl -X GET localhost:8000/conversation
""".strip().split("\n\n")


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


@pytest.fixture
def bot(model: ModelSim, tmp_path: Path) -> BotProcess:
    """A bot that is not started yet: `async with bot`."""
    return BotProcess(tmp_path, {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url})


def person(bot: BotProcess, token: str | None = None) -> Person:
    return Person(f"http://127.0.0.1:{bot.http_port}", token)


async def shell(line: str) -> str:
    """The output of a shell command; if curl is not installed, what curl would print."""
    if shutil.which("curl") is None:
        return await asyncio.to_thread(_as_curl, line)
    silent = line.replace("curl ", "curl -sS ", 1)
    process = await asyncio.create_subprocess_shell(
        silent, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, error
    return out.decode()


def _as_curl(line: str) -> str:
    method = re.search(r"-X (\w+)", line)
    body = re.search(r"-d '(.*?)'", line, re.DOTALL)
    assert method is not None
    request = urllib.request.Request(
        f"http://{line.split()[-1]}",
        data=body[1].encode() if body else None,
        method=method[1],
        headers={"Content-Type": "application/json"} if body else {},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text: str = response.read().decode()
        return text


async def test_the_documented_curl_commands_work(bot: BotProcess, model: ModelSim) -> None:
    """Create, ask, stream and list, with the response shapes from that introduction."""
    await model.say("It is Saturday.", rate=200)
    async with bot:
        ours = [line.replace("localhost:8000", f"localhost:{bot.http_port}") for line in CURL_LINES]
        made = json.loads(await shell(ours[0]))
        assert list(made) == ["id", "messages", "created_at"]
        asks = [line.replace("248f789b-28cd-4cea-8c33-a2621430f81b", made["id"]) for line in ours]
        answer = json.loads(await shell(asks[1]))
        assert list(answer) == ["id", "author", "content", "created_at"]
        assert (answer["author"], answer["content"]) == ("assistant", "It is Saturday.")
        stream = await shell(asks[2])
        pieces = [json.loads(data)["content"] for data in re.findall(r"^data: (.*)$", stream, re.M)]
        assert "".join(pieces[:-1]) == pieces[-1] == "It is Saturday."
        listed = json.loads(await shell(ours[3]))
        assert [list(one) for one in listed] == [["id", "messages", "created_at"]]
        assert [(one["author"], one["content"]) for one in listed[0]["messages"]] == [
            ("user", "What is the current day?"), ("assistant", "It is Saturday."),
        ] * 2  # fmt: skip


async def test_without_settings_the_bot_prints_the_address_and_next_steps(tmp_path: Path) -> None:
    bot = BotProcess(tmp_path, {})
    async with bot:
        lines = bot.log_text().splitlines()
        assert f"Threadline is at http://127.0.0.1:{bot.http_port}" in lines
        hint = next(line for line in lines if "No platform is connected" in line)
        assert all(name in hint for name in ("LLM", "DISCORD_TOKEN", "SLACK_BOT_TOKEN", "chat"))
        assert await bot.terminate() == 0


async def test_a_reply_interrupted_by_a_kill_is_completed_after_the_restart(
    bot: BotProcess, model: ModelSim
) -> None:
    """The thread, the reply's id and the program's conversation survive; nothing is duplicated."""
    await model.say("Once there was a thread that was cut. " * 5, wait_at=20, times=2)
    await bot.start()
    await bot.ready()
    async with person(bot) as page:
        thread = (await page.say("@threadline tell me a story"))["thread"]
        api = (await page.post("/conversation"))["id"]
        async with page.completion(api, "and me") as events:
            await anext(events)

            async def find_begun() -> list[dict[str, Any]]:
                return [reply for reply in await page.replies(thread) if reply["text"]]

            (before,) = await until(find_begun)
            last_event = f"{uuid.uuid4().hex[:8]}-7"
            await bot.kill()
    await model.say("After the restart.")
    async with bot, person(bot) as page:
        async with page.stream(
            "GET", "/app/events", None, **{"Last-Event-ID": last_event}
        ) as events:
            assert (await anext(events)).name == "refresh"

        async def find_ended() -> list[dict[str, Any]]:
            return [one for one in await page.replies(thread) if one["state"] == "done"]

        (after,) = await until(find_ended)
        assert (after["id"], after["text"]) == (before["id"], "After the restart.")

        async def is_answered() -> bool:
            messages = (await page.get(f"/conversation/{api}"))["messages"]
            return [m["content"] for m in messages] == ["and me", "After the restart."]

        await until(is_answered)


async def test_terminate_lets_a_stream_finish(bot: BotProcess, model: ModelSim) -> None:
    """After SIGTERM, a client that waits for a reply in progress gets all of it."""
    text = "This will still be written to its very end, all of it."
    await model.say(text, rate=30)
    async with bot, person(bot) as api:
        conversation = (await api.post("/conversation"))["id"]
        async with api.completion(conversation, "go on") as events:
            await anext(events)
            ending = asyncio.create_task(bot.terminate())
            seen = [event async for event in events]
        assert (seen[-1].name, seen[-1].data["content"]) == ("done", text)
        assert await ending == 0


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"HTTP_HOST": "0.0.0.0"}, "HTTP_TOKENS"),
        ({"HTTP_HOST": "192.168.1.7"}, "HTTP_TOKENS"),
        ({"HTTP_HOST": "::"}, "HTTP_TOKENS"),
        ({"HTTP_TOKENS": "alice"}, "HTTP_TOKENS"),
        ({"HTTP_TOKENS": "alice:secret-one-of-16,alice:secret-two-of-16"}, "HTTP_TOKENS"),
        ({"HTTP_TOKENS": ",", "HTTP_HOST": "0.0.0.0"}, "HTTP_TOKENS"),
        ({"HTTP_ALLOWED_HOSTS": "chat.example.org"}, "HTTP_ALLOWED_HOSTS"),
        ({"WEB_OPENING": "nowhere.hbs"}, "WEB_OPENING"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_code_2(
    tmp_path: Path, settings: dict[str, str], setting: str
) -> None:
    bot = BotProcess(tmp_path, settings)
    await bot.start()
    assert await bot.wait_exit() == 2
    (line,) = bot.log_text().splitlines()
    assert line.startswith(f"threadline: {setting}: ")
    assert "secret-" not in line


async def test_tokens_appear_in_no_log_and_no_database(bot: BotProcess, tmp_path: Path) -> None:
    bot.set(HTTP_TOKENS=HTTP_TOKENS, HTTP_HOST="0.0.0.0")
    async with bot:
        async with person(bot, TOKENS["alice"]) as alice:
            await alice.post("/api/chat", {"prompt": "hello"})
        async with person(bot, TOKENS["alice"] + "x") as stranger:
            assert (await stranger.ask("GET", "/conversation"))[0] == 401
    with closing(sqlite3.connect(tmp_path / "threadline.db")) as db:
        stored = "\n".join(db.iterdump())
    for token in TOKENS.values():
        assert token not in bot.log_text()
        assert token not in stored


async def test_a_taken_port_is_reported_in_one_line(bot: BotProcess, tmp_path: Path) -> None:
    async with bot:
        other = BotProcess(tmp_path / "other", {"HTTP_PORT": str(bot.http_port)})
        other.folder.mkdir()
        await other.start()
        assert await other.wait_exit() == 1
        assert "set HTTP_PORT to a free one" in other.log_text()

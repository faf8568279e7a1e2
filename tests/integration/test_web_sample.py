"""The sample thread of a new installation, in a real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, until


async def threads(bot: BotProcess, token: str | None = None) -> list[dict[str, Any]]:
    async with Person(f"http://127.0.0.1:{bot.http_port}", token) as person:
        found: list[dict[str, Any]] = (await person.get("/app/threads"))["threads"]
        return found


async def test_a_new_installation_has_an_answered_thread_that_stays_deleted(tmp_path: Path) -> None:
    bot = BotProcess(tmp_path, {})
    async with bot, Person(f"http://127.0.0.1:{bot.http_port}") as person:
        (sample,) = await until(lambda: threads(bot))  # it opens when the page is served

        async def has_answer() -> bool:
            messages = (await person.get(f"/app/threads/{sample['id']}"))["messages"]
            return len(messages) == 2 and messages[1]["state"] == "done"

        await until(has_answer)
        said = (await person.get(f"/app/threads/{sample['id']}"))["messages"]
        assert said[0]["text"] == "What can you do?" and "demo" in said[1]["text"]
        assert (await person.ask("DELETE", f"/conversation/{sample['id']}"))[0] == 204
        await bot.terminate()
    async with bot:
        assert await threads(bot) == []


async def test_a_real_model_or_tokens_leave_the_page_empty(tmp_path: Path) -> None:
    async with BotProcess(tmp_path, {"LLM": "echo"}) as bot:
        assert await threads(bot) == []
    async with BotProcess(tmp_path, {"HTTP_TOKENS": HTTP_TOKENS}) as bot:
        assert await threads(bot, TOKENS["alice"]) == []

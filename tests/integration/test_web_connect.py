"""The routes behind “Connect a model”: who may use them, what they try and write, and what they
never return."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.config.env_file import read
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, until

KEY = "sk-secret-of-the-test"
CHOICE = {"provider": "openai", "model": "sim", "key": KEY}


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        await sim.key(KEY)
        yield sim


def address(bot: BotProcess) -> str:
    return f"http://127.0.0.1:{bot.http_port}"


async def test_the_owner_connects_a_model_to_the_running_bot(
    tmp_path: Path, model: ModelSim
) -> None:
    (tmp_path / ".env").write_text(f"# mine\nOPENAI_BASE_URL={model.base_url}\n")
    bot = BotProcess(tmp_path, {})
    async with bot, Person(address(bot)) as owner:
        assert (await owner.get("/app/session"))["may_connect"] is True
        offered = {each["name"]: each for each in (await owner.get("/app/connect"))["services"]}
        assert offered["openai"]["key"] == "OPENAI_API_KEY" and not offered["openai"]["key_is_set"]

        said = await owner.post("/app/connect", CHOICE | {"key": "sk-wrong-key-of-the-test"})
        assert said["answer"] == "" and "Check OPENAI_API_KEY" in said["error"]
        assert set(read(tmp_path / ".env")) == {"OPENAI_BASE_URL"}

        await model.say("Ready.")
        said = await owner.post("/app/connect", CHOICE)
        assert said["error"] == "" and said["answer"] == "Ready."
        assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / ".env").read_text().startswith("# mine\n")
        assert read(tmp_path / ".env")["OPENAI_API_KEY"] == KEY

        async def follows() -> bool:
            return bool((await owner.get("/models"))["default"] == "openai/sim")

        await until(follows)
        offers = await owner.get("/app/connect")
        assert KEY not in str(offers) and "'key_is_set': True" in str(offers)
        assert await bot.terminate() == 0
    assert KEY not in bot.log_text() and "sk-wrong" not in bot.log_text()


async def test_other_sites_and_proxies_are_refused(tmp_path: Path) -> None:
    """The guard protects all of the page's routes."""
    foreign = (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"X-Forwarded-For": "203.0.113.9"},
    )
    async with BotProcess(tmp_path, {}) as bot, Person(address(bot)) as person:
        for headers in foreign:
            status, _ = await person.ask("POST", "/app/connect", CHOICE, headers=headers)
            assert status == 403, headers
    assert not (tmp_path / ".env").exists()


async def test_with_tokens_only_administrators_connect(tmp_path: Path) -> None:
    settings = {"HTTP_TOKENS": HTTP_TOKENS, "ADMINS": "web:alice", "LLM": "echo"}
    async with BotProcess(tmp_path, settings) as bot:
        async with Person(address(bot), TOKENS["bob"]) as bob:
            assert (await bob.get("/app/session"))["may_connect"] is False
            assert (await bob.ask("GET", "/app/connect"))[0] == 403
            assert (await bob.ask("POST", "/app/connect", CHOICE))[0] == 403
        async with Person(address(bot), TOKENS["alice"]) as alice:
            assert (await alice.get("/app/session"))["may_connect"] is True
            said = await alice.post("/app/connect", CHOICE)
            assert said["error"].startswith("LLM: it is set in the environment")
            status, _ = await alice.ask("POST", "/app/connect", CHOICE | {"provider": "../x"})
            assert status == 422
    assert not (tmp_path / ".env").exists()

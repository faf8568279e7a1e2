"""The configuration files of the standalone bot: checked, reloaded, and kept secret."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess, command
from tests.support.web_kit import Person, until

FIRST_KEY, SECOND_KEY = "first-key-of-the-server", "second-key-of-the-server"


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


def write(folder: Path, toml: str, dotenv: str = "") -> None:
    (folder / ".env").write_text(dotenv)
    (folder / "threadline.toml").write_text(toml)


def server(model: ModelSim, key: str = "env:LOCAL_KEY") -> str:
    return f'[providers.local]\nkind = "openai"\nbase_url = "{model.base_url}"\nkey = "{key}"\n'


class Api(Person):
    """A program that uses a running bot."""

    async def models(self) -> tuple[str, list[str]]:
        """The default model and the choices."""
        session = await self.get("/app/session")
        return session["default_model"], session["models"]

    async def until_models(self, default: str, *choices: str) -> None:
        async def are_there() -> bool:
            return await self.models() == (default, list(choices))

        await until(are_there)

    async def answer(self, question: str) -> str:
        """The answer to a question in a new conversation."""
        conversation = (await self.post("/conversation"))["id"]
        async with self.completion(conversation, question) as events:
            seen = [event async for event in events]
        text: str = seen[-1].data["content"]
        return text

    async def health(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as found:
            parts: dict[str, Any] = json.loads(await found.text())["parts"]
            return parts


async def test_a_running_bot_follows_its_files(tmp_path: Path, model: ModelSim) -> None:
    """It picks up new models, keys, prompts and mistakes without a restart, and no key reaches the
    log."""
    await model.key(FIRST_KEY)
    bot = BotProcess(tmp_path, {})
    async with bot, Api(f"http://127.0.0.1:{bot.http_port}") as api:
        assert await api.models() == ("demo", [])
        write(
            tmp_path,
            f'llm = ["local/sim"]\nchoices = ["echo", "local/other"]\n{server(model)}',
            f"LOCAL_KEY={FIRST_KEY}\n",
        )
        await api.until_models("local/sim", "echo", "local/other")
        await model.say("From the server of the file.")
        assert await api.answer("who are you?") == "From the server of the file."
        assert (await model.last()).authorization == f"Bearer {FIRST_KEY}"

        write(tmp_path, f'llm = ["local/sim"]\nchoces = []\n{server(model)}', "LOCAL_KEY=x\n")

        async def is_reported() -> bool:
            return "choces is not a setting: did you mean choices?" in bot.log_text()

        await until(is_reported)
        assert await api.models() == ("local/sim", ["echo", "local/other"])
        assert (await api.health())["configuration"]["kept"]
        assert await bot.healthy()

        await model.key(SECOND_KEY)
        write(tmp_path, f'llm = ["local/sim"]\n{server(model)}', f"LOCAL_KEY={SECOND_KEY}\n")
        await api.until_models("local/sim")
        await model.say("With the second key.")
        assert await api.answer("and now?") == "With the second key."
        assert (await api.health())["configuration"] == {"ok": True}

        rule = '[[rules]]\nwhere = "web"\nmodel = "local/sim-2"\nprompt = "ops.md"\n'
        for prompt in ("You are Ops.", "You are Dev."):
            (tmp_path / "ops.md").write_text(prompt)
            write(
                tmp_path,
                f'llm = ["local/sim"]\n{server(model)}{rule}',
                f"LOCAL_KEY={SECOND_KEY}\n",
            )

            async def is_asked_with(prompt: str = prompt) -> bool:
                await api.answer("who?")
                return str((await model.last()).messages[0]["content"]).startswith(prompt)

            await until(is_asked_with)
            assert (await model.last()).body["model"] == "sim-2"
        assert await api.models() == ("local/sim-2", [])  # the page's default
        assert await bot.terminate() == 0
    assert FIRST_KEY not in bot.log_text() and SECOND_KEY not in bot.log_text()


async def test_a_hangup_reads_the_files_again(tmp_path: Path) -> None:
    """It would end other programs; when it comes from a terminal, SIGHUP still ends the bot."""
    write(tmp_path, 'choices = ["ollama/a"]\n')
    bot = BotProcess(tmp_path, {})
    async with bot, Api(f"http://127.0.0.1:{bot.http_port}") as api:
        await api.until_models("demo", "ollama/a")
        write(tmp_path, 'choices = ["ollama/b"]\n')
        bot.process.send_signal(signal.SIGHUP)
        await api.until_models("demo", "ollama/b")
        assert await bot.terminate() == 0


async def test_a_wrong_file_stops_the_start_and_names_every_mistake(tmp_path: Path) -> None:
    """`run`, `chat` and `config check` refuse it with exit code 2; `migrate` does not need it."""
    write(tmp_path, 'llm = ["grok/x", "groq/y"]\nmodles = 1\n')
    bot = BotProcess(tmp_path, {"HTTP_HOST": "0.0.0.0"})
    await bot.start()
    assert await bot.wait_exit() == 2
    environ = {"HTTP_HOST": "0.0.0.0", "DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    code, out, error = await command("config", "check", folder=tmp_path, environ=environ)
    assert (code, out) == (2, "")
    for output in (error, bot.log_text()):
        lines = output.strip().splitlines()
        assert [line.split(": ")[1] for line in lines] == [
            "HTTP_TOKENS", "threadline.toml", "threadline.toml", "GROQ_API_KEY",
        ], output  # fmt: skip
    code, _, error = await command("chat", folder=tmp_path, environ={})
    assert code == 2 and "did you mean xai?" in error
    code, _, error = await command("migrate", folder=tmp_path, environ=environ)
    assert (code, error) == (0, "")


async def test_the_check_shows_what_is_in_effect_and_from_where(
    tmp_path: Path, model: ModelSim
) -> None:
    toml = f"""\
llm = ["ollama/llama3.1"]
choices = ["local/sim", "anthropic/claude-sonnet-4-5"]
summaries = "none"
{server(model)}
[providers.unused]
kind = "openai"
key = "env:NOT_SET"
[models."local/sim"]
context = 128_000
context_tokens = 60_000
"""
    dotenv = f"LLM=groq/llama-3.3-70b,echo\nGROQ_API_KEY=groq-key\nLOCAL_KEY={FIRST_KEY}\n"
    write(tmp_path, toml, dotenv + "ANTHROPIC_API_KEY=sk-ant-1\n")
    code, out, error = await command("config", "check", folder=tmp_path, environ={})
    assert (code, error) == (0, "")
    host = model.base_url.removeprefix("http://").removesuffix("/v1")
    lines = out.splitlines()
    assert lines[:4] == [
        ".env: read",
        "threadline.toml: read",
        "threadline.toml: line 1: llm is not used: LLM in .env wins",
        "answers (LLM, from .env):",
    ]
    assert lines[4].startswith(
        "  groq/llama-3.3-70b: openai API at api.groq.com, GROQ_API_KEY is set, window "
    )
    assert lines[5:8] == [
        "  echo: repeats the question, without a server",
        "offered (MODELS, from threadline.toml):",
        f"  local/sim: openai API at {host}, LOCAL_KEY is set, window 128,000 (threadline.toml), "
        "requests up to 60,000",
    ]
    assert lines[8].startswith(
        "  anthropic/claude-sonnet-4-5: anthropic API at api.anthropic.com, ANTHROPIC_API_KEY is"
    )
    assert lines[9:] == ["summaries: none", "providers that no model uses: unused"]
    assert not any(key in out for key in (FIRST_KEY, "groq-key", "sk-ant-1"))


async def test_the_check_without_any_setting(tmp_path: Path) -> None:
    code, out, error = await command("config", "check", folder=tmp_path, environ={})
    assert (code, error) == (0, "")
    assert out.splitlines() == [
        ".env: there is no such file",
        "threadline.toml: there is no such file",
        "answers (LLM, from the default):",
        "  demo: answers with scripted text, without a server",
        "offered (MODELS, from the default): none",
        "summaries: by the model that answers",
    ]


async def test_doctor_asks_each_model_of_the_files(tmp_path: Path, model: ModelSim) -> None:
    """Mistakes appear as findings, and the other models are asked; `local/*` requests the list."""
    await model.models("sim", "other")
    toml = 'llm = ["local/sim", "groq/x"]\nchoices = ["local/*", "down/*"]\nmodles = 1\n'
    toml += (
        f'{server(model)}[providers.down]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    write(tmp_path, toml, f"LOCAL_KEY={FIRST_KEY}\n")
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"}
    code, out, _ = await command("doctor", folder=tmp_path, environ=environ)
    assert code == 1
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    found = {line[6:].split(": ")[0]: line for line in lines}
    assert found["threadline.toml"].endswith(
        "line 3: modles is not a setting: did you mean models?"
    )
    assert found["GROQ_API_KEY"].startswith("FAIL")
    assert found["local/sim"].startswith("ok    local/sim: answers after ")
    assert found["local/*"].startswith("ok    local/*: offers 2: ")
    assert found["down/*"].startswith("FAIL  down/*: ")
    assert FIRST_KEY not in out

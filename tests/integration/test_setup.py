"""`threadline setup` over a pipe: real calls to a model server, Discord and Slack, and `.env`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.discord.doctor import permissions
from adapters.slack import manifest_path
from bot.config.env_file import read
from tests.sims.discord.client import DiscordSim
from tests.sims.discord.constants import SIM_TOKEN
from tests.sims.model import lists
from tests.sims.model.client import ModelSim
from tests.sims.model.lists import list_server
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fork_server import SWITCH
from tests.support.harness import command
from tests.support.platform_driver import DiscordDriver, SlackDriver
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
KEY = "sk-secret-of-the-test"


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


async def setup(
    folder: Path, *words: str, answers: str = "", port: int = 0, **environ: str
) -> tuple[int, str]:
    """The exit code and the output; `port` is where Ollama listens."""
    code, out, err = await command(
        *(str(port or free_port()), "setup", *words),
        module="tests.support.setup_process",
        folder=folder,
        environ=environ,
        piped=answers,
    )
    said = out + err
    assert KEY not in said and SIM_TOKEN not in said
    return code, said


# ── models ────────────────────────────────────────────────────────────────────────────────────
async def test_a_local_server_is_found_tried_and_written(tmp_path: Path) -> None:
    async with list_server(lists.OLLAMA) as ollama:
        (tmp_path / "threadline.toml").write_text(
            f'[providers.ollama]\nbase_url = "{ollama.url}"\n'
        )
        (tmp_path / ".env").write_text("# mine\nLLM=demo\n")
        code, said = await setup(tmp_path, answers="model\n1\n\n", port=ollama.port)
    assert "1  Ollama on this machine: llama3.1:8b, qwen3:latest" in said
    assert "ollama/llama3.1:8b answers: “ready”" in said and "threadline run" in said
    assert code == 0
    assert (tmp_path / ".env").read_text() == "# mine\nLLM=ollama/llama3.1:8b\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


async def test_a_key_is_tried_and_never_shown(
    tmp_path: Path, model: ModelSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "0")  # with a new interpreter, as people start it
    await model.say("Ready, and pleased to meet you.")
    code, said = await setup(
        tmp_path, "model", "--provider", "openai", "--model", "sim",
        answers=f"  '{KEY}'\n", OPENAI_BASE_URL=model.base_url,
    )  # fmt: skip
    assert code == 0 and "answers: “Ready, and pleased to meet you.”" in said
    assert read(tmp_path / ".env") == {"LLM": "openai/sim", "OPENAI_API_KEY": KEY}


async def test_a_refused_key_is_asked_for_again(tmp_path: Path, model: ModelSim) -> None:
    await model.say("", fault="bad_key")
    code, said = await setup(
        tmp_path, "model",
        answers=f"openai\n{KEY}\nsim\n", OPENAI_BASE_URL=model.base_url,
    )  # fmt: skip
    assert code == 1 and "Check OPENAI_API_KEY: it must be valid" in said
    assert said.count("Which one?") == 2
    assert not (tmp_path / ".env").exists()


async def test_a_misspelt_model_and_provider_lead_to_the_right_ones(tmp_path: Path) -> None:
    async with list_server(lists.OLLAMA) as ollama:
        ollama.chat_status = 404
        (tmp_path / "threadline.toml").write_text(
            f'[providers.ollama]\nbase_url = "{ollama.url}"\n'
        )
        words = ("model", "--provider", "ollama", "--model", "llama3.1:8")
        code, said = await setup(tmp_path, *words, port=ollama.port)
        assert code == 1 and "has no model 'llama3.1:8': did you mean llama3.1:8b?" in said
        code, said = await setup(tmp_path, "model", "--provider", "olama", "--model", "x")
        assert code == 1 and "did you mean ollama?" in said
    assert not (tmp_path / ".env").exists()


async def test_a_server_that_does_not_run_is_named(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "threadline.toml").write_text(
        f'[providers.ollama]\nbase_url = "http://127.0.0.1:{port}/v1"\n'
    )
    code, said = await setup(tmp_path, "model", "--provider", "ollama", "--model", "x")
    assert code == 1 and f"Nothing answers at 127.0.0.1:{port}: is the server running?" in said


async def test_a_setting_of_the_environment_is_not_written_over(tmp_path: Path) -> None:
    words = ("model", "--provider", "ollama", "--model", "x")
    code, said = await setup(tmp_path, *words, LLM="echo")
    assert code == 1 and "LLM: it is set in the environment, which wins over .env" in said


async def test_the_end_of_the_input_says_what_is_missing(tmp_path: Path) -> None:
    code, said = await setup(tmp_path, "model", "--provider", "openai", "--model", "gpt-5-mini")
    assert code == 1 and "threadline: No answer to “Your key for OpenAI" in said


async def test_a_number_outside_the_menu_is_asked_for_again(tmp_path: Path) -> None:
    code, said = await setup(tmp_path, "model", answers="99\n0\n")
    assert code == 1
    assert "99 is not one of these: write a number from 1 to" in said
    assert "0 is not one of these" in said and "Model of" not in said


# ── Discord ───────────────────────────────────────────────────────────────────────────────────
async def test_discord_is_checked_and_written(tmp_path: Path) -> None:
    async with DiscordSim() as sim:
        environ = DiscordDriver(sim).settings()
        del environ["DISCORD_TOKEN"]
        answers = f"123456789012345678\n{SIM_TOKEN}\n"
        code, said = await setup(tmp_path, "discord", answers=answers, LLM="echo", **environ)
    assert "DISCORD_TOKEN: this is the application id, not the bot's token" in said
    assert "Message Content Intent" in said
    assert code == 0 and "hello” in #general" in said
    assert read(tmp_path / ".env") == {"DISCORD_TOKEN": SIM_TOKEN}


async def test_a_refused_discord_token_is_not_written(tmp_path: Path) -> None:
    async with DiscordSim() as sim:
        environ = DiscordDriver(sim).settings() | {"LLM": "echo"}
        del environ["DISCORD_TOKEN"]
        code, said = await setup(tmp_path, "discord", answers="wrong-token\n", **environ)
    assert code == 1 and "Reset Token" in said and not (tmp_path / ".env").exists()


async def test_an_unreachable_discord_is_named_in_one_line(tmp_path: Path) -> None:
    """There is no line of a log, and no words of a network library."""
    environ = {"LLM": "echo", "DISCORD_API_URL": f"http://127.0.0.1:{free_port()}/api/v10"}
    code, said = await setup(tmp_path, "discord", answers=f"{SIM_TOKEN}\n", **environ)
    assert code == 1
    reason = "Discord: cannot be reached: check the network, HTTPS_PROXY and DISCORD_API_URL."
    assert said.partition("Checking …\n")[2].startswith(reason)
    assert "ssl:" not in said and "[discord." not in said


async def test_missing_discord_settings_are_listed_with_the_invite_link(tmp_path: Path) -> None:
    """The token is valid, so it is written; “later” leaves the rest for another time."""
    async with DiscordSim() as sim:
        await sim.grant_intents()
        await sim.remove_bot()
        environ = DiscordDriver(sim).settings() | {"LLM": "echo"}
        del environ["DISCORD_TOKEN"]
        answers = f"{SIM_TOKEN}\nlater\n"
        code, said = await setup(tmp_path, "discord", answers=answers, **environ)
    assert code == 1 and "FAIL  Discord message content intent" in said
    assert f"permissions={permissions().value}" in said and "oauth2/authorize" in said
    assert read(tmp_path / ".env") == {"DISCORD_TOKEN": SIM_TOKEN}


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────
async def test_slack_is_checked_and_swapped_tokens_are_put_right(tmp_path: Path) -> None:
    async with SlackSim() as sim:
        await sim.manifest(json.loads(manifest_path("socket").read_text()))
        environ = SlackDriver(sim).settings()
        for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"):
            del environ[name]
        answers = f"{ids.APP_TOKEN}\n{ids.BOT_TOKEN}\n"
        code, said = await setup(tmp_path, "slack", answers=answers, **environ)
    assert "https://api.slack.com/apps?new_app=1&manifest_json=" in said
    assert "The two tokens are swapped" in said and "threadline setup model" in said
    assert code == 0 and "hello” in #general" in said
    assert read(tmp_path / ".env") == {
        "SLACK_BOT_TOKEN": ids.BOT_TOKEN,
        "SLACK_APP_TOKEN": ids.APP_TOKEN,
    }


async def test_wrong_slack_tokens_say_what_they_are(tmp_path: Path) -> None:
    answers = f"{'ab' * 16}\nxapp-1\nxoxp-1\nxapp-1\n"
    code, said = await setup(tmp_path, "slack", answers=answers)
    assert code == 1
    assert "this is the signing secret or the client secret: write xoxb-…" in said
    assert "this is a person's token: write xoxb-…" in said

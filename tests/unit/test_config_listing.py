"""`threadline config` shows every setting with its source, and no secret; the shell completes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bot.config.listing import list_settings
from bot.config.loader import load
from bot.config.settings import Settings
from tests.support.harness import command

SECRETS = {
    "OPENAI_API_KEY": "sk-very-secret-1",
    "DISCORD_TOKEN": "very.secret.token",
    "GROQ_API_KEY": "gsk-very-secret-2",
    "HTTP_TOKENS": "ann:very-secret-token-3",
    "OPENAI_BASE_URL": "https://me:very-secret-4@llm.test/v1?key=very-secret-5",
    "DATABASE_URL": "postgresql://me:very-secret-6@db.test/bot?sslpassword=very-secret-7",
}


def test_every_setting_is_listed_with_its_source_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LLM=openai/gpt-5-mini\nHTTP_PORT=9090\n")
    lines = list(list_settings(load(SECRETS | {"HTTP_PORT": "8081"}, tmp_path / ".env")))
    assert [line.partition("=")[0] for line in lines] == [
        *(name.upper() for name in Settings.model_fields),
        "GROQ_API_KEY",
    ]
    assert "very-secret" not in "\n".join(lines) and "very.secret" not in "\n".join(lines)
    assert "LLM=openai/gpt-5-mini  (.env)" in lines
    assert "HTTP_PORT=8081  (the environment)" in lines
    assert "GROQ_API_KEY=••••  (the environment)" in lines
    assert "OPENAI_BASE_URL=https://••••@llm.test/v1?••••  (the environment)" in lines
    assert "DELETE_REPLY_WITH_QUESTION=false  (default)" in lines


async def test_settings_are_printed_before_what_is_wrong_with_them(tmp_path: Path) -> None:
    environ = {"LLM": "opnai/gpt-5-mini", "SLACK_APP_TOKEN": "xapp-1"}
    code, out, errors = await command("config", folder=tmp_path, environ=environ)
    assert code == 2 and "LLM=opnai/gpt-5-mini  (the environment)" in out
    assert "did you mean openai?" in errors and "threadline: SLACK_BOT_TOKEN: set" in errors


async def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    code, script, _ = await command("completion", "bash", folder=tmp_path, environ={})
    assert code == 0
    words = ("(threadline conf) 1 conf", "(threadline setup dis) 2 dis")
    asked = "\n".join(
        f"COMP_WORDS={words}; COMP_CWORD={number}; COMPREPLY=(); "
        f"_shtab_threadline threadline {begun}; echo ${{COMPREPLY[*]}}"
        for words, number, begun in (each.rsplit(" ", 2) for each in words)
    )
    shell = await asyncio.create_subprocess_exec(
        "bash", "--norc", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(shell.communicate(f"{script}\n{asked}\n".encode()), 60)
    assert out.decode().split() == ["config", "discord"]

"""Ten mistakes people make in the first hour: each ends in one sentence that says what to do."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sims.model import ModelSim, lists
from tests.sims.model.lists import list_server
from tests.support.harness import command
from tests.support.ports import free_port

CHECK = ("config", "check")


async def run_bot(folder: Path, *words: str, **environ: str) -> tuple[int, str]:
    """The exit code and everything printed."""
    code, out, errors = await command(*words, folder=folder, environ=environ)
    said = out + errors
    assert "Traceback" not in said and " object at 0x" not in said
    return code, said


@pytest.fixture
def web_server() -> Iterator[int]:
    """The port of a plain web server, which is not a model server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DISCORD_TOKEN", "123456789012345678", "this is the application id, not the bot's token"),
        ("DISCORD_TOKEN", "ab" * 32, "this is the public key, not the bot's token"),
        ("DISCORD_TOKEN", "Ab_-" * 8, "this is the client secret of “OAuth2”"),
        ("DISCORD_TOKEN", "xoxb-1-2", "this is a token for Slack"),
        ("DISCORD_TOKEN", "Bot a.b.c", "this is a value of the header “Authorization”"),
        ("DISCORD_TOKEN", "my secret token", "this is more than one word"),
        ("SLACK_BOT_TOKEN", "xoxp-1-2", "this is a person's token: write xoxb-…"),
        ("SLACK_BOT_TOKEN", "ab" * 16, "this is the signing secret or the client secret"),
        ("SLACK_APP_TOKEN", "12345678901.12345678901", "this is the client id: write xapp-…"),
    ],
)
def test_a_wrong_token_is_known_by_its_form_and_not_repeated(
    name: str, value: str, sentence: str
) -> None:
    from bot.config.loader import load
    from bot.domain.errors import SettingsError

    with pytest.raises(SettingsError) as caught:
        load({name: value}, None)
    assert caught.value.setting == name and sentence in caught.value.problem
    assert value not in str(caught.value)


async def test_swapped_tokens(tmp_path: Path) -> None:
    tokens = {"SLACK_BOT_TOKEN": "xapp-1-secret", "SLACK_APP_TOKEN": "xoxb-secret"}
    code, said = await run_bot(tmp_path, *CHECK, LLM="echo", **tokens)
    assert code == 2 and said.count("belongs to the other setting: write") == 2
    assert "secret" not in said


async def test_a_file_of_a_windows_editor(tmp_path: Path) -> None:
    """UTF-16 is read; Latin-1 cannot be told from other encodings."""
    (tmp_path / ".env").write_text("LLM=echo\n", encoding="utf-16")
    code, said = await run_bot(tmp_path, *CHECK)
    assert code == 0 and "echo: repeats the question" in said
    (tmp_path / ".env").write_bytes("LLM=echo\nSYSTEM_PROMPT=grün\n".encode("latin-1"))
    code, said = await run_bot(tmp_path, *CHECK)
    assert code == 2 and "line 2 is not in UTF-8: save the file as UTF-8 in your editor" in said


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = await run_bot(tmp_path, "run", LLM="echo", HTTP_PORT=port)
    assert code == 1 and f"Nothing can listen on 127.0.0.1:{port}" in said
    assert "set HTTP_PORT to a free one" in said


async def test_ollama_does_not_run(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "threadline.toml").write_text(
        f'[providers.ollama]\nbase_url = "http://{address}/v1"\n'
    )
    code, said = await run_bot(tmp_path, "doctor", LLM="ollama/llama3.1")
    assert code == 1 and f"Nothing answers at {address}: is the server running?" in said
    assert "[warning" not in said
    code, said = await run_bot(tmp_path, "chat", "hello?", LLM="ollama/llama3.1")
    [line] = said.splitlines()  # a sentence, with no log lines around it
    assert code == 1 and f"The model cannot be reached at `{address}`" in line


async def test_a_wrong_base_address(tmp_path: Path, web_server: int) -> None:
    """An address without its scheme, one without /v1, and one where another program listens."""
    code, said = await run_bot(tmp_path, *CHECK, LLM="openai/x", OPENAI_BASE_URL="localhost:80")
    assert code == 2 and "OPENAI_BASE_URL: this is not an address: write" in said
    async with list_server(lists.OLLAMA) as server:
        for port in (server.port, web_server):
            url = f"http://127.0.0.1:{port}"
            code, said = await run_bot(tmp_path, "doctor", LLM="openai/x", OPENAI_BASE_URL=url)
            assert code == 1, said
            assert "check OPENAI_BASE_URL, which usually ends in /v1" in said


async def test_misspelt_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LMM=echo\nDISCORD_BOT_TOKEN=x\n")
    code, said = await run_bot(tmp_path, *CHECK)
    assert code == 0
    assert "LMM is not a setting and is ignored: did you mean LLM?" in said
    assert "DISCORD_BOT_TOKEN is not a setting and is ignored: did you mean DISCORD_TOKEN?" in said
    (tmp_path / ".env").write_text("LLM=opnai/gpt-5-mini\n")
    code, said = await run_bot(tmp_path, *CHECK)
    assert code == 2 and "'opnai/gpt-5-mini' has an unknown provider: did you mean openai?" in said


async def test_quotes_and_comments_that_docker_passes_on(tmp_path: Path) -> None:
    code, said = await run_bot(tmp_path, "config", LLM='"echo"', HTTP_PORT="'8099' # the page")
    assert code == 0
    assert "LLM=echo  (the environment)" in said and "HTTP_PORT=8099  (the environment)" in said


async def test_a_model_that_the_server_does_not_have(tmp_path: Path) -> None:
    code, said = await run_bot(tmp_path, *CHECK, LLM="gpt-5-mini")
    assert code == 2 and "write PROVIDER/MODEL, such as openai/gpt-5-mini" in said
    async with list_server(lists.OLLAMA) as server:
        server.chat_status = 404
        code, said = await run_bot(
            tmp_path, "doctor", LLM="openai/llama", OPENAI_BASE_URL=server.url
        )
    assert code == 1 and "Check the model's name in LLM" in said


async def test_a_failure_that_only_the_provider_explains(tmp_path: Path) -> None:
    """`doctor` says where to find the provider's own words, and they are there."""
    async with ModelSim() as model:
        body = {"error": {"message": "the moon is full"}}
        await model.call("fault", match="POST /v1/chat", times=99, status=400, body=body)
        environ = {"LLM": "openai/sim", "OPENAI_BASE_URL": model.base_url}
        code, said = await run_bot(tmp_path, "doctor", **environ)
        assert code == 1 and "LOG_LEVEL=WARNING shows the provider's own words" in said
        assert "the moon is full" not in said
        code, said = await run_bot(tmp_path, "doctor", **environ, LOG_LEVEL="WARNING")
        assert code == 1 and "the moon is full" in said


@pytest.mark.parametrize(
    ("tokens", "advice"),
    [
        ({"DISCORD_TOKEN": "a.b.c", "DISCORD_API_URL": "http://127.0.0.1:{port}/api"}, "network"),
        (
            {
                "SLACK_BOT_TOKEN": "xoxb-1",
                "SLACK_APP_TOKEN": "xapp-1",
                "SLACK_API_URL": "http://127.0.0.1:{port}/api/",
            },
            "check the network, HTTPS_PROXY and SLACK_API_URL",
        ),
    ],
)
async def test_no_network_is_not_blamed_on_the_tokens(
    tmp_path: Path, tokens: dict[str, str], advice: str
) -> None:
    port = free_port()
    environ = {name: value.format(port=port) for name, value in tokens.items()}
    code, said = await run_bot(tmp_path, "doctor", LLM="echo", **environ)
    assert code == 1 and advice in said
    assert "Reset Token" not in said and "copy the Bot User" not in said

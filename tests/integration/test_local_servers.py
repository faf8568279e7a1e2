"""The offer of a model server on this machine, in a real process, and `doctor`'s report about
one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from bot.config.loader import load
from bot.doctor import check_models
from bot.domain.health import Finding, Verdict
from bot.llm.local_servers import LOCAL_SERVERS, LocalServer, LocalServerSearch
from tests.sims.model import lists
from tests.sims.model.lists import ListServer, list_server
from tests.support.clock import ManualClock
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
OFFER = "Ollama answers on this machine with llama3.1:8b: LLM=ollama/llama3.1:8b in .env uses it."
CHAT = """
import sys
from bot.__main__ import main
from bot.llm import local_servers
from bot.llm.local_servers import LocalServer
local_servers.ANSWER_SECONDS = {seconds}
sys.exit(main(["chat", "hello"], local_servers=[LocalServer("Ollama", "ollama", {port})]))
"""


@pytest_asyncio.fixture
async def ollama() -> AsyncIterator[ListServer]:
    async with list_server(lists.OLLAMA, api_ps=lists.OLLAMA_LOADED) as server:
        yield server


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than people should wait."""
    monkeypatch.setattr("bot.llm.local_servers.ANSWER_SECONDS", 60.0)
    monkeypatch.setattr("bot.llm.model_list.ANSWER_SECONDS", 60.0)


async def offer(*servers: LocalServer) -> str | None:
    return await asyncio.to_thread(lambda: LocalServerSearch(servers).offer())


async def test_the_first_model_that_chats_is_offered(ollama: ListServer) -> None:
    silent = LocalServer("LM Studio", "lmstudio", free_port())
    assert await offer(silent, LocalServer("Ollama", "ollama", ollama.port)) == OFFER
    assert ollama.paths == ["/v1/models"], "nothing else is sent to a server that is not configured"
    assert "authorization" not in {name.lower() for name in ollama.requests[0][1]}


async def test_the_first_server_that_answers_is_offered(ollama: ListServer) -> None:
    async with list_server(lists.LM_STUDIO) as other:
        lm_studio = LocalServer("LM Studio", "lmstudio", other.port)
        assert await offer(LocalServer("Ollama", "ollama", ollama.port), lm_studio) == OFFER
        said = await offer(LocalServer("Ollama", "ollama", free_port()), lm_studio)
    assert said is not None and "LLM=lmstudio/qwen2.5-7b-instruct" in said


@pytest.mark.parametrize("body", [{"data": []}, b"<html>", b"", {"data": [{"id": "bge-m3"}]}])
async def test_another_program_on_the_port_is_not_offered(body: object) -> None:
    async with list_server(body) as server:
        assert await offer(LocalServer("Ollama", "ollama", server.port)) is None
        server.status = 500
        assert await offer(LocalServer("Ollama", "ollama", server.port)) is None


async def test_a_server_that_does_not_speak_is_not_waited_for(
    ollama: ListServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.llm.local_servers.ANSWER_SECONDS", 0.05)
    ollama.hold = asyncio.Event()
    assert await offer(LocalServer("Ollama", "ollama", ollama.port)) is None
    ollama.hold.set()


def test_the_well_known_servers_and_their_limit() -> None:
    from bot.config.presets import PRESETS

    for server in LOCAL_SERVERS:
        assert PRESETS[server.provider].base_url == f"http://127.0.0.1:{server.port}/v1"


# ── in a process ──────────────────────────────────────────────────────────────────────────────
async def run_chat(folder: Path, port: int, **environ: str) -> tuple[str, str]:
    """Run a chat with one question; returns its stdout and stderr."""
    known = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHAT.format(port=port, seconds=60.0),
        cwd=folder, env=known | environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, errors = await asyncio.wait_for(process.communicate(), 60)
    return out.decode(), errors.decode()


async def test_a_start_without_a_model_offers_the_server(
    tmp_path: Path, ollama: ListServer
) -> None:
    """The offer goes to stderr, and the server is asked directly despite a proxy; the demo still
    answers."""
    said, beside = await run_chat(tmp_path, ollama.port)
    assert "hello" in said and OFFER not in said
    assert beside == f"{OFFER}\n"
    assert set(ollama.paths) == {"/v1/models"}


async def test_with_a_model_no_server_is_looked_for(tmp_path: Path, ollama: ListServer) -> None:
    said, beside = await run_chat(tmp_path, ollama.port, LLM="echo")
    assert "hello" in said and beside == "" and ollama.paths == []


async def test_without_a_server_nothing_is_said(tmp_path: Path) -> None:
    said, beside = await run_chat(tmp_path, free_port())
    assert "hello" in said and beside == ""


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
async def findings(folder: Path, **environ: str) -> list[Finding]:
    with inside(folder):
        settings = load({"LLM": "echo", **environ}, None)
    found = [each async for each in check_models(settings, ManualClock())]
    return [each for each in found if "network" not in each.subject and each.subject != "echo"]


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


async def test_doctor_lists_what_a_server_offers(tmp_path: Path, ollama: ListServer) -> None:
    environ = {"MODELS": "openai/*", "OPENAI_BASE_URL": ollama.url}
    (finding,) = await findings(tmp_path, **environ)
    assert finding.verdict is Verdict.OK
    assert finding.detail == ("offers 3: llama3.1:8b, qwen3:latest, hf.co/bartowski/X-GGUF:Q4_K_M")
    ollama.status = 401
    (finding,) = await findings(tmp_path, **environ)
    assert finding.verdict is Verdict.FAILED
    assert "OPENAI_API_KEY" in finding.advice and "OPENAI_BASE_URL" in finding.advice


async def test_doctor_names_the_window_that_a_local_server_loaded(
    tmp_path: Path, ollama: ListServer
) -> None:
    """4,096 tokens are Ollama's default on small machines, and it truncates longer requests."""
    environ = {"LLM": "openai/llama3.1:8b", "OPENAI_BASE_URL": ollama.url}
    (finding,) = await findings(tmp_path, **environ)
    assert finding.verdict is Verdict.OK and "window has 4,096 tokens" in finding.detail
    assert "OLLAMA_CONTEXT_LENGTH" in finding.advice
    del ollama.bodies["/api/ps"]
    (finding,) = await findings(tmp_path, **environ)
    assert "window" not in finding.detail + finding.advice

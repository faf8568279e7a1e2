"""Behavior specific to one provider, and chains of several, with the real clients."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bot.common.clock import SystemClock
from bot.config.loader import load
from bot.domain.conversations import Message, Role
from bot.domain.errors import CutOff, KeyRefused, ModelFailed, Overloaded, RateLimited
from bot.domain.model import ChatRequest, Delta
from bot.llm.huggingface import ROUTER_URL, HuggingFaceEndpoint, HuggingFaceModel
from bot.llm.images import ImageUploads
from bot.llm.openai import OPENAI_URL, OpenAIModel, make_client
from bot.llm.registry import ModelRegistry
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim
from tests.support.model_kit import (
    huggingface_model,
    huggingface_provider,
    openai_model,
    openai_provider,
    registry,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))
WIDE = StreamTimeouts(first_token=20.0, between_tokens=20.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2000, first_delay=0.003)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def model(sim: ModelSim) -> AsyncIterator[OpenAIModel]:
    model = openai_model("sim", sim.base_url, key="right", timeouts=WIDE)
    yield model
    await model.aclose()


def hub_model(sim: ModelSim, model: str = "sim", token: str | None = "right") -> HuggingFaceModel:
    return huggingface_model(model, sim.base_url, token=token, timeouts=WIDE)


async def answer(model: ChatModel, request: ChatRequest = HELLO) -> str:
    return "".join([delta.text async for delta in model.stream(request)])


# ── OpenAI and compatible servers ─────────────────────────────────────────────────────────────
async def test_a_key_is_sent_only_if_it_is_set(sim: ModelSim, model: OpenAIModel) -> None:
    """Local servers need none, and some reject an invented one."""
    await answer(model)
    assert (await sim.last()).authorization == "Bearer right"
    keyless = openai_model("sim", sim.base_url, key=None, timeouts=WIDE)
    await answer(keyless)
    assert (await sim.last()).authorization is None
    await keyless.aclose()


async def test_the_client_ignores_environment_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty OPENAI_BASE_URL counts as unset, and a key from the environment is not used."""
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    client = make_client(openai_provider(None, None))
    assert str(client.base_url).rstrip("/") == OPENAI_URL
    assert client.api_key != "from the environment"
    await client.close()


async def test_connections_are_reused(sim: ModelSim, model: OpenAIModel) -> None:
    """A complete answer leaves its connection open for the next one."""
    before = len(await sim.streams())
    for _ in range(4):
        await answer(model)
    assert len({record.peer for record in await sim.streams(before)}) == 1


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the bot and the libraries make between attempts."""
    made: list[float] = []

    async def pause(*args: Any) -> None:
        made.append(args[-1])

    monkeypatch.setattr(anyio, "sleep", pause)
    monkeypatch.setattr(SystemClock, "sleep", pause)
    return made


async def test_a_stale_connection_is_replaced_silently(
    sim: ModelSim, model: OpenAIModel, pauses: list[float]
) -> None:
    """The server may close an idle connection just as it is being reused."""
    await answer(model)
    before = len(await sim.requests("chat/completions"))
    await sim.drop()
    with capture_logs() as lines:
        assert (await answer(model)).startswith("I received")
    assert len(await sim.requests("chat/completions")) == before + 2
    assert (pauses, lines) == ([], [])
    await sim.call("clear")


async def test_parameters_that_a_reasoning_model_rejects_are_not_sent_again(
    sim: ModelSim, model: OpenAIModel
) -> None:
    """The model rejects the old name of the limit, and a temperature."""
    await sim.models(reasoning=("sim",))
    request = ChatRequest(HELLO.messages, max_tokens=3, temperature=0.2)
    with capture_logs() as lines:
        assert await answer(model, request)
    assert [line["workaround"] for line in lines] == ["no max_tokens", "no temperature"]
    body = (await sim.last()).body
    assert body["max_completion_tokens"] == 3
    assert not {"max_tokens", "temperature"} & set(body)
    before = len(await sim.streams())
    await answer(model, request)
    assert len(await sim.streams(before)) == 1


async def test_a_server_without_stream_options_still_answers(
    sim: ModelSim, model: OpenAIModel
) -> None:
    """Older servers reject unknown fields; their answers then have no usage."""
    message = "Extra inputs are not permitted: stream_options"
    await sim.call(
        "script",
        answers=[{"status": 422, "body": {"detail": message, "message": message}, "times": 1}],
    )
    assert await answer(model)
    assert "stream_options" not in (await sim.last()).body


async def test_a_request_that_is_always_rejected_fails(sim: ModelSim, model: OpenAIModel) -> None:
    """The number of workarounds is bounded."""
    body = {"error": {"message": "max_tokens max_completion_tokens stream_options", "code": "x"}}
    before = len(await sim.streams())
    await sim.call("script", answers=[{"status": 400, "body": body}])
    with pytest.raises(ModelFailed):
        await answer(model, ChatRequest(HELLO.messages, max_tokens=3))
    assert 2 <= len(await sim.streams(before)) <= 5


async def test_openai_gets_the_new_name_of_the_limit_and_others_the_old_one() -> None:
    """OpenAI's newer models accept only the new name, many compatible servers only the old one."""
    for url, name in ((None, "max_completion_tokens"), ("http://127.0.0.1:9/v1", "max_tokens")):
        model = openai_model("m", url, timeouts=WIDE)
        request = ChatRequest(HELLO.messages, max_tokens=3)
        assert name in model._builder.parameters(request, ImageUploads())
        await model.aclose()


# ── Hugging Face ──────────────────────────────────────────────────────────────────────────────
async def test_the_model_name_is_sent_with_its_provider(sim: ModelSim) -> None:
    """The name goes out as in the settings; the router resolves it."""
    await sim.flavor("huggingface")
    model = hub_model(sim, "org/sim:fireworks-ai")
    assert model.name == "huggingface:org/sim:fireworks-ai"
    assert await answer(model)
    assert (await sim.last()).body["model"] == "org/sim:fireworks-ai"


FIRST_REQUEST = """
import asyncio, socket, sys
from bot.domain.conversations import Message, Role
from bot.domain.model import ChatRequest
from tests.support.model_kit import huggingface_model

hosts, resolve = [], socket.getaddrinfo
def record_host(host, *rest, **more):
    hosts.append(host)
    return resolve(host, *rest, **more)
socket.getaddrinfo = record_host

async def main():
    model = huggingface_model("org/sim:x", sys.argv[1], token=None)
    request = ChatRequest((Message(role=Role.USER, content="hello"),))
    return "".join([delta.text async for delta in model.stream(request)])

print(asyncio.run(main()))
print(sorted({str(host) for host in hosts}))
"""


async def test_the_library_contacts_no_other_host(sim: ModelSim) -> None:
    """By default, the library's first request blocks the loop while it fetches a list from its
    maker."""
    await sim.flavor("huggingface")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FIRST_REQUEST, sim.base_url, stdout=subprocess.PIPE, env=environ
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    text, hosts = output.decode().splitlines()
    assert text == "I received 1 messages; the last one says: hello"
    assert hosts in ("[]", "['127.0.0.1']")


async def test_without_a_token_there_is_no_header(
    sim: ModelSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of this machine's login is not used."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    await answer(hub_model(sim, token=None))
    assert (await sim.last()).authorization is None
    await answer(hub_model(sim, token="hf_set"))
    assert (await sim.last()).authorization == "Bearer hf_set"


async def test_each_request_uses_and_closes_its_own_client(sim: ModelSim) -> None:
    """No connection outlives its answer."""
    before = len(await sim.streams())
    for _ in range(3):
        await answer(hub_model(sim))
    assert len({record.peer for record in await sim.streams(before)}) == 3


async def test_a_request_does_not_block_the_loop(
    sim: ModelSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client per request is cheap only because they share a TLS context, which costs 20 ms."""
    model, loaded = hub_model(sim), list[object]()
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: loaded.append(1))
    for _ in range(5):
        await answer(model)
    assert loaded == []
    httpx2.create_ssl_context()
    assert loaded, "this is no longer how certificates are loaded"


async def test_the_router_is_the_default_endpoint() -> None:
    endpoint = HuggingFaceEndpoint(huggingface_provider(None, "hf_x"))
    async with endpoint.client() as client:
        assert client.model == ROUTER_URL == "https://router.huggingface.co/v1"


# ── chains built from the settings ────────────────────────────────────────────────────────────
@pytest_asyncio.fixture(loop_scope="module")
async def models(sim: ModelSim) -> AsyncIterator[ModelRegistry]:
    settings = load(
        {
            "LLM": "openai:sim,huggingface:org/sim",
            "MODELS": "openai:sim-2",
            "OPENAI_BASE_URL": sim.base_url,
            "HF_BASE_URL": sim.base_url,
        },
        None,
    )
    models = registry(settings)
    yield models
    await models.aclose()


async def test_a_chain_falls_back_to_the_next_provider(
    sim: ModelSim, models: ModelRegistry, pauses: list[float]
) -> None:
    """It falls back immediately, despite a Retry-After; the log and the first delta name the
    models."""
    await sim.refuse("rate_limited", model="sim", retry_after=5)
    with capture_logs() as lines:
        deltas = [delta async for delta in models.get(None).stream(HELLO)]
    assert pauses == []
    assert deltas[0].model == "huggingface:org/sim"
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert (line["model"], line["error"]) == ("openai:sim", "RateLimited")
    assert line["next"] == "huggingface:org/sim"


@pytest.mark.parametrize("how", ["cut", "end", "error", "bad_json", "garbage"])
async def test_a_stream_that_breaks_before_its_first_token_falls_back(
    sim: ModelSim, models: ModelRegistry, how: str
) -> None:
    """The status was 200, but no token had come."""
    await sim.break_off(how, at=0, model="sim")
    deltas = [delta async for delta in models.get(None).stream(HELLO)]
    assert deltas[0].model == "huggingface:org/sim"
    assert "".join(delta.text for delta in deltas).endswith("hello")


async def test_a_stream_that_breaks_after_its_first_token_does_not_fall_back(
    sim: ModelSim, models: ModelRegistry
) -> None:
    """The text stays, and no other model is asked."""
    await sim.break_off("fin", at=1, model="sim", rate=50)
    before, deltas = len(await sim.streams()), list[Delta]()
    with pytest.raises(CutOff):
        async for delta in models.get(None).stream(HELLO):
            deltas.append(delta)
    assert "".join(delta.text for delta in deltas) == "I"
    assert len(await sim.streams(before)) == 1


async def test_a_single_model_is_retried_before_its_first_token(
    sim: ModelSim, models: ModelRegistry
) -> None:
    """A chosen model has no fallback, so a short overload is retried."""
    await sim.refuse("unavailable", model="sim-2")
    assert await answer(models.get("openai:sim-2"))
    await sim.refuse("rate_limited", model="sim-2", retry_after=600)
    with pytest.raises(RateLimited) as caught:
        await answer(models.get("openai:sim-2"))
    assert caught.value.retry_after == 600


async def test_if_all_models_fail_the_transient_error_is_raised(
    sim: ModelSim, models: ModelRegistry
) -> None:
    """The wrong key is in the log."""
    await sim.refuse("bad_key", model="sim", times=None)
    await sim.refuse("unavailable", model="org/sim", times=None)
    with capture_logs() as lines, pytest.raises(Overloaded):
        await answer(models.get(None))
    assert KeyRefused.__name__ in [line.get("error") for line in lines]


async def test_a_cancelled_chain_asks_no_other_model(sim: ModelSim, models: ModelRegistry) -> None:
    """A stop is not a failure: the server sees the client leave, and there is no second request."""
    before = len(await sim.streams())
    await sim.say("never", first_delay=30)
    task = asyncio.create_task(answer(models.get(None)))

    async def has_arrived() -> bool:
        return len(await sim.streams(before)) == 1

    await sim.until(has_arrived)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sim.wait_ended(before)).outcome == "disconnected"
    assert len(await sim.streams(before)) == 1

"""What belongs to one provider, and chains of several, with the real clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bot.config.settings import load
from bot.domain.conversations import Message, Role
from bot.domain.errors import CutOff, KeyRefused, ModelFailed, Overloaded, RateLimited
from bot.domain.model import ChatRequest, Delta
from bot.llm.huggingface import ROUTER_URL, Endpoint, HuggingFaceModel
from bot.llm.openai import OPENAI_URL, OpenAIModel, make_client
from bot.llm.registry import Models, build_models
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim

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
async def openai_model(sim: ModelSim) -> AsyncIterator[OpenAIModel]:
    client = make_client(api_key="right", base_url=sim.base_url)
    model = OpenAIModel(model="sim", client=client, limits=WIDE)
    yield model
    await model.aclose()


def face(sim: ModelSim, model: str = "sim", token: str | None = "right") -> HuggingFaceModel:
    return HuggingFaceModel(model=model, token=token, base_url=sim.base_url, limits=WIDE)


async def answer(model: ChatModel, request: ChatRequest = HELLO) -> str:
    return "".join([delta.text async for delta in model.stream(request)])


# ── OpenAI and compatible servers ─────────────────────────────────────────────────────────────
async def test_a_key_is_sent_and_a_missing_one_is_not(
    sim: ModelSim, openai_model: OpenAIModel
) -> None:
    """Local servers have none, and some refuse a made-up one."""
    await answer(openai_model)
    assert (await sim.last()).authorization == "Bearer right"
    keyless = OpenAIModel(
        model="sim", client=make_client(api_key=None, base_url=sim.base_url), limits=WIDE
    )
    await answer(keyless)
    assert (await sim.last()).authorization is None
    await keyless.aclose()


async def test_the_environment_does_not_reach_past_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty OPENAI_BASE_URL counts as not set, and a key of somewhere else is not taken."""
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
    client = make_client(api_key=None, base_url=None)
    assert str(client.base_url).rstrip("/") == OPENAI_URL
    assert client.api_key != "from the environment"
    await client.close()


async def test_connections_are_used_again(sim: ModelSim, openai_model: OpenAIModel) -> None:
    """A whole answer leaves its connection open for the next: no new handshake."""
    before = len(await sim.streams())
    for _ in range(4):
        await answer(openai_model)
    assert len({record.peer for record in await sim.streams(before)}) == 1


async def test_a_stale_connection_is_replaced_without_a_word(
    sim: ModelSim, openai_model: OpenAIModel
) -> None:
    """The server may close an idle connection at the very moment when it is used again."""
    await answer(openai_model)
    await sim.drop()
    began = time.monotonic()
    assert (await answer(openai_model)).startswith("I received")
    assert time.monotonic() - began < 0.4  # sooner than any retry that waits
    await sim.call("clear")


async def test_a_reasoning_model_is_asked_in_its_own_way(
    sim: ModelSim, openai_model: OpenAIModel
) -> None:
    """It refuses the old limit and a temperature; what it refuses once is not sent again."""
    await sim.models(reasoning=("sim",))
    request = ChatRequest(HELLO.messages, max_tokens=3, temperature=0.2)
    with capture_logs() as lines:
        assert await answer(openai_model, request)
    assert [line["parameter"] for line in lines] == ["max_tokens", "temperature"]
    body = (await sim.last()).body
    assert body["max_completion_tokens"] == 3
    assert not {"max_tokens", "temperature"} & set(body)
    before = len(await sim.streams())
    await answer(openai_model, request)
    assert len(await sim.streams(before)) == 1


async def test_a_server_that_knows_no_stream_options_still_answers(
    sim: ModelSim, openai_model: OpenAIModel
) -> None:
    """Older ones refuse what they do not know; then there is no usage."""
    message = "Extra inputs are not permitted: stream_options"
    await sim.call(
        "script",
        answers=[{"status": 422, "body": {"detail": message, "message": message}, "times": 1}],
    )
    assert await answer(openai_model)
    assert "stream_options" not in (await sim.last()).body


async def test_a_request_that_stays_refused_fails(sim: ModelSim, openai_model: OpenAIModel) -> None:
    """There is an end to looking for another way to ask."""
    body = {"error": {"message": "max_tokens max_completion_tokens stream_options", "code": "x"}}
    before = len(await sim.streams())
    await sim.call("script", answers=[{"status": 400, "body": body}])
    with pytest.raises(ModelFailed):
        await answer(openai_model, ChatRequest(HELLO.messages, max_tokens=3))
    assert 2 <= len(await sim.streams(before)) <= 5


async def test_at_home_the_new_name_of_the_limit_is_used() -> None:
    """OpenAI's newer models take no other; compatible servers are asked with the old one."""
    for url, name in ((None, "max_completion_tokens"), ("http://127.0.0.1:9/v1", "max_tokens")):
        client = make_client(api_key="k", base_url=url)
        model = OpenAIModel(model="m", client=client, limits=WIDE)
        request = ChatRequest(HELLO.messages, max_tokens=3)
        assert name in model._learned.parameters(request)
        await client.close()


# ── Hugging Face ──────────────────────────────────────────────────────────────────────────────
async def test_the_provider_goes_out_with_the_model(sim: ModelSim) -> None:
    """As it is named in the settings; the router resolves it."""
    await sim.flavour("huggingface")
    model = face(sim, "org/sim:fireworks-ai")
    assert model.name == "huggingface:org/sim:fireworks-ai"
    assert await answer(model)
    assert (await sim.last()).body["model"] == "org/sim:fireworks-ai"


FIRST_REQUEST = """
import asyncio, socket, sys
from bot.domain.conversations import Message, Role
from bot.domain.model import ChatRequest
from bot.llm.huggingface import HuggingFaceModel
from bot.llm.stream_timeout import StreamTimeouts

asked, resolve = [], socket.getaddrinfo
def watched(host, *rest, **more):
    asked.append(host)
    return resolve(host, *rest, **more)
socket.getaddrinfo = watched

async def main():
    limits = StreamTimeouts()
    model = HuggingFaceModel(model="org/sim:x", token=None, base_url=sys.argv[1], limits=limits)
    request = ChatRequest((Message(role=Role.USER, content="hello"),))
    return "".join([delta.text async for delta in model.stream(request)])

print(asyncio.run(main()))
print(sorted({str(host) for host in asked}))
"""


async def test_the_library_asks_nobody_else(sim: ModelSim) -> None:
    """Its first request in a process would look something up at its own site, holding the loop."""
    await sim.flavour("huggingface")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FIRST_REQUEST, sim.base_url, stdout=subprocess.PIPE, env=environ
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    said, hosts = output.decode().splitlines()
    assert said == "I received 1 messages; the last one says: hello"
    assert hosts in ("[]", "['127.0.0.1']")


async def test_no_token_means_no_header(sim: ModelSim, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that this machine is logged in with is neither looked for nor given away."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    await answer(face(sim, token=None))
    assert (await sim.last()).authorization is None
    await answer(face(sim, token="hf_set"))
    assert (await sim.last()).authorization == "Bearer hf_set"


async def test_every_request_has_a_client_of_its_own_that_is_closed(sim: ModelSim) -> None:
    """No connection outlives its answer."""
    before = len(await sim.streams())
    for _ in range(3):
        await answer(face(sim))
    assert len({record.peer for record in await sim.streams(before)}) == 3


async def test_a_request_does_not_hold_the_loop(sim: ModelSim) -> None:
    """A client for each request is cheap only because they share one TLS context (20 ms)."""
    await answer(face(sim))
    model, holds = face(sim), []

    async def watch() -> None:
        while True:
            began = time.thread_time()  # our own CPU: a busy machine does not count
            await asyncio.sleep(0)
            holds.append(time.thread_time() - began)

    watcher = asyncio.create_task(watch())
    for _ in range(5):
        await answer(model)
    watcher.cancel()
    # Five times through; the least of the five longest turns stands for one request.
    assert sorted(holds)[-5] < 0.01


async def test_the_router_is_asked_when_no_endpoint_is_set() -> None:
    """The address is Hugging Face's own."""
    endpoint = Endpoint("hf_x", ROUTER_URL)
    async with endpoint.client() as client:
        assert client.model == ROUTER_URL == "https://router.huggingface.co/v1"


# ── chains, as the settings make them ─────────────────────────────────────────────────────────
@pytest_asyncio.fixture(loop_scope="module")
async def models(sim: ModelSim) -> AsyncIterator[Models]:
    settings = load(
        {
            "LLM": "openai:sim,huggingface:org/sim",
            "MODELS": "openai:sim-2",
            "OPENAI_BASE_URL": sim.base_url,
            "HF_BASE_URL": sim.base_url,
        },
        None,
    )
    built = build_models(settings)
    yield built
    await built.aclose()


async def test_a_chain_falls_over_to_the_next_provider(sim: ModelSim, models: Models) -> None:
    """At once, although the first one asks for a wait; the log and the first delta name who."""
    await sim.refuse("rate_limited", model="sim", retry_after=5)
    began = time.monotonic()
    with capture_logs() as lines:
        deltas = [delta async for delta in models.default.stream(HELLO)]
    assert time.monotonic() - began < 3
    assert deltas[0].model == "huggingface:org/sim"
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert (line["model"], line["error"]) == ("openai:sim", "RateLimited")
    assert line["next"] == "huggingface:org/sim"


@pytest.mark.parametrize("how", ["cut", "end", "error", "bad_json", "garbage"])
async def test_a_stream_that_breaks_before_its_first_token_falls_over(
    sim: ModelSim, models: Models, how: str
) -> None:
    """The status was 200, but no token had come."""
    await sim.break_off(how, at=0, model="sim")
    deltas = [delta async for delta in models.default.stream(HELLO)]
    assert deltas[0].model == "huggingface:org/sim"
    assert "".join(delta.text for delta in deltas).endswith("hello")


async def test_a_stream_that_breaks_after_its_first_token_does_not(
    sim: ModelSim, models: Models
) -> None:
    """The text stays, and nobody else is asked."""
    await sim.break_off("fin", at=1, model="sim", rate=50)
    before, came = len(await sim.streams()), list[Delta]()
    with pytest.raises(CutOff):
        async for delta in models.default.stream(HELLO):
            came.append(delta)
    assert "".join(delta.text for delta in came) == "I"
    assert len(await sim.streams(before)) == 1


async def test_one_model_is_retried_before_its_first_token(sim: ModelSim, models: Models) -> None:
    """A model that people chose stands alone: a short overload passes unnoticed."""
    await sim.refuse("unavailable", model="sim-2")
    assert await answer(models.choices["openai:sim-2"])
    await sim.refuse("rate_limited", model="sim-2", retry_after=600)
    with pytest.raises(RateLimited) as caught:
        await answer(models.choices["openai:sim-2"])
    assert caught.value.retry_after == 600


async def test_when_all_fail_the_error_says_what_helps(sim: ModelSim, models: Models) -> None:
    """The failure that passes is told; the wrong key is in the log."""
    await sim.refuse("bad_key", model="sim", times=None)
    await sim.refuse("unavailable", model="org/sim", times=None)
    with capture_logs() as lines, pytest.raises(Overloaded):
        await answer(models.default)
    assert KeyRefused.__name__ in [line.get("error") for line in lines]


async def test_a_cancelled_chain_asks_nobody_else(sim: ModelSim, models: Models) -> None:
    """A stop is no failure: the server sees the client go, and no second request comes."""
    before = len(await sim.streams())
    await sim.say("never", first_delay=30)
    task = asyncio.create_task(answer(models.default))

    async def arrived() -> bool:
        return len(await sim.streams(before)) == 1

    await sim.until(arrived)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sim.ended(before, seconds=1)).outcome == "gone"
    assert len(await sim.streams(before)) == 1

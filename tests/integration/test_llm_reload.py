"""A registry whose configuration changes while its models answer, and chains over providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from bot.common.clock import SystemClock
from bot.config.providers import ModelsConfig, ProviderConfig, ProviderKind
from bot.domain.conversations import Effort, Message, Role
from bot.domain.errors import ContextTooLong, SettingsError
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.model_server import ModelOptions
from bot.llm.registry import ModelRegistry
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim
from tests.support.provider_corpus import CHAT_ANSWER

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))
CONFIGURED = ModelFacts(window=100_000, is_configured=True)  # so that no server is asked for it


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2000, first_delay=0.003)
    return server


def provider(sim: ModelSim, name: str, **more: Any) -> ProviderConfig:
    fields: dict[str, Any] = {
        "kind": ProviderKind.OPENAI,
        "base_url": sim.base_url,
        "key": SecretStr("k"),
        "key_setting": f"{name.upper()}_KEY",
    }
    return ProviderConfig(name, **(fields | more))


def config(*providers: ProviderConfig, chain: tuple[str, ...], **more: Any) -> ModelsConfig:
    names = [f"{each.name}/{model}" for each in providers for model in ("sim", "sim-2")]
    return ModelsConfig(
        chain=chain,
        providers={each.name: each for each in providers},
        facts=dict.fromkeys(names, CONFIGURED),
        **more,
    )


@pytest_asyncio.fixture(loop_scope="module")
async def models(sim: ModelSim) -> AsyncIterator[ModelRegistry]:
    both = (provider(sim, "a"), provider(sim, "b"))
    made = ModelRegistry(
        config(*both, chain=("a/sim",), choices=("b/sim",)), ModelOptions(SystemClock())
    )
    made.prepare()
    yield made
    await made.aclose()


async def text(model: ChatModel) -> str:
    return "".join([delta.text async for delta in model.stream(HELLO)])


def client_of(models: ModelRegistry, name: str) -> Any:
    server = models.server(name)
    assert server is not None
    return server.client


# ── reloading ─────────────────────────────────────────────────────────────────────────────────
async def test_a_running_answer_outlives_its_provider(sim: ModelSim, models: ModelRegistry) -> None:
    """The connections close after the last stream; the next question goes to the default model."""
    await sim.say("one two three four", wait_at=2)
    client, chosen = client_of(models, "b/sim"), models.get("b/sim")
    before = len(await sim.streams())
    answer = asyncio.create_task(text(chosen))
    await sim.until(lambda: sim.streams(before))
    await models.reload(config(provider(sim, "a"), chain=("a/sim",)))
    assert not client.is_closed()
    assert (chosen.name, models.names) == ("a/sim", ())
    await sim.release()
    assert await answer == "one two three four"
    await sim.reset()
    assert await text(chosen), "asks the default model"
    assert client.is_closed()


async def test_what_did_not_change_is_kept(sim: ModelSim, models: ModelRegistry) -> None:
    kept, removed = client_of(models, "a/sim"), client_of(models, "b/sim")
    breaker = models.chain(("a/sim",))._breakers[0]
    other = provider(sim, "b", headers={"x-team": "blue"})
    await models.reload(config(provider(sim, "a"), other, chain=("b/sim", "a/sim-2", "a/sim")))
    assert client_of(models, "a/sim") is kept and not kept.is_closed()
    assert removed.is_closed(), "its headers changed"
    chain = models.chain(("b/sim", "a/sim-2", "a/sim"))
    assert chain._breakers[2] is breaker and chain._breakers[1] is not breaker
    assert await text(models.get(None))


async def test_a_wrong_configuration_changes_nothing(sim: ModelSim, models: ModelRegistry) -> None:
    client = client_of(models, "b/sim")
    keyless = ProviderConfig("c", ProviderKind.OPENAI, key_setting="C_KEY")
    wrong = config(provider(sim, "a"), keyless, chain=("a/sim", "c/sim"))
    with pytest.raises(SettingsError) as caught:
        await models.reload(wrong)
    assert caught.value.setting == "C_KEY"
    assert (models.default, list(models.names)) == ("a/sim", ["b/sim"])
    assert not client.is_closed() and await text(models.get("b/sim"))


async def test_an_address_that_a_library_refuses_changes_nothing(
    sim: ModelSim, models: ModelRegistry
) -> None:
    refused = ProviderConfig("c", ProviderKind.OPENAI, base_url="http://[::1:x/v1")
    with pytest.raises(Exception, match=r"URL|port|IPv6"):
        await models.reload(config(provider(sim, "a"), refused, chain=("a/sim", "c/sim")))
    assert (models.default, list(models.names)) == ("a/sim", ["b/sim"])


async def test_changed_facts_reach_a_model_whose_server_is_kept(
    sim: ModelSim, models: ModelRegistry
) -> None:
    """A model without effort is not sent one."""
    client, request = client_of(models, "a/sim"), replace(HELLO, effort=Effort.LOW)
    for effort in (None, False):
        facts = {"a/sim": replace(CONFIGURED, effort=effort)}
        changed = replace(config(provider(sim, "a"), chain=("a/sim",)), facts=facts)
        await models.reload(changed)
        async for _ in models.get(None).stream(request):
            pass
        sent = (await sim.last()).body
        assert ("reasoning_effort" in sent) is (effort is None)
    assert client_of(models, "a/sim") is client


async def test_closing_closes_every_client(sim: ModelSim, models: ModelRegistry) -> None:
    clients = [client_of(models, "a/sim"), client_of(models, "b/sim")]
    await models.aclose()
    assert all(client.is_closed() for client in clients)


async def test_a_cancelled_answer_does_not_keep_its_server(
    sim: ModelSim, models: ModelRegistry
) -> None:
    await sim.say("one two three", wait_at=1)
    client = client_of(models, "b/sim")
    before = len(await sim.streams())
    answer = asyncio.create_task(text(models.get("b/sim")))
    await sim.until(lambda: sim.streams(before))
    await models.reload(config(provider(sim, "a"), chain=("a/sim",)))
    answer.cancel()
    await asyncio.wait([answer])
    await models.aclose()  # waits for clients that are being closed
    assert client.is_closed()


# ── providers ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", [ProviderKind.OPENAI, ProviderKind.HUGGINGFACE])
async def test_headers_and_query_go_with_every_request(sim: ModelSim, kind: ProviderKind) -> None:
    """Azure takes its key in a header and its version in the query; OpenRouter names the app."""
    requests: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        requests.append(request)
        return web.Response(body=CHAT_ANSWER, content_type="text/event-stream")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    headers = {"api-key": "secret", "HTTP-Referer": "https://example.org"}
    azure = provider(
        sim,
        "azure",
        kind=kind,
        base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1",
        key=None,
        headers=headers,
        query={"api-version": "2026-01-01"},
    )
    registry = ModelRegistry(config(azure, chain=("azure/sim",)), ModelOptions(SystemClock()))
    async with aclosing(registry):
        assert await text(registry.get(None)) == "Hello there."
    await runner.cleanup()
    (request,) = requests
    assert {name: request.headers[name] for name in headers} == headers
    assert "Authorization" not in request.headers
    assert dict(request.query) == {"api-version": "2026-01-01"}


async def test_a_chain_over_three_providers_answers_with_the_first_that_can(sim: ModelSim) -> None:
    """Anthropic fails before its first word, so OpenAI answers, and Hugging Face is not asked."""
    chain = ("anthropic/claude-x", "openai/sim", "huggingface/org/sim")
    providers = (
        provider(
            sim,
            "anthropic",
            kind=ProviderKind.ANTHROPIC,
            base_url=sim.base_url.removesuffix("/v1"),
        ),
        provider(sim, "openai"),
        provider(sim, "huggingface", kind=ProviderKind.HUGGINGFACE),
    )
    registry = ModelRegistry(
        ModelsConfig(
            chain,
            providers={each.name: each for each in providers},
            facts=dict.fromkeys(chain, CONFIGURED),
        ),
        ModelOptions(SystemClock()),
    )
    registry.prepare()
    async with aclosing(registry):
        deltas = [delta async for delta in registry.get(None).stream(HELLO)]
    assert deltas[0].model == "openai/sim"
    assert "".join(delta.text for delta in deltas)


# ── fallback models with a smaller window ─────────────────────────────────────────────────────
async def test_a_refusal_names_the_model_that_refused(sim: ModelSim) -> None:
    """The turn then shortens this attempt, and learns nothing about the first model."""
    chain = ("openai/sim", "openai/sim-2")
    registry = ModelRegistry(
        config(provider(sim, "openai"), chain=chain), ModelOptions(SystemClock())
    )
    await sim.refuse("overloaded", model="sim", times=None)
    await sim.refuse("too_long", model="sim-2", times=None)
    async with aclosing(registry):
        with pytest.raises(ContextTooLong) as caught:
            await text(registry.get(None))
        assert caught.value.model == "openai/sim-2"
        assert registry.get(None).facts == CONFIGURED

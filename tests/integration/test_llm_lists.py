"""Servers' lists of models: names, facts and windows, through the providers' real clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.config.providers import ModelsConfig, ProviderConfig, ProviderKind
from bot.domain.errors import SettingsError
from bot.domain.model import ModelFacts, Prices
from bot.llm.list_entries import MOST_MODELS, parse_list
from bot.llm.model_list import ANSWER_SECONDS, FRESH_SECONDS, RETRY_SECONDS
from bot.llm.model_server import ModelOptions
from bot.llm.registry import ModelRegistry
from tests.sims.model import lists
from tests.sims.model.lists import ListServer, list_server
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more than the two seconds that people wait."""
    monkeypatch.setattr("bot.llm.model_list.ANSWER_SECONDS", 60.0)
    monkeypatch.setattr("bot.llm.openai_lists.WINDOW_SECONDS", 60.0)


class Catalog:
    """A registry that offers all models of one server, with a clock that the test drives."""

    def __init__(self, server: ListServer, kind: ProviderKind = ProviderKind.OPENAI) -> None:
        address = server.url.removesuffix("/v1") if kind is ProviderKind.ANTHROPIC else server.url
        self.provider = ProviderConfig("it", kind, base_url=address, key=SecretStr("k"))
        config = ModelsConfig(chain=("echo",), choices=("it/*",), providers={"it": self.provider})
        self.clock = ManualClock()
        self.registry = ModelRegistry(config, ModelOptions(self.clock))
        self.registry.prepare()

    async def names(self) -> list[str]:
        return [name.removeprefix("it/") for name in await self.registry.list_names()]

    def facts(self, model: str) -> ModelFacts:
        return self.registry.get(f"it/{model}").facts


async def list_models_of(
    body: Any, kind: ProviderKind = ProviderKind.OPENAI, **others: Any
) -> tuple[list[str], Catalog]:
    """The models offered if a server has this list."""
    async with list_server(body, **others) as server:
        catalog = Catalog(server, kind)
        try:
            return await catalog.names(), catalog
        finally:
            await catalog.registry.aclose()


# ── shapes ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("body", "names"),
    [
        (lists.OPENAI, ["gpt-5", "gpt-4.1"]),
        (lists.OLLAMA, ["llama3.1:8b", "qwen3:latest", "hf.co/bartowski/X-GGUF:Q4_K_M"]),
        (lists.VLLM, ["Qwen/Qwen3-8B"]),
        (lists.OPENROUTER, ["anthropic/claude-x", "openrouter/auto"]),
        (lists.LM_STUDIO, ["qwen2.5-7b-instruct"]),
        (lists.GROQ, ["openai/gpt-oss-20b"]),
        (lists.MISTRAL, ["mistral-x"]),
        (lists.TOGETHER, ["meta/chat"]),
        (lists.LLAMA_CPP, ["ggml-org/gemma-3-4b-it-GGUF"]),
    ],
)
async def test_models_that_chat_are_offered(body: Any, names: list[str]) -> None:
    """Models for embeddings, speech, images and moderation are not."""
    assert (await list_models_of(body))[0] == names


async def test_anthropics_list_is_read_with_its_own_client() -> None:
    names, catalog = await list_models_of(lists.ANTHROPIC, ProviderKind.ANTHROPIC)
    assert names == ["claude-x"]
    facts = catalog.facts("claude-x")
    assert (facts.window, facts.max_output) == (1_000_000, 128_000)
    assert facts.effort is True and facts.sees is True


async def test_facts_of_a_list_win_over_built_in_ones() -> None:
    _, catalog = await list_models_of(lists.OPENROUTER)
    facts = catalog.facts("anthropic/claude-x")
    assert facts.window == 200_000, "of the default route, although another one has more"
    assert (facts.max_output, facts.sees, facts.tools, facts.effort) == (64_000, True, True, True)
    assert facts.prices == Prices(3.0, 15.0, 0.3, 3.75)
    auto = catalog.facts("openrouter/auto")
    assert (auto.window, auto.prices, auto.tools) == (2_000_000, None, False)


async def test_a_list_without_windows_still_counts() -> None:
    names, catalog = await list_models_of(lists.OLLAMA, api_ps=b"no JSON")
    assert names[0] == "llama3.1:8b" and catalog.facts("llama3.1:8b").window is None


@pytest.mark.parametrize(
    ("body", "others", "model", "window"),
    [
        (lists.OLLAMA, {"api_ps": lists.OLLAMA_LOADED}, "llama3.1:8b", 4_096),
        (lists.OLLAMA, {"api_ps": lists.OLLAMA_LOADED}, "qwen3", None),
        (
            lists.LM_STUDIO,
            {"api_v0_models": lists.LM_STUDIO_LOADED, "*": lists.LM_STUDIO_UNKNOWN},
            "qwen2.5-7b-instruct",
            8_192,
        ),
        (
            lists.LLAMA_CPP,
            {"props": lists.LLAMA_CPP_PROPS},
            "ggml-org/gemma-3-4b-it-GGUF",
            16_384,
        ),
        (lists.LLAMA_CPP, {"props": b"[]"}, "ggml-org/gemma-3-4b-it-GGUF", None),
        (lists.VLLM, {}, "Qwen/Qwen3-8B", 16_384),
        (lists.OLLAMA, {}, "llama3.1:8b", None),
    ],
)
async def test_a_local_server_says_which_window_it_loaded(
    body: Any, others: dict[str, Any], model: str, window: int | None
) -> None:
    """The model's own window would be wrong, because the server truncates requests silently."""
    _, catalog = await list_models_of(body, **others)
    assert catalog.facts(model).window == window


# ── hostile and broken lists ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "name",
    [
        "two\nlines", "`code`", "<@U123>", "<!here>", "a b", "a,b", "*", "a*", "[a](http://x)",
        "\u202eevil", "", "x" * 151, "a|b", "a&b", "\x1b[31m", "é", "-rf", "a\\b", '"',
    ],
)  # fmt: skip
def test_names_that_are_not_plain_text_are_dropped(name: str) -> None:
    """A listed name therefore has no special meaning to Markdown, platforms, logs or settings."""
    body = {"data": [{"id": name}, {"id": "good"}]}
    assert [model.name for model in parse_list(json.dumps(body).encode())] == ["good"]


@pytest.mark.parametrize(
    "body",
    [{}, [], None, "text", 7, {"data": None}, {"data": {"id": "x"}}, {"data": [None, 1, "x", []]}],
)
async def test_lists_of_other_shapes_are_empty(body: Any) -> None:
    assert (await list_models_of(json.dumps(body).encode()))[0] == []


async def test_a_long_list_is_cut_and_each_model_is_listed_once() -> None:
    entries = [{"id": f"m{n % 40_000}", "object": "model"} for n in range(50_000)]
    names, _ = await list_models_of({"data": entries})
    assert names == [f"m{n}" for n in range(MOST_MODELS)]


def test_odd_values_of_known_fields_are_no_facts() -> None:
    entry = {
        "id": "m",
        "context_length": "many",
        "max_model_len": -1,
        "context_window": True,
        "top_provider": [],
        "architecture": "x",
        "capabilities": 3,
        "pricing": {"prompt": 10**400, "completion": None},
        "supported_parameters": "tools",
        "meta": None,
    }
    (model,) = parse_list(json.dumps({"data": [entry]}).encode())
    assert model.facts == ModelFacts()


# ── the cache ─────────────────────────────────────────────────────────────────────────────────
@pytest_asyncio.fixture
async def server() -> AsyncIterator[ListServer]:
    async with list_server(lists.VLLM) as running:
        yield running


@pytest_asyncio.fixture
async def catalog(server: ListServer) -> AsyncIterator[Catalog]:
    made = Catalog(server)
    yield made
    await made.registry.aclose()


async def test_a_list_is_asked_for_once_a_minute(server: ListServer, catalog: Catalog) -> None:
    assert await asyncio.gather(*(catalog.names() for _ in range(5))) == [["Qwen/Qwen3-8B"]] * 5
    await catalog.names()
    assert server.paths == ["/v1/models"], "one request for all five"
    server.bodies["/v1/models"] = {"data": [{"id": "new"}]}
    catalog.clock.jump(FRESH_SECONDS)
    assert await catalog.names() == ["new"]
    assert catalog.registry.get("it/Qwen/Qwen3-8B").name == "echo", "no longer offered"


async def test_a_failing_server_keeps_its_list_and_is_reported_once(
    server: ListServer, catalog: Catalog
) -> None:
    before = await catalog.names()
    catalog.clock.jump(FRESH_SECONDS)
    server.status = 500
    with capture_logs() as lines:
        for _ in range(3):
            assert await catalog.names() == before
            catalog.clock.jump(RETRY_SECONDS)
        server.status = 200
        for body in (lists.LM_STUDIO_UNKNOWN, {"detail": "x"}, "busy", {}, b"[" * 200_000):
            server.bodies["/v1/models"] = body
            assert await catalog.names() == before, "a response without a list is a failure"
            catalog.clock.jump(RETRY_SECONDS)
        server.bodies["/v1/models"] = lists.VLLM
        assert await catalog.names() == before
    events = [line["event"] for line in lines if line["log_level"] in ("warning", "info")]
    assert events == [
        "the server's models cannot be listed",
        "the server lists its models again",
    ]
    assert "'k'" not in str(lines)


async def test_a_silent_server_is_not_waited_for(
    server: ListServer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is two seconds; the test shortens it."""
    assert ANSWER_SECONDS == 2.0
    monkeypatch.setattr("bot.llm.model_list.ANSWER_SECONDS", 0.05)
    server.hold = asyncio.Event()
    assert await catalog.names() == []
    server.hold.set()


async def test_an_unreachable_server_lists_nothing(catalog: Catalog, server: ListServer) -> None:
    server.bodies["/v1/models"] = b"no JSON"
    assert await catalog.names() == []
    catalog.clock.jump(RETRY_SECONDS)
    server.bodies["/v1/models"] = lists.VLLM
    assert await catalog.names() == ["Qwen/Qwen3-8B"]


# ── choosing ──────────────────────────────────────────────────────────────────────────────────
async def test_a_model_of_the_list_can_be_chosen(catalog: Catalog) -> None:
    """While the list is unknown, for example after a restart, an earlier choice counts."""
    assert catalog.registry.get("it/some-model").name == "it/some-model"
    await catalog.names()
    assert catalog.registry.get("it/some-model").name == "echo"
    assert catalog.registry.get("it/Qwen/Qwen3-8B").name == "it/Qwen/Qwen3-8B"
    assert catalog.registry.get("other/x").name == "echo"
    assert catalog.registry.get(None).name == "echo"


def test_hugging_face_has_too_many_models_to_offer() -> None:
    provider = ProviderConfig("huggingface", ProviderKind.HUGGINGFACE, key=SecretStr("k"))
    config = ModelsConfig(("echo",), ("huggingface/*",), {"huggingface": provider})
    with pytest.raises(SettingsError, match="name those to offer"):
        ModelRegistry(config, ModelOptions(ManualClock())).prepare()

"""A conversation whose window is full, against simulators that cache as OpenAI and Anthropic do.

The real clients send what the core builds; the providers' own counts say how much was cached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.config.providers import ProviderConfig, ProviderKind
from bot.domain.model import ModelFacts
from bot.llm import openai, openai_responses
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.core_kit import World, world_at
from tests.support.long_conversation import converse, prose
from tests.support.store_kit import look

BUDGET = 12_000
TURNS = 50
PAUSE_SECONDS = 20.0
WIDE = StreamTimeouts(first_token=60.0, between_tokens=60.0)
Make = Callable[[str], ChatModel]


def chat_completions(url: str) -> ChatModel:
    provider = ProviderConfig(
        "openai", ProviderKind.OPENAI, url, SecretStr("k"), key_setting="OPENAI_API_KEY"
    )
    return openai.OpenAIModel(
        name="openai/sim",
        model="sim",
        provider=provider,
        client=openai.make_client(provider),
        timeouts=WIDE,
        facts=ModelFacts(),
    )


def responses(url: str) -> ChatModel:
    provider = ProviderConfig(
        "openai", ProviderKind.OPENAI_RESPONSES, url, SecretStr("k"), key_setting="OPENAI_API_KEY"
    )
    return openai_responses.OpenAIResponsesModel(
        name="openai-responses/sim",
        model="sim",
        provider=provider,
        client=openai_responses.make_client(provider),
        timeouts=WIDE,
        facts=ModelFacts(),
    )


def messages(url: str) -> ChatModel:
    return anthropic_model("sim", anthropic_provider(url), timeouts=WIDE)


@pytest.fixture
async def sim() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        await running.pace(rate=0, first_delay=0.0)
        await running.say(prose(80, "answer"))
        yield running


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(tmp_path / "store.db", context_tokens=BUDGET) as world:
        yield world


async def fill(world: World) -> int:
    """Talk until the window has moved; returns the next turn's number."""
    number = 1
    while not look(world.path, "SELECT 1 FROM context_windows WHERE start_idx > 0"):
        await converse(world, number, 1, words=300)
        number += 1
    return number


@pytest.mark.parametrize(
    ("make", "mixed", "least"),
    # Files and images are new input that no cache has, and make up a tenth of these requests. A
    # conversation without them depends on the core only, so testing it with one client is enough.
    [
        (chat_completions, False, 0.92),
        (chat_completions, True, 0.87),
        (responses, True, 0.87),
        (messages, True, 0.87),
    ],
    ids=["one person", "chat completions", "responses", "messages"],
)
async def test_nine_tenths_of_fifty_turns_are_cached(
    world: World,
    sim: ModelSim,
    make: Make,
    mixed: bool,
    least: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = make(sim.base_url)
    world.models.answer_with(model)
    first = await fill(world)
    for turn in range(first, first + TURNS):
        await converse(world, turn, 1, words=60, mixed=mixed)
        await sim.pass_time(PAUSE_SECONDS)
    await model.aclose()
    counted, cached = look(
        world.path,
        "SELECT sum(input_tokens), sum(cached_tokens) FROM"
        f" (SELECT * FROM turns ORDER BY id DESC LIMIT {TURNS})",
    )[0]
    with capsys.disabled():
        print(f"\n{model.name}: {cached / counted:.1%} of {counted:,} tokens were cached")
    assert cached >= least * counted

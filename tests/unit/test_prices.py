"""What requests cost, by the operator's prices and by the package's tables."""

from __future__ import annotations

from datetime import UTC, datetime

import genai_prices
import pytest

from bot.common.clock import SystemClock
from bot.config.loader import load
from bot.domain.model import ChatRequest, Prices, Usage
from bot.domain.money import NANO
from bot.llm.prices import DEFAULT_MAX_OUTPUT, ModelPrices, cost_of, listed_prices, load_snapshot
from tests.support.model_kit import registry

NOW = 1_795_000_000.0  # November 2026
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"


def dollars(address: str, model: str, usage: Usage) -> float | None:
    prices = listed_prices(load_snapshot(), address, model, usage.input_tokens, NOW)
    return None if prices is None else cost_of(prices, usage) / NANO


def test_the_packages_own_calculation_gives_the_same() -> None:
    """Compares every model of the makers' own services, with all kinds of tokens."""
    usage, now = Usage(300_000, 1_000, 100_000, 50_000), datetime.fromtimestamp(NOW, UTC)
    counts = genai_prices.Usage(
        input_tokens=300_000,
        output_tokens=1_000,
        cache_read_tokens=100_000,
        cache_write_tokens=50_000,
    )
    compared = 0
    for provider in load_snapshot().providers:
        address = {"openai": OPENAI, "anthropic": ANTHROPIC}.get(provider.id)
        for model in provider.models if address is not None else ():
            found = dollars(address or "", model.id, usage)
            if found is None or model.id.startswith("ft:"):
                continue
            _, priced = load_snapshot().find_provider_model(model.id, None, None, address)
            expected = priced.calc_price(counts, provider, genai_request_timestamp=now)
            assert found == pytest.approx(float(expected.total_price)), model.id
            compared += 1
    assert compared > 80


def test_each_kind_of_token_has_its_price() -> None:
    """Cached and written tokens are parts of the input, reasoning is part of the output."""
    usage = Usage(1_000, 100, cached_tokens=600, cache_write_tokens=300, reasoning_tokens=90)
    prices = Prices(input=10, output=50, cached=1, cache_write=12.5)
    assert cost_of(prices, usage) == 1_000 * (100 * 10 + 600 * 1 + 300 * 12.5 + 100 * 50)
    assert cost_of(Prices(input=10, output=50), usage) == 1_000 * (1_000 * 10 + 100 * 50)
    million = Usage(1_000_000, 1_000_000, 400_000, 500_000)
    assert dollars(ANTHROPIC, "claude-haiku-4-5", million) == pytest.approx(
        0.1 * 1 + 0.4 * 0.1 + 0.5 * 1.25 + 5
    )
    assert dollars(OPENAI, "gpt-5-2025-08-07", Usage(10_000, 1_000, 4_000)) == pytest.approx(
        (6_000 * 1.25 + 4_000 * 0.125 + 1_000 * 10) / 1e6
    )
    # No price for cached tokens: they cost what input costs.
    assert dollars(OPENAI, "gpt-4", Usage(1_000, 0, 500)) == pytest.approx(0.03)


def test_a_long_request_has_its_own_price() -> None:
    short = dollars(OPENAI, "gpt-5.4", Usage(200_000, 0))
    long = dollars(OPENAI, "gpt-5.4", Usage(400_000, 0))
    assert short is not None
    assert long is not None
    assert long > 2 * short


@pytest.mark.parametrize(
    ("address", "model"),
    [
        ("http://127.0.0.1:11434/v1", "gpt-5"),  # a server with that name
        (OPENAI, "ft:gpt-4o:acme::x"),
        (OPENAI, "no-such-model"),
        ("https://router.huggingface.co/v1", "openai/gpt-oss-120b"),  # no provider was chosen
    ],
)
def test_an_unknown_price_is_none(address: str, model: str) -> None:
    assert dollars(address, model, Usage(1, 1)) is None


def test_hugging_faces_providers_have_prices() -> None:
    assert dollars("https://router.huggingface.co/v1", "openai/gpt-oss-120b:groq", Usage(1, 1))


async def test_a_chain_is_quoted_at_the_highest_price() -> None:
    models = registry(
        load(
            {"LLM": "openai/gpt-4o-mini,openai/gpt-5,openai/gpt-5-nano", "OPENAI_API_KEY": "k"},
            None,
        )
    )
    prices = ModelPrices(models, now=SystemClock().time)
    quote = await prices.quote(models.get(None), ChatRequest((), max_tokens=1_000), 10_000)
    assert quote.cost == NANO * (10_000 * 1.25 + 1_000 * 10) / 1_000_000
    assert (quote.model, quote.tokens, quote.unpriced) == ("openai/gpt-4o-mini", 11_000, ())
    unlimited = await prices.quote(models.get(None), ChatRequest(()), 10)
    assert unlimited.max_output == 128_000
    assert await prices.cost("echo", Usage(10, 10)) == 0
    await models.aclose()


async def test_a_model_without_a_price_makes_the_chain_one_of_tokens() -> None:
    models = registry(load({"LLM": "openai/gpt-5,openai/mystery", "OPENAI_API_KEY": "k"}, None))
    prices = ModelPrices(models, now=SystemClock().time)
    quote = await prices.quote(models.get(None), ChatRequest(()), 10)
    assert (quote.cost, quote.unpriced) == (None, ("openai/mystery",))
    assert quote.max_output == 128_000
    mystery = await prices.quote(models.chain(("openai/mystery",)), ChatRequest(()), 10)
    assert mystery.max_output == DEFAULT_MAX_OUTPUT
    await models.aclose()


async def test_a_chain_reserves_its_longest_answer_also_if_a_dearer_model_says_less() -> None:
    """A token budget is exceeded by one reservation at most, whichever model answers."""
    names = "openai/gpt-5-nano,openai/gpt-4o"
    models = registry(load({"LLM": names, "OPENAI_API_KEY": "k"}, None))
    prices = ModelPrices(models, now=SystemClock().time)
    quote = await prices.quote(models.get(None), ChatRequest(()), 10)
    each = [await prices.quote(models.chain((n,)), ChatRequest(()), 10) for n in names.split(",")]
    assert each[0].max_output > each[1].max_output
    assert (each[0].cost or 0) < (each[1].cost or 0)
    assert quote.tokens == max(one.tokens for one in each)
    assert (quote.cost or 0) >= max(one.cost or 0 for one in each)
    await models.aclose()

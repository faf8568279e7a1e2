"""The prices of models: the operator's, then the server's list, then the package `genai-prices`.

The package contains a price for nearly every model of nearly every provider, with steps by request
length and by date, as data: nothing is fetched. The server's own list takes precedence, because a
router such as OpenRouter changes its prices daily. A model at an address other than its maker's has
no price here, however well known its name is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from bot.config.model_names import split_name
from bot.domain.errors import SettingsError
from bot.domain.model import BUILT_IN, ChatRequest, Prices, Usage
from bot.domain.money import NANO
from bot.domain.spending import Quote
from bot.llm.registry import ModelRegistry
from bot.ports.model import ChatModel

DEFAULT_MAX_OUTPUT = 16_384
"""The longest answer of a model without known facts: the same as for OpenAI's GPT-4o models."""

_HUGGINGFACE = "router.huggingface.co"
_NANO_PER_TOKEN = NANO // 1_000_000  # nano-dollars per token at one dollar per million tokens


def cost_of(prices: Prices, usage: Usage) -> int:
    """The cost of a request at these prices, in nano-dollars."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    plain = usage.input_tokens - cached - written
    dollars = (
        plain * prices.input
        + cached * (prices.input if prices.cached is None else prices.cached)
        + written * (prices.input if prices.cache_write is None else prices.cache_write)
        + usage.output_tokens * prices.output
    )
    return round(dollars * _NANO_PER_TOKEN)


class ModelPrices:
    """Implements `bot.ports.spending.PriceList`. `now` is the time in Unix seconds.

    Importing the package takes half a second, so it happens in another thread, and only if a model
    has no other price.
    """

    def __init__(self, registry: ModelRegistry, *, now: Callable[[], float]) -> None:
        self._registry, self._now = registry, now
        self._snapshot: Any = None
        self._loading = asyncio.Lock()

    async def quote(self, model: ChatModel, request: ChatRequest, input_tokens: int) -> Quote:
        """See the port. Quotes the chain's highest prices and longest answer: any of its models may
        answer, and none may cost or write more than is reserved."""
        names = model.name.split(",")
        quotes = [await self._quote(name, request, input_tokens) for name in names]
        unpriced = tuple(quote.model for quote in quotes if quote.cost is None)
        longest = max(quote.max_output for quote in quotes)
        if unpriced:
            return Quote(names[0], input_tokens, longest, unpriced=unpriced)
        return Quote(
            names[0],
            input_tokens,
            longest,
            input_cost=max(quote.input_cost or 0 for quote in quotes),
            output_price=max(quote.output_price or 0.0 for quote in quotes),
        )

    async def _quote(self, name: str, request: ChatRequest, input_tokens: int) -> Quote:
        most = request.max_tokens or self._max_output(name)
        prices = await self._prices(name, input_tokens)
        if prices is None:
            return Quote(name, input_tokens, most)
        asked = max(prices.input, prices.cache_write or 0.0)
        return Quote(
            name,
            input_tokens,
            most,
            input_cost=round(input_tokens * asked * _NANO_PER_TOKEN),
            output_price=prices.output * _NANO_PER_TOKEN,
        )

    async def cost(self, model: str, usage: Usage) -> int | None:
        """See the port."""
        prices = await self._prices(model, usage.input_tokens)
        return None if prices is None else cost_of(prices, usage)

    async def _prices(self, name: str, input_tokens: int) -> Prices | None:
        """The prices of a model for requests of this length."""
        if name in BUILT_IN:
            return Prices(0, 0)
        try:
            known = self._registry.facts_of(name).prices
            server = self._registry.server(name)
        except SettingsError:  # it was removed from the configuration while it answered
            return None
        if known is not None or server is None:
            return known
        return await self._look_up(server.address, split_name(name)[1], input_tokens)

    async def list_prices(self, names: Sequence[str]) -> list[Prices | None]:
        """The prices of short requests to these models, in order; None where unknown."""
        return [await self._prices(name, 1) for name in names]

    async def find_unpriced(self, names: Sequence[str]) -> list[str]:
        """Those of these models whose price is not known."""
        return [name for name in names if await self._prices(name, 1) is None]

    def _max_output(self, name: str) -> int:
        try:
            known = self._registry.facts_of(name).max_output
        except SettingsError:
            known = None
        return known or DEFAULT_MAX_OUTPUT

    # ── the package ───────────────────────────────────────────────────────────────────────────
    async def _look_up(self, address: str, model: str, input_tokens: int) -> Prices | None:
        async with self._loading:
            if self._snapshot is None:
                self._snapshot = await asyncio.to_thread(load_snapshot)
        return listed_prices(self._snapshot, address, model, input_tokens, self._now())


def load_snapshot() -> Any:
    """Load the package's tables."""
    from genai_prices import data_snapshot

    return data_snapshot.get_snapshot()


def listed_prices(
    snapshot: Any, address: str, model: str, input_tokens: int, now: float
) -> Prices | None:
    """The package's prices of a model for requests of this length; None if it has none.

    `now` is in Unix seconds, because some prices change by date or hour. The package's own
    calculation takes ten times as long.
    """
    if model.startswith("ft:"):  # fine-tuned models cost more than their family
        return None
    provider = None
    if _HUGGINGFACE in address:
        model, _, name = model.partition(":")
        provider, address = f"huggingface_{name}", ""
    try:
        _, found = snapshot.find_provider_model(model, None, provider, address or None)
    except LookupError:
        return None
    listed = found.get_prices(datetime.fromtimestamp(now, UTC))
    kinds = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    asked, said, cached, written = (_step(getattr(listed, kind), input_tokens) for kind in kinds)
    if asked is None and said is None:
        return None
    return Prices(asked or 0.0, said or 0.0, cached, written)


def _step(price: Any, input_tokens: int) -> float | None:
    """The price for a request of this length; the highest step applies to all its tokens."""
    if price is None or not hasattr(price, "tiers"):
        return None if price is None else float(price)
    steps = (step.price for step in reversed(price.tiers) if input_tokens > step.start)
    return float(next(steps, price.base))

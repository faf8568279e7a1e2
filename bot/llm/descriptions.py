"""Describes models to the people who choose one: facts, prices, and whether they answer now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cachetools import TTLCache

from bot.config.model_names import split_name
from bot.domain import texts
from bot.domain.errors import SettingsError
from bot.domain.model import BUILT_IN, ModelDescription, ModelFacts, Prices
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.model_facts import NO_FACTS
from bot.llm.prices import ModelPrices
from bot.llm.registry import ModelRegistry

PRICE_SECONDS = 600.0
"""Seconds to keep a price: some change by the hour, and a look-up takes up to 1 ms."""

MAX_PRICES = 5_000
AT_ONCE = 20
"""Look-ups after which the event loop does other work."""


class ModelDescriptions:
    """Implements `bot.ports.model.ModelDescriber`. `now` is monotonic time in seconds."""

    def __init__(
        self, registry: ModelRegistry, prices: ModelPrices, *, now: Callable[[], float]
    ) -> None:
        self._registry, self._prices = registry, prices
        self._known: TTLCache[str, Prices | None] = TTLCache(MAX_PRICES, PRICE_SECONDS, now)

    async def describe(self, names: Sequence[str]) -> Sequence[ModelDescription]:
        """See the port."""
        firsts = [name.partition(",")[0] for name in names]
        await self._find_prices([each for each in dict.fromkeys(firsts) if each not in self._known])
        return [self._describe(name, first) for name, first in zip(names, firsts, strict=True)]

    async def _find_prices(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            found = await self._prices.list_prices(some)
            self._known.update(zip(some, found, strict=True))
            await asyncio.sleep(0)

    def _describe(self, name: str, first: str) -> ModelDescription:
        breaker = self._breaker(first)
        rests_for = 0.0 if breaker is None else breaker.rests_for
        return ModelDescription(
            name=name,
            facts=self._facts(first),
            prices=self._known.get(first),
            takes_temperature=self._takes_temperature(first),
            rests_for=rests_for,
            failure=texts.model_failure(breaker.failure) if breaker and rests_for else "",
        )

    def _facts(self, name: str) -> ModelFacts:
        try:
            return self._registry.facts_of(name)
        except SettingsError:  # it was just removed from the configuration
            return NO_FACTS

    def _takes_temperature(self, name: str) -> bool | None:
        if name in BUILT_IN:
            return False
        try:
            server = self._registry.server(name)
        except SettingsError:
            return None
        made = None if server is None else server.made(name)
        known: bool | None = getattr(made, "takes_temperature", None)
        return known

    def _breaker(self, name: str) -> CircuitBreaker | None:
        """The model's circuit breaker; None if the model was never used."""
        if name in BUILT_IN:
            return None
        try:
            server = self._registry.server(name)
        except SettingsError:
            return None
        model = split_name(name)[1]
        found = () if server is None else server.breakers
        return next((each for each in found if split_name(each.name)[1] == model), None)

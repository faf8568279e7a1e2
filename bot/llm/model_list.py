"""The latest list of the models that one server offers.

Invariant: at most one request at a time asks for the list, and no failure reaches a caller: if a
server does not answer, its last list stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.domain.model import ModelFacts
from bot.llm.list_entries import Listing
from bot.llm.model_facts import NO_FACTS, merge_facts
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

FRESH_SECONDS = 60.0
"""Seconds until a list is outdated: people who download a model expect it in the next list."""

RETRY_SECONDS = 10.0
"""Seconds to wait after a failure: a server that was just started should appear soon."""

ANSWER_SECONDS = 2.0
"""The limit of a request for the list in seconds, because people wait for it in a menu."""


class ModelList:
    """The model list of the server called `provider`; `request` fetches it."""

    def __init__(
        self, provider: str, request: Callable[[], Awaitable[Listing]], *, clock: Clock
    ) -> None:
        self._provider, self._request, self._clock = provider, request, clock
        self._listing = Listing()
        self._facts: dict[str, ModelFacts] = {}
        self._due = float("-inf")
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.version = 0
        """Counts the responses: 0 while nothing is known."""

    @property
    def names(self) -> list[str]:
        """The models that can chat, in the server's order."""
        return [model.name for model in self._listing.models]

    def facts(self, model: str) -> ModelFacts:
        """The facts that the server listed about a model; in Ollama, `NAME` means `NAME:latest`."""
        names = (model, f"{model}:latest")
        loaded = next((w for name in names if (w := self._listing.windows.get(name))), None)
        listed = next((self._facts[name] for name in names if name in self._facts), NO_FACTS)
        return merge_facts(ModelFacts(window=loaded), listed)

    async def refresh(self) -> None:
        """Ask the server again, unless the list is current. Raises nothing."""
        if (task := self.start_refresh()) is not None:
            await asyncio.wait([task])

    def start_refresh(self) -> asyncio.Task[None] | None:
        """Like `refresh`, but in the background; None if the list is current."""
        if self._task is None and self._clock.monotonic() >= self._due:
            self._task = asyncio.get_running_loop().create_task(self._ask())
        return self._task

    async def aclose(self) -> None:
        """End a running request."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                listing = await self._request()
        except Exception as error:  # noqa: BLE001 - the boundary of each list
            self._record_failure(error)
        else:
            self._record(listing)
        finally:
            self._task = None

    def _record(self, listing: Listing) -> None:
        self._listing = listing
        self._facts = {model.name: model.facts for model in listing.models}
        self._due = self._clock.monotonic() + FRESH_SECONDS
        self.version += 1
        if self._failing:
            log.info("the server lists its models again", provider=self._provider)
        self._failing = False

    def _record_failure(self, error: Exception) -> None:
        self._due = self._clock.monotonic() + RETRY_SECONDS
        if not self._failing:
            log.warning(
                "the server's models cannot be listed", provider=self._provider, error=repr(error)
            )
        self._failing = True

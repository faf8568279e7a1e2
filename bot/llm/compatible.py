"""A model behind the chat completions API of any provider, through any client library.

The client's own parsers cost ten times as much for each chunk as reading the raw response does, and
let a stream that ends too early pass for a whole one; so both paths read the raw bytes here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

import structlog

from bot.domain.errors import CutOff, ModelError, ModelFailed, Overloaded, Unreachable, WrongAddress
from bot.domain.health import Finding
from bot.domain.model import ChatRequest, Delta
from bot.llm.check import try_model
from bot.llm.chunks import ALIVE, DONE, ErrorEvent, Malformed
from bot.llm.errors import in_stream
from bot.llm.learned import LIMIT_NAMES, MAX_LESSONS, Learned
from bot.llm.report import Report, said
from bot.llm.response_body import NotAnAnswer, read_body
from bot.llm.sse import EventTooLong
from bot.llm.stream_reader import LOADING, Reader
from bot.llm.stream_timeout import WHOLE_SECONDS, StreamTimeouts
from bot.llm.think_tags import TagQuirk

log = structlog.stdlib.get_logger(__name__)

_BROKEN_BODY = (Malformed, EventTooLong, ErrorEvent, NotAnAnswer)


class Endpoint(Protocol):
    """One server, through one client library."""

    @property
    def address(self) -> str:
        """Host and port, for people."""
        ...

    @property
    def key_setting(self) -> str:
        """The name of the setting that holds its key."""
        ...

    @property
    def address_setting(self) -> str:
        """The name of the setting that holds its address."""
        ...

    @property
    def broken(self) -> tuple[type[Exception], ...]:
        """Whatever the client and its transport raise."""
        ...

    def open(
        self, parameters: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Ask, and give the body of a response with status 200; raises what `broken` names."""
        ...

    def report(self, error: Exception) -> Report | None:
        """What the server said, where the error is a refusal of its."""
        ...

    def unreachable(self, error: Exception) -> bool:
        """Whether no connection came about."""
        ...

    def redirected(self, error: Exception) -> bool:
        """Whether redirects led nowhere."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class CompatibleModel:
    """One model of an endpoint. Models that share an endpoint close together."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        endpoint: Endpoint,
        limits: StreamTimeouts,
        probe: ChatRequest | None = None,
        limit_names: tuple[str, ...] = LIMIT_NAMES,
    ) -> None:
        self._name, self._model, self._endpoint, self._limits = name, model, endpoint, limits
        self._probe = probe
        self._learned = Learned(limit_names)
        self._habit = TagQuirk()

    @property
    def name(self) -> str:
        """As in the settings."""
        return self._name

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece. Raises a ModelError; closing it closes the connection."""
        reader = Reader(
            model=self.name,
            limits=self._limits if self._learned.streams else _unhurried(self._limits),
            broken=(*self._endpoint.broken, *_BROKEN_BODY),
            translate=self._translate,
            habit=self._habit,
        )
        answer = self._answer(request)
        try:
            while (delta := await reader.next(answer)) is not None:
                if delta is DONE:
                    reader.done()
                elif delta is LOADING:
                    yield delta
                else:
                    yield reader.take(delta)
            if (rest := reader.end()) is not None:
                yield rest
        finally:
            await reader.aclose()
            await answer.aclose()

    async def check(self) -> Finding:
        """One short answer, for `doctor`; with what was learned on the way."""
        return await try_model(
            self,
            self._probe,
            key=self._endpoint.key_setting,
            address=self._endpoint.address_setting,
            learned=self._learned.described,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    # ── one request ───────────────────────────────────────────────────────────────────────────
    async def _answer(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """The body's deltas; asked again, another way, where the server refuses the way."""
        refusals: tuple[type[Exception], ...] = (ErrorEvent, *self._endpoint.broken)
        for _ in range(MAX_LESSONS):
            sent = self._learned.parameters(request)
            said = False
            try:
                async with self._endpoint.open({"model": self._model, **sent}) as reads:
                    yield ALIVE
                    async for delta in read_body(reads):
                        said = said or delta is not ALIVE
                        yield delta
                return
            except refusals as error:
                report = None if said else self._report(error)
                if report is None or not self._learn(report, sent, request):
                    raise
        raise Malformed("refused in every way that it was asked")

    def _learn(self, report: Report, sent: Mapping[str, Any], request: ChatRequest) -> bool:
        """Whether there is another way to ask."""
        lesson = self._learned.learn(report, sent, request)
        if lesson is None and self._learned.parameters(request) == sent:
            return False
        if lesson is not None:
            log.info(
                "the server refuses a parameter",
                model=self.name,
                parameter=lesson,
                said=report.said,
            )
        return True  # also where another request has just learned it

    # ── failures ──────────────────────────────────────────────────────────────────────────────
    def _report(self, error: Exception) -> Report | None:
        if isinstance(error, ErrorEvent):
            return Report.of(None, error.error)
        return self._endpoint.report(error)

    def _translate(self, error: Exception, started: bool) -> ModelError:
        report = self._report(error)
        if report is not None:
            return in_stream(report, model=self.name, started=started)
        if isinstance(error, NotAnAnswer) and not started:
            wrong = WrongAddress("a web page" if b"<" in error.body else "a text", model=self.name)
            wrong.said = said(error.body.decode("utf-8", "replace"))
            return wrong
        text = type(error).__name__
        if started:
            return CutOff(text, model=self.name)
        if self._endpoint.redirected(error):
            return WrongAddress("too many redirects", model=self.name)
        if isinstance(error, _BROKEN_BODY):
            return ModelFailed(text, model=self.name)
        if self._endpoint.unreachable(error):
            return Unreachable(text, model=self.name, address=self._endpoint.address)
        # A connection that failed in another way; its limit in time is ours and raises TimedOut.
        return Overloaded(text, model=self.name)


def _unhurried(limits: StreamTimeouts) -> StreamTimeouts:
    return replace(limits, first_token=max(limits.first_token, WHOLE_SECONDS))

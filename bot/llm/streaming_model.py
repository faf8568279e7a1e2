"""A model that streams its answers over HTTP, independent of the API and of the client library.

The libraries' own parsers cost ten times as much per chunk as reading the raw response, and accept
a stream that ends too early as complete. So all providers' raw bytes are read and parsed here. An
API consists of a `RequestBuilder`, which writes requests and learns from rejections, and a
`ResponseParser`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import httpx2
import structlog

from bot.domain.errors import CutOff, ModelError, ModelFailed, Overloaded, Unreachable, WrongAddress
from bot.domain.health import Finding
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.llm.check import check_model
from bot.llm.chunks import DONE, KEEPALIVE, ErrorEvent, MalformedChunk
from bot.llm.error_report import ErrorReport, loggable
from bot.llm.errors import to_stream_error
from bot.llm.images import ImageUploads
from bot.llm.response_body import ResponseParser, UnexpectedBody, read_body
from bot.llm.sse import EventTooLong
from bot.llm.stream_reader import LOADING, StreamReader
from bot.llm.stream_timeout import UNSTREAMED_SECONDS, StreamTimeouts
from bot.llm.think_tags import StreamQuirks
from bot.llm.tls import certificate_problem
from bot.llm.vision import Vision

log = structlog.stdlib.get_logger(__name__)

CONNECT_SECONDS = 10.0
"""Seconds after which a server that accepts no connection is considered down; the limit to the
first token is much longer, because models think."""

MAX_ATTEMPTS = 6
"""The most requests for one question, each with a new workaround."""

_BODY_ERRORS = (MalformedChunk, EventTooLong, ErrorEvent, UnexpectedBody)


class Endpoint(Protocol):
    """One server, accessed through one client library.

    `address` is its host and port, safe to show to people. `key_setting` and `address_setting` name
    the settings with its key and address. `errors` are all exceptions of the client and transport.
    """

    address: str
    key_setting: str
    address_setting: str
    errors: tuple[type[Exception], ...]

    def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send a request; yield the body of a response with status 200, or raise one of `errors`.

        `images` replace their placeholders in `parameters`.
        """
        ...

    def report(self, error: Exception) -> ErrorReport | None:
        """The server's error response, or None if `error` has another cause."""
        ...

    def is_unreachable(self, error: Exception) -> bool:
        """Whether no connection was established."""
        ...

    def is_redirect_loop(self, error: Exception) -> bool:
        """Whether there were too many redirects."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RequestBuilder(Protocol):
    """Builds the requests of one model, with the workarounds that its server needs.

    Each workaround is a fact about the server, learned at most once, so retries are bounded.
    """

    @property
    def streams(self) -> bool:
        """Whether the server streams answers."""
        ...

    def parameters(self, request: ChatRequest, images: ImageUploads) -> dict[str, Any]:
        """The fields of a request except the model's name; placeholders stand for its images."""
        ...

    def learn(
        self, report: ErrorReport, sent: Mapping[str, Any], request: ChatRequest
    ) -> str | None:
        """Learn a workaround from `report`, the response to `sent`.

        Returns the workaround's name for the log, or None if the request cannot be made
        differently.
        """
        ...

    @property
    def takes_temperature(self) -> bool | None:
        """False if requests leave out the temperature; None while this is not known."""
        ...

    def describe(self) -> Iterator[str]:
        """Describe the workarounds in words, for `doctor`."""
        ...


class StreamingModel:
    """One model of an endpoint, named as in the settings; closing it closes the endpoint.

    `make_parser` creates the parser of one response.
    """

    def __init__(
        self,
        *,
        name: str,
        model: str,
        endpoint: Endpoint,
        builder: RequestBuilder,
        make_parser: Callable[[], ResponseParser],
        timeouts: StreamTimeouts,
        probe: ChatRequest | None = None,
        facts: ModelFacts | None = None,
    ) -> None:
        self.name, self._facts = name, facts or ModelFacts()
        self._model, self._endpoint, self._timeouts = model, endpoint, timeouts
        self._builder, self._make_parser = builder, make_parser
        self._probe = probe
        self._stream_quirks = StreamQuirks()
        self._vision = Vision(now=time.monotonic)

    @property
    def facts(self) -> ModelFacts:
        """The configured facts."""
        return self._facts

    @property
    def sees(self) -> bool | None:
        """Whether the model accepts images; None until its server has shown it."""
        return self._vision.sees

    @property
    def takes_temperature(self) -> bool | None:
        """False once the server has rejected a temperature; None while this is not known."""
        return self._builder.takes_temperature

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """Stream the answer. Raises a ModelError; closing the stream closes the connection."""
        if self.facts.effort is False:
            request = replace(request, effort=None)
        reader = StreamReader(
            model=self.name,
            timeouts=self._timeouts if self._builder.streams else _relax(self._timeouts),
            expected_errors=(*self._endpoint.errors, *_BODY_ERRORS),
            translate=partial(self._translate, request),
            quirks=self._stream_quirks,
        )
        deltas = self._request(request)
        try:
            while (delta := await reader.next(deltas)) is not None:
                if delta is DONE:
                    reader.mark_done()
                elif delta is LOADING:
                    yield delta
                else:
                    if request.has_images and (delta.text or delta.reasoning):
                        self._vision.record_answer()
                    yield reader.process(delta)
            if (rest := reader.finish()) is not None:
                yield rest
        finally:
            await reader.aclose()
            await deltas.aclose()

    async def check(self) -> Finding:
        """Request one short answer for `doctor`, and report the workarounds that this needed."""
        return await check_model(
            self,
            self._probe,
            key=self._endpoint.key_setting,
            address=self._endpoint.address_setting,
            workarounds=self._builder.describe,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    # ── one request ───────────────────────────────────────────────────────────────────────────
    async def _request(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """Yield the body's deltas; retry with a workaround if the server rejects a parameter."""
        rejections: tuple[type[Exception], ...] = (ErrorEvent, *self._endpoint.errors)
        images = ImageUploads()
        for _ in range(MAX_ATTEMPTS):
            sent = self._builder.parameters(request, images)
            answered = False
            try:
                async with self._endpoint.open({"model": self._model, **sent}, images) as reads:
                    yield KEEPALIVE
                    async for delta in read_body(reads, self._make_parser()):
                        answered = answered or delta is not KEEPALIVE
                        yield delta
                return
            except rejections as error:
                report = None if answered else self._report(error)
                if report is None or not self._adapt(report, sent, request, images):
                    raise
        raise MalformedChunk("rejected with every workaround")

    def _adapt(
        self,
        report: ErrorReport,
        sent: Mapping[str, Any],
        request: ChatRequest,
        images: ImageUploads,
    ) -> bool:
        """Learn from a rejection; return whether the next request will differ from `sent`."""
        workaround = self._builder.learn(report, sent, request)
        if workaround is None:
            # A parallel request may have learned the workaround since this one was sent.
            return self._builder.parameters(request, images) != sent
        log.info(
            "request rejected; applying a workaround",
            model=self.name,
            workaround=workaround,
            provider_message=report.raw,
        )
        return True

    # ── failures ──────────────────────────────────────────────────────────────────────────────
    def _report(self, error: Exception) -> ErrorReport | None:
        if isinstance(error, ErrorEvent):
            return ErrorReport.parse(None, error.error)
        return self._endpoint.report(error)

    def _translate(self, request: ChatRequest, error: Exception, started: bool) -> ModelError:
        report = self._report(error)
        if report is not None:
            images = request.has_images
            failure = to_stream_error(report, model=self.name, started=started, images=images)
            return self._vision.record_error(failure) if images else failure
        if isinstance(error, UnexpectedBody) and not started:
            text = "a web page" if b"<" in error.body else "plain text"
            wrong_address = WrongAddress(text, model=self.name)
            wrong_address.provider_message = loggable(error.body.decode("utf-8", "replace"))
            return wrong_address
        text = type(error).__name__
        if started:
            return CutOff(text, model=self.name)
        if self._endpoint.is_redirect_loop(error):
            return WrongAddress("too many redirects", model=self.name)
        if isinstance(error, _BODY_ERRORS):
            return ModelFailed(text, model=self.name)
        if self._endpoint.is_unreachable(error):
            problem, address = certificate_problem(error), self._endpoint.address
            return Unreachable(
                problem or text, model=self.name, address=address, certificate=problem
            )
        return Overloaded(text, model=self.name)  # the connection failed in some other way


def raw_body(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The body's bytes, raw unless they are encoded, which saves two layers per chunk."""
    if response.headers.get("content-encoding", "identity") != "identity":
        return response.aiter_bytes()
    return cast("AsyncGenerator[bytes, None]", aiter(cast(Any, response.stream)))


def _relax(timeouts: StreamTimeouts) -> StreamTimeouts:
    return replace(timeouts, first_token=max(timeouts.first_token, UNSTREAMED_SECONDS))

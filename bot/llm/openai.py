"""Models behind any OpenAI-compatible server, through one client and its raw streaming response.

The client's own parser costs ten times as much for each chunk as reading the raw response does,
and lets a stream that ends too early pass for a whole one; so the events are decoded here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

import aiohttp
import httpx2
import openai
import structlog

from bot.domain import ChatRequest, Delta, Finding
from bot.errors import CutOff, ModelError, ModelFailed, Overloaded
from bot.llm.check import try_model
from bot.llm.chunks import DONE, NOTHING, ErrorEvent, Malformed, read_chunk
from bot.llm.failures import Report, failure, in_stream
from bot.llm.patience import Limits
from bot.llm.reading import Reader
from bot.llm.sse import EventDecoder, EventTooLong
from bot.llm.thinking import Habit

log = structlog.stdlib.get_logger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no key"  # the client wants one; the header is left out of each request instead
# A server that does not take the connection within this many seconds is down: the limit to the
# first token is long because models think, not because connecting takes long.
CONNECT_SECONDS = 10.0
# The longest answers that exist (128 k tokens, 0.4 kB each with its frame) are a fifth of it.
MAX_ANSWER_BYTES = 256 << 20

# `openai.APIError` is every failure of a request; the others come out of the raw response.
_BROKEN = (
    openai.APIError,
    httpx2.HTTPError,
    aiohttp.ClientError,
    OSError,
    Malformed,
    EventTooLong,
    ErrorEvent,
)
# What to send instead of a parameter that a server refuses. Reasoning models take the new name of
# the limit and no temperature, older servers the old name, and some know no stream options.
_INSTEAD: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "stream_options": None,
}


def make_client(*, api_key: str | None, base_url: str | None) -> openai.AsyncOpenAI:
    """The one client for all models of a server; building it takes about 20 ms.

    Without a key no `Authorization` header is sent. It retries nothing by itself, as
    `bot.llm.fallback` does that for every provider.
    """
    return openai.AsyncOpenAI(
        api_key=api_key or NO_KEY,
        base_url=base_url or OPENAI_URL,
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # How many run at once is the scheduler's business; 0 is no limit for aiohttp.
        http_client=openai.DefaultAioHttpClient(limits=httpx2.Limits(max_connections=0)),
    )


class OpenAIModel:
    """One model of the server that `client` speaks to. Models that share it close together."""

    def __init__(self, *, model: str, client: openai.AsyncOpenAI, limits: Limits) -> None:
        self._model, self._client, self._limits = model, client, limits
        # Its import takes 20 ms, which the first answer should not wait for.
        self._raw = client.chat.completions.with_streaming_response
        at_home = str(client.base_url).rstrip("/") == OPENAI_URL
        self._limit_name = "max_completion_tokens" if at_home else "max_tokens"
        # What this server was found to refuse: a fact about the server, not about a request.
        self._refused: dict[str, str | None] = {}
        self._habit = Habit()

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"openai:{self._model}"

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece. Raises a ModelError; closing it closes the connection."""
        with self._reader() as reader:
            async with AsyncExitStack() as stack:
                response = await self._open(request, reader, stack)
                deltas = _deltas(response)
                stack.push_async_callback(deltas.aclose)
                while (delta := await reader.next(deltas)) is not None:
                    if delta is DONE:
                        reader.done()
                    else:
                        yield reader.take(delta)
                reader.end()

    async def check(self) -> Finding:
        """One short answer, for `doctor`."""
        return await try_model(self, key="OPENAI_API_KEY", address="OPENAI_BASE_URL")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    # ── one request ───────────────────────────────────────────────────────────────────────────
    def _reader(self) -> Reader:
        return Reader(
            model=self.name,
            limits=self._limits,
            broken=_BROKEN,
            translate=self._translate,
            habit=self._habit,
        )

    async def _open(
        self, request: ChatRequest, reader: Reader, stack: AsyncExitStack
    ) -> openai.AsyncAPIResponse[Any]:
        """The response, with its status checked; again with what the server takes instead."""
        again = True  # the server may have closed the idle connection that was used
        while True:
            parameters = self._parameters(request)
            asked = self._raw.create(**parameters)
            try:
                return await reader.wait(stack.enter_async_context(asked))
            except ModelFailed as error:
                if not self._learn(error.__cause__, parameters):
                    raise
            except Overloaded as error:
                if not (again and _disconnected(error)):
                    raise
                again = False

    def _parameters(self, request: ChatRequest) -> dict[str, Any]:
        optional: dict[str, Any] = {
            "stream_options": {"include_usage": True},
            self._limit_name: request.max_tokens,
            "temperature": request.temperature,
        }
        parameters: dict[str, Any] = {
            "model": self._model,
            "messages": [
                {"role": message.role.value, "content": message.content}
                for message in request.messages
            ],
            "stream": True,
            # The raw bytes are read: one layer less for each chunk.
            "extra_headers": {"Accept-Encoding": "identity"},
        }
        if self._client.api_key == NO_KEY:
            parameters["extra_headers"]["Authorization"] = openai.Omit()
        for name, value in optional.items():
            taken = self._refused.get(name, name)
            if value is not None and taken is not None:
                parameters[taken] = value
        return parameters

    def _learn(self, error: BaseException | None, parameters: Mapping[str, Any]) -> bool:
        """Note which parameter the server refused; whether there is another way to ask."""
        if not isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return False
        words = f"{error.param} {error.message}"
        refused = next((name for name in _INSTEAD if name in parameters and name in words), None)
        if refused is None or refused in self._refused.values():
            return False
        self._refused[refused] = _INSTEAD[refused]
        log.info("the server refuses a parameter", model=self.name, parameter=refused)
        return True

    def _translate(self, error: Exception, started: bool) -> ModelError:
        if isinstance(error, openai.APIStatusError):
            response = error.response
            report = Report.of(response.status_code, error.body, response.headers)
            return failure(report, model=self.name)
        if isinstance(error, ErrorEvent):
            return in_stream(Report.of(None, error.error), model=self.name, started=started)
        if started:
            return CutOff(type(error).__name__, model=self.name)
        if isinstance(error, Malformed | EventTooLong | openai.APIResponseValidationError):
            return ModelFailed(type(error).__name__, model=self.name)
        # A connection that failed in any way; its limit in time is ours and raises TimedOut.
        return Overloaded(type(error).__name__, model=self.name)


def _disconnected(error: BaseException | None) -> bool:
    """Whether the server closed the connection before it answered anything."""
    while error is not None:
        if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
            return True
        error = error.__cause__
    return False


async def _deltas(response: openai.AsyncAPIResponse[Any]) -> AsyncGenerator[Delta, None]:
    """The deltas of a raw response, `DONE` included; raises what `_BROKEN` names."""
    decoder, size = EventDecoder(), 0
    async with aclosing(response.http_response.aiter_raw()) as reads:
        async for data in reads:
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise EventTooLong(f"more than {MAX_ANSWER_BYTES} bytes in one answer")
            for event in decoder.feed(data):
                delta = read_chunk(event)
                if delta is not NOTHING:
                    yield delta
    for event in decoder.flush():
        try:
            yield read_chunk(event)
        except Malformed:
            return  # half an event: the answer is not whole, and the reader says so

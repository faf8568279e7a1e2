"""Models behind any OpenAI-compatible server, through one client and its raw streaming response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai

from bot.domain.model import ChatRequest
from bot.llm.addresses import host_and_port
from bot.llm.compatible import CompatibleModel
from bot.llm.learned import LIMIT_NAMES
from bot.llm.report import Report
from bot.llm.stream_timeout import StreamTimeouts

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no key"  # the client wants one; the header is left out of each request instead
# A server that does not take the connection within this many seconds is down: the limit to the
# first token is long because models think, not because connecting takes long.
CONNECT_SECONDS = 10.0

# No connection came about. The wrapper around aiohttp calls a connection that was closed a timeout
# while connecting too, so aiohttp's own errors tell.
_NO_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
)


def make_client(*, api_key: str | None, base_url: str | None) -> openai.AsyncOpenAI:
    """The one client for all models of a server; building it takes about 20 ms.

    Without a key no `Authorization` header is sent. It retries nothing, as `bot.llm.chain` does
    that for every provider.
    """
    return openai.AsyncOpenAI(
        api_key=api_key or NO_KEY,
        base_url=base_url or OPENAI_URL,
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # How many run at once is the scheduler's business; 0 is no limit for aiohttp.
        http_client=openai.DefaultAioHttpClient(limits=httpx2.Limits(max_connections=0)),
    )


class OpenAIModel(CompatibleModel):
    """One model of the server that `client` speaks to. Models that share it close together."""

    def __init__(
        self,
        *,
        model: str,
        client: openai.AsyncOpenAI,
        limits: StreamTimeouts,
        probe: ChatRequest | None = None,
    ) -> None:
        at_home = str(client.base_url).rstrip("/") == OPENAI_URL
        super().__init__(
            name=f"openai:{model}",
            model=model,
            endpoint=_Endpoint(client),
            limits=limits,
            probe=probe,
            limit_names=LIMIT_NAMES if at_home else LIMIT_NAMES[::-1],
        )


class _Endpoint:
    key_setting, address_setting = "OPENAI_API_KEY", "OPENAI_BASE_URL"
    # `openai.APIError` is every failure of a request; the others come out of the raw response.
    broken = (openai.APIError, httpx2.HTTPError, aiohttp.ClientError, OSError)

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client
        # Its import takes 20 ms, which the first answer should not wait for.
        self._raw = client.chat.completions.with_streaming_response
        self.address = host_and_port(str(client.base_url))

    @asynccontextmanager
    async def open(self, parameters: Mapping[str, Any]) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(self._create(parameters))
            except openai.APIConnectionError as error:
                # The server may have closed the idle connection at the moment when it was used.
                if not _disconnected(error):
                    raise
                response = await stack.enter_async_context(self._create(parameters))
            raw = response.http_response
            # The raw bytes are read: one layer less for each chunk.
            packed = raw.headers.get("content-encoding", "identity") != "identity"
            reads = raw.aiter_bytes() if packed else raw.aiter_raw()
            yield await stack.enter_async_context(aclosing(reads))

    def _create(self, parameters: Mapping[str, Any]) -> Any:
        headers: dict[str, Any] = {"Accept-Encoding": "identity"}
        if self._client.api_key == NO_KEY:
            headers["Authorization"] = openai.Omit()
        return self._raw.create(**parameters, extra_headers=headers)

    def report(self, error: Exception) -> Report | None:
        if not isinstance(error, openai.APIStatusError):
            return None
        response = error.response
        # The client keeps what stands under `error` alone; the body is read by then.
        body = response.text if response.is_closed else error.body
        return Report.of(response.status_code, body, response.headers)

    def unreachable(self, error: Exception) -> bool:
        return any(isinstance(cause, _NO_CONNECTION) for cause in _causes(error))

    def redirected(self, error: Exception) -> bool:
        return any(isinstance(cause, httpx2.TooManyRedirects) for cause in _causes(error))

    async def aclose(self) -> None:
        await self._client.close()


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


def _disconnected(error: BaseException) -> bool:
    """Whether the server closed the connection before it answered anything."""
    closed = (aiohttp.ServerDisconnectedError, ConnectionResetError)
    return any(isinstance(cause, closed) for cause in _causes(error))

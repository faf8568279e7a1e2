"""Models of any OpenAI-compatible server, through the openai client's raw streaming response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai

from bot.config.providers import ProviderConfig
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.addresses import host_and_port
from bot.llm.chat_completions import CONNECT_SECONDS, ChatCompletionsModel, raw_body
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageClient, ImageUploads
from bot.llm.server_quirks import LIMIT_NAMES
from bot.llm.stream_timeout import StreamTimeouts

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no key"  # the client requires a key; requests then omit the header

# No connection was established. openai's wrapper around aiohttp also reports a closed connection as
# a connect timeout, so aiohttp's own errors decide.
_CONNECT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ConnectionRefusedError,
)
_CLOSED_ERRORS = (aiohttp.ServerDisconnectedError, ConnectionResetError)
_Errors = tuple[type[Exception], ...]


def make_client(provider: ProviderConfig) -> openai.AsyncOpenAI:
    """One client for all models of a server; building it takes about 20 ms.

    Without a key, requests have no `Authorization` header; Azure's key is one of the provider's
    headers. The client does not retry, because `bot.llm.fallback_chain` does for every provider.
    """
    return openai.AsyncOpenAI(
        api_key=provider.key.get_secret_value() if provider.key else NO_KEY,
        base_url=provider.base_url or OPENAI_URL,
        default_headers=dict(provider.headers),
        default_query=dict(provider.query),
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # The scheduler limits concurrency; for aiohttp, 0 means no limit.
        http_client=_HttpClient(limits=httpx2.Limits(max_connections=0)),
    )


class _HttpClient(ImageClient, openai.DefaultAioHttpClient):
    """openai's client over aiohttp."""


class OpenAIModel(ChatCompletionsModel):
    """One model of the server behind `client`; closing it closes the client."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        client: openai.AsyncOpenAI,
        timeouts: StreamTimeouts,
        facts: ModelFacts,
        probe: ChatRequest | None = None,
    ) -> None:
        is_openai = str(client.base_url).rstrip("/") == OPENAI_URL
        super().__init__(
            name=name,
            model=model,
            endpoint=OpenAIEndpoint(client, provider),
            timeouts=timeouts,
            facts=facts,
            probe=probe,
            limit_names=LIMIT_NAMES if is_openai else LIMIT_NAMES[::-1],
        )


class OpenAIEndpoint:
    """A server behind the openai client."""

    # `openai.APIError` covers the request; the raw response raises the others.
    errors: _Errors = (openai.APIError, httpx2.HTTPError, aiohttp.ClientError, OSError)

    def __init__(self, client: openai.AsyncOpenAI, provider: ProviderConfig) -> None:
        self._client = client
        self.key_setting, self.address_setting = provider.key_setting, provider.address_setting
        # This property's import takes 20 ms; access it before the first answer needs it.
        self._raw = client.chat.completions.with_streaming_response
        self.address = host_and_port(str(client.base_url))

    @asynccontextmanager
    async def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Send the request; retry it once if the server had closed the idle connection."""
        async with AsyncExitStack() as stack:
            with images.uploading():
                try:
                    response = await stack.enter_async_context(self._create(parameters))
                except openai.APIConnectionError as error:
                    if not _has_cause(error, _CLOSED_ERRORS):
                        raise
                    response = await stack.enter_async_context(self._create(parameters))
            yield await stack.enter_async_context(aclosing(raw_body(response.http_response)))

    def _create(self, parameters: Mapping[str, Any]) -> Any:
        headers: dict[str, Any] = {"Accept-Encoding": "identity"}
        if self._client.api_key == NO_KEY:
            headers["Authorization"] = openai.Omit()
        return self._raw.create(**parameters, extra_headers=headers)

    def report(self, error: Exception) -> ErrorReport | None:
        """The whole error response; `error.body` has only the part under its `error` key."""
        if not isinstance(error, openai.APIStatusError):
            return None
        response = error.response
        body = response.text if response.is_closed else error.body
        return ErrorReport.parse(response.status_code, body, response.headers)

    def is_unreachable(self, error: Exception) -> bool:
        """Whether aiohttp established no connection."""
        return _has_cause(error, _CONNECT_ERRORS)

    def is_redirect_loop(self, error: Exception) -> bool:
        """Whether the transport gave up on redirects."""
        return _has_cause(error, httpx2.TooManyRedirects)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()


def _has_cause(error: BaseException | None, kinds: type[Exception] | _Errors) -> bool:
    """Whether the error or one of its causes is of one of these kinds."""
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False

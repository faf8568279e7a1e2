"""Models of any OpenAI-compatible server, through the openai client's raw streaming response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai

from bot.domain.model import ChatRequest
from bot.llm.addresses import host_and_port, takes_cache_key
from bot.llm.aiohttp_errors import CLOSED_ERRORS, CONNECT_ERRORS, has_cause
from bot.llm.chat_completions import ChatCompletionsModel
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageClient, ImageUploads
from bot.llm.server_quirks import LIMIT_NAMES
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import CONNECT_SECONDS, raw_body

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no key"  # the client requires a key; requests then omit the header


def make_client(*, api_key: str | None, base_url: str | None) -> openai.AsyncOpenAI:
    """One client for all models of a server; building it takes about 20 ms.

    Without a key, requests have no `Authorization` header. The client does not retry, because
    `bot.llm.fallback_chain` retries for every provider.
    """
    return openai.AsyncOpenAI(
        api_key=api_key or NO_KEY,
        base_url=base_url or OPENAI_URL,
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
        model: str,
        client: openai.AsyncOpenAI,
        timeouts: StreamTimeouts,
        probe: ChatRequest | None = None,
    ) -> None:
        is_openai = str(client.base_url).rstrip("/") == OPENAI_URL
        super().__init__(
            name=f"openai:{model}",
            model=model,
            endpoint=OpenAIEndpoint(client),
            timeouts=timeouts,
            probe=probe,
            limit_names=LIMIT_NAMES if is_openai else LIMIT_NAMES[::-1],
            takes_cache_key=takes_cache_key(str(client.base_url)),
        )


class OpenAIEndpoint:
    """A server behind the openai client."""

    key_setting, address_setting = "OPENAI_API_KEY", "OPENAI_BASE_URL"
    # `openai.APIError` covers the request; the raw response raises the others.
    errors: tuple[type[Exception], ...] = (
        openai.APIError,
        httpx2.HTTPError,
        aiohttp.ClientError,
        OSError,
    )

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client
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
                    if not has_cause(error, CLOSED_ERRORS):
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
        return has_cause(error, CONNECT_ERRORS)

    def is_redirect_loop(self, error: Exception) -> bool:
        """Whether the transport gave up on redirects."""
        return has_cause(error, httpx2.TooManyRedirects)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()

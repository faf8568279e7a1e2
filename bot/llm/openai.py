"""Models of any OpenAI-compatible server, using the openai client's raw streaming response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import aiohttp
import httpx2
import openai

from bot.config.providers import ProviderConfig
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.addresses import host_and_port, takes_cache_key
from bot.llm.aiohttp_client import CONNECT_ERRORS, has_cause, open_stream
from bot.llm.chat_completions import ChatCompletionsModel
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageClient, ImageUploads
from bot.llm.server_quirks import LIMIT_NAMES
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import CONNECT_SECONDS
from bot.llm.tls import tls_context

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "no key"  # the client requires a key; requests then omit the header


def make_client(provider: ProviderConfig) -> openai.AsyncOpenAI:
    """Create one client for all models of a server.

    Without a key, requests have no `Authorization` header; Azure's key is one of the provider's
    headers. The client does not retry, because `bot.llm.fallback_chain` retries for every provider.
    """
    return openai.AsyncOpenAI(
        api_key=provider.key.get_secret_value() if provider.key else NO_KEY,
        base_url=provider.base_url or OPENAI_URL,
        default_headers=dict(provider.headers),
        default_query=dict(provider.query),
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # The scheduler limits concurrency; for aiohttp, 0 means no limit.
        http_client=_HttpClient(verify=tls_context(), limits=httpx2.Limits(max_connections=0)),
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
            takes_cache_key=takes_cache_key(str(client.base_url)),
        )


class OpenAIEndpoint:
    """The chat completions API of a server behind the openai client."""

    # `openai.APIError` covers the request; reading the raw response raises the others.
    errors: tuple[type[Exception], ...] = (
        openai.APIError,
        httpx2.HTTPError,
        aiohttp.ClientError,
        OSError,
    )

    def __init__(self, client: openai.AsyncOpenAI, provider: ProviderConfig) -> None:
        self._client = client
        self.key_setting, self.address_setting = provider.key_setting, provider.address_setting
        self._raw = self.streaming_resource(client)
        self.address = host_and_port(str(client.base_url))

    @staticmethod
    def streaming_resource(client: openai.AsyncOpenAI) -> Any:
        """The part of the client with the API.

        Importing it takes 20 ms or more, so this must happen before the first answer.
        """
        return client.chat.completions.with_streaming_response

    def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send the request; retry it once if the server had closed the idle connection."""
        return open_stream(partial(self._create, parameters), images)

    def _create(self, parameters: Mapping[str, Any]) -> Any:
        headers: dict[str, Any] = {"Accept-Encoding": "identity"}
        if self._client.api_key == NO_KEY:
            headers["Authorization"] = openai.Omit()
        return self._raw.create(**self._fields(parameters), extra_headers=headers)

    @staticmethod
    def _fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The client's arguments for a request.

        The messages do not pass through the client's own fields, because the client walks through
        all of them: 1,000 messages would block the event loop for half a second.
        """
        fields = dict(parameters)
        return {"messages": (), "extra_body": {"messages": fields.pop("messages")}, **fields}

    def report(self, error: Exception) -> ErrorReport | None:
        """The whole error response; `error.body` has only the part under its `error` key."""
        if not isinstance(error, openai.APIStatusError):
            return None
        response = error.response
        body = response.text if response.is_closed else error.body
        return ErrorReport.from_response(response, body)

    def is_unreachable(self, error: Exception) -> bool:
        """Whether aiohttp failed to establish a connection."""
        return has_cause(error, CONNECT_ERRORS)

    def is_redirect_loop(self, error: Exception) -> bool:
        """Whether the transport gave up on redirects."""
        return has_cause(error, httpx2.TooManyRedirects)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()

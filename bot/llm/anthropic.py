"""Models behind Anthropic's Messages API, using the anthropic client's raw streaming response.

Importing the client takes more than a second, so `bot.llm.model_server` imports this module only
when such a model is first used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, cast

import aiohttp
import anthropic
import httpx2
from anthropic import Omit

from bot.config.providers import ProviderConfig
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.addresses import host_and_port
from bot.llm.aiohttp_client import CONNECT_ERRORS, has_cause, open_stream
from bot.llm.anthropic_events import MessagesParser
from bot.llm.anthropic_requests import MessagesRequests
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageClient, ImageUploads
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import CONNECT_SECONDS, StreamingModel
from bot.llm.tls import tls_context

ANTHROPIC_URL = "https://api.anthropic.com"
_NO_KEY = "no key"  # without one, the client would look for a key in the environment and in files


def make_client(provider: ProviderConfig) -> anthropic.AsyncAnthropic:
    """Create one client for all models of a provider.

    The address may end in `/v1`, which the client adds itself. Without a key, requests have no
    `Authorization` header unless the provider's headers include one. The client does not retry,
    because `bot.llm.fallback_chain` retries for every provider.
    """
    address = (provider.base_url or ANTHROPIC_URL).rstrip("/").removesuffix("/v1")
    headers: dict[str, Any] = dict(provider.headers)
    if provider.key is None and "authorization" not in map(str.lower, headers):
        headers["Authorization"] = Omit()
    return anthropic.AsyncAnthropic(
        api_key=provider.key.get_secret_value() if provider.key else _NO_KEY,
        base_url=address,
        default_headers=headers,
        default_query=provider.query,
        max_retries=0,
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        open_telemetry=False,  # spans may contain messages
        # The scheduler limits concurrency; for aiohttp, 0 means no limit.
        http_client=_HttpClient(verify=tls_context(), limits=httpx2.Limits(max_connections=0)),
    )


class _HttpClient(ImageClient, anthropic.DefaultAioHttpClient):
    """anthropic's client over aiohttp."""


class AnthropicModel(StreamingModel):
    """One model of the server behind `client`; closing it closes the client."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        client: anthropic.AsyncAnthropic,
        timeouts: StreamTimeouts,
        facts: ModelFacts,
        probe: ChatRequest | None = None,
    ) -> None:
        super().__init__(
            name=name,
            model=model,
            endpoint=AnthropicEndpoint(client, provider),
            builder=MessagesRequests(model, facts),
            make_parser=MessagesParser,
            timeouts=timeouts,
            probe=probe,
            facts=facts,
        )


class AnthropicEndpoint:
    """A server behind the anthropic client."""

    # `anthropic.AnthropicError` covers the request; reading the raw response raises the others.
    errors: tuple[type[Exception], ...] = (
        anthropic.AnthropicError,
        httpx2.HTTPError,
        aiohttp.ClientError,
        OSError,
    )

    def __init__(self, client: anthropic.AsyncAnthropic, provider: ProviderConfig) -> None:
        self._client = client
        self._create = client.messages.with_streaming_response.create
        self.address = host_and_port(str(client.base_url))
        self.key_setting = provider.key_setting or "ANTHROPIC_API_KEY"
        self.address_setting = provider.address_setting or "ANTHROPIC_BASE_URL"

    def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send the request; retry it once if the server had closed the idle connection."""
        headers = {"Accept-Encoding": "identity", **parameters.get("extra_headers", {})}
        fields = {**parameters, "extra_headers": headers}
        return open_stream(partial(cast(Any, self._create), **fields), images)

    def report(self, error: Exception) -> ErrorReport | None:
        """The whole error response."""
        if not isinstance(error, anthropic.APIStatusError):
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

"""Models of Hugging Face's router or of your own endpoint, using AsyncInferenceClient.

Each request creates a client and closes it, because a long-lived client leaks part of every stream.
The model's name is sent unchanged, including its provider (`org/name:provider`): the router
resolves it, whereas the client's `provider` argument would cause a blocking lookup. The client's
parser is not used, because it stops at the first chunk of an unexpected shape.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, cast

import httpx2
from huggingface_hub import AsyncInferenceClient, constants, set_async_client_factory

from bot.config.providers import ProviderConfig
from bot.domain.model import ChatRequest, ModelFacts
from bot.llm.addresses import host_and_port
from bot.llm.chat_completions import ChatCompletionsModel
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageClient, ImageUploads
from bot.llm.server_quirks import LIMIT_NAMES
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import CONNECT_SECONDS, raw_body
from bot.llm.tls import tls_context

ROUTER_URL = "https://router.huggingface.co/v1"

# Where `_capture` puts the responses of the current request.
_RESPONSES: ContextVar[list[httpx2.Response]] = ContextVar("responses")
# The query parameters of the current request.
_QUERY: ContextVar[Mapping[str, str]] = ContextVar("query")


class ErrorResponse(Exception):
    """A response with an error status, raised before the library parses it.

    The library looks up fields in the body, and fails on other shapes such as a list.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"status {response.status_code}")
        self.response = response


def make_client(provider: ProviderConfig) -> HuggingFaceEndpoint:
    """Create the endpoint that all models of the provider share; it holds no connections."""
    return HuggingFaceEndpoint(provider)


class HuggingFaceModel(ChatCompletionsModel):
    """One model of the server `client`."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        client: HuggingFaceEndpoint,
        timeouts: StreamTimeouts,
        facts: ModelFacts,
        probe: ChatRequest | None = None,
    ) -> None:
        super().__init__(
            name=name,
            model=model,
            endpoint=client,
            timeouts=timeouts,
            facts=facts,
            probe=probe,
            limit_names=LIMIT_NAMES[::-1],
        )


class HuggingFaceEndpoint:
    """A server that accepts Hugging Face tokens.

    If `base_url` is None, this is the router; without a token, no `Authorization` header is sent.
    """

    # The library's and the transport's errors are all OSError or HTTPError.
    errors: tuple[type[Exception], ...] = (ErrorResponse, httpx2.HTTPError, OSError)

    def __init__(self, provider: ProviderConfig) -> None:
        self._token = provider.key.get_secret_value() if provider.key else None
        self.url = provider.base_url or ROUTER_URL
        self._headers, self._query = provider.headers, provider.query
        self.key_setting, self.address_setting = provider.key_setting, provider.address_setting
        self.address = host_and_port(self.url)
        _configure_library()

    @asynccontextmanager
    async def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Send the request and yield the raw body, ignoring the parser that the client returns."""
        fields = dict(parameters)
        async with self.client() as client:
            with self.capturing() as responses, images.uploading():
                await client.chat_completion(
                    fields.pop("messages"),
                    model=fields.pop("model"),
                    stream=True,  # so that the client does not wait for the whole body
                    extra_body=fields,
                )
            async with aclosing(raw_body(responses[-1])) as reads:
                yield reads

    def client(self, content_type: str | None = None) -> AsyncInferenceClient:
        """Create a client for one request; the body is JSON unless `content_type` is given."""
        # Without a token, the client would find the one that `hf auth login` stored on this
        # machine, refresh it over the network, and send it to any server in HF_BASE_URL. A header
        # with the value None is not sent.
        headers: dict[str, str | None] = {**self._headers, "accept-encoding": "identity"}
        if not self._token:
            headers["authorization"] = None
        if content_type is not None:
            headers["content-type"] = content_type
        return AsyncInferenceClient(
            base_url=self.url,
            api_key=self._token or "no token",
            headers=cast(Any, headers),
            timeout=cast(Any, httpx2.Timeout(None, connect=CONNECT_SECONDS)),
        )

    def report(self, error: Exception) -> ErrorReport | None:
        """The error response that `_capture` raised."""
        if not isinstance(error, ErrorResponse):
            return None
        return ErrorReport.from_response(error.response, error.response.text)

    def is_unreachable(self, error: Exception) -> bool:
        """Whether connecting failed; the client wraps a connect timeout in another error."""
        return isinstance(error, httpx2.ConnectError) or isinstance(
            error.__cause__, httpx2.ConnectTimeout
        )

    def is_redirect_loop(self, error: Exception) -> bool:
        """Whether the transport gave up on redirects."""
        return isinstance(error, httpx2.TooManyRedirects)

    async def close(self) -> None:
        """Do nothing: every request closes the client that it created."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    @contextmanager
    def capturing(self) -> Iterator[list[httpx2.Response]]:
        """Inside this context, store responses, and raise those with an error status.

        Requests carry the provider's query, for which the library has no argument.
        """
        responses: list[httpx2.Response] = []
        tokens = _RESPONSES.set(responses), _QUERY.set(self._query)
        try:
            yield responses
        finally:
            _RESPONSES.reset(tokens[0])
            _QUERY.reset(tokens[1])


# ── the library ───────────────────────────────────────────────────────────────────────────────
def _configure_library() -> None:
    """Keep the library from blocking the event loop, using two of its official global switches.

    HF_HUB_DISABLE_TELEMETRY: to describe its caller, the library would fetch a list from its site
    on the first request, synchronously and for up to 3 s. The client factory: all requests share
    one TLS context.
    """
    constants.HF_HUB_DISABLE_TELEMETRY = True

    def make() -> httpx2.AsyncClient:
        return _HttpClient(
            verify=tls_context(),
            follow_redirects=True,
            timeout=None,
            event_hooks={"response": [_capture]},
        )

    set_async_client_factory(make)


class _HttpClient(ImageClient):
    """Accepts bytes as `data`, which the library passes although httpx deprecates it."""

    def build_request(self, method: str, url: httpx2.URL | str, **options: Any) -> httpx2.Request:
        """Build the request with bytes as `content` and with the provider's query."""
        if isinstance(options.get("data"), bytes):
            options["content"] = options.pop("data")
        if query := _QUERY.get({}):
            url = httpx2.URL(url).copy_merge_params(dict(query))
        return super().build_request(method, url, **options)


async def _capture(response: httpx2.Response) -> None:
    """Store the response so that its raw bytes can be read; raises ErrorResponse on an error."""
    responses = _RESPONSES.get(None)
    if responses is None:
        return  # a request by other code: the library has one factory for the whole process
    if response.status_code >= 400:
        await response.aread()
        raise ErrorResponse(response)
    responses.append(response)

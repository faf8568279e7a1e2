"""Models on Hugging Face: its router, or an endpoint of one's own, through AsyncInferenceClient.

Every request has a client of its own that is closed with it: a long-lived one keeps something of
each stream for ever. The model's name goes out as it is, provider included (`org/name:provider`):
the router resolves it, where the client's `provider` argument would make a blocking look-up. The
client asks; its parser is not used, as it ends at the first chunk of another shape.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from typing import Any, cast

import httpx2
from huggingface_hub import AsyncInferenceClient, constants, set_async_client_factory

from bot.domain.model import ChatRequest
from bot.llm.addresses import host_and_port
from bot.llm.compatible import CompatibleModel
from bot.llm.learned import LIMIT_NAMES
from bot.llm.report import Report
from bot.llm.stream_timeout import StreamTimeouts

ROUTER_URL = "https://router.huggingface.co/v1"
# As for OpenAI: a server that takes no connection is down.
CONNECT_SECONDS = 10.0

# Where the responses of the request that is being made go; see `_keep`.
_RESPONSES: ContextVar[list[httpx2.Response]] = ContextVar("responses")


class Refusal(Exception):
    """A response with an error status, raised before the library reads it.

    The library looks for fields in the body and fails on those of another shape, such as a list.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"status {response.status_code}")
        self.response = response


class HuggingFaceModel(CompatibleModel):
    """One model; `base_url` None is the router. Without a token no `Authorization` is sent."""

    def __init__(
        self,
        *,
        model: str,
        token: str | None,
        base_url: str | None,
        limits: StreamTimeouts,
        probe: ChatRequest | None = None,
    ) -> None:
        super().__init__(
            name=f"huggingface:{model}",
            model=model,
            endpoint=Endpoint(token, base_url or ROUTER_URL),
            limits=limits,
            probe=probe,
            limit_names=LIMIT_NAMES[::-1],
        )


class Endpoint:
    """A server that takes Hugging Face's tokens."""

    key_setting, address_setting = "HF_TOKEN", "HF_BASE_URL"
    # The library's own errors and the transport's are OSError or HTTPError.
    broken = (Refusal, httpx2.HTTPError, OSError)

    def __init__(self, token: str | None, url: str) -> None:
        self._token, self._url = token, url
        self.address = host_and_port(url)
        _prepare_library()

    @asynccontextmanager
    async def open(self, parameters: Mapping[str, Any]) -> AsyncGenerator[AsyncIterator[bytes]]:
        """The raw body: the client returns its parser's generator, which is left alone."""
        fields = dict(parameters)
        async with self.client() as client:
            responses: list[httpx2.Response] = []
            _RESPONSES.set(responses)
            await client.chat_completion(
                fields.pop("messages"),
                model=fields.pop("model"),
                stream=True,  # of the client: it does not wait for the whole body
                extra_body=fields,
            )
            response = responses[-1]
            packed = response.headers.get("content-encoding", "identity") != "identity"
            async with aclosing(
                response.aiter_bytes() if packed else response.aiter_raw()
            ) as reads:
                yield reads

    def client(self) -> AsyncInferenceClient:
        """A client for one request."""
        # Without a token the client would look for the one that `hf auth login` left on this
        # machine, refresh it over the network, and send it to whatever server HF_BASE_URL names.
        # A header that is None is left out.
        headers: dict[str, str | None] = {"accept-encoding": "identity"}
        if not self._token:
            headers["authorization"] = None
        return AsyncInferenceClient(
            base_url=self._url,
            api_key=self._token or "no token",
            headers=cast(Any, headers),
            timeout=cast(Any, httpx2.Timeout(None, connect=CONNECT_SECONDS)),
        )

    def report(self, error: Exception) -> Report | None:
        """What the server said."""
        if not isinstance(error, Refusal):
            return None
        response = error.response
        return Report.of(response.status_code, response.text, response.headers)

    def unreachable(self, error: Exception) -> bool:
        """The client hides a timeout behind an error of its own."""
        return isinstance(error, httpx2.ConnectError) or isinstance(
            error.__cause__, httpx2.ConnectTimeout
        )

    def redirected(self, error: Exception) -> bool:
        """The client passes the transport's own error on."""
        return isinstance(error, httpx2.TooManyRedirects)

    async def aclose(self) -> None:
        """There is nothing to close: every request closed its own client."""


# ── the library ───────────────────────────────────────────────────────────────────────────────
def _prepare_library() -> None:
    """Keep the library from holding the event loop; both switches are global to it, and official.

    Telemetry is what HF_HUB_DISABLE_TELEMETRY turns off: to name what runs it, the library would
    fetch a list from its own site at the first request, synchronously and for up to 3 s. And all
    requests share one TLS context, because making one takes 20 ms.
    """
    constants.HF_HUB_DISABLE_TELEMETRY = True
    context = httpx2.create_ssl_context()

    def make() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=context, follow_redirects=True, timeout=None, event_hooks={"response": [_keep]}
        )

    set_async_client_factory(make)


async def _keep(response: httpx2.Response) -> None:
    """Keep the response, whose bytes we read; raises Refusal for an error status."""
    responses = _RESPONSES.get(None)
    if responses is None:
        return  # of another client in this process: the library has one factory for all
    if response.status_code >= 400:
        await response.aread()
        raise Refusal(response)
    responses.append(response)

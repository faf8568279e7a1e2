"""Models on Hugging Face: its router, or an endpoint of one's own, through AsyncInferenceClient.

Every request has a client of its own that is closed with it: a long-lived one keeps something of
each stream for ever. The model's name goes out as it is, provider included (`org/name:provider`):
the router resolves it, where the client's `provider` argument would make a blocking look-up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import httpx2
from huggingface_hub import AsyncInferenceClient, constants, set_async_client_factory
from huggingface_hub.errors import HfHubHTTPError, OverloadedError, TextGenerationError

from bot.domain import ChatRequest, Delta, Finding, Usage
from bot.errors import CutOff, ModelError, ModelFailed, Overloaded
from bot.llm.check import try_model
from bot.llm.chunks import NOTHING, thought
from bot.llm.failures import Report, failure, in_stream
from bot.llm.patience import Limits
from bot.llm.reading import Reader
from bot.llm.thinking import Habit

ROUTER_URL = "https://router.huggingface.co/v1"
# As for OpenAI: a server that takes no connection is down.
CONNECT_SECONDS = 10.0

# HfHubHTTPError and the transport's errors are OSError or HTTPError; what the client's parser
# raises on chunks of another shape is a ValueError (no JSON) or one of the other three.
_BROKEN = (httpx2.HTTPError, OSError, ValueError, TypeError, LookupError, AttributeError)


class HuggingFaceModel:
    """One model; `base_url` None is the router. Without a token no `Authorization` is sent."""

    def __init__(
        self, *, model: str, token: str | None, base_url: str | None, limits: Limits
    ) -> None:
        self._model, self._limits = model, limits
        self._token, self._url = token, base_url or ROUTER_URL
        self._habit = Habit()
        _prepare_library()

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"huggingface:{self._model}"

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        """The answer, piece by piece. Raises a ModelError; closing it closes the connection."""
        with self._reader() as reader:
            async with self._client() as client:
                chunks = await reader.wait(self._ask(client, request))
                async with aclosing(_deltas(chunks)) as deltas:
                    while (delta := await reader.next(deltas)) is not None:
                        yield reader.take(delta)
            reader.end()

    async def check(self) -> Finding:
        """One short answer, for `doctor`."""
        return await try_model(self, key="HF_TOKEN", address="HF_BASE_URL")

    async def aclose(self) -> None:
        """There is nothing to close: every request closed its own client."""

    # ── one request ───────────────────────────────────────────────────────────────────────────
    def _reader(self) -> Reader:
        return Reader(
            model=self.name,
            limits=self._limits,
            broken=_BROKEN,
            translate=self._translate,
            habit=self._habit,
        )

    def _client(self) -> AsyncInferenceClient:
        # Without a token the client would look for the one that `hf auth login` left on this
        # machine, refresh it over the network, and send it to whatever server HF_BASE_URL names.
        # A header that is None is left out.
        headers = None if self._token else {"authorization": None}
        return AsyncInferenceClient(
            base_url=self._url,
            api_key=self._token or "no token",
            headers=cast(Any, headers),
            timeout=cast(Any, httpx2.Timeout(None, connect=CONNECT_SECONDS)),
        )

    async def _ask(self, client: AsyncInferenceClient, request: ChatRequest) -> Any:
        return await client.chat_completion(
            [
                {"role": message.role.value, "content": message.content}
                for message in request.messages
            ],
            model=self._model,
            stream=True,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            stream_options=cast(Any, {"include_usage": True}),
        )

    def _translate(self, error: Exception, started: bool) -> ModelError:
        if isinstance(error, HfHubHTTPError):
            response = error.response
            report = Report.of(response.status_code, _body(response), response.headers)
            return failure(report, model=self.name)
        if isinstance(error, TextGenerationError):
            body = {"error": error.args[0] if error.args else ""}
            if isinstance(error, OverloadedError):
                body["error_type"] = "overloaded"
            return in_stream(Report.of(None, body), model=self.name, started=started)
        if started:
            return CutOff(type(error).__name__, model=self.name)
        if isinstance(error, httpx2.HTTPError | OSError):
            return Overloaded(type(error).__name__, model=self.name)
        return ModelFailed(type(error).__name__, model=self.name)


def _body(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (ValueError, httpx2.StreamError):
        return ""


async def _deltas(chunks: AsyncGenerator[Any, None]) -> AsyncGenerator[Delta, None]:
    async with aclosing(chunks):
        async for chunk in chunks:
            delta = _delta(chunk)
            if delta is not NOTHING:
                yield delta


def _delta(chunk: Any) -> Delta:
    counted = chunk.usage
    usage = Usage(counted.prompt_tokens or 0, counted.completion_tokens or 0) if counted else None
    if not chunk.choices:
        return Delta(usage=usage) if usage else NOTHING
    choice = chunk.choices[0]
    text = (choice.delta.content or "") if choice.delta else ""
    # `reasoning` is a field of the client's type, what other servers send is an extra attribute.
    reasoning = getattr(choice.delta, "reasoning_content", None) or (
        choice.delta.reasoning if choice.delta else None
    )
    if not (text or reasoning or choice.finish_reason or usage):
        return NOTHING
    return Delta(text, thought(reasoning), choice.finish_reason, usage)


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
            verify=context,
            follow_redirects=True,
            timeout=None,
            event_hooks={"response": [_prepare]},
        )

    set_async_client_factory(make)


async def _prepare(response: httpx2.Response) -> None:
    """Read an error's body, which the client cannot do later; keep an event on one line."""
    if response.status_code >= 400:
        await response.aread()
    elif not response.headers.get("content-encoding"):
        response.stream = _OneLine(cast(httpx2.AsyncByteStream, response.stream))


class _OneLine(httpx2.AsyncByteStream):
    """Writes the three separators that JSON leaves as they are as escapes.

    The client cuts the stream where `str.splitlines` would, so that a U+2028 in the model's text
    would break the event in two.
    """

    _ESCAPES = (
        (b"\xc2\x85", b"\\u0085"),
        (b"\xe2\x80\xa8", b"\\u2028"),
        (b"\xe2\x80\xa9", b"\\u2029"),
    )
    _BEGINNINGS = (b"\xe2\x80", b"\xe2", b"\xc2")

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = b""
        async for piece in self._inner:
            data = held + piece
            held = next((cut for cut in self._BEGINNINGS if data.endswith(cut)), b"")
            data = data[: len(data) - len(held)]
            for separator, escape in self._ESCAPES:
                data = data.replace(separator, escape)
            yield data
        yield held

    async def aclose(self) -> None:
        """Close the response."""
        await self._inner.aclose()

"""Asks a server for its models, through the provider's own client (openai or anthropic).

Both clients are generated from the same template, so the same calls work with both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from bot.config.providers import ProviderKind
from bot.llm.list_entries import (
    Listing,
    parse_list,
    parse_llama_cpp,
    parse_lm_studio,
    parse_ollama_loaded,
)

MAX_BYTES = 16_000_000
"""OpenRouter's list, the longest known one, has about 1 MB."""

_PAGE = {"limit": "1000"}  # Anthropic's largest page; the default has 20 models


async def request_listing(client: Any, kind: ProviderKind, *, local: bool) -> Listing:
    """Ask for the models; raises the errors of the client and its transport, and ValueError."""
    query = _PAGE if kind is ProviderKind.ANTHROPIC else {}
    list_models = client.models.with_streaming_response.list
    async with list_models(extra_query=query, extra_headers=_headers(client)) as response:
        body = bytearray()
        async for piece in response.http_response.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"the list has more than {MAX_BYTES} bytes")
    # Reading a long list takes a tenth of a second.
    models = await asyncio.to_thread(parse_list, bytes(body))
    unknown = [model.name for model in models if model.facts.window is None]
    windows = await _ask_local_server(client, unknown) if local and unknown else {}
    return Listing(models, windows)


async def _ask_local_server(client: Any, unknown: list[str]) -> Mapping[str, int]:
    """The windows that Ollama, LM Studio or llama.cpp loaded models with; {} if none says."""
    parts = urlsplit(str(client.base_url))
    root = f"{parts.scheme}://{parts.netloc}"
    for path, parse in (("/api/ps", parse_ollama_loaded), ("/api/v0/models", parse_lm_studio)):
        body = await _get(client, root + path)
        if body is not None:
            return parse(body)
    props = await _get(client, root + "/props") if len(unknown) == 1 else None
    window = parse_llama_cpp(props) if props is not None else None
    return {unknown[0]: window} if window is not None else {}


async def _get(client: Any, url: str) -> bytes | None:
    """The JSON of a response; None if the server does not know the address."""
    from openai import APIStatusError

    try:
        response: httpx2.Response = await client.get(
            url, cast_to=httpx2.Response, options={"headers": _headers(client)}
        )
    except APIStatusError:
        return None
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.content if is_json else None


def _headers(client: Any) -> dict[str, Any]:
    """No `Authorization` without a key, as in requests for answers."""
    from openai import AsyncOpenAI, Omit

    from bot.llm.openai import NO_KEY

    keyless = isinstance(client, AsyncOpenAI) and client.api_key == NO_KEY
    return {"Authorization": Omit()} if keyless else {}

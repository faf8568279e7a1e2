"""Asks a server for its models, using the provider's own client (openai or anthropic).

Both clients are generated from the same template, so the same calls work with both.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bot.config.providers import ProviderKind
from bot.llm.list_entries import ListedModel, Listing, parse_list

MAX_BYTES = 16_000_000
"""Limit for a list, in bytes. OpenRouter's list, the longest known one, has about 1 MB."""

_PAGE = {"limit": "1000"}  # Anthropic's largest page; the default has 20 models


async def request_listing(client: Any, kind: ProviderKind, *, local: bool) -> Listing:
    """Request the models. Raises ValueError, and the errors of the client and its transport."""
    if kind is ProviderKind.ANTHROPIC:
        return Listing(await _request_models(client, extra_query=_PAGE))
    from bot.llm.openai_lists import key_headers, request_windows

    models = await _request_models(client, extra_headers=key_headers(client))
    unknown = [model.name for model in models if model.facts.window is None]
    windows = await request_windows(client, unknown) if local and unknown else {}
    return Listing(models, windows)


async def _request_models(client: Any, **options: Any) -> tuple[ListedModel, ...]:
    async with client.models.with_streaming_response.list(**options) as response:
        body = bytearray()
        async for piece in response.http_response.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"the list has more than {MAX_BYTES} bytes")
    # Reading a long list takes a tenth of a second.
    return await asyncio.to_thread(parse_list, bytes(body))

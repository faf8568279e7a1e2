"""Requests that apply only to servers behind the openai client: the windows of loaded models."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from bot.llm.list_entries import parse_llama_cpp, parse_lm_studio, parse_ollama_loaded
from bot.llm.openai import NO_KEY

WINDOW_SECONDS = 1.0
"""Half of the time that a list may take: the list is also useful without windows."""


def key_headers(client: openai.AsyncOpenAI) -> dict[str, Any]:
    """Omit the `Authorization` header if there is no key, as in requests for answers."""
    return {"Authorization": openai.Omit()} if client.api_key == NO_KEY else {}


async def request_windows(client: openai.AsyncOpenAI, models: Sequence[str]) -> Mapping[str, int]:
    """The windows that Ollama, LM Studio or llama.cpp loaded `models` with, if they report them."""
    with contextlib.suppress(openai.OpenAIError, httpx2.HTTPError, OSError, ValueError):
        async with asyncio.timeout(WINDOW_SECONDS):
            return await _request_windows(client, models)
    return {}


async def _request_windows(client: openai.AsyncOpenAI, models: Sequence[str]) -> Mapping[str, int]:
    parts = urlsplit(str(client.base_url))
    root = f"{parts.scheme}://{parts.netloc}"
    for path, parse in (("/api/ps", parse_ollama_loaded), ("/api/v0/models", parse_lm_studio)):
        body = await _get(client, root + path)
        if body is not None:
            with contextlib.suppress(ValueError):  # LM Studio has an error with status 200
                return parse(body)
    props = await _get(client, root + "/props") if len(models) == 1 else None
    window = parse_llama_cpp(props) if props is not None else None
    return {models[0]: window} if window is not None else {}


async def _get(client: openai.AsyncOpenAI, url: str) -> bytes | None:
    """The JSON in a response; None if the server does not know the address."""
    try:
        response = await client.get(
            url, cast_to=httpx2.Response, options={"headers": key_headers(client)}
        )
    except openai.APIStatusError:
        return None
    is_json = response.headers.get("content-type", "").startswith("application/json")
    return response.content if is_json else None

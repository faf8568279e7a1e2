"""Speech to text using the openai client: OpenAI, Groq, vLLM and other compatible servers."""

from __future__ import annotations

from typing import Any, Literal

import aiohttp
import httpx2
import openai

from bot.config.providers import ProviderConfig
from bot.llm.error_report import ErrorReport
from bot.llm.openai import NO_KEY, make_client
from bot.llm.speech import TRANSCRIPTION_SECONDS, RemoteTranscriber


class OpenAITranscriber(RemoteTranscriber):
    """A `Transcriber`; closing it closes its client."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        seconds: float = TRANSCRIPTION_SECONDS,
    ) -> None:
        endpoint = OpenAISpeechEndpoint(make_client(provider), provider, model)
        super().__init__(name=name, endpoint=endpoint, seconds=seconds)


class OpenAISpeechEndpoint:
    """`/audio/transcriptions` of one server, for one model.

    Requests to Whisper models ask for segments, which contain the probability of silence. Other
    models and some servers do not support that format, so they are asked for the text alone.
    """

    errors: tuple[type[Exception], ...] = (
        openai.APIError,
        httpx2.HTTPError,
        aiohttp.ClientError,
        OSError,
    )

    def __init__(self, client: openai.AsyncOpenAI, provider: ProviderConfig, model: str) -> None:
        self._client, self._model = client, model
        # Importing this part of the client must not delay the first recording's request.
        self._transcriptions = client.audio.transcriptions.with_raw_response
        self.key_setting = provider.key_setting
        self._format: Literal["json", "verbose_json"] = (
            "verbose_json" if "whisper" in model.lower() else "json"
        )

    async def send(self, name: str, media_type: str, data: bytes) -> bytes:
        """Send a recording; asks again if the server rejects the response format."""
        try:
            return await self._create(name, media_type, data)
        except openai.APIStatusError as error:
            if self._format == "json" or "response_format" not in error.response.text:
                raise
            self._format = "json"
        return await self._create(name, media_type, data)

    async def _create(self, name: str, media_type: str, data: bytes) -> bytes:
        headers: dict[str, Any] = {}
        if self._client.api_key == NO_KEY:
            headers["Authorization"] = openai.Omit()
        response = await self._transcriptions.create(
            file=(name, data, media_type),
            model=self._model,
            response_format=self._format,
            extra_headers=headers,
        )
        return response.http_response.content

    def report(self, error: Exception) -> ErrorReport | None:
        """The whole error response."""
        if not isinstance(error, openai.APIStatusError):
            return None
        return ErrorReport.from_response(error.response, error.response.text)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.close()

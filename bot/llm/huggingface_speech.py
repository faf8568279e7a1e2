"""Speech to text through the provider hf-inference of Hugging Face's router."""

from __future__ import annotations

import contextlib

from bot.config.providers import ProviderConfig
from bot.llm.huggingface import HuggingFaceEndpoint
from bot.llm.speech import TRANSCRIPTION_SECONDS, RemoteTranscriber

# The library's parser fails in these ways on a body of an unexpected shape, which is read here.
_PARSER_ERRORS = (AttributeError, LookupError, TypeError, ValueError)


class HuggingFaceTranscriber(RemoteTranscriber):
    """A `Transcriber`."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        provider: ProviderConfig,
        seconds: float = TRANSCRIPTION_SECONDS,
    ) -> None:
        endpoint = HuggingFaceSpeechEndpoint(provider, model)
        super().__init__(name=name, endpoint=endpoint, seconds=seconds)


class HuggingFaceSpeechEndpoint(HuggingFaceEndpoint):
    """The task automatic-speech-recognition of one model.

    The model is given as a URL: for a name, the library makes a blocking lookup.
    """

    def __init__(self, provider: ProviderConfig, model: str) -> None:
        super().__init__(provider)
        self._model_url = f"{self.url.rstrip('/').removesuffix('/v1')}/hf-inference/models/{model}"

    async def send(self, name: str, media_type: str, data: bytes) -> bytes:
        """The response's body. The API takes no file name, only the media type."""
        async with self.client(content_type=media_type) as client:
            with self.capturing() as responses, contextlib.suppress(*_PARSER_ERRORS):
                await client.automatic_speech_recognition(data, model=self._model_url)
            return responses[-1].content if responses else b""

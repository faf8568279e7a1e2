"""Speech to text with the provider hf-inference of Hugging Face's router."""

from __future__ import annotations

import contextlib

from bot.config.providers import ProviderConfig
from bot.llm.huggingface import HuggingFaceEndpoint
from bot.llm.speech import TRANSCRIPTION_SECONDS, RemoteTranscriber

# The ways in which the library's parser fails on an unexpected body; that body is read here
# instead.
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
    """The automatic-speech-recognition task of one model.

    The model is given as a URL, because for a name the library makes a blocking lookup.
    """

    def __init__(self, provider: ProviderConfig, model: str) -> None:
        super().__init__(provider)
        self._model_url = f"{self.url.rstrip('/').removesuffix('/v1')}/hf-inference/models/{model}"

    async def send(self, name: str, media_type: str, data: bytes) -> bytes:
        """Send a recording; return the response's body. The API takes no file name."""
        async with self.client(content_type=media_type) as client:
            with self.capturing() as responses, contextlib.suppress(*_PARSER_ERRORS):
                await client.automatic_speech_recognition(data, model=self._model_url)
            return responses[-1].content if responses else b""

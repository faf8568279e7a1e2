"""Speech to text using a provider's transcription API, independent of the client library.

Invariant: the text contains only what people said. Sentences that Whisper invents for silence are
dropped.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from bot.domain.attachments import Omission
from bot.domain.errors import AttachmentError
from bot.domain.health import Finding
from bot.llm.check import check_speech
from bot.llm.error_report import ErrorReport
from bot.llm.speech_errors import RETRY_SECONDS, to_attachment_error
from bot.llm.speech_files import file_name
from bot.llm.spoken_text import spoken_text

log = structlog.stdlib.get_logger(__name__)

MAX_BYTES = 25 * 1024 * 1024
"""OpenAI's limit for one file (guide "Speech to text": "File uploads are currently limited to 25
MB"; the server's own message says 26,214,400 bytes). Other servers accept at least as much."""

TRANSCRIPTION_SECONDS = 120.0
"""The longest wait. An hour of speech, which fits into 25 MB, takes OpenAI less than a minute."""


class SpeechEndpoint(Protocol):
    """One transcription API, accessed through one client library.

    `errors` are all exceptions of the client and transport. `key_setting` names the setting that
    holds its key.
    """

    key_setting: str
    errors: tuple[type[Exception], ...]

    async def send(self, name: str, media_type: str, data: bytes) -> bytes:
        """The body of the response to a recording; raises `errors`."""
        ...

    def report(self, error: Exception) -> ErrorReport | None:
        """The server's error response, or None if `error` has another cause."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class RemoteTranscriber:
    """A `Transcriber` (see the port), named as in the settings. `seconds` limits one recording."""

    def __init__(
        self, *, name: str, endpoint: SpeechEndpoint, seconds: float = TRANSCRIPTION_SECONDS
    ) -> None:
        self.name = name
        self._endpoint, self._seconds = endpoint, seconds

    async def transcribe(self, name: str, media_type: str, data: bytes) -> str:
        """Transcribe a recording. Raises AttachmentError, with a wait if a retry may help."""
        if not data:
            raise AttachmentError(Omission.EMPTY)
        if len(data) > MAX_BYTES:
            raise AttachmentError(Omission.TOO_LARGE, f"{len(data)} bytes")
        sent_name, sent_type = file_name(name, media_type, data)
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._endpoint.send(sent_name, sent_type, data)
        except TimeoutError as error:
            raise AttachmentError(Omission.TIMED_OUT, "no transcript in time") from error
        except self._endpoint.errors as error:
            raise self._translate(error) from error
        return spoken_text(body)

    async def check(self) -> Finding:
        """Send a second of silence, for `doctor`."""
        return await check_speech(self, name=self.name, key=self._endpoint.key_setting)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._endpoint.aclose()

    def _translate(self, error: Exception) -> AttachmentError:
        report = self._endpoint.report(error)
        if report is None:
            kind = type(error).__name__
            log.warning("the server for speech cannot be reached", model=self.name, error=kind)
            return AttachmentError(Omission.UNREACHABLE, kind, retry_after=RETRY_SECONDS)
        translated = to_attachment_error(report)
        log.warning(
            "the transcription failed",
            model=self.name,
            omission=translated.omission,
            provider_message=report.raw,
        )
        return translated

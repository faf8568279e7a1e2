"""Transcription: OpenAI's multipart endpoint and Hugging Face's raw one, with scripted answers."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sims.model.error_responses import (
    ErrorResponse,
    error_body,
    error_response,
    invalid_request,
)

ENDINGS = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
MAX_BYTES = 26_214_400
FORMATS = ("json", "verbose_json")


@dataclass(slots=True)
class Speech:
    """One scripted transcript or failure; the first one with `times` left is used (None: always).

    `segments` are the texts of `verbose_json`, with `no_speech_prob` and `avg_logprob` for each.
    `hold` is in seconds. `fault` names an error response (see `error_responses`); `status` and
    `body` are any other response. `only_json`: the server rejects other formats.
    """

    text: str = "Hello from a recording."
    segments: list[str] | None = None
    no_speech_prob: float = 0.01
    avg_logprob: float = -0.2
    times: int | None = None
    hold: float = 0.0
    fault: str | None = None
    retry_after: float | None = None
    status: int | None = None
    body: Any = None
    only_json: bool = False


@dataclass(slots=True, kw_only=True)
class Recording:
    """One request for a transcript; `data` is the recording in base64, as it arrived."""

    model: str
    name: str
    media_type: str
    data: str
    response_format: str = ""
    authorization: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> bytes:
        """The recording, byte for byte."""
        return base64.b64decode(self.data)


async def read_form(request: web.Request) -> Recording:
    """Parse a multipart request for a transcript; raises ErrorResponse as the real API does."""
    form = await request.post()
    file = form.get("file")
    if not isinstance(file, web.FileField):
        raise invalid_request("1 validation error for Request: body.file: field required")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    with file.file:
        data = base64.b64encode(file.file.read()).decode()
    return Recording(
        model=fields.get("model", ""),
        name=file.filename,
        media_type=file.content_type,
        data=data,
        response_format=fields.get("response_format", "json"),
        authorization=request.headers.get("Authorization"),
        fields=fields,
    )


def check_recording(recording: Recording, script: Speech) -> None:
    """Reject what the real API rejects."""
    size = len(recording.bytes)
    if size > MAX_BYTES:
        text = f"Maximum content size limit ({MAX_BYTES}) exceeded ({size} bytes read)"
        raise ErrorResponse(413, error_body(text, "server_error", None))
    if recording.name.rpartition(".")[2] not in ENDINGS:
        raise invalid_request(f"Invalid file format. Supported formats: {sorted(ENDINGS)}")
    allowed = ("json",) if script.only_json else FORMATS
    if recording.response_format not in allowed:
        raise invalid_request(
            f"response_format '{recording.response_format}' is not compatible with model "
            f"'{recording.model}'. Use 'json' instead.",
            param="response_format",
            code="unsupported_value",
        )


async def transcript_response(recording: Recording, script: Speech, flavor: str) -> web.Response:
    """The scripted response."""
    await asyncio.sleep(script.hold)
    if script.fault is not None:
        raise error_response(script.fault, flavor, script.retry_after)
    if script.status is not None:
        if isinstance(script.body, str):
            return web.Response(status=script.status, text=script.body, content_type="text/html")
        return web.json_response(script.body, status=script.status)
    if recording.response_format == "verbose_json":
        return web.json_response(_verbose(script))
    return web.json_response({"text": script.text})


def _verbose(script: Speech) -> dict[str, Any]:
    texts = [script.text] if script.segments is None else script.segments
    return {
        "task": "transcribe",
        "language": "english",
        "duration": 2.0 * len(texts),
        "text": script.text,
        "segments": [
            {
                "id": k,
                "seek": 0,
                "start": 2.0 * k,
                "end": 2.0 * k + 2.0,
                "text": text,
                "tokens": [50364],
                "temperature": 0.0,
                "avg_logprob": script.avg_logprob,
                "compression_ratio": 1.1,
                "no_speech_prob": script.no_speech_prob,
            }
            for k, text in enumerate(texts)
        ],
        "usage": {"type": "duration", "seconds": 2 * len(texts)},
    }

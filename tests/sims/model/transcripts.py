"""Requests for transcripts, and the scripts that answer them."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from aiohttp import web

from tests.sims.model.provider import Provider
from tests.sims.model.speech import (
    Recording,
    Speech,
    check_recording,
    read_form,
    transcript_response,
)


class Transcripts:
    """Both APIs for transcripts: OpenAI's form, and Hugging Face's with the recording as body."""

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.speeches: list[Speech] = []

    async def answer(self, request: web.Request, provider: Provider) -> web.Response:
        """The scripted response; raises ErrorResponse as the real APIs do."""
        if (model := request.match_info.get("id")) is not None:
            return await self._answer_raw(request, model, provider)
        provider.check_key(request.headers)
        recording = await read_form(request)
        self.recordings.append(recording)
        script = self._find()
        check_recording(recording, script)
        return await transcript_response(recording, script, provider.flavor)

    def script(self, speeches: list[dict[str, Any]]) -> None:
        """Put scripts in front of the existing ones."""
        self.speeches[:0] = [Speech(**fields) for fields in speeches]

    def describe(self, since: int = 0) -> list[dict[str, Any]]:
        """The recordings, oldest first."""
        return [dataclasses.asdict(recording) for recording in self.recordings[since:]]

    async def _answer_raw(
        self, request: web.Request, model: str, provider: Provider
    ) -> web.Response:
        recording = Recording(
            model=model,
            name="",
            media_type=request.content_type,
            data=base64.b64encode(await request.read()).decode(),
            authorization=request.headers.get("Authorization"),
        )
        self.recordings.append(recording)
        provider.check_key(request.headers, "huggingface")
        return await transcript_response(recording, self._find(), "huggingface")

    def _find(self) -> Speech:
        for script in self.speeches:
            if script.times is None:
                return script
            if script.times > 0:
                script.times -= 1
                return script
        return Speech()

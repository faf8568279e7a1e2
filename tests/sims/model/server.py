"""The simulated model server: routes of an OpenAI-compatible API, and controls to script it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from functools import partial
from typing import Any

from aiohttp import web

from tests.sims.kit import ENTRY, Sim
from tests.sims.model.answers import (
    Answer,
    Pace,
    ResolvedAnswer,
    inline_reasoning,
    last_user_text,
    resolve,
)
from tests.sims.model.apis import CHAT, MESSAGES, RESPONSES, AnswerEncoder, Api
from tests.sims.model.encoder import Dialect
from tests.sims.model.error_responses import FLAVORS, ErrorResponse, error_body, error_response
from tests.sims.model.player import After, Playback, Player, Record, plan
from tests.sims.model.provider import SETTINGS, Provider
from tests.sims.model.transcripts import Transcripts


class ModelServer(Sim):
    """Answers from scripts at a set pace, and records the time of every token."""

    name = "model"

    def setup(self) -> None:
        self.records: list[Record] = []
        self.transcripts = Transcripts()
        self._reset()
        routes = self.app.router
        routes.add_post("/v1/chat/completions", self._chat)
        routes.add_post("/v1/responses", self._respond)
        routes.add_post("/v1/messages", self._message)
        routes.add_post("/v1/audio/transcriptions", self._transcribe)
        routes.add_post("/hf-inference/models/{id:.+}", self._transcribe)
        routes.add_get("/v1/models", self._models)
        routes.add_get("/v1/models/{id:.+}", self._models)
        routes.add_route("*", "/{path:(?!_sim/).*}", self._unknown_path)
        for setting in SETTINGS:
            self.control(setting, partial(self._set, setting))
        self.control("script", self._script_control)
        self.control("pace", self._pace_control)
        self.control("dialect", self._dialect_control)
        self.control("reset", self._reset)
        self.control("release", self._release)
        self.control("streams", self._streams)
        self.control("forget_bodies", self._forget_bodies)
        self.control("speech", self.transcripts.script)
        self.control("recordings", self.transcripts.describe)

    async def start(self, port: int = 0) -> web.AppRunner:
        """Listen as `Sim` does, but cancel a request when its client disconnects."""
        runner = web.AppRunner(
            self.app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True
        )
        await runner.setup()
        # 1,000 clients may connect in the same moment.
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        self.port = runner.addresses[0][1]
        return runner

    async def read_body(self, request: web.Request) -> Any:
        """The body as JSON; None for invalid JSON, which the handler rejects like the API.

        Audio recordings are left to their handlers.
        """
        if request.content_type.startswith(("multipart/", "audio/", "video/")):
            return None
        try:
            return await request.json()
        except (ValueError, UnicodeDecodeError):
            return None

    # ── completions ───────────────────────────────────────────────────────────────────────────
    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_with(request, CHAT)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_with(request, RESPONSES)

    async def _message(self, request: web.Request) -> web.StreamResponse:
        return await self._answer_with(request, MESSAGES)

    async def _answer_with(self, request: web.Request, api: Api) -> web.StreamResponse:
        record = self._record(request)
        try:
            return await self._complete(request, record, api)
        except ErrorResponse as error:
            record.status = error.status
            record.end("refused")
            return error.response()
        except asyncio.CancelledError:
            record.end("disconnected")
            raise

    def _record(self, request: web.Request) -> Record:
        body = request[ENTRY].body
        peer = request.transport.get_extra_info("peername") if request.transport else None
        record = Record(
            n=len(self.records),
            at=time.time(),
            path=request.path,
            body=body if isinstance(body, dict) else {},
            authorization=request.headers.get("Authorization"),
            peer=peer[1] if peer else 0,
            streamed=bool(isinstance(body, dict) and body.get("stream")),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        self.records.append(record)
        return record

    async def _complete(self, request: web.Request, record: Record, api: Api) -> web.StreamResponse:
        provider = self.provider
        flavor = "anthropic" if api is MESSAGES else provider.flavor
        body = provider.admit(request.headers, request[ENTRY].body, api)
        chat = api.as_chat(body)
        script = self._find_script(chat)
        await asyncio.sleep(script.hold)
        if script.status is not None:
            raise ErrorResponse(script.status, script.body, script.headers)
        if script.fault is not None:
            raise error_response(script.fault, flavor, script.retry_after)
        provider.check_length(chat, body, api)
        resolved = self._place_reasoning(resolve(script, chat, self.pace))
        usage = script.usage or provider.count(request.headers, body, resolved, api)
        encoder = api.encoder(self.dialect, body, usage)
        record.status, record.usage = 200, usage
        if record.streamed:
            return await self._stream(request, record, resolved, encoder)
        return await self._whole(record, resolved, encoder)

    def _find_script(self, body: dict[str, Any]) -> Answer:
        text, model = last_user_text(body["messages"]), body["model"]
        return next((each for each in self.answers if each.claim(text, model)), Answer())

    def _place_reasoning(self, answer: ResolvedAnswer) -> ResolvedAnswer:
        form = self.dialect.reasoning
        if form == "field":
            return answer
        return inline_reasoning(answer, ("<think>", "\n") if form == "tags" else ())

    async def _whole(
        self, record: Record, answer: ResolvedAnswer, encoder: AnswerEncoder
    ) -> web.Response:
        await asyncio.sleep(answer.duration)
        record.texts, record.times = [answer.text], [time.time()]
        record.end("done")
        reasoning = "".join(answer.reasoning)
        body = encoder.whole(answer.text, reasoning, answer.finish_reason, answer.refusal)
        return _json(body, encoder.id)

    async def _stream(
        self,
        request: web.Request,
        record: Record,
        answer: ResolvedAnswer,
        encoder: AnswerEncoder,
    ) -> web.StreamResponse:
        await asyncio.sleep(self.rtt / 2)  # a token's time is when it reaches the client
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "x-request-id": f"req_{encoder.id[9:]}",
            }
        )
        response.enable_chunked_encoding()
        await response.prepare(request)
        if request.transport is None:
            raise ConnectionResetError("the client left")
        base, record.began = asyncio.get_running_loop().time(), time.time()
        writes = plan(answer, encoder, self.dialect)
        last = await self.player.play(Playback(record, request.transport, writes, base))
        if last is not After.END:
            raise ConnectionResetError("closed by the script")
        await response.write_eof()
        return response

    # ── other paths ───────────────────────────────────────────────────────────────────────────
    async def _transcribe(self, request: web.Request) -> web.Response:
        try:
            return await self.transcripts.answer(request, self.provider)
        except ErrorResponse as error:
            return error.response()

    async def _models(self, request: web.Request) -> web.Response:
        try:
            name = request.match_info.get("id")
            return _json(self.provider.describe_models(request.headers, name))
        except ErrorResponse as error:
            return error.response()

    async def _unknown_path(self, request: web.Request) -> web.Response:
        text = f"Invalid URL ({request.method} {request.path})"
        return ErrorResponse(404, error_body(text, "invalid_request_error", None)).response()

    # ── controls ──────────────────────────────────────────────────────────────────────────────
    def _reset(self) -> None:
        """Reset scripts and settings; records stay."""
        self.answers: list[Answer] = []
        self.pace, self.dialect, self.provider = Pace(), Dialect(), Provider()
        self.transcripts.speeches.clear()
        self.player = getattr(self, "player", None) or Player()

    def _set(self, setting: str, /, **fields: Any) -> None:
        getattr(self.provider, f"set_{setting}")(**fields)

    def _script_control(self, answers: list[dict[str, Any]]) -> None:
        new = [Answer(**fields) for fields in answers]
        for answer in new:
            known = {*FLAVORS[self.provider.flavor], *FLAVORS["anthropic"]}
            if answer.fault is not None and answer.fault not in known:
                raise web.HTTPBadRequest(text=f"no such fault: {answer.fault}")
        self.answers[:0] = new  # the newest script goes before older ones

    def _pace_control(self, **fields: float) -> None:
        self.pace = dataclasses.replace(self.pace, **fields)

    def _dialect_control(self, **fields: Any) -> None:
        self.dialect = Dialect(**fields)

    def _release(self, match: str = "") -> int:
        return self.player.release(match)

    def _streams(self, since: int = 0) -> list[dict[str, Any]]:
        return [dataclasses.asdict(record) for record in self.records[since:]]

    def _forget_bodies(self) -> None:
        for record in self.records:
            record.body = {}


def _json(body: dict[str, Any], request_id: str = "") -> web.Response:
    headers = {"Content-Type": "application/json"}
    if request_id:
        headers["x-request-id"] = f"req_{request_id[9:]}"
    return web.Response(body=json.dumps(body).encode(), headers=headers)

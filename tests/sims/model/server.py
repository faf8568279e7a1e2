"""The model server: the routes of an OpenAI-compatible API, and the controls that script it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

from aiohttp import web

from tests.sims.kit import ENTRY, Sim
from tests.sims.model.answers import (
    Answer,
    Pace,
    Reply,
    aloud,
    concrete,
    count_tokens,
    last_user_text,
)
from tests.sims.model.play import Player, Playing, Record, Then, plan
from tests.sims.model.refusals import FLAVOURS, Refused, error, refusal
from tests.sims.model.validate import check_key, validate
from tests.sims.model.wire import Dialect, Encoder

MODELS = ("sim", "sim-2", "org/sim")


class ModelServer(Sim):
    """A model server that answers by script, at a set pace, and keeps the time of every token."""

    name = "model"

    def setup(self) -> None:
        self.records: list[Record] = []
        self._reset()
        routes = self.app.router
        routes.add_post("/v1/chat/completions", self._chat)
        routes.add_get("/v1/models", self._models)
        routes.add_get("/v1/models/{id:.+}", self._model)
        routes.add_route("*", "/{path:(?!_sim/).*}", self._nowhere)
        for control in ("script", "pace", "dialect", "key", "models", "context", "flavour"):
            self.control(control, getattr(self, f"_{control}_control"))
        self.control("reset", self._reset)
        self.control("release", self._release)
        self.control("streams", self._streams)

    async def start(self, port: int = 0) -> web.AppRunner:
        """As in `Sim`, but a client that goes away cancels its request, so that this is noticed."""
        runner = web.AppRunner(
            self.app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True
        )
        await runner.setup()
        # 1,000 clients may connect in one moment.
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        self.port = runner.addresses[0][1]
        return runner

    async def read_body(self, request: web.Request) -> Any:
        """The body as JSON; None when it is not JSON, which the handler refuses in API words."""
        try:
            return await request.json()
        except (ValueError, UnicodeDecodeError):
            return None

    # ── completions ───────────────────────────────────────────────────────────────────────────
    async def _chat(self, request: web.Request) -> web.StreamResponse:
        record = self._record(request)
        try:
            return await self._answered(request, record)
        except Refused as refused:
            record.status = refused.status
            record.end("refused")
            return refused.response()
        except asyncio.CancelledError:
            record.end("gone")
            raise

    def _record(self, request: web.Request) -> Record:
        body = request[ENTRY].body
        peer = request.transport.get_extra_info("peername") if request.transport else None
        record = Record(
            n=len(self.records),
            at=time.time(),
            body=body if isinstance(body, dict) else {},
            authorization=request.headers.get("Authorization"),
            peer=peer[1] if peer else 0,
            streamed=bool(isinstance(body, dict) and body.get("stream")),
        )
        self.records.append(record)
        return record

    async def _answered(self, request: web.Request, record: Record) -> web.StreamResponse:
        check_key(record.authorization, self.keys, self.flavour)
        body = self._checked(request[ENTRY].body)
        answer = self._answer_to(body)
        await asyncio.sleep(answer.hold)
        if answer.status is not None:
            raise Refused(answer.status, answer.body, answer.headers)
        if answer.fault is not None:
            raise refusal(answer.fault, self.flavour, answer.retry_after)
        self._check_length(body)
        reply = self._said(concrete(answer, body, self.pace))
        encoder = Encoder(self.dialect, body, reply.usage)
        record.status = 200
        if record.streamed:
            return await self._stream(request, record, reply, encoder)
        return await self._whole(record, reply, encoder)

    def _checked(self, body: Any) -> dict[str, Any]:
        known = body.get("model", "") if isinstance(body, dict) else ""
        checked = validate(body, reasoning=known in self.reasoning, strict=known in self.strict)
        if self._base_name(checked["model"]) not in self.known:
            raise refusal("unknown_model", self.flavour, missing=checked["model"])
        return checked

    def _base_name(self, model: str) -> str:
        # Hugging Face's router takes a provider or a policy after the model: org/name:fastest
        return model.partition(":")[0] if self.flavour == "huggingface" else model

    def _answer_to(self, body: dict[str, Any]) -> Answer:
        text, model = last_user_text(body["messages"]), body["model"]
        return next((each for each in self.answers if each.takes(text, model)), Answer())

    def _said(self, reply: Reply) -> Reply:
        form = self.dialect.reasoning
        if form == "field":
            return reply
        return aloud(reply, ("<think>", "\n") if form == "tags" else ())

    def _check_length(self, body: dict[str, Any]) -> None:
        if self.context is None:
            return
        asked = count_tokens(body["messages"])
        if asked > self.context:
            raise refusal(
                "too_long", self.flavour, **{"8192": str(self.context), "9001": f"{asked}"}
            )

    async def _whole(self, record: Record, reply: Reply, encoder: Encoder) -> web.Response:
        await asyncio.sleep(reply.duration)
        record.texts, record.times = [reply.text], [time.time()]
        record.end("done")
        thoughts = "".join(reply.thoughts)
        body = encoder.whole(reply.text, thoughts, reply.finish_reason, reply.refusal)
        return _json(body, encoder.id)

    async def _stream(
        self, request: web.Request, record: Record, reply: Reply, encoder: Encoder
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
        writes = plan(reply, encoder, self.dialect)
        then = await self.player.play(Playing(record, request.transport, writes, base))
        if then is not Then.END:
            raise ConnectionResetError("closed by the script")
        await response.write_eof()
        return response

    # ── models, and everything else ───────────────────────────────────────────────────────────
    async def _models(self, request: web.Request) -> web.Response:
        refused = self._refused_key(request)
        return refused or _json({"object": "list", "data": [_card(name) for name in self.known]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if (refused := self._refused_key(request)) is not None:
            return refused
        if self._base_name(name) not in self.known:
            return refusal("unknown_model", missing=name).response()
        return _json(_card(name))

    def _refused_key(self, request: web.Request) -> web.Response | None:
        try:
            check_key(request.headers.get("Authorization"), self.keys, self.flavour)
        except Refused as refused:
            return refused.response()
        return None

    async def _nowhere(self, request: web.Request) -> web.Response:
        text = f"Invalid URL ({request.method} {request.path})"
        return Refused(404, error(text, "invalid_request_error", None)).response()

    # ── controls ──────────────────────────────────────────────────────────────────────────────
    def _reset(self) -> None:
        """Forget scripts and settings; records stay."""
        self.answers: list[Answer] = []
        self.pace, self.dialect = Pace(), Dialect()
        self.keys: set[str] = set()
        self.known: tuple[str, ...] = MODELS
        self.reasoning: frozenset[str] = frozenset()
        self.strict: frozenset[str] = frozenset()
        self.context: int | None = None
        self.flavour = "openai"
        self.player = getattr(self, "player", None) or Player()

    def _script_control(self, answers: list[dict[str, Any]]) -> None:
        new = [Answer(**fields) for fields in answers]
        for answer in new:
            if answer.fault is not None and answer.fault not in FLAVOURS[self.flavour]:
                raise web.HTTPBadRequest(text=f"no such fault: {answer.fault}")
        self.answers[:0] = new  # the newest script goes before older ones

    def _pace_control(self, **fields: float) -> None:
        self.pace = dataclasses.replace(self.pace, **fields)

    def _dialect_control(self, **fields: Any) -> None:
        self.dialect = Dialect(**fields)

    def _key_control(self, keys: list[str]) -> None:
        self.keys = set(keys)

    def _models_control(self, known: list[str], reasoning: list[str], strict: list[str]) -> None:
        self.known = (*known, *reasoning, *strict)
        self.reasoning, self.strict = frozenset(reasoning), frozenset(strict)

    def _context_control(self, tokens: int | None) -> None:
        self.context = tokens

    def _flavour_control(self, kind: str) -> None:
        if kind not in FLAVOURS:
            raise web.HTTPBadRequest(text=f"flavours: {', '.join(FLAVOURS)}")
        self.flavour = kind

    def _release(self, match: str = "") -> int:
        return self.player.release(match)

    def _streams(self, since: int = 0) -> list[dict[str, Any]]:
        return [dataclasses.asdict(record) for record in self.records[since:]]


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sim"}


def _json(body: dict[str, Any], request_id: str = "") -> web.Response:
    headers = {"Content-Type": "application/json"}
    if request_id:
        headers["x-request-id"] = f"req_{request_id[9:]}"
    return web.Response(body=json.dumps(body).encode(), headers=headers)

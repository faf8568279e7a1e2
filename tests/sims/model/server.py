"""The simulated model server: routes of an OpenAI-compatible API, and controls to script it."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from aiohttp import web

from tests.sims.kit import ENTRY, Sim
from tests.sims.model import anthropic
from tests.sims.model.answers import (
    Answer,
    Pace,
    ResolvedAnswer,
    inline_reasoning,
    last_user_text,
    make_usage,
    resolve,
)
from tests.sims.model.anthropic_encoder import AnthropicEncoder
from tests.sims.model.anthropic_validate import validate_message
from tests.sims.model.efforts import EffortRules
from tests.sims.model.encoder import Dialect, Encoder
from tests.sims.model.error_responses import (
    FLAVORS,
    ErrorResponse,
    error_body,
    error_response,
    invalid_request,
)
from tests.sims.model.images import BLIND, image_parts, refuse_images
from tests.sims.model.openai_cache import OpenAICache
from tests.sims.model.player import After, Playback, Player, Record, plan
from tests.sims.model.response_encoder import ResponseEncoder
from tests.sims.model.responses import as_chat, validate_response
from tests.sims.model.speech import (
    Recording,
    Speech,
    check_recording,
    read_form,
    transcript_response,
)
from tests.sims.model.tokens import TokenCounter
from tests.sims.model.validate import check_key, validate

MODELS = ("sim", "sim-2", "org/sim")


AnswerEncoder: TypeAlias = Encoder | ResponseEncoder | AnthropicEncoder


class Api(NamedTuple):
    """One of the APIs for answers.

    `as_chat` translates a valid request into a chat completion request, so that scripts, limits,
    counts and caches are the same for all APIs.
    """

    name: str
    validate: Callable[..., dict[str, Any]]
    as_chat: Callable[[dict[str, Any]], dict[str, Any]]
    encoder: Callable[..., AnswerEncoder]


CHAT = Api("chat", validate, lambda body: body, Encoder)
RESPONSES = Api("responses", validate_response, as_chat, ResponseEncoder)
MESSAGES = Api("messages", validate_message, anthropic.as_chat, AnthropicEncoder)


class ModelServer(Sim):
    """Answers from scripts at a set pace, and records the time of every token."""

    name = "model"

    def setup(self) -> None:
        self.records: list[Record] = []
        self.recordings: list[Recording] = []
        self._reset()
        routes = self.app.router
        routes.add_post("/v1/chat/completions", self._chat)
        routes.add_post("/v1/responses", self._respond)
        routes.add_post("/v1/messages", self._message)
        routes.add_post("/v1/audio/transcriptions", self._transcribe)
        routes.add_post("/hf-inference/models/{id:.+}", self._transcribe_raw)
        routes.add_get("/v1/models", self._models)
        routes.add_get("/v1/models/{id:.+}", self._model)
        routes.add_route("*", "/{path:(?!_sim/).*}", self._unknown_path)
        for control in (
            "script",
            "pace",
            "dialect",
            "key",
            "models",
            "context",
            "flavor",
            "images",
            "efforts",
            "tokenizer",
            "pass_time",
        ):
            self.control(control, getattr(self, f"_{control}_control"))
        self.control("reset", self._reset)
        self.control("release", self._release)
        self.control("streams", self._streams)
        self.control("forget_bodies", self._forget_bodies)
        self.control("speech", self._speech_control)
        self.control("recordings", self._recordings)

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

        Recordings are left to their handlers.
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
        flavor = "anthropic" if api is MESSAGES else self.flavor
        body = self._admit(request, api)
        chat = api.as_chat(body)
        script = self._find_script(chat)
        await asyncio.sleep(script.hold)
        if script.status is not None:
            raise ErrorResponse(script.status, script.body, script.headers)
        if script.fault is not None:
            raise error_response(script.fault, flavor, script.retry_after)
        self._check_length(chat, body, api)
        resolved = self._place_reasoning(resolve(script, chat, self.pace))
        usage = script.usage or self._count(request, body, resolved, api)
        encoder = api.encoder(self.dialect, body, usage)
        record.status, record.usage = 200, usage
        if record.streamed:
            return await self._stream(request, record, resolved, encoder)
        return await self._whole(record, resolved, encoder)

    def _admit(self, request: web.Request, api: Api) -> dict[str, Any]:
        """The body of a request with a valid key; raises ErrorResponse."""
        body = request[ENTRY].body
        if api is not MESSAGES:
            check_key(request.headers.get("Authorization"), self.keys, self.flavor)
            return self._validate(body, api)
        anthropic.check_access(request.headers, self.keys)
        return anthropic.read_request(
            request.headers,
            body,
            known=self.known,
            reasoning=self.reasoning,
            blind=self.blind,
        )

    def _validate(self, body: Any, api: Api) -> dict[str, Any]:
        model = body.get("model", "") if isinstance(body, dict) else ""
        strict = {"strict": model in self.strict} if api is CHAT else {}
        valid = api.validate(body, reasoning=model in self.reasoning, **strict)
        if self._base_name(model) not in self.known:
            raise error_response("unknown_model", self.flavor, missing=model)
        self.efforts.check(valid)
        self._check_images(model, api.as_chat(valid)["messages"])
        return valid

    def _count(
        self, request: web.Request, body: dict[str, Any], answer: ResolvedAnswer, api: Api
    ) -> dict[str, Any]:
        """The counts of an answer; the request goes through the cache."""
        if api is MESSAGES:
            return self._count_message(request, body, answer)
        chat = api.as_chat(body)
        variant = (api.name, chat["model"], json.dumps(self.efforts.chosen(chat)))
        tokens = self.tokens.sequence(chat["messages"])
        key = chat.get("prompt_cache_key") or ""
        cached = self.cache.look_up(variant, key, tokens, time.time() + self.time_passed)
        spoken = self.tokens.count_text(answer.tokens)
        thought = self.tokens.count_text(answer.reasoning)
        return make_usage(len(tokens), spoken, thought, cached)

    def _count_message(
        self, request: web.Request, body: dict[str, Any], answer: ResolvedAnswer
    ) -> dict[str, Any]:
        """The counts of an answer of Anthropic's API; the request goes through its cache."""
        headers = request.headers
        return self.accounts.usage(
            body,
            key=headers.get("x-api-key") or headers.get("Authorization") or "",
            model=anthropic.traits(body["model"], self.reasoning),
            counter=self.tokens,
            now=time.time() + self.time_passed,
            output=self.tokens.count_text(answer.tokens),
            thinking=self.tokens.count_text(answer.reasoning),
        )

    def _check_images(self, model: str, messages: list[dict[str, Any]]) -> None:
        count = sum(1 for message in messages for _ in image_parts(message))
        if count and model in self.blind:
            raise refuse_images(self.blind[model])
        if count > self.max_images:
            raise invalid_request(
                f"At most {self.max_images} image(s) may be provided in one prompt."
            )

    def _base_name(self, model: str) -> str:
        # Hugging Face's router takes a provider or a policy after the model: org/name:fastest
        return model.partition(":")[0] if self.flavor == "huggingface" else model

    def _find_script(self, body: dict[str, Any]) -> Answer:
        text, model = last_user_text(body["messages"]), body["model"]
        return next((each for each in self.answers if each.claim(text, model)), Answer())

    def _place_reasoning(self, answer: ResolvedAnswer) -> ResolvedAnswer:
        form = self.dialect.reasoning
        if form == "field":
            return answer
        return inline_reasoning(answer, ("<think>", "\n") if form == "tags" else ())

    def _check_length(self, chat: dict[str, Any], body: dict[str, Any], api: Api) -> None:
        requested = self.tokens.count(chat["messages"])
        if api is MESSAGES:
            model = anthropic.traits(chat["model"], self.reasoning)
            anthropic.check_length(body, requested, self.context or model.window, model)
        if api is MESSAGES or self.context is None:
            return
        if requested > self.context:
            raise error_response(
                "too_long", self.flavor, **{"8192": str(self.context), "9001": f"{requested}"}
            )

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

    # ── transcripts ───────────────────────────────────────────────────────────────────────────
    async def _transcribe(self, request: web.Request) -> web.Response:
        try:
            check_key(request.headers.get("Authorization"), self.keys, self.flavor)
            recording = await read_form(request)
            self.recordings.append(recording)
            script = self._find_speech()
            check_recording(recording, script)
            return await transcript_response(recording, script, self.flavor)
        except ErrorResponse as error:
            return error.response()

    async def _transcribe_raw(self, request: web.Request) -> web.Response:
        """Hugging Face's task API: the body is the recording."""
        recording = Recording(
            model=request.match_info["id"],
            name="",
            media_type=request.content_type,
            data=base64.b64encode(await request.read()).decode(),
            authorization=request.headers.get("Authorization"),
        )
        self.recordings.append(recording)
        try:
            check_key(recording.authorization, self.keys, "huggingface")
            return await transcript_response(recording, self._find_speech(), "huggingface")
        except ErrorResponse as error:
            return error.response()

    def _find_speech(self) -> Speech:
        for script in self.speeches:
            if script.times is None:
                return script
            if script.times > 0:
                script.times -= 1
                return script
        return Speech()

    # ── models and other paths ────────────────────────────────────────────────────────────────
    async def _models(self, request: web.Request) -> web.Response:
        if "anthropic-version" in request.headers:
            return self._claude_models(request, None)
        denied = self._check_key(request)
        return denied or _json({"object": "list", "data": [_card(name) for name in self.known]})

    async def _model(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if "anthropic-version" in request.headers:
            return self._claude_models(request, name)
        if (denied := self._check_key(request)) is not None:
            return denied
        if self._base_name(name) not in self.known:
            return error_response("unknown_model", missing=name).response()
        return _json(_card(name))

    def _claude_models(self, request: web.Request, name: str | None) -> web.Response:
        """Anthropic's list of models, or one of them."""
        try:
            found = anthropic.models(request.headers, name, keys=self.keys, known=self.known)
        except ErrorResponse as error:
            return error.response()
        return _json(found)

    def _check_key(self, request: web.Request) -> web.Response | None:
        try:
            check_key(request.headers.get("Authorization"), self.keys, self.flavor)
        except ErrorResponse as error:
            return error.response()
        return None

    async def _unknown_path(self, request: web.Request) -> web.Response:
        text = f"Invalid URL ({request.method} {request.path})"
        return ErrorResponse(404, error_body(text, "invalid_request_error", None)).response()

    # ── controls ──────────────────────────────────────────────────────────────────────────────
    def _reset(self) -> None:
        """Reset scripts and settings; records stay."""
        self.answers: list[Answer] = []
        self.speeches: list[Speech] = []
        self.pace, self.dialect = Pace(), Dialect()
        self.keys: set[str] = set()
        self.known: tuple[str, ...] = MODELS
        self.reasoning: frozenset[str] = frozenset()
        self.strict: frozenset[str] = frozenset()
        self.context: int | None = None
        self.blind: dict[str, str] = {}
        self.max_images = 500  # OpenAI's limit
        self.flavor = "openai"
        self.efforts = EffortRules()
        self.tokens, self.cache, self.time_passed = TokenCounter(), OpenAICache(), 0.0
        self.accounts = anthropic.Accounts()
        self.player = getattr(self, "player", None) or Player()

    def _script_control(self, answers: list[dict[str, Any]]) -> None:
        new = [Answer(**fields) for fields in answers]
        for answer in new:
            known = {*FLAVORS[self.flavor], *FLAVORS["anthropic"]}
            if answer.fault is not None and answer.fault not in known:
                raise web.HTTPBadRequest(text=f"no such fault: {answer.fault}")
        self.answers[:0] = new  # the newest script goes before older ones

    def _speech_control(self, speeches: list[dict[str, Any]]) -> None:
        self.speeches[:0] = [Speech(**fields) for fields in speeches]

    def _recordings(self, since: int = 0) -> list[dict[str, Any]]:
        return [dataclasses.asdict(recording) for recording in self.recordings[since:]]

    def _pace_control(self, **fields: float) -> None:
        self.pace = dataclasses.replace(self.pace, **fields)

    def _dialect_control(self, **fields: Any) -> None:
        self.dialect = Dialect(**fields)

    def _key_control(self, keys: list[str]) -> None:
        self.keys = set(keys)

    def _models_control(self, known: list[str], reasoning: list[str], strict: list[str]) -> None:
        self.known = (*known, *reasoning, *strict)
        self.reasoning, self.strict = frozenset(reasoning), frozenset(strict)

    def _images_control(self, blind: dict[str, str], limit: int) -> None:
        if not set(blind.values()) <= set(BLIND):
            raise web.HTTPBadRequest(text=f"forms: {', '.join(BLIND)}")
        self.blind, self.max_images = blind, limit

    def _efforts_control(self, **fields: Any) -> None:
        self.efforts = EffortRules(**fields)

    def _tokenizer_control(self, tables: str | None) -> None:
        self.tokens = TokenCounter(tables)

    def _pass_time_control(self, seconds: float) -> None:
        self.time_passed += seconds

    def _context_control(self, tokens: int | None) -> None:
        self.context = tokens

    def _flavor_control(self, kind: str) -> None:
        if kind not in FLAVORS:
            raise web.HTTPBadRequest(text=f"flavors: {', '.join(FLAVORS)}")
        self.flavor = kind

    def _release(self, match: str = "") -> int:
        return self.player.release(match)

    def _streams(self, since: int = 0) -> list[dict[str, Any]]:
        return [dataclasses.asdict(record) for record in self.records[since:]]

    def _forget_bodies(self) -> None:
        for record in self.records:
            record.body = {}


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sim"}


def _json(body: dict[str, Any], request_id: str = "") -> web.Response:
    headers = {"Content-Type": "application/json"}
    if request_id:
        headers["x-request-id"] = f"req_{request_id[9:]}"
    return web.Response(body=json.dumps(body).encode(), headers=headers)

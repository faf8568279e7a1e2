"""Files in requests: multipart forms, and the content arrays of OpenAI's chat API.

Invariant: the bytes held for all requests are bounded, and released once the message is stored,
however long its answer takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from adapters.web.limits import BODY_BYTES, RETRY_SECONDS, UploadLimits
from adapters.web.openapi import field_error
from adapters.web.parts import decode_parts, media_type_of
from bot.domain import http_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.names import file_name

MOST_HELD = 256_000_000
"""The most bytes that the process holds for request bodies over BODY_BYTES: two of the largest
requests, or some dozens of ordinary files."""

MOST_FIELDS = 20
"""The most fields in a form; the page sends four."""

FILES, PASTED = "files", "pasted"
"""The names of a form's file fields. PASTED has long texts that a person pasted into the page."""

B = TypeVar("B", bound=BaseModel)


class UploadBudget:
    """Counts the bytes of large bodies until they are released, up to `most`."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._left = most

    @contextlib.contextmanager
    def open(self) -> Iterator[Hold]:
        """Count one request's bytes during the context, or until they are released."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.release()

    def take(self, size: int) -> None:
        """Raise HTTPException 503 if fewer than `size` bytes are left."""
        if size > self._left:
            wait = {"Retry-After": str(RETRY_SECONDS)}
            raise HTTPException(503, http_texts.RECEIVING_TOO_MUCH, headers=wait)
        self._left -= size

    def give_back(self, size: int) -> None:
        """Release `size` bytes."""
        self._left += size


@dataclass(slots=True)
class Hold:
    """The bytes of one request; the first BODY_BYTES are free."""

    budget: UploadBudget
    free: int = BODY_BYTES
    size: int = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes. Raises HTTPException 503."""
        self.free, size = max(self.free - size, 0), max(size - self.free, 0)
        self.budget.take(size)
        self.size += size

    def release(self) -> None:
        """Give the bytes back, once."""
        size, self.size = self.size, 0
        self.budget.give_back(size)


@dataclass(slots=True)
class Received(Generic[B]):
    """A request's checked body, the text of its message, and the files, until they are stored."""

    body: B
    text: str
    hold: Hold
    _attachments: tuple[IncomingAttachment, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The name for a conversation that begins with this message."""
        return self.text.strip() or next((one.name for one in self._attachments), "")

    def require_something(self, field_name: str) -> None:
        """Raise RequestValidationError if there is neither a text nor a file."""
        if not self.text and not self._attachments:
            raise field_error(("body", field_name), http_texts.NOTHING_SAID, "nothing_said")

    @contextlib.contextmanager
    def attachments(self) -> Iterator[tuple[IncomingAttachment, ...]]:
        """The files; their bytes are released at the end of the context."""
        try:
            yield self._attachments
        finally:
            self._attachments = ()
            self.hold.release()


# ── reading ───────────────────────────────────────────────────────────────────────────────────
def reads(
    field_name: str, as_json: type[B], as_form: type[B]
) -> Callable[[Request], AsyncIterator[Received[B]]]:
    """A FastAPI dependency that reads a body as JSON or as a form.

    `field_name` has the message: text, or an array of parts in JSON. Invalid bodies raise
    RequestValidationError, which names the field.
    """

    async def read(request: Request) -> AsyncIterator[Received[B]]:
        budget: UploadBudget = request.app.state.upload_budget
        with budget.open() as hold:
            counted = Request(request.scope, _count(request.receive, hold))
            try:
                if _kind(request) == "multipart/form-data":
                    received = await _read_form(counted, as_form, field_name, hold)
                else:
                    received = await _read_json(counted, as_json, field_name, hold)
            except ClientDisconnect as error:
                raise HTTPException(400, http_texts.BROKE_OFF) from error
            received.require_something(field_name)
            yield received

    return read


def _count(receive: Receive, hold: Hold) -> Receive:
    async def receive_counted() -> Message:
        message = await receive()
        hold.add(len(message.get("body", b"")))
        return message

    return receive_counted


def _kind(request: Request) -> str:
    """The media type of the body."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────
async def _read_json(request: Request, model: type[B], field_name: str, hold: Hold) -> Received[B]:
    body = _check(model, await _decode_json(request))
    content, place = getattr(body, field_name), ("body", field_name)
    if isinstance(content, str):
        return Received(body, content, hold)
    limits: UploadLimits = request.app.state.upload_limits
    text, files = await asyncio.to_thread(decode_parts, content, place)
    setattr(body, field_name, text)  # the encoded bytes are not needed any more
    if len(files) > limits.files:
        raise field_error(place, _too_many(limits), "too_many_files")
    for file in files:
        _require_small(file.name, file.size or 0, limits, place[1:])
    return Received(body, text, hold, tuple(files))


async def _decode_json(request: Request) -> Any:
    """The decoded body. Other types of content are returned as bytes, which no schema accepts."""
    kind, body = _kind(request), await request.body()
    if not body:
        missing = {"type": "missing", "loc": ("body",), "msg": "Field required"}
        raise RequestValidationError([missing])
    if not re.fullmatch(r"application/(.+\+)?json", kind):
        return body
    try:
        if len(body) > BODY_BYTES:
            return await asyncio.to_thread(json.loads, body)
        return json.loads(body)
    except json.JSONDecodeError as error:
        problem = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error"}
        raise RequestValidationError([problem]) from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, http_texts.NOT_JSON) from error


def _check(model: type[B], value: Any) -> B:
    """The value as a model. Raises RequestValidationError with places in the body."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise RequestValidationError(
            [{**one, "loc": ("body", *_place(one["loc"]))} for one in problems]
        ) from error


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A place without the names that pydantic gives to the members of a union."""
    plain = [part for part in loc if part not in ("as_text", "as_parts")]
    # Behind the number of a part stands its type.
    return tuple(
        part
        for before, part in zip([None, *plain], plain, strict=False)
        if not (isinstance(before, int) and isinstance(part, str))
    )


# ── forms ─────────────────────────────────────────────────────────────────────────────────────
async def _read_form(request: Request, model: type[B], field_name: str, hold: Hold) -> Received[B]:
    limits: UploadLimits = request.app.state.upload_limits
    try:
        form = await request.form(
            max_files=limits.files + MOST_FIELDS,
            max_fields=MOST_FIELDS,
            max_part_size=BODY_BYTES,
        )
    except StarletteHTTPException as error:
        if error.status_code != 400:
            raise
        raise field_error(("body",), http_texts.NOT_A_FORM, "form_invalid") from error
    try:
        body = _check(model, {k: v for k, v in form.items() if isinstance(v, str)})
        files = [file async for file in _files(form, limits)]
    finally:
        await form.close()
    return Received(body, getattr(body, field_name), hold, tuple(files))


async def _files(form: FormData, limits: UploadLimits) -> AsyncIterator[IncomingAttachment]:
    """The files, read into memory only if their number and size are allowed."""
    given = [(name, each) for name in (FILES, PASTED) for each in form.getlist(name)]
    found = [(name, each) for name, each in given if not _is_empty(each)]
    if len(found) > limits.files:
        raise field_error(("body", FILES), _too_many(limits), "too_many_files")
    for number, (name, file) in enumerate(found):
        if not isinstance(file, UploadFile):
            raise field_error(("body", name, str(number)), http_texts.NOT_A_FILE, "not_a_file")
        shown = file_name(file.filename or "")
        _require_small(shown, file.size or 0, limits, (name, str(number)))
        yield IncomingAttachment(
            name=shown,
            media_type=media_type_of(file.content_type or ""),
            size=file.size,
            data=await file.read(),
            is_paste=name == PASTED,
        )


def _is_empty(value: UploadFile | str) -> bool:
    """Whether this is the field of a browser's form in which no file was chosen."""
    return isinstance(value, UploadFile) and not value.filename and not value.size


# ── limits ────────────────────────────────────────────────────────────────────────────────────
def _require_small(name: str, size: int, limits: UploadLimits, place: tuple[str, ...]) -> None:
    if size > limits.file_bytes:
        problem = http_texts.file_too_large(name, limits.file_bytes)
        raise field_error(("body", *place), problem, "file_too_large")


def _too_many(limits: UploadLimits) -> str:
    return http_texts.too_many_files(limits.files) if limits.files else http_texts.NO_FILES

"""The terminal as a client of a bot that is already running, using the bot's HTTP port.

The running process owns the database, so the conversation is one of the web page's threads. The
page's events carry every reply, no matter where the line, command or button that caused it came
from.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp

from adapters.console.attachments import Attachments
from adapters.console.interrupt import stop_on_interrupt
from adapters.console.lines import LineReader
from adapters.console.surface import ConsoleRenderer, Output, ReplyText
from bot.domain import terminal_texts
from bot.domain.attachments import IncomingAttachment
from bot.domain.errors import AnswerFailed, ThreadlineError
from bot.domain.records import thread_id
from bot.replies.markdown.mend import mend

# Namespace for the ids of first messages: the same name always leads to the same thread.
_NAMES = uuid.UUID("f1f0a1d4-3a53-4f0e-9d4b-6b6a5d0c7b11")
UNFINISHED = frozenset({"writing", "queued"})
REQUEST_SECONDS = 20.0

COMPLETION_SECONDS = 3.0
"""Seconds that a completion waits: the bot asks model servers for up to two seconds."""


class BotUnreachable(ThreadlineError):
    """The running bot has no open port, or accepts none of the configured tokens."""


class Refused(ThreadlineError):
    """The running bot does not accept this message. The error's message is the bot's sentence."""


class RemoteChat:
    """One named conversation with a running bot at `origin`, such as `http://127.0.0.1:8080`.

    `token` is one of `HTTP_TOKENS`, or None if the bot needs none. In a pipe (`piped`) only the
    answer goes to `out`; an incomplete answer raises AnswerFailed. `attachments` go with the next
    message.
    """

    def __init__(
        self,
        *,
        origin: str,
        token: str | None,
        name: str,
        lines: LineReader,
        piped: bool,
        out: Output = sys.stdout,
        attachments: Attachments | None = None,
    ) -> None:
        self._origin, self._lines, self._piped, self._out = origin, lines, piped, out
        self._headers = _headers(token)
        self._attachments = attachments or Attachments()
        self._name = name
        self._first_id = uuid.uuid5(_NAMES, name)
        self._render = ConsoleRenderer().render
        self._reply = ReplyText(out)
        self._thread: str | None = None

    async def run(self) -> None:
        """Send lines and write replies until input ends.

        Raises BotUnreachable, AnswerFailed, and BrokenPipeError if the output's reader has ended.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)
        async with aiohttp.ClientSession(
            self._origin, headers=self._headers, timeout=timeout
        ) as self._session:
            await self._find_thread()
            async with self._session.get("/app/events") as response:
                events = _events(response.content)
                await anext(events)  # subscribed: from now on no reply is missed
                async for line in self._lines:
                    answer = None if self._piped else await self._attachments.execute(line)
                    if answer is not None:
                        self._print(answer)
                        continue
                    with stop_on_interrupt(self._stop):
                        await self._send(line.strip(), events)

    async def _find_thread(self) -> None:
        session = await self._request("GET", "/app/session")
        thread = thread_id(session["user"], self._first_id)
        model = session["default_model"]
        async with self._session.get(f"/app/threads/{thread}") as response:
            if response.status == 200:
                self._thread = thread
                model = (await response.json(content_type=None)).get("model") or model
        if not self._piped:
            self._print(terminal_texts.greeting(model, self._name, running=True))

    async def _send(self, text: str, events: AsyncIterator[tuple[str, Any]]) -> None:
        first = self._thread is None
        command = text.startswith("/")
        files = () if command else self._attachments.take()
        if not text and not files:
            return
        message = {
            "thread": self._thread,
            "text": text if command or not first else f"@threadline {text}",
            "client_id": str(self._first_id if first and not command else uuid.uuid4()),
        }
        try:
            response = await self._post(message, files)
        except Refused as refusal:
            if self._piped:
                raise
            self._attachments.put_back(files)
            self._print(str(refusal))
            return
        self._thread = self._thread or response["thread"]
        if response["answer"]:
            self._print(self._render(response["answer"]))
        elif response["receipt"] in ("question", "command"):
            try:
                await self._follow(events)
            except BrokenPipeError:  # no reader is left: `threadline chat … | head`
                await self._stop()
                raise

    async def _follow(self, events: AsyncIterator[tuple[str, Any]]) -> None:
        """Write the thread's next reply while it grows, until the reply ends."""
        written, self._reply = "", ReplyText(self._out)
        async for name, reply in events:
            if name != "reply" or reply["thread"] != self._thread:
                continue
            ended = reply["state"] not in UNFINISHED
            if not ended and reply["note"]:
                continue
            if not (self._piped and reply["state"] == "failed"):
                written = self._write(reply["text"], written, ended=ended)
            if ended:
                return self._finish(reply, written)
        raise BotUnreachable(
            "The bot has stopped. It will answer your question when it runs again."
        )

    def _write(self, source: str, written: str, *, ended: bool) -> str:
        """Write the text's new part, or at the end all of it, if its beginning has changed.

        Returns the text written so far.
        """
        text = self._reply.whole(source) if ended else self._reply.begun(_certain(source))
        if text.startswith(written):
            self._out.write(text[len(written) :])
        elif ended:
            self._out.write(f"\n{text}")
        else:
            return written
        self._out.flush()
        return text

    def _finish(self, reply: Mapping[str, Any], written: str) -> None:
        if written:
            self._out.write("\n")
        elif not self._piped:
            self._out.write(self._reply.whole(reply["text"]) + "\n")
        self._out.flush()
        if self._piped and reply["state"] != "done":
            sentence = reply["sentence"] if reply["state"] == "failed" else ""
            raise AnswerFailed(sentence or "The answer broke off before its end.")

    async def _stop(self) -> None:
        if self._thread is None:
            return
        try:
            await self._request("POST", "/app/commands", {"thread": self._thread, "name": "stop"})
        except (BotUnreachable, Refused) as error:
            self._print(str(error))

    async def _post(self, message: Mapping[str, Any], files: Sequence[IncomingAttachment]) -> Any:
        if not files:
            return await self._request("POST", "/app/messages", message)
        form = aiohttp.FormData(quote_fields=False)
        for name, value in message.items():
            if value is not None:
                form.add_field(name, value)
        for file in files:
            kind = file.media_type or "application/octet-stream"
            form.add_field(
                "files", io.BytesIO(file.data or b""), filename=file.name, content_type=kind
            )
        return await self._request("POST", "/app/messages", form=form)

    def _print(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        form: aiohttp.FormData | None = None,
    ) -> Any:
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._session.request(method, path, json=body, data=form) as response,
            ):
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise BotUnreachable(
                f"Threadline is already running but does not answer at {self._origin}: set "
                "HTTP_PORT to the port it listens on, or stop it first."
            ) from error
        # 403 also rejects a foreign page, but not once a session was granted.
        if response.status in (413, 422) or (response.status == 403 and method == "POST"):
            raise Refused(_reason(answer))
        if response.status != 200:
            raise BotUnreachable(f"The running Threadline refused: {_reason(answer)}")
        return answer


class RemoteModels:
    """The models of the bot at `origin`, with the `token` of `RemoteChat`, for completion."""

    def __init__(self, *, origin: str, token: str | None) -> None:
        self._origin, self._headers = origin, _headers(token)

    async def list_names(self) -> Sequence[str]:
        """List the names; none if the bot does not answer in time. Raises nothing."""
        timeout = aiohttp.ClientTimeout(total=COMPLETION_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(
                    self._origin, headers=self._headers, timeout=timeout
                ) as session,
                session.get("/models") as response,
            ):
                found = (await response.json(content_type=None))["models"]
                return [name for name in found if isinstance(name, str)]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError, TypeError):
            return ()


def _certain(source: str) -> str:
    """The beginning of growing Markdown that later text cannot change."""
    return source[: mend(source).stable_end]


def _headers(token: str | None) -> Mapping[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _reason(answer: object) -> str:
    error = answer.get("error") or answer.get("detail") if isinstance(answer, dict) else None
    return str(error or "it gave no reason.")


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """Names and data of the server-sent events in `content`."""
    name, data = "message", ""
    async for line in content:
        field, _, value = line.decode().rstrip("\r\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not field and data:
            yield name, json.loads(data)
            name, data = "message", ""

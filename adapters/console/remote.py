"""The terminal as a visitor of a bot that runs already: it talks to the bot's own HTTP port.

The database belongs to the running process, so the conversation is a thread of the page there. Each
reply is followed by the page's events, whatever began it: a line, a command, a press elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import aiohttp

from adapters.console.lines import LineReader
from adapters.console.surface import ConsoleRenderer, Output
from bot.domain.errors import AnswerFailed, ThreadlineError
from bot.domain.records import thread_id

# The message that begins a named conversation; its id follows from the name, so that the same name
# leads to the same thread the next time.
_NAMES = uuid.UUID("f1f0a1d4-3a53-4f0e-9d4b-6b6a5d0c7b11")
WAITING = frozenset({"writing", "queued"})
REQUEST_SECONDS = 20.0


class Unreachable(ThreadlineError):
    """The running bot listens on no port, or takes no token that is set here."""


class RemoteChat:
    """One named conversation with a running bot at `origin`, such as `http://127.0.0.1:8080`.

    `token` is one of `HTTP_TOKENS`, None where none is needed. In a pipe (`piped`) the answer alone
    goes to `out`, and what is no whole answer is raised as AnswerFailed.
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
    ) -> None:
        self._origin, self._lines, self._piped, self._out = origin, lines, piped, out
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._begins_as = uuid.uuid5(_NAMES, name)
        self._render = ConsoleRenderer().render
        self._thread: str | None = None

    async def run(self) -> None:
        """Take lines until they end. Raises Unreachable and AnswerFailed."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)
        async with aiohttp.ClientSession(
            self._origin, headers=self._headers, timeout=timeout
        ) as self._session:
            await self._find_thread()
            async with self._session.get("/app/events") as response:
                events = _events(response.content)
                await anext(events)  # from here on nothing is missed
                async for line in self._lines:
                    if line.strip():
                        with self._interrupts():
                            await self._say(line.strip(), events)

    async def _find_thread(self) -> None:
        session = await self._ask("GET", "/app/session")
        thread = thread_id(session["user"], self._begins_as)
        async with self._session.get(f"/app/threads/{thread}") as response:
            self._thread = thread if response.status == 200 else None

    async def _say(self, text: str, events: AsyncIterator[tuple[str, Any]]) -> None:
        first = self._thread is None
        command = text.startswith("/")
        message = {
            "thread": self._thread,
            "text": text if command or not first else f"@threadline {text}",
            "client_id": str(self._begins_as if first and not command else uuid.uuid4()),
        }
        told = await self._ask("POST", "/app/messages", message)
        self._thread = self._thread or told["thread"]
        if told["answer"]:
            self._out.write(told["answer"] + "\n")
        elif told["receipt"] in ("question", "command"):
            await self._follow(events)

    async def _follow(self, events: AsyncIterator[tuple[str, Any]]) -> None:
        """Write the next reply of the thread as it grows, to its end."""
        written = ""
        async for name, reply in events:
            if name != "reply" or reply["thread"] != self._thread:
                continue
            ended = reply["state"] not in WAITING
            if not ended and reply["note"]:
                continue
            if not (self._piped and reply["state"] == "failed"):
                written = self._write(reply["text"], written, ended=ended)
            if ended:
                return self._end(reply, written)
        raise Unreachable("The bot has stopped. What you asked is answered when it runs again.")

    def _write(self, source: str, written: str, *, ended: bool) -> str:
        """Write what is new of the text; all of it, once, where its beginning was taken back."""
        text = self._render(source)
        if text.startswith(written):
            self._out.write(text[len(written) :])
        elif ended:
            self._out.write(f"\n{text}")
        else:
            return written
        self._out.flush()
        return text

    def _end(self, reply: Mapping[str, Any], written: str) -> None:
        if written:
            self._out.write("\n")
        elif not self._piped:
            self._out.write(self._render(reply["text"]) + "\n")
        self._out.flush()
        if self._piped and reply["state"] != "done":
            sentence = str(reply["text"]).strip("_") if reply["state"] == "failed" else ""
            raise AnswerFailed(sentence or "The answer broke off before it was whole.")

    async def _stop(self) -> None:
        if self._thread is not None:
            await self._ask("POST", "/app/commands", {"thread": self._thread, "name": "stop"})

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._session.request(method, path, json=body) as response,
            ):
                said = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(
                f"A Threadline is running, but does not answer at {self._origin}: set HTTP_PORT "
                "to the port where it listens, or stop it first."
            ) from error
        if response.status != 200:
            raise Unreachable(f"The running Threadline refused: {_sentence(said)}")
        return said

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """While a reply is written, Ctrl-C stops the reply, not the program."""
        loop, stops = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def interrupted() -> None:
            task = asyncio.ensure_future(self._stop())
            stops.add(task)
            task.add_done_callback(stops.discard)

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)


def _sentence(said: object) -> str:
    error = said.get("error") or said.get("detail") if isinstance(said, dict) else None
    return str(error or "it gave no reason.")


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """The names and the data of server-sent events, as they come."""
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

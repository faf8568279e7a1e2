"""The socket next to the database: commands ask the running bot, with one line each way.

It works without an HTTP port and needs no token: only the user that runs the bot may connect (mode
0600), and that user can read the database anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from bot.domain import status_texts

log = structlog.stdlib.get_logger(__name__)

Answer = Callable[[], Awaitable[Mapping[str, Any]]]

LINE_SECONDS = 5.0
"""Seconds that a client may take to send its line, and to read the answer."""

ANSWER_SECONDS = 10.0
"""Seconds that an answer may take."""

RETRY_SECONDS = 5.0
"""Seconds between two checks whether the path is free."""

MOST_CLIENTS = 16
MOST_BYTES = 256  # of a request
_PROC_FDS = Path("/proc/self/fd")
_LONGEST_PATH = 100  # bytes; Linux's limit is 107, macOS' 103


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address for the socket at `path`, which may be too long for an address.

    Raises OSError if the system has no way to shorten it.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH or not _PROC_FDS.is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{_PROC_FDS}/{folder}/{path.name}"
    finally:
        os.close(folder)


class ControlSocket:
    """Answers requests, which are names, with JSON."""

    def __init__(self, path: Path, answers: Mapping[str, Answer]) -> None:
        self._path, self._answers = path, answers
        self._clients = asyncio.Semaphore(MOST_CLIENTS)

    async def run(self) -> None:
        """Serve until cancelled. If there is no socket, everything except `threadline status` still
        works; the log says why, once. The path may become free when the process that has it ends.
        """
        listening = await self._listen()
        try:
            server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MOST_BYTES)
            async with server:
                try:
                    await asyncio.Event().wait()
                finally:  # still open here, because another process may replace a closed one
                    with contextlib.suppress(OSError):
                        self._path.unlink()
        finally:
            listening.close()

    async def _listen(self) -> socket.socket:
        """Bind and return the socket once the path is free and its folder writable."""
        has_logged = False
        while True:
            try:
                return self._bind()
            except OSError as error:
                if not has_logged:
                    reason = os.strerror(error.errno or 0)
                    log.warning("no control socket", path=str(self._path), error=reason)
                has_logged = True
            await asyncio.sleep(RETRY_SECONDS)

    def _bind(self) -> socket.socket:
        """Bind and return the socket. A socket left by a dead process is replaced; one that answers
        is not, because processes that share a database may also share a folder."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self._path.lstat().st_mode) and not _is_served(self._path):
                self._path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # no one else may connect, not even for a moment
        try:
            with short_address(self._path) as address:
                listening.bind(address)
            listening.listen(MOST_CLIENTS)
        except OSError:
            listening.close()
            raise
        finally:
            os.umask(before)
        return listening

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer), self._clients:
            try:
                async with asyncio.timeout(LINE_SECONDS):
                    line = await reader.readline()
                if not line:  # another process checked whether this one is alive
                    return
                answer = await self._answer(line.decode(errors="replace").strip())
                writer.write(json.dumps(answer).encode() + b"\n")
                async with asyncio.timeout(LINE_SECONDS):
                    await writer.drain()
            except (OSError, ValueError, TimeoutError) as error:
                log.debug("a client of the control socket failed", error=repr(error))

    async def _answer(self, name: str) -> Mapping[str, Any]:
        answer = self._answers.get(name)
        if answer is None:
            return {"error": status_texts.unknown_request(tuple(self._answers))}
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer()


def _is_served(path: Path) -> bool:
    """Whether a process listens on the socket; connecting requires no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            with short_address(path) as address:
                connection.connect(address)
        except BlockingIOError:  # its queue of connections is full
            return True
        except OSError:
            return False
        return True


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def ask(path: Path, name: str, seconds: float = ANSWER_SECONDS + LINE_SECONDS) -> Any:
    """Ask the bot whose socket is at `path`. Blocks for up to `seconds`.

    Raises FileNotFoundError or ConnectionRefusedError if no bot runs, TimeoutError if it does not
    answer, PermissionError if another user runs it, and ValueError for an unreadable answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        with short_address(path) as address:
            connection.connect(address)
        connection.sendall(name.encode() + b"\n")
        with connection.makefile("rb") as answer:
            return json.loads(answer.readline())


def is_answering(path: Path) -> bool:
    """Whether a bot answers on the socket at `path`. Blocks like `ask`."""
    try:
        ask(path, "status")
    except (OSError, ValueError):
        return False
    return True

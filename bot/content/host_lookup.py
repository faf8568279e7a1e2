"""Looks up hosts in threads that delay neither other lookups nor the process's exit."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

from bot.content.web_addresses import IPAddress

MAX_LOOKUPS = 16
"""Threads running at the same time. A slow name server holds each for up to half a minute, so these
are not the event loop's threads, which also look up the platforms' hosts."""

Answer = Sequence[IPAddress] | OSError


class HostLookup:
    """The system's resolver.

    Unless `local`, names are absolute: the network's search domains and the hosts file are not
    tried.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._slots = asyncio.Semaphore(MAX_LOOKUPS)

    async def __call__(self, host: str) -> Sequence[IPAddress]:
        """All addresses of `host`, in the system's order of preference. Raises OSError."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        # A daemon thread, because the interpreter waits for all others when it exits.
        thread = threading.Thread(
            target=self._look_up, args=(host, loop, answer), name=f"lookup {host}", daemon=True
        )
        thread.start()
        found = await answer
        if isinstance(found, OSError):
            raise found
        return found

    def _look_up(
        self, host: str, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Answer]
    ) -> None:
        found = look_up(host if self._local else f"{host}.")
        try:
            loop.call_soon_threadsafe(self._finish, answer, found)
        except RuntimeError:  # the loop has ended
            return

    def _finish(self, answer: asyncio.Future[Answer], found: Answer) -> None:
        self._slots.release()
        if not answer.done():
            answer.set_result(found)


def look_up(host: str) -> Answer:
    """The addresses of `host`, or the resolver's error. Blocks."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        return OSError(str(error))
    except OSError as error:
        return error
    return tuple(dict.fromkeys(ip_address(each[4][0]) for each in found))

"""Keeps one shard connected to the gateway for as long as the bot runs.

Invariant: `GatewayConnection.run` raises only when reconnecting is pointless: Discord refuses the
token, an intent, a shard or the API version. After any other failure it connects again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable
from typing import Any, NoReturn

import aiohttp
import discord
import structlog
from discord.gateway import ReconnectWebSocket

from adapters.discord.gateway_socket import GatewaySocket, StreamBroken
from adapters.discord.session_starts import SessionStarts
from bot.common.retry import Backoff
from bot.domain.errors import CannotStart, StoreUnavailable
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

RECONNECT_BACKOFF = Backoff(first=1.0, longest=30.0)
CONNECT_SECONDS = 60.0
# To connect and ask for a session: other shards of the bucket wait.
IDENTIFY_SECONDS = 20.0
CLOSE_SECONDS = 5.0
# After the first code Discord keeps the session for RESUME, after the second it does not.
# https://docs.discord.com/developers/events/gateway#disconnecting
KEEP_SESSION, END_SESSION = 4000, 1000
# After this many sessions in a row that were asked for and did not begin, the pauses grow: Discord
# allows 1,000 a day.
MAX_FRUITLESS, FRUITLESS_BACKOFF = 3, Backoff(first=60.0, longest=900.0)
# After this many attempts in a row that reached Discord and got no event, a session is not resumed:
# Discord refuses its sequence or its id with a close code (4007, 4009, 1006) or op 9, each time.
MAX_VAIN_RESUMES = 2
# Discord asks for a random pause before the session that replaces an invalid one, in seconds.
# https://docs.discord.com/developers/events/gateway#resuming
INVALID_SESSION_SECONDS = (1.0, 5.0)
# Reconnecting pauses after this many connections in a row that lasted less than SHORT_SECONDS.
MAX_SHORT_CONNECTIONS, SHORT_SECONDS = 6, 5.0
# Close codes after which Discord says not to reconnect.
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway
FATAL_CLOSE_CODES = frozenset({4004, 4010, 4011, 4012, 4013, 4014})


class GatewayConnection:
    """Keeps one shard connected; calls `on_lost` whenever a connection ends."""

    def __init__(
        self,
        client: discord.Client,
        clock: Clock,
        on_lost: Callable[[], None],
        *,
        shard: int,
        starts: SessionStarts,
    ) -> None:
        self._client, self._clock, self._on_lost = client, clock, on_lost
        self._shard, self._starts = shard, starts
        self._next: dict[str, Any] = {}  # arguments of the next connection
        self._pauses = iter(RECONNECT_BACKOFF)
        self._reached = self._established = self._resumes = False  # of this connection
        self._began = 0.0
        self._short_connections = 0  # in a row
        self._fruitless = 0  # sessions in a row that did not begin
        self._vain_resumes = 0  # in a row
        self._broke_at: int | None = None
        self._socket: GatewaySocket | None = None

    @property
    def latency(self) -> float:
        """Seconds from a heartbeat to its acknowledgment; infinite before the first one."""
        return math.inf if self._socket is None else self._socket.latency

    async def run(self) -> None:
        """Serve until the client is closed.

        Raises ConnectionClosed with one of `FATAL_CLOSE_CODES`, or CannotStart.
        """
        while not self._client.is_closed():
            failure = await self._serve_until_failure()
            self._on_lost()
            if self._client.is_closed():
                return
            await self._clock.sleep(self._pause_after(failure))

    def _pause_after(self, failure: Exception) -> float:
        """Seconds until the next connection."""
        if self._established:
            self._fruitless = 0
        elif not self._resumes:
            self._fruitless += 1
        if self._may_skip_pause(failure):
            # A session that cannot be resumed is replaced after a random pause.
            is_invalid = isinstance(failure, ReconnectWebSocket) and not failure.resume
            return random.uniform(*INVALID_SESSION_SECONDS) if is_invalid else 0.0  # noqa: S311
        pause = next(self._pauses)
        if self._fruitless > MAX_FRUITLESS:
            pause = max(pause, FRUITLESS_BACKOFF.after(self._fruitless - MAX_FRUITLESS))
        log.warning(
            "reconnecting to Discord", shard=self._shard, seconds=pause, error=repr(failure)
        )
        return pause

    async def _serve_until_failure(self) -> Exception:
        """Serve one connection, prepare the next one, and return the error that ended this one."""
        self._reached = self._established = False
        self._resumes = bool(self._next.get("resume"))
        self._began = self._clock.monotonic()
        try:
            await self._serve()
        except ReconnectWebSocket as error:
            self._prepare_next(resume=error.resume)
            return error
        except discord.ConnectionClosed as error:
            if error.code in FATAL_CLOSE_CODES:
                self._prepare_next(resume=False)
                self._on_lost()
                raise
            self._prepare_next(resume=True)
            return error
        except CannotStart:
            raise
        except StoreUnavailable as error:  # the processes cannot agree on who begins a session
            return error
        except (OSError, aiohttp.ClientError, discord.DiscordException, StreamBroken) as error:
            self._prepare_next(resume=self._can_resume_after(error))
            return error
        except Exception as error:
            # The boundary of each connection: a bug costs it, and the next one begins a session.
            log.exception("unexpected failure of the connection to Discord", shard=self._shard)
            self._prepare_next(resume=False)
            return error

    def _may_skip_pause(self, failure: Exception) -> bool:
        """Whether Discord asked for a reconnect, and has not done so too often in a row."""
        if not isinstance(failure, ReconnectWebSocket):
            return False
        if not (self._established or (self._resumes and not failure.resume)):
            return False
        lasted = self._clock.monotonic() - self._began
        self._short_connections = 0 if lasted > SHORT_SECONDS else self._short_connections + 1
        if self._short_connections <= MAX_SHORT_CONNECTIONS:
            self._pauses = iter(RECONNECT_BACKOFF)
            return True
        return False

    async def _serve(self) -> NoReturn:
        """Serve one connection until an exception ends it."""
        socket = self._socket = await self._connect()
        self._client.ws, self._reached = socket, True
        self._next = {}
        deadline = self._clock.monotonic() + CONNECT_SECONDS
        try:
            while True:
                await socket.poll_event()
                self._established = socket.in_session
                if not self._established and self._clock.monotonic() > deadline:
                    raise StreamBroken("no session began")
        except asyncio.CancelledError:
            await self._close(socket, END_SESSION)
            raise
        finally:
            await self._close(socket, KEEP_SESSION)

    async def _connect(self) -> GatewaySocket:
        """Connect; resume the session, or begin a new one when it is the shard's turn."""
        if self._next.get("resume"):
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._open()
        async with self._starts.turn(self._shard), asyncio.timeout(IDENTIFY_SECONDS):
            return await self._open()

    async def _open(self) -> GatewaySocket:
        """Connect as `_next` specifies; leaves no socket open on failure."""
        opened: list[GatewaySocket] = []
        before = GatewaySocket.opening.set(opened)
        try:
            return await GatewaySocket.from_client(self._client, shard_id=self._shard, **self._next)
        except BaseException:
            for socket in opened:
                await self._close(socket, KEEP_SESSION)
            raise
        finally:
            GatewaySocket.opening.reset(before)

    async def _close(self, socket: GatewaySocket, code: int) -> None:
        """Close the socket if it is open, which also stops its heartbeat."""
        if socket.open and not self._client.is_closed():
            with contextlib.suppress(OSError, RuntimeError, aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close(code=code)

    def _can_resume_after(self, error: Exception) -> bool:
        """False if the stream broke twice at one event: resuming would only replay it."""
        socket = self._socket
        if not isinstance(error, StreamBroken) or socket is None:
            return True
        before, self._broke_at = self._broke_at, socket.sequence
        return before != self._broke_at

    def _resumes_in_vain(self) -> bool:
        """Whether Discord has refused to resume the session too often, however it said so."""
        if self._established:
            self._vain_resumes = 0
        elif self._resumes and self._reached:
            self._vain_resumes += 1
        return self._vain_resumes >= MAX_VAIN_RESUMES

    def _prepare_next(self, *, resume: bool) -> None:
        """Make the next connection resume the session or begin a new one.

        The resume URL from READY gets one attempt; if it cannot be reached, the session is resumed
        at Discord's default gateway.
        """
        socket = self._socket
        self._next = {}
        resume = resume and not self._resumes_in_vain()
        if resume and socket is not None and socket.session_id and socket.sequence is not None:
            self._next |= {
                "resume": True,
                "session": socket.session_id,
                "sequence": socket.sequence,
                "gateway": socket.gateway if self._reached else None,
            }

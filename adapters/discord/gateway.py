"""The gateway's connection: a payload of any form costs itself alone.

Invariant: `connect` returns or raises only for what cannot be mended by connecting again: a token,
an intent, a shard or a version that Discord refuses. Everything else leads to the next connection.

discord.py parses an envelope without looking at it first, and lets the errors out of
`Client.connect()`. So the socket is a subclass that mends envelopes, and the loop around it is
ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import aiohttp
import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket, ReconnectWebSocket, WebSocketClosure

from adapters.discord.payload_fitting import Unfit, place_of_error, shape_of
from bot.domain.errors import CannotStart
from bot.ports.clock import Clock

log = structlog.stdlib.get_logger(__name__)

# Discord's heartbeat_interval in milliseconds, and the bounds within which one is used: less would
# flood the gateway, more would let it close the connection.
USUAL_BEAT, SHORTEST_BEAT, LONGEST_BEAT = 41_250, 50, 300_000
# Waits between connections that fail, in seconds.
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
CONNECT_SECONDS = 60.0
CLOSE_SECONDS = 5.0
# So many connections in a row may end within so many seconds before there is a pause.
SHORT_AT_ONCE, SHORT_SECONDS = 6, 5.0
# Documented close codes after which connecting again only fails again.
# https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway
FOR_GOOD = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
PRIVATE = (
    *("_keep_alive", "_decompressor", "session_id", "sequence"),
    *("received_message", "poll_event", "from_client"),
)
"""The undocumented members of discord.py's socket that this module uses."""


class Broken(Exception):
    """The connection's stream cannot be read any further."""


class Socket(DiscordWebSocket):
    """discord.py's socket, for envelopes of any shape."""

    async def received_message(self, msg: Any, /) -> None:
        """Take in one frame; what cannot be read of it is dropped or mended."""
        text = self._text(msg)
        if text is None:
            return  # the rest of it is still to come
        begun = self._keep_alive is not None and self.session_id is not None
        if not begun or not is_dispatch(text):
            await self._mended(text)  # nothing works without HELLO and READY; others are rare
            return
        try:
            await super().received_message(text)
        except (ReconnectWebSocket, WebSocketClosure, discord.DiscordException, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - any envelope can come, and any error of it
            log.warning("a gateway payload could not be read", error=place_of_error(error))
            await self._mended(text)

    def _text(self, msg: Any) -> str | None:
        if not isinstance(msg, bytes):
            return str(msg)
        try:
            return self._decompressor.decompress(msg)
        except Exception as error:  # zlib's, or a text that is not UTF-8
            raise Broken(repr(error)) from error

    async def _mended(self, text: str) -> None:
        """Take in a payload as far as it can be understood."""
        try:
            payload = mended(json.loads(text), str(self.DEFAULT_GATEWAY))
        except (ValueError, RecursionError) as error:
            log.warning("dropped a gateway payload", error=place_of_error(error))
            return
        try:
            await super().received_message(json.dumps(payload))
        except (ReconnectWebSocket, WebSocketClosure, discord.DiscordException, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            shape = shape_of(payload)
            log.warning("dropped a gateway payload", error=place_of_error(error), shape=shape)


def is_dispatch(text: str) -> bool:
    """Whether a payload is plainly a dispatch: inside a JSON string, quotes are escaped."""
    return '"op":0' in text or '"op": 0' in text


def mended(payload: Any, gateway: str) -> dict[str, Any]:
    """An envelope that discord.py can read; raises Unfit when it is none.

    `gateway` is where to connect again when READY does not say.
    """
    if not isinstance(payload, dict):
        raise Unfit("not an object")
    op, data = payload.get("op"), payload.get("d")
    name, number = payload.get("t"), payload.get("s")
    if not _whole(op):
        op = DiscordWebSocket.DISPATCH if isinstance(name, str) else None
    known = {"op": op, "d": data, "t": name if isinstance(name, str) else None}
    known["s"] = number if _whole(number) else None
    if known["t"] is None and isinstance(data, dict) and {"session_id", "user"} <= data.keys():
        known["t"] = "READY"
    if op == DiscordWebSocket.HELLO:
        known["d"] = {"heartbeat_interval": _beat(data)}
    elif known["t"] == "READY":
        known["d"] = _ready(data, gateway)
    elif known["t"] == "RESUMED" and not isinstance(data, dict):
        known["d"] = {}
    if known["s"] is None and known["t"] != "READY":
        del known["s"]
    return known


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _beat(data: Any) -> float:
    interval = data.get("heartbeat_interval") if isinstance(data, dict) else None
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        return USUAL_BEAT
    return interval if SHORTEST_BEAT <= interval <= LONGEST_BEAT else USUAL_BEAT


def _ready(data: Any, gateway: str) -> dict[str, Any]:
    """Without a session's id the next connection begins a new one."""
    ready = dict(data) if isinstance(data, dict) else {}
    if not isinstance(ready.get("session_id"), str):
        ready["session_id"] = ""
    url = ready.get("resume_gateway_url")
    try:
        usable = isinstance(url, str) and yarl.URL(url).scheme in ("ws", "wss")
    except ValueError:
        usable = False
    if not usable:
        ready["resume_gateway_url"] = gateway
    return ready


# ── staying connected ─────────────────────────────────────────────────────────────────────────
class Connection:
    """Keeps one client connected; calls `lost` when a connection ends."""

    def __init__(self, client: discord.Client, clock: Clock, lost: Callable[[], None]) -> None:
        self._client, self._clock, self._lost = client, clock, lost
        self._next: dict[str, Any] = {"initial": True}
        self._pauses = _pauses()
        self._reached = self._established = False
        self._begun = 0.0
        self._short = 0  # connections in a row that ended soon
        self._broke_at: int | None = None

    async def run(self) -> None:
        """Until the client is closed. Raises ConnectionClosed for what cannot be mended."""
        while not self._client.is_closed():
            failure = await self._failure()
            self._lost()
            if self._client.is_closed():
                return
            if self._at_once(failure):
                continue
            pause = next(self._pauses)
            log.warning("connecting to Discord again", seconds=pause, error=repr(failure))
            await self._clock.sleep(pause)

    async def _failure(self) -> Exception:
        """Serve one connection, and say how it ended; what comes next is prepared."""
        self._reached = self._established = False
        self._begun = self._clock.monotonic()
        try:
            await self._serve()
        except ReconnectWebSocket as error:
            self._resume(resume=error.resume)
            return error
        except discord.ConnectionClosed as error:
            if error.code in FOR_GOOD:
                self._lost()
                raise
            self._resume(resume=True)
            return error
        except CannotStart:
            raise
        except (OSError, aiohttp.ClientError, discord.DiscordException, Broken) as error:
            self._resume(resume=self._may_resume(error))
            return error
        except Exception as error:
            log.exception("the connection to Discord failed")  # in an unforeseen way
            self._resume(resume=False)
            return error

    def _at_once(self, failure: Exception) -> bool:
        """Whether to connect again without a pause: a server that only hangs up is not pressed."""
        if not (self._established and isinstance(failure, ReconnectWebSocket)):
            return False
        lasted = self._clock.monotonic() - self._begun
        self._short = 0 if lasted > SHORT_SECONDS else self._short + 1
        if self._short <= SHORT_AT_ONCE:
            self._pauses = _pauses()
            return True
        return False

    async def _serve(self) -> NoReturn:
        """One connection, until it ends by an exception."""
        connecting = Socket.from_client(self._client, **self._next)
        async with asyncio.timeout(CONNECT_SECONDS):
            socket = await connecting
        self._client.ws, self._reached = socket, True
        self._next = {"initial": False}
        deadline = self._clock.monotonic() + CONNECT_SECONDS
        try:
            while True:
                await socket.poll_event()
                self._established = socket.session_id is not None
                if not self._established and self._clock.monotonic() > deadline:
                    raise Broken("no session was begun")
        finally:
            await self._end(socket)

    async def _end(self, socket: Socket) -> None:
        """Stop the heartbeat, and close what is still open."""
        if socket.open and not self._client.is_closed():
            with contextlib.suppress(OSError, RuntimeError, aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close(code=4000)

    def _may_resume(self, error: Exception) -> bool:
        """What breaks the stream at the same place again would be sent again, and again."""
        socket = self._client.ws
        if not isinstance(error, Broken) or socket is None:
            return True
        before, self._broke_at = self._broke_at, socket.sequence
        return before != self._broke_at

    def _resume(self, *, resume: bool) -> None:
        """What the next connection begins with: the session that there was, or a new one.

        The address that READY named for resuming may be one that does not answer any more; after
        one attempt the session is resumed at Discord's usual address.
        """
        socket = self._client.ws
        self._next = {"initial": False}
        if resume and socket is not None and socket.session_id and socket.sequence is not None:
            self._next |= {
                "resume": True,
                "session": socket.session_id,
                "sequence": socket.sequence,
                "gateway": socket.gateway if self._reached else None,
            }


def _pauses() -> Iterator[float]:
    yield from PAUSES
    while True:
        yield PAUSES[-1]

"""A gateway socket that survives malformed payloads.

discord.py parses envelopes without validation and lets the errors escape from `Client.connect()`.
This subclass of its socket repairs the envelopes first.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

import discord
import structlog
import yarl
from discord.gateway import DiscordWebSocket, ReconnectWebSocket, WebSocketClosure

from adapters.discord.payload_validation import InvalidPayload, error_location, outline

log = structlog.stdlib.get_logger(__name__)

# Discord's usual heartbeat_interval, and the bounds of those accepted, in milliseconds. A shorter
# one would flood the gateway, with a longer one the gateway would close the connection.
DEFAULT_HEARTBEAT, MIN_HEARTBEAT, MAX_HEARTBEAT = 41_250, 50, 300_000
PRIVATE = (
    *("_keep_alive", "_decompressor", "session_id", "sequence"),
    *("received_message", "poll_event", "from_client"),
)
"""Undocumented members of discord.py's socket that this module uses; a test checks for them."""


class StreamBroken(Exception):
    """The rest of the connection's stream cannot be decoded."""


class GatewaySocket(DiscordWebSocket):
    """discord.py's socket, tolerant of malformed envelopes."""

    opening: ContextVar[list[GatewaySocket] | None] = ContextVar("opening", default=None)
    """The sockets that the current task is opening: discord.py does not close one whose opening
    fails."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._has_events = False
        if (opened := self.opening.get()) is not None:
            opened.append(self)

    @property
    def in_session(self) -> bool:
        """Whether Discord has begun or resumed the session, which its first event shows.

        An acknowledged heartbeat does not: Discord may still refuse to resume.
        """
        return self.session_id is not None and self._has_events

    async def received_message(self, msg: Any, /) -> None:
        """Handle one frame; repair or drop what cannot be parsed."""
        text = self._decode(msg)
        if text is None:
            return  # an incomplete message
        has_session = self._keep_alive is not None and self.session_id is not None
        if not has_session or not is_dispatch(text):
            await self._receive_repaired(text)  # HELLO and READY must be valid; others are rare
            return
        self._has_events = True
        try:
            await super().received_message(text)
        except (ReconnectWebSocket, WebSocketClosure, discord.DiscordException, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of each payload
            log.warning("cannot parse a gateway payload", error=error_location(error))
            await self._receive_repaired(text)

    def _decode(self, msg: Any) -> str | None:
        if not isinstance(msg, bytes):
            return str(msg)
        try:
            return self._decompressor.decompress(msg)
        except Exception as error:  # zlib's or zstandard's, or invalid UTF-8
            raise StreamBroken(repr(error)) from error

    async def _receive_repaired(self, text: str) -> None:
        """Handle a payload after repairing its envelope; drop it if that fails."""
        try:
            shard = self.shard_id or 0, self.shard_count or 1
            payload = repair_envelope(json.loads(text), str(self.DEFAULT_GATEWAY), shard)
        except (ValueError, RecursionError) as error:
            log.warning("dropped a gateway payload", error=error_location(error))
            return
        self._has_events |= payload["op"] == self.DISPATCH
        try:
            await super().received_message(json.dumps(payload))
        except (ReconnectWebSocket, WebSocketClosure, discord.DiscordException, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of each payload
            structure = outline(payload)
            log.warning(
                "dropped a gateway payload", error=error_location(error), structure=structure
            )


def is_dispatch(text: str) -> bool:
    """Whether a payload has op 0; inside a JSON string the quotes would be escaped."""
    return '"op":0' in text or '"op": 0' in text


def repair_envelope(payload: Any, gateway: str, shard: tuple[int, int] = (0, 1)) -> dict[str, Any]:
    """Return an envelope that discord.py can parse; raises InvalidPayload if that is impossible.

    `gateway` is the URL for resuming if READY has none. `shard` is the connection's shard number
    and the shard count, which READY repeats.
    """
    if not isinstance(payload, dict):
        raise InvalidPayload("not an object")
    op, data = payload.get("op"), payload.get("d")
    name, sequence = payload.get("t"), payload.get("s")
    if not _is_int(op):
        op = DiscordWebSocket.DISPATCH if isinstance(name, str) else None
    repaired = {"op": op, "d": data, "t": name if isinstance(name, str) else None}
    repaired["s"] = sequence if _is_int(sequence) else None
    if repaired["t"] is None and isinstance(data, dict) and {"session_id", "user"} <= data.keys():
        repaired["t"] = "READY"
    if op == DiscordWebSocket.HELLO:
        repaired["d"] = {"heartbeat_interval": _heartbeat_interval(data)}
    elif repaired["t"] == "READY":
        repaired["d"] = _repair_ready(data, gateway) | {"shard": list(shard)}
    elif repaired["t"] == "RESUMED" and not isinstance(data, dict):
        repaired["d"] = {}
    if repaired["s"] is None and repaired["t"] != "READY":
        del repaired["s"]
    return repaired


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _heartbeat_interval(data: Any) -> float:
    interval = data.get("heartbeat_interval") if isinstance(data, dict) else None
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        return DEFAULT_HEARTBEAT
    return interval if MIN_HEARTBEAT <= interval <= MAX_HEARTBEAT else DEFAULT_HEARTBEAT


def _repair_ready(data: Any, gateway: str) -> dict[str, Any]:
    """READY's data; an empty session id makes the next connection begin a new session."""
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

"""The gateway: handshakes, protocol errors, and the replay of missed events.

RESUME sends exactly the events after the client's sequence. A connection that violates the protocol
is closed with Discord's code.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.sims.discord import constants as c
from tests.sims.discord.sessions import Connection, Session
from tests.sims.discord.sharding import BAD_TOKEN, ShardRules
from tests.sims.kit import change

JSON = dict[str, Any]
HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE, RESUME = 1, 2, 3, 4, 6
RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, ACK = 7, 8, 9, 10, 11
UNKNOWN_OP, DECODE, NOT_AUTHENTICATED, ALREADY = 4001, 4002, 4003, 4005
BAD_SEQUENCE, TOO_FAST, TIMED_OUT, BAD_VERSION = 4007, 4008, 4009, 4012
BAD_INTENTS, DISALLOWED_INTENTS = 4013, 4014
MAX_PAYLOAD = 4096  # bytes in one payload of a client


@dataclass(slots=True)
class EventFault:
    """Change the next `times` dispatches of `name` (or the gateway's payloads of an `op`).

    `remove` and `put` are as in `tests.sims.kit.Fault`; their paths begin at the payload: `d.type`.
    """

    name: str = ""
    op: int = 0
    times: int = 1
    remove: list[str] = field(default_factory=list)
    put: dict[str, Any] = field(default_factory=dict)

    def changed(self, payload: JSON) -> JSON:
        """The payload with the fault applied."""
        if self.times <= 0 or payload["op"] != self.op or self.name != (payload.get("t") or ""):
            return payload
        self.times -= 1
        payload = copy.deepcopy(payload)
        for path in self.remove:
            change(payload, path.split("."), lambda owner, key: owner.pop(key, None))
        for path, value in self.put.items():
            change(payload, path.split("."), functools.partial(_put, value))
        return payload


def _put(value: Any, owner: JSON, key: str) -> None:
    owner[key] = value


class Gateway:
    """All sessions. `on_ready(session)` sends the events that follow IDENTIFY."""

    def __init__(self, *, token: str, granted: set[str]) -> None:
        self.token, self._granted = token, granted
        self.shards = ShardRules()
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.heartbeat_ms = 41_250  # what Discord sends
        self.acknowledges = True
        self.offline = False
        self.greets = True  # whether connections get HELLO
        self.refuses_resumes: int | str | None = None  # see the control `refuse_resumes`
        self.closes: list[int] = []  # codes that the gateway closed a connection with
        self.faults: list[EventFault] = []
        self.count_guilds: Any = lambda shard: 0
        self.on_ready: Any = None
        self.on_members: Any = None

    def dispatch(
        self,
        name: str,
        data: JSON,
        *,
        intents: int = 0,
        guild: int | None = None,
        blank: JSON | None = None,
        happened: float | None = None,
    ) -> None:
        """Send an event to every session with a matching intent.

        Sessions without the message-content intent get `blank` instead of `data`. Sessions that
        began after `happened` get nothing.
        """
        for session in self.sessions.values():
            young = happened is not None and session.identified > happened
            if session.wants(intents, guild) and not young:
                session.add(name, data if session.reads or blank is None else blank)

    async def serve(self, request: web.Request, delay: float) -> web.StreamResponse:
        """Handle one WebSocket until it closes; while offline, respond 503."""
        if self.offline:
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=2**20)
        await socket.prepare(request)
        compress = request.query.get("compress")
        zlib_stream = compress == "zlib-stream"
        transport = request.transport
        assert transport is not None  # the connection has just been prepared
        connection = Connection(
            socket,
            zlib_stream=zlib_stream,
            delay=delay,
            changed=self._changed,
            abort=transport.abort,
        )
        if request.query.get("v") != "10" or compress not in (None, "zlib-stream"):
            self.closes.append(BAD_VERSION)
            await socket.close(code=BAD_VERSION)  # also for zstd-stream, which is not simulated
        else:
            await self._converse(connection)
        return socket

    def _changed(self, payload: JSON) -> JSON:
        for fault in self.faults:
            payload = fault.changed(payload)
        return payload

    async def _converse(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self.greets:
            connection.send({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_ms}})
        tasks = [
            asyncio.create_task(connection.write()),
            asyncio.create_task(self._watch(connection)),
        ]
        try:
            await self._read(connection)
        finally:
            self.connections.discard(connection)
            self._detach(connection)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _detach(self, connection: Connection) -> None:
        """Detach the session, and end it if the client closed with 1000 or 1001."""
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        if not connection.closing and connection.socket.close_code in (1000, 1001):
            self.sessions.pop(session.id, None)

    async def _watch(self, connection: Connection) -> None:
        """Close a connection whose heartbeats stopped (4009) and end its session."""
        limit = self.heartbeat_ms / 1000 * 1.5
        while (left := connection.last_beat + limit - time.monotonic()) > 0:
            await asyncio.sleep(left)  # the test waits for the time itself
        if connection.session is not None:
            self.sessions.pop(connection.session.id, None)
        self.close(connection, TIMED_OUT)

    def close(self, connection: Connection, code: int) -> None:
        """Close a connection and record the code."""
        self.closes.append(code)
        connection.close(code)

    async def _read(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            if connection.limit.take():
                self.close(connection, TOO_FAST)
                continue
            try:
                if len(message.data) > MAX_PAYLOAD:
                    raise ValueError("too large")
                payload = json.loads(message.data)
                op, data = payload["op"], payload.get("d")
            except (ValueError, KeyError, TypeError):
                self.close(connection, DECODE)
            else:
                self._take(connection, op, data)

    def _take(self, connection: Connection, op: int, data: Any) -> None:
        if op == HEARTBEAT:
            connection.last_beat = time.monotonic()
            if self.acknowledges:
                connection.send({"op": ACK, "d": None})
        elif op == IDENTIFY:
            self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif connection.session is None:
            self.close(connection, NOT_AUTHENTICATED)
        elif op == REQUEST_MEMBERS:
            self.on_members(connection.session, data)
        elif op not in (PRESENCE, VOICE_STATE):
            self.close(connection, UNKNOWN_OP)

    # ── sessions ──────────────────────────────────────────────────────────────────────────────
    def _identify(self, connection: Connection, data: JSON) -> None:
        code = self._refusal(connection, data)
        if code:
            self.close(connection, code)
            return
        number, count = data.get("shard") or (0, 1)
        if self.shards.too_soon((number, count)):
            connection.send({"op": INVALID_SESSION, "d": False})
            return
        self.shards.identifies.append(time.time())
        if self.shards.remaining < 0:
            self._reset_token()
            return
        begun = len(self.shards.identifies)
        session = Session(f"{begun:032x}", data["intents"], (number, count))
        self._attach(connection, session)
        if self.shards.is_silent(session.shard):
            return
        self.sessions[session.id] = session
        self.on_ready(session)

    def _reset_token(self) -> None:
        """End all sessions and invalidate the token, because the bot began more sessions than a
        day allows."""
        self.token = "reset"
        self.sessions.clear()
        for connection in list(self.connections):
            self.close(connection, BAD_TOKEN)

    def _refusal(self, connection: Connection, data: JSON) -> int:
        """The close code for an invalid IDENTIFY; 0 for a valid one."""
        intents, shard = data.get("intents"), data.get("shard") or (0, 1)
        if connection.session is not None:
            return ALREADY
        if data.get("token") != self.token:
            return BAD_TOKEN
        if not isinstance(intents, int) or not data.get("properties") or intents & ~c.ALL_INTENTS:
            return BAD_INTENTS
        if code := self.shards.refusal((shard[0], shard[1]), self.count_guilds(shard)):
            return code
        asked = [name for name in c.PRIVILEGED if intents & c.INTENTS[name]]
        return 0 if self._granted.issuperset(asked) else DISALLOWED_INTENTS

    def _resume(self, connection: Connection, data: JSON) -> None:
        if data.get("token") != self.token:
            self.close(connection, BAD_TOKEN)
            return
        session = self.sessions.get(data.get("session_id") or "")
        if session is None:
            connection.send({"op": INVALID_SESSION, "d": False})
            return
        if self._refuses_resume(connection, session, data.get("seq")):
            return
        session.resumes += 1
        self._attach(connection, session)
        for number, payload in session.events:
            if number > data["seq"]:
                connection.send(payload)
        session.add("RESUMED", {"_trace": []})

    def _refuses_resume(self, connection: Connection, session: Session, seq: Any) -> bool:
        """Refuse a RESUME whose sequence is invalid, or any if the control says so."""
        how = self.refuses_resumes
        if how is None and not isinstance(seq, int | None):
            how = DECODE
        elif how is None and not 0 <= (seq or 0) <= session.seq:
            how = BAD_SEQUENCE
        if isinstance(how, int):
            self.close(connection, how)
        elif how == "invalid_session":
            connection.send({"op": INVALID_SESSION, "d": True})
        elif how == "reset":
            connection.abort()
        return how is not None  # "silence": only heartbeats are acknowledged

    @staticmethod
    def _attach(connection: Connection, session: Session) -> None:
        if session.connection is not None:
            session.connection.close(4000)
        session.connection, connection.session = connection, session

    # ── on demand ─────────────────────────────────────────────────────────────────────────────
    def disconnect(
        self, code: int | None, op: int | None, resumable: bool, shard: int | None = None
    ) -> int:
        """Interrupt every connection, or a shard's, with a close code, op 7 or op 9; returns how
        many.
        """
        connections = [x for x in self.connections if shard is None or x.shard == shard]
        for connection in connections:
            if not resumable and connection.session is not None:
                self.sessions.pop(connection.session.id, None)
            if op is not None:
                connection.send({"op": op, "d": resumable if op == INVALID_SESSION else None})
            if code is not None:
                self.close(connection, code)
        return len(connections)

    @property
    def idle(self) -> bool:
        """Whether every connection has received all its events."""
        return all(connection.idle for connection in self.connections)

"""Signals between processes, through PostgreSQL's NOTIFY.

Invariant: a signal is a hint. A lost one (a broken connection, a full queue) only causes a delay,
because renewals and the reaper find the same facts in the database within seconds. After each new
connection, and once a minute, the listener's handlers check everything.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import psycopg
import structlog

from bot.common.retry import Backoff
from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from bot.store.cluster import statements
from bot.store.cluster.connection import Connection, ControlConnection, connect

log = structlog.stdlib.get_logger(__name__)

MAX_BYTES = 7_900
"""PostgreSQL takes payloads of less than 8,000 bytes."""

MAX_WAITING = 1_000
"""The most signals that wait for the database; beyond this, the oldest are dropped."""

BATCH = 100

SILENCE_SECONDS = 5.0
"""After this long without a signal, the listener checks whether its connection still works."""

ANSWER_SECONDS = 3.0

LOOK_SECONDS = 60.0
"""How often the handlers check everything even if no connection broke: the sender of a signal may
have died before it was sent."""

RECONNECT = Backoff(first=0.1, longest=2.0)


def encode(signal: Signal, sender: str) -> str:
    """Encode a signal as a payload. If it is too long, its place is dropped, and the handler looks
    up the conversation by number."""
    payload = json.dumps({"from": sender, **asdict(signal)}, ensure_ascii=False)
    if len(payload.encode()) > MAX_BYTES:
        payload = json.dumps({"from": sender, **asdict(signal), "place": ""})
    return payload


def decode(payload: str) -> tuple[str, Signal] | None:
    """Decode the sender and the signal; None if a newer version sent it."""
    try:
        values = json.loads(payload)
        sender = str(values.pop("from"))
        return sender, Signal(**{**values, "kind": SignalKind(values["kind"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


class Outbox:
    """Sends signals in the background, several per statement."""

    def __init__(self, control: ControlConnection, process: str) -> None:
        self._control, self._process = control, process
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING)
        self._woken = asyncio.Event()
        self._channel = ""

    def put(self, signal: Signal) -> None:
        """Send a signal soon."""
        self._waiting.append(encode(signal, self._process))
        self._woken.set()

    async def run(self) -> None:
        """Send queued signals until cancelled; if the database fails, they wait."""
        failures = 0
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.flush()
                failures = 0
            except StoreUnavailable as error:
                failures += 1
                log.warning("signals wait for the database", error=str(error))
                await asyncio.sleep(RECONNECT.after(failures))
                self._woken.set()
            except Exception:
                # A failed batch must not end the task, or no later signal would be sent.
                log.exception("signals could not be sent", count=len(self._waiting))
                self._waiting.clear()

    async def flush(self) -> None:
        """Send everything that is queued. Raises StoreUnavailable."""
        while self._waiting:
            some = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            await self._control.run(statements.NOTIFY, (await self._find_channel(), some))
            for _ in some:
                self._waiting.popleft()

    async def _find_channel(self) -> str:
        if not self._channel:
            self._channel = channel_of(await self._control.run(statements.SCHEMA))
        return self._channel


def channel_of(rows: list[tuple[object, ...]]) -> str:
    """The channel for the bot in this schema. Channels belong to the database, which two bots may
    share."""
    return f"threadline_{rows[0][0]}"


def own_channel(process: str) -> str:
    """The channel for texts to one process, whose id is unguessable."""
    return f"threadline_{process}"


class Listener:
    """Receives the signals of other processes, on a dedicated connection.

    Each signal is passed to `received`, each text for this process to `told`. `connected` is called
    after each new connection, and every LOOK_SECONDS; it must not raise.
    """

    def __init__(
        self,
        url: str,
        process: str,
        *,
        received: Callable[[Signal], Awaitable[None]],
        told: Callable[[str], None],
        connected: Callable[[], Awaitable[None]],
    ) -> None:
        self._url, self._process = url, process
        self._received, self._told, self._connected = received, told, connected
        self.is_connected = False

    async def run(self) -> None:
        """Listen until cancelled, and reconnect after each failure."""
        failures = 0
        while True:
            try:
                connection = await connect(self._url, application="threadline signals")
            except StoreUnavailable as error:
                failures += 1
                log.warning("no signals: the database cannot be reached", error=str(error))
                await asyncio.sleep(RECONNECT.after(failures))
                continue
            try:
                await self._listen(connection)
            except (psycopg.Error, TimeoutError) as error:
                failures = 1 if self.is_connected else failures + 1
                log.warning("the connection for signals broke", error=repr(error))
                await asyncio.sleep(RECONNECT.after(failures))
            except Exception:
                # A bug must not end the task, or the process would hear no later signal.
                failures += 1
                log.exception("listening for signals failed")
                await asyncio.sleep(RECONNECT.after(failures))
            finally:
                self.is_connected = False
                connection.pgconn.finish()

    async def _listen(self, connection: Connection) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await (await connection.execute(statements.SCHEMA)).fetchall()
            await connection.execute(f'LISTEN "{channel_of(rows)}"')
            await connection.execute(f'LISTEN "{own_channel(self._process)}"')
        heard: deque[tuple[str, str]] = deque()
        connection.add_notify_handler(lambda n: heard.append((n.channel, n.payload)))
        look_at = 0.0
        self.is_connected = True
        while True:
            if asyncio.get_running_loop().time() >= look_at:
                await self._connected()
                look_at = asyncio.get_running_loop().time() + LOOK_SECONDS
            while heard:
                await self._hear(*heard.popleft())
            if not await _has_input(connection, SILENCE_SECONDS):
                async with asyncio.timeout(ANSWER_SECONDS):  # also reads signals
                    await connection.execute("SELECT 1")
            connection.pgconn.consume_input()
            while (notify := connection.pgconn.notifies()) is not None:
                heard.append((notify.relname.decode(), notify.extra.decode()))

    async def _hear(self, channel: str, payload: str) -> None:
        try:
            if channel == own_channel(self._process):
                self._told(payload)
            elif (found := decode(payload)) is not None and found[0] != self._process:
                await self._received(found[1])
        except Exception:
            # A failed signal must not end the task; the database still has the facts behind it.
            log.exception("a signal failed", channel=channel[:80])


async def _has_input(connection: Connection, seconds: float) -> bool:
    """Wait until the server sends something. psycopg's own generator polls ten times a second."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    socket = connection.pgconn.socket
    loop.add_reader(socket, arrived.set)
    try:
        async with asyncio.timeout(seconds):
            await arrived.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(socket)
    return True

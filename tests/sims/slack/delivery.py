"""Delivers payloads to the app over Socket Mode or signed HTTP, until it acknowledges them.

An event has four attempts (retried immediately, after 1 and after 5 minutes, times `retry_scale`);
interactive payloads and slash commands have one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp

from tests.sims.slack import ids
from tests.sims.slack.values import Json

ACK_SECONDS = 3.0
RETRIES = (0.0, 60.0, 300.0)  # seconds before each: docs.slack.dev/apis/events-api#errors


@dataclass(slots=True)
class Attempt:
    """One attempt to deliver a payload; times are Unix seconds."""

    kind: str  # events_api, interactive, slash_commands
    event: str
    event_id: str
    ts: str
    attempt: int
    sent: float
    over: str
    acked: float | None = None
    reason: str = ""  # why it failed
    answer: Any = None


class Sockets(Protocol):
    """The part of Socket Mode that `Delivery` uses."""

    async def send(self, kind: str, payload: Json, attempt: int, reason: str) -> Any:
        """Send on one connection; returns the acknowledgement's payload.

        Raises TimeoutError without an acknowledgement, ConnectionError without a connection.
        """
        ...


@dataclass(slots=True)
class HttpTarget:
    """The request URLs of an app in HTTP mode."""

    events: str
    interactivity: str
    commands: str
    secret: str


class Delivery:
    """Delivers each payload in a separate task."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.http: HttpTarget | None = None
        self.rtt = 0.0
        self.ack_seconds = ACK_SECONDS
        self.retry_scale = 1.0
        self.given_up: re.Pattern[str] | None = None  # events with such a text have one attempt
        self.offline = False
        self.attempts: list[Attempt] = []
        self.lost: list[Json] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def event(self, payload: Json) -> None:
        """Deliver an Events API payload, with retries."""
        task = asyncio.create_task(self._event(payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def pending(self) -> int:
        """The number of events that are neither acknowledged nor lost."""
        return len(self._tasks)

    async def _event(self, payload: Json) -> None:
        reason = ""
        text = str(_dict(payload.get("event")).get("text", ""))
        retries = () if self.given_up and self.given_up.search(text) else RETRIES
        for number in range(len(retries) + 1):
            if number:
                await asyncio.sleep(retries[number - 1] * self.retry_scale)
            attempt = await self._try("events_api", payload, number, reason)
            if attempt.acked is not None:
                return
            if attempt.answer == "no_retry":
                break
            reason = attempt.reason
        self.lost.append(payload)

    async def deliver_once(self, kind: str, payload: Any) -> Attempt:
        """Deliver an interactive payload or slash command, in one attempt."""
        return await self._try(kind, payload, 0, "")

    async def _try(self, kind: str, payload: Any, number: int, reason: str) -> Attempt:
        event, whole = _dict(_dict(payload).get("event")), _dict(payload)
        name = str(event.get("type") or whole.get("type") or whole.get("command", ""))
        over = "http" if self.http else "socket"
        attempt = Attempt(
            kind,
            name,
            str(whole.get("event_id", "")),
            str(event.get("ts", "")),
            number,
            time.time(),
            over,
        )
        self.attempts.append(attempt)
        try:
            if self.offline:
                raise ConnectionError("offline")
            attempt.answer = await self._send(kind, payload, number, reason, attempt)
            attempt.acked = time.time()
        except TimeoutError:
            attempt.reason = "http_timeout" if self.http else "timeout"
        except (OSError, aiohttp.ClientError):
            attempt.reason = attempt.reason or "connection_failed"
        return attempt

    async def _send(
        self, kind: str, payload: Json, number: int, reason: str, attempt: Attempt
    ) -> Any:
        async with asyncio.timeout(self.ack_seconds):
            if self.http is None:
                return await self.sockets.send(kind, payload, number, reason)
            await asyncio.sleep(self.rtt)
            return await self._post(self.http, kind, payload, number, reason, attempt)

    async def _post(
        self, http: HttpTarget, kind: str, payload: Json, number: int, reason: str, attempt: Attempt
    ) -> Any:
        url, body, content_type = _encode(http, kind, payload)
        headers = signature_headers(http.secret, body) | {"Content-Type": content_type}
        if number:
            headers |= {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=body, headers=headers) as response,
        ):
            text = await response.text()
            if response.status != 200:
                if response.headers.get("X-Slack-No-Retry") == "1":
                    attempt.answer = "no_retry"
                attempt.reason = "http_error"
                raise ConnectionError(f"{response.status} {text}")
            return _parse_body(text, response.content_type)

    async def verify(self) -> bool:
        """Whether the events URL echoes the challenge of `url_verification`."""
        assert self.http is not None
        challenge = hashlib.sha256(str(time.time()).encode()).hexdigest()
        payload = {"token": ids.VERIFICATION_TOKEN, "type": "url_verification"}
        answer = (await self.deliver_once("events_api", payload | {"challenge": challenge})).answer
        return challenge in (answer if isinstance(answer, str) else str((answer or {}).values()))

    def deliveries(self) -> list[Json]:
        """Every attempt so far."""
        return [asdict(attempt) for attempt in self.attempts]


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def signature_headers(secret: str, body: str, at: int | None = None) -> dict[str, str]:
    """The v0 signature headers for a body; `at` is in Unix seconds."""
    stamp = str(int(time.time()) if at is None else at)
    digest = hmac.new(secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def _encode(http: HttpTarget, kind: str, payload: Json) -> tuple[str, str, str]:
    form = "application/x-www-form-urlencoded"
    if kind == "slash_commands":
        return http.commands, urlencode(_dict(payload)), form
    if kind == "interactive":
        return http.interactivity, urlencode({"payload": json.dumps(payload)}), form
    return http.events, json.dumps(payload), "application/json"


def _parse_body(text: str, content_type: str) -> Any:
    if content_type == "application/json" and text:
        return json.loads(text)
    return {"text": text} if text else None

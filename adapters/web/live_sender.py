"""Sends the growing text of this process's replies to processes that show it on their pages.

Invariant: nothing is sent unless another process asks. The text of all replies goes out at most
twice a second, in one statement of bounded size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from adapters.web.hub import Hub, LiveReply
from adapters.web.live_text import Differences, LiveState, encode
from adapters.web.places import EVERYONE
from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

SEND_SECONDS = 0.5
"""Seconds between two statements. Half a second looks as smooth as other chats' streams."""

MOST_PIECES = 64
"""The most pieces in one statement: less than half a megabyte."""

INTEREST_SECONDS = 30.0
"""How long a process gets text after asking for it; it asks again every ten seconds."""


@dataclass(slots=True)
class _Reader:
    """Another process that shows a reply."""

    live: LiveReply
    differences: Differences
    until: float  # monotonic seconds


class LiveSender:
    """Sends the text of the replies in `hub` that this process writes."""

    def __init__(self, *, cluster: Cluster, hub: Hub, clock: Clock) -> None:
        self._cluster, self._hub, self._clock = cluster, hub, clock
        self._readers: dict[tuple[int, str], _Reader] = {}  # by turn and process
        self._changed = asyncio.Event()
        cluster.listen(SignalKind.FOLLOW, self._on_follow)
        cluster.listen(SignalKind.FOLLOWING, self._on_following)

    def changed(self) -> None:
        """Note that a reply has new text."""
        if self._readers:
            self._changed.set()

    async def run(self) -> None:
        """Send until cancelled; after a failure, resend the whole text."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._send()
            except StoreUnavailable as error:
                log.debug("live text was not sent", error=str(error))
                self._begin_again()
            except Exception:
                # The boundary of one statement: the page and all other texts do not depend on it.
                log.exception("live text could not be sent")
                self._begin_again()
            await self._clock.sleep(SEND_SECONDS)

    async def _on_follow(self, signal: Signal) -> None:
        """Handle a process's request for a turn's whole text, or for everything that the user
        `reason` sees."""
        for live in self._hub.replies():
            of_user = bool(signal.reason) and live.workspace in (signal.reason, EVERYONE)
            is_wanted = live.turn == signal.turn or of_user
            if is_wanted and not live.elsewhere:
                until = self._clock.monotonic() + INTEREST_SECONDS
                reader = _Reader(live, _begin(live), until)
                self._readers[live.turn, signal.place] = reader
                self._changed.set()

    async def _on_following(self, signal: Signal) -> None:
        """Handle a process's signal that it still shows the turn."""
        reader = self._readers.get((signal.turn, signal.place))
        if reader is not None:
            reader.until = self._clock.monotonic() + INTEREST_SECONDS

    async def _send(self) -> None:
        texts: list[tuple[str, str]] = []
        for key, reader in self._current():
            state, room = _state(reader.live), MOST_PIECES - len(texts)
            pieces = reader.differences.pieces(state, room)
            texts += [(key[1], encode(piece)) for piece in pieces]
            if not reader.differences.is_sent(state):
                self._changed.set()
        if texts:
            await self._cluster.tell(texts)

    def _begin_again(self) -> None:
        for _, reader in self._current():
            reader.differences = _begin(reader.live)
        self._changed.set()

    def _current(self) -> Iterator[tuple[tuple[int, str], _Reader]]:
        """The readers of running replies; forgets all others."""
        now = self._clock.monotonic()
        for key, reader in list(self._readers.items()):
            if reader.until < now or self._hub.live(reader.live.turn) is not reader.live:
                del self._readers[key]
            else:
                yield key, reader


def _state(live: LiveReply) -> LiveState:
    return LiveState(live.source, live.note, live.queued)


def _begin(live: LiveReply) -> Differences:
    about = {
        "conversation": live.conversation,
        "workspace": live.workspace,
        "thread": live.thread,
        "begun_at": live.begun_at,
    }
    return Differences(live.turn, live.attempt, about)

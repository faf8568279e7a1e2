"""Shows replies that other processes write, while someone here watches them.

Invariant: the text shown is one that the writer had, and an earlier attempt never replaces the one
shown. If text is lost on the way, or its writer dies, the database's reply replaces it: at the
signal of its end, or at the check every ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from cachetools import LRUCache

from adapters.web.highlighter import Highlight
from adapters.web.hub import Hub, LiveReply
from adapters.web.live_text import Assembly, Piece, decode
from bot.domain.cluster import Signal, SignalKind
from bot.domain.errors import StoreUnavailable
from bot.domain.records import ReplyRecord
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster

log = structlog.stdlib.get_logger(__name__)

FOLLOW_SECONDS = 10.0
"""Seconds between two signals that a reply is still shown here, and between checks for its end."""

MAX_TURNS = 10_000
"""How many turns' newest attempts to remember: a process that hung may still send an earlier
one."""

ASK_SECONDS = 1.0
"""Seconds between two requests for a turn's whole text."""


class Replies(Protocol):
    """The part of the library that says whether a reply has ended."""

    async def reply(self, turn: int) -> ReplyRecord | None:
        """The turn's reply, or None if it is gone. Raises StoreUnavailable."""
        ...


@dataclass(slots=True)
class _Followed:
    """A reply that another process writes."""

    live: LiveReply
    assembly: Assembly


class LiveFollower:
    """Copies the text of other processes' replies into `hub`, and calls `on_text` for each
    change."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        hub: Hub,
        replies: Replies,
        clock: Clock,
        highlight: Highlight,
        on_text: Callable[[LiveReply], None],
    ) -> None:
        self._cluster, self._hub, self._replies, self._clock = cluster, hub, replies, clock
        self._highlight, self._on_text = highlight, on_text
        self._followed: dict[int, _Followed] = {}  # by turn
        self._asked: dict[int, float] = {}  # when, in monotonic seconds
        self._attempts: LRUCache[int, int] = LRUCache(MAX_TURNS)  # the newest that was shown
        cluster.hear(self._on_text_of)
        hub.on_reader = self._on_reader

    async def run(self) -> None:
        """Signal what is still shown here, until cancelled."""
        while True:
            await self._clock.sleep(FOLLOW_SECONDS)
            self._asked.clear()
            for turn, followed in list(self._followed.items()):
                try:
                    await self._look(turn, followed)
                except Exception:
                    # The boundary of one reply: the page and all others do not depend on it.
                    log.exception("a reply of another process is not followed", turn=turn)
                    self._forget(turn)

    async def _look(self, turn: int, followed: _Followed) -> None:
        if await self._is_shown(followed.live):
            self._signal(SignalKind.FOLLOWING, turn=turn)
        elif self._followed.get(turn) is followed:
            self._forget(turn)

    async def _is_shown(self, live: LiveReply) -> bool:
        """Whether a reply is under way and someone is watching it."""
        if self._hub.live(live.turn) is not live or not self._hub.is_watched(
            live.turn, live.workspace
        ):
            return False
        try:
            reply = await self._replies.reply(live.turn)
        except StoreUnavailable as error:
            log.debug("cannot look for a reply's end", turn=live.turn, error=str(error))
            return True
        if reply is None or reply.outcome is not None:
            self._hub.refresh(live.workspace)
            return False
        return True

    def changed(self, turn: int, workspace: str) -> None:
        """Handle an attempt at a reply that began or ended at another process."""
        self._forget(turn)
        if turn and self._hub.is_watched(turn, workspace) and self._hub.live(turn) is None:
            self._signal(SignalKind.FOLLOW, turn=turn)

    def missed(self) -> None:
        """Ask for all texts again, because some may have been missed, or replies have begun."""
        for turn in self._followed:
            self._signal(SignalKind.FOLLOW, turn=turn)
        if self._cluster.members > 1:
            for user in self._hub.readers():
                self._signal(SignalKind.FOLLOW, turn=0, user=user)

    def _forget(self, turn: int) -> None:
        followed = self._followed.pop(turn, None)
        if followed is not None:
            self._hub.end(followed.live)

    def _on_reader(self, turn: int, user: str) -> None:
        """Handle a new viewer of a turn or, for turn 0, of a user's page."""
        if self._cluster.members > 1 and self._hub.live(turn) is None:
            self._signal(SignalKind.FOLLOW, turn=turn, user=user)

    def _signal(self, kind: SignalKind, *, turn: int, user: str = "") -> None:
        self._cluster.send(Signal(kind, turn=turn, place=self._cluster.process, reason=user))

    def _on_text_of(self, text: str) -> None:
        piece = decode(text)
        here = self._hub.live(piece.turn) if piece is not None else None
        if piece is None or (here is not None and not here.elsewhere):
            return
        if piece.attempt < self._attempts.get(piece.turn, 0):
            return
        followed = self._followed.get(piece.turn)
        if followed is None or followed.assembly.attempt != piece.attempt:
            followed = self._begin(piece)
        if followed is None:
            return
        try:
            state = followed.assembly.add(piece)
        except ValueError:
            self._ask_again(piece.turn)
            return
        if state is not None:
            live, self._attempts[piece.turn] = followed.live, piece.attempt
            if self._hub.live(live.turn) is not live:
                self._hub.begin(live)
            self._hub.write(live, source=state.source, note=state.note, queued=state.queued)
            self._on_text(live)

    def _begin(self, piece: Piece) -> _Followed | None:
        """Follow an attempt from its whole text on; None if the piece does not begin one."""
        if piece.number:
            self._ask_again(piece.turn)
            return None
        about = piece.about
        try:
            live = LiveReply(
                turn=piece.turn,
                conversation=int(about["conversation"]),
                workspace=str(about["workspace"]),
                thread=about["thread"],
                begun_at=float(about["begun_at"]),
                highlight=self._highlight,
                attempt=piece.attempt,
                elsewhere=True,
            )
        except (KeyError, TypeError, ValueError):
            return None
        if not self._hub.is_watched(piece.turn, live.workspace):
            return None
        self._followed[piece.turn] = followed = _Followed(live, Assembly(piece.attempt))
        return followed

    def _ask_again(self, turn: int) -> None:
        now = self._clock.monotonic()
        if now - self._asked.get(turn, -ASK_SECONDS) >= ASK_SECONDS:
            self._asked[turn] = now
            self._signal(SignalKind.FOLLOW, turn=turn)

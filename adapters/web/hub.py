"""Running replies and each user's events, in memory.

Invariant: writers never wait for readers. A slow reader sees fewer states of a reply, never a
wrong one; what it misses is in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.web.growing_html import GrowingHtml
from adapters.web.highlighter import Highlight, plain
from adapters.web.places import EVERYONE
from adapters.web.reply_changes import ReplyView

KEPT_EVENTS = 500
"""How many events to keep for a page that reconnects; a page that missed more reloads
everything."""

KEPT_CHARACTERS = 4_000_000
"""How many characters to keep in those events, for the same reason."""

KEPT_SECONDS = 600.0
"""How long to keep them: their texts may be erased from the database in the meantime."""

REST = 3
"""Pause after rendering a reply, as a multiple of its CPU time.

One reply thus takes at most a quarter of a core, however many readers it has.
"""

LONGEST_REST = 2.0
"""The longest such pause, in seconds."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class LiveReply:
    """One running reply.

    `workspace` is a user or EVERYONE; `thread` is its public id on the page, if it has one.
    `elsewhere` means that another process writes it.
    """

    turn: int
    conversation: int
    workspace: str
    thread: str | None
    begun_at: float
    source: str = ""
    note: str = ""
    queued: bool = False
    version: int = 0
    highlight: Highlight = plain
    attempt: int = 0
    elsewhere: bool = False
    _growing: GrowingHtml = field(init=False)
    _view: ReplyView | None = None
    _rest_until: float = 0.0
    _render_lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._growing = GrowingHtml(self.highlight)

    @property
    def id(self) -> str:
        """The reply's id on the page."""
        return f"turn-{self.turn}"

    @property
    def state(self) -> str:
        """The state's name on the page."""
        return "queued" if self.queued else "writing"

    @property
    def text(self) -> str:
        """The displayed text: the reply, or the note in its place."""
        return self.source or self.note

    def newest(self) -> ReplyView:
        """The reply now, rendered once for all readers; callable from any thread."""
        with self._render_lock:
            return self._rendered()

    def paced(self) -> ReplyView:
        """The last rendering of the reply, if a newer one would cost too much so soon."""
        with self._render_lock:
            if self._view is not None and time.monotonic() < self._rest_until:
                return self._view
            return self._rendered()

    @property
    def rest(self) -> float:
        """Seconds until `paced` renders again."""
        return max(0.0, self._rest_until - time.monotonic())

    def _rendered(self) -> ReplyView:
        version = (
            self.version
        )  # first: text that arrives during the rendering belongs to the next version
        if self._view is None or self._view.version != version:
            began = time.thread_time()
            text, state, note = self.text, self.state, not self.source
            blocks = self._growing.blocks(text, ended=note)
            self._view = ReplyView(version, text, blocks, state, note)
            took = time.thread_time() - began
            self._rest_until = time.monotonic() + min(REST * took, LONGEST_REST)
        return self._view


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `data` runs on any thread when it is sent, so unread events cost nothing.

    `live` is the reply whose newest state is sent instead.
    """

    number: int
    name: str
    data: Callable[[], Mapping[str, Any]]
    size: int = 0
    live: LiveReply | None = None
    at: float = 0.0  # by the monotonic clock


class Feed:
    """One user's most recent events; only the newest state of a growing reply is kept."""

    def __init__(self) -> None:
        self._events: dict[int, Event] = {}  # ordered by number
        self._by_key: dict[str, int] = {}
        self._lost = 0  # the newest number dropped to make room
        self._characters = 0
        self.number = 0
        self.readers: set[asyncio.Event] = set()

    def push(
        self,
        name: str,
        data: Callable[[], Mapping[str, Any]],
        *,
        key: str | None = None,
        size: int = 0,
        live: LiveReply | None = None,
    ) -> None:
        """Add an event of `size` characters. It replaces the last one with the same `key`."""
        self.number += 1
        if key is not None:
            self._forget(self._by_key.get(key, 0))
            self._by_key[key] = self.number
        self._events[self.number] = Event(self.number, name, data, size, live, time.monotonic())
        self._characters += size
        self._drop_old()
        for reader in self.readers:
            reader.set()

    def since(self, number: int) -> list[Event] | None:
        """The events after `number`, or None if some of them were dropped."""
        self._drop_old()
        if number < self._lost or number > self.number:
            return None
        newer: list[Event] = []
        for there in reversed(self._events):
            if there <= number:
                break
            newer.append(self._events[there])
        return newer[::-1]

    def drop(self) -> None:
        """Drop all events: a page that has not read them reloads everything."""
        self._by_key.clear()
        self._events.clear()
        self._characters, self._lost = 0, self.number

    def _drop_old(self) -> None:
        oldest = time.monotonic() - KEPT_SECONDS
        while (
            len(self._events) > KEPT_EVENTS
            or (self._characters > KEPT_CHARACTERS and len(self._events) > 1)
            or (self._events and next(iter(self._events.values())).at < oldest)
        ):
            self._drop_oldest()

    def _forget(self, number: int) -> None:
        event = self._events.pop(number, None)
        self._characters -= event.size if event is not None else 0

    def _drop_oldest(self) -> None:
        self._lost = next(iter(self._events))
        self._forget(self._lost)
        for key in [key for key, number in self._by_key.items() if number == self._lost]:
            del self._by_key[key]


class Hub:
    """Connects the writers and readers of replies. `epoch` identifies this process in event ids."""

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.closing = False
        # Hears that someone begins to follow a turn, or (0) the first page of a user.
        self.on_reader: Callable[[int, str], None] = lambda _turn, _user: None
        self._live: dict[int, LiveReply] = {}
        self._writing: dict[int, LiveReply] = {}  # by conversation, which has one turn at a time
        self._listeners: dict[int, set[asyncio.Event]] = {}
        self._feeds: defaultdict[str, Feed] = defaultdict(Feed)

    # ── replies ───────────────────────────────────────────────────────────────────────────────
    def begin(self, live: LiveReply) -> None:
        """Start a reply; the text of an earlier attempt is dropped."""
        self._live[live.turn] = self._writing[live.conversation] = live
        self.wake(live.turn)

    def write(self, live: LiveReply, *, source: str, note: str, queued: bool = False) -> None:
        """Set the reply's whole text so far."""
        live.source, live.note, live.queued = source, note, queued
        live.version += 1
        self.wake(live.turn)

    def end(self, live: LiveReply) -> None:
        """End the reply: the database has the complete one."""
        if self._live.get(live.turn) is live:
            del self._live[live.turn]
        if self._writing.get(live.conversation) is live:
            del self._writing[live.conversation]
        self.wake(live.turn)

    def live(self, turn: int) -> LiveReply | None:
        """The reply of this turn while it runs."""
        return self._live.get(turn)

    def replies(self) -> list[LiveReply]:
        """All running replies."""
        return list(self._live.values())

    def readers(self) -> list[str]:
        """The users who have a page open on this process."""
        return [user for user, feed in self._feeds.items() if feed.readers]

    def is_watched(self, turn: int, workspace: str) -> bool:
        """Whether anyone on this process follows the turn, or has a page open on the workspace."""
        is_shown = any(workspace in (user, EVERYONE) for user in self.readers())
        return is_shown or bool(self._listeners.get(turn))

    def writing(self, conversation: int) -> LiveReply | None:
        """The running reply of this conversation."""
        return self._writing.get(conversation)

    @contextlib.contextmanager
    def listening(self, turn: int) -> Iterator[asyncio.Event]:
        """An asyncio.Event that is set on every change of the turn."""
        woken = asyncio.Event()
        listeners = self._listeners.setdefault(turn, set())
        listeners.add(woken)
        self.on_reader(turn, "")
        try:
            yield woken
        finally:
            listeners.discard(woken)
            if not listeners:
                self._listeners.pop(turn, None)

    def wake(self, turn: int) -> None:
        """Notify the listeners of this turn."""
        for woken in self._listeners.get(turn, ()):
            woken.set()

    def wake_all(self) -> None:
        """Notify all listeners: a conversation was deleted with its turns."""
        for turn in self._listeners:
            self.wake(turn)

    # ── events ────────────────────────────────────────────────────────────────────────────────
    def feed(self, user: str) -> Feed:
        """The user's feed of events."""
        return self._feeds[user]

    def push(
        self,
        workspace: str,
        name: str,
        data: Callable[[], Mapping[str, Any]],
        *,
        key: str | None = None,
        size: int = 0,
        live: LiveReply | None = None,
    ) -> None:
        """Add an event to a user's feed, or to all feeds for EVERYONE: see `Feed.push`.

        A user without a feed reads a snapshot first.
        """
        everyone = workspace == EVERYONE
        for feed in tuple(self._feeds.values()) if everyone else (self.feed(workspace),):
            feed.push(name, data, key=key, size=size, live=live)

    def refresh(self, workspace: str = EVERYONE) -> None:
        """Make a user's or everyone's open pages read their threads and sessions again."""
        if workspace == EVERYONE or workspace in self._feeds:
            self.push(workspace, "refresh", dict, key="refresh")

    def drop(self) -> None:
        """Drop the events of all feeds, because something in them was erased."""
        for feed in self._feeds.values():
            feed.drop()

    def newest(self, user: str) -> str:
        """The id of the newest event. A snapshot read after this call includes its effects."""
        return f"{self.epoch}-{self.feed(user).number}"

    def close(self) -> None:
        """End every stream, so that its reader connects to the next process."""
        self.closing = True
        for feed in self._feeds.values():
            for reader in feed.readers:
                reader.set()
        self.wake_all()

"""Encodes one reader's events; for a growing reply, only what the reader lacks.

Invariant: each change continues what this connection sent last. A connection's first event about a
reply contains the whole reply, so a reader that lost anything only needs to reconnect.

Invariant: the newest text of a reply is sent under the number of its newest event. A page skips
events that its snapshot contains by their numbers, and the text of an event is read late: it can be
newer than a snapshot with a higher number. So text that went out under an earlier number is
announced again, by a change that adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from fastapi.sse import format_sse_event

from adapters.web.hub import Event, LiveReply
from adapters.web.page_serializers import page_growing, page_live
from adapters.web.reply_changes import ReplyView, changes

FOLLOWS_CHANGES = 2
"""The first protocol version in which the page follows changes; an older page gets each state
whole."""


class EventEncoder:
    """One connection's encoder; `protocol` is its reader's version."""

    def __init__(self, epoch: str, protocol: int) -> None:
        self._epoch, self._follows = epoch, protocol >= FOLLOWS_CHANGES
        self._sent: WeakKeyDictionary[LiveReply, ReplyView] = WeakKeyDictionary()

    def encode(self, events: Sequence[Event], since: int) -> tuple[bytes, int, float]:
        """The encoded events after number `since`, the number of the last one, and a pause.

        After the pause, in seconds, a reply whose newest text is too expensive to render now can be
        rendered. Call it on a rendering thread.
        """
        found: list[bytes] = []
        for event in events:
            live = event.live
            if live is None:
                found.append(self._format(event.name, event.data(), event.number))
                since = event.number
                continue
            wanted, view = live.version, live.paced()
            current = view.version >= wanted
            if current or self._sent.get(live) is not view:
                found.append(self._reply(live, view, event.number if current else since))
            if not current:
                return b"".join(found), since, live.rest
            since = event.number
        return b"".join(found), since, 0.0

    def _reply(self, live: LiveReply, view: ReplyView, number: int) -> bytes:
        before, self._sent[live] = self._sent.get(live), view
        if not self._follows:
            shape = page_live(live, view)
        elif before is None or (change := changes(live.id, before, view)) is None:
            shape = page_growing(live, view)
        else:
            return self._format("change", change, number)
        return self._format("reply", {"thread": live.thread, **shape}, number)

    def _format(self, name: str, data: Mapping[str, Any], number: int) -> bytes:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return format_sse_event(data_str=text, event=name, id=f"{self._epoch}-{number}")

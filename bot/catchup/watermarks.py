"""Tracks in memory how far each channel is decided. Pure; adapters report each message.

A message is decided once the inbox has accepted it, or once it turns out to be irrelevant.

Invariant: a watermark passes only decided messages, and never moves back. It stops before a message
that is being accepted or has failed, and before an unread gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bot.domain.inbox import Watermark
from bot.ports.history import ChannelRef

IsMeant = Callable[[str], bool]
"""Selects workspaces by id."""


@dataclass(slots=True)
class _Workspace:
    """The state of one workspace. Idle channels take no space in it."""

    floor: int | None = None  # the watermark of all channels; None until there is one
    newest: int = 0  # the highest decided position
    gap: int = 0  # the number of the latest gap
    gap_open: bool = True
    closed: set[str] = field(default_factory=set)  # channels already read while a gap is open
    watermarks: dict[str, int] = field(default_factory=dict)  # of channels ahead of the floor
    decided: dict[str, int] = field(default_factory=dict)  # each channel's newest decided one
    undecided: dict[str, set[int]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)  # channels whose gap could not be read

    def position_of(self, channel: str) -> int:
        return max(self.floor or 0, self.watermarks.get(channel, 0))


class WatermarkTracker:
    """The watermarks of one platform.

    The workspace's watermark stays `lag` positions behind its newest message, because messages of
    different channels arrive only roughly in order.
    """

    def __init__(self, platform: str, *, lag: int) -> None:
        self._platform, self._lag = platform, lag
        self._workspaces: dict[str, _Workspace] = {}
        self._dirty: dict[ChannelRef, None] = {}

    # ── the store ─────────────────────────────────────────────────────────────────────────────
    def load(self, stored: Iterable[Watermark]) -> None:
        """Add stored watermarks; a higher one in memory is kept."""
        for mark in stored:
            state = self._state(mark.workspace)
            if mark.channel:
                known = state.watermarks.get(mark.channel, 0)
                state.watermarks[mark.channel] = max(known, mark.position)
            else:
                state.floor = max(state.floor or 0, mark.position)

    def take_changes(self) -> list[Watermark]:
        """Take the watermarks that moved since the last call; the workspace's come last."""
        for workspace in dict.fromkeys(ref.workspace for ref in self._dirty):
            self._raise_floor(workspace)
        changes = [mark for ref in self._dirty if (mark := self._watermark(ref)) is not None]
        self._dirty.clear()
        return sorted(changes, key=lambda mark: (mark.workspace, not mark.channel))

    def restore_changes(self, changes: Iterable[Watermark]) -> None:
        """Put changes that could not be stored back, for the next `take_changes`."""
        self._dirty.update(dict.fromkeys(ChannelRef(c.workspace, c.channel) for c in changes))

    @property
    def dirty(self) -> bool:
        """Whether there are changes to store."""
        return bool(self._dirty)

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    def knows(self, workspace: str) -> bool:
        """Whether the workspace has a watermark; if not, older messages stay unanswered."""
        return self._state(workspace).floor is not None

    def position_of(self, ref: ChannelRef) -> int:
        """The watermark that applies to a channel: the channel's or the workspace's."""
        return self._state(ref.workspace).position_of(ref.channel)

    def mark_seen(self, ref: ChannelRef, position: int) -> None:
        """Record that a message arrived; the watermark stays before it until it is decided."""
        state = self._state(ref.workspace)
        if position > state.position_of(ref.channel):
            state.undecided.setdefault(ref.channel, set()).add(position)

    def mark_decided(self, ref: ChannelRef, position: int) -> None:
        """Record that a message was accepted or is irrelevant."""
        state = self._state(ref.workspace)
        self._decide(state, ref.channel, {position})
        state.decided[ref.channel] = max(state.decided.get(ref.channel, 0), position)
        state.newest = max(state.newest, position)
        self._follow(state, ref)

    # ── gaps ──────────────────────────────────────────────────────────────────────────────────
    def open_gap(self, workspace: str) -> None:
        """Stop a workspace's watermarks, because messages may be missed."""
        self._open_gaps([self._state(workspace)])

    def open_gaps(self, is_meant: IsMeant = lambda _: True) -> None:
        """Stop the watermarks of all selected workspaces."""
        self._open_gaps([s for name, s in self._workspaces.items() if is_meant(name)])

    def _open_gaps(self, states: Iterable[_Workspace]) -> None:
        """Open a new gap in each state; closing an earlier one no longer has an effect."""
        for state in states:
            state.gap += 1
            state.gap_open = True
            state.closed.clear()

    def forget(self, is_meant: IsMeant) -> None:
        """Forget the selected workspaces, because another process follows them now."""
        for workspace in [name for name in self._workspaces if is_meant(name)]:
            del self._workspaces[workspace]
        for ref in [ref for ref in self._dirty if is_meant(ref.workspace)]:
            del self._dirty[ref]

    def gap(self, workspace: str) -> int:
        """The number of the workspace's latest gap, to pass to `close_gap`."""
        return self._state(workspace).gap

    def start_at(self, workspace: str, position: int) -> None:
        """Set the first watermark of a workspace: older messages stay unanswered, except those that
        have arrived and are undecided."""
        state = self._state(workspace)
        first = min((p for each in state.undecided.values() for p in each), default=position + 1)
        state.floor = max(state.floor or 0, min(position, first - 1))
        self._dirty[ChannelRef(workspace, "")] = None

    def advance(self, ref: ChannelRef, position: int) -> None:
        """Record that a backfill handled everything in a channel up to `position`."""
        state = self._state(ref.workspace)
        undecided = state.undecided.get(ref.channel, set())
        self._decide(state, ref.channel, {p for p in undecided if p <= position})
        if position > state.position_of(ref.channel):
            state.watermarks[ref.channel] = position
            state.newest = max(state.newest, position)
            self._dirty[ref] = None

    def hold(self, ref: ChannelRef) -> None:
        """Stop a channel's watermark until `release`, because its gap could not be read."""
        self._state(ref.workspace).held.add(ref.channel)

    def release(self, ref: ChannelRef) -> None:
        """Undo `hold`: the channel was read or never can be."""
        state = self._state(ref.workspace)
        state.held.discard(ref.channel)
        self._follow(state, ref)

    def close_channel(self, ref: ChannelRef, gap: int) -> None:
        """Let a channel's watermark follow live messages again, unless `gap` is outdated."""
        state = self._state(ref.workspace)
        if gap == state.gap:
            state.closed.add(ref.channel)
            self._follow(state, ref)

    def close_gap(self, workspace: str, gap: int) -> None:
        """Let all watermarks move again, unless `gap` is outdated.

        Call this once each channel with missed messages is read or on hold.
        """
        state = self._state(workspace)
        if gap != state.gap:
            return
        state.gap_open = False
        state.closed.clear()
        state.floor = state.floor or 0
        for channel in list(state.decided):
            self._follow(state, ChannelRef(workspace, channel))
        self._dirty[ChannelRef(workspace, "")] = None

    # ── moving watermarks ─────────────────────────────────────────────────────────────────────
    def _state(self, workspace: str) -> _Workspace:
        return self._workspaces.setdefault(workspace, _Workspace())

    def _decide(self, state: _Workspace, channel: str, positions: set[int]) -> None:
        undecided = state.undecided.get(channel)
        if undecided is not None:
            undecided -= positions
            if not undecided:
                del state.undecided[channel]

    def _follow(self, state: _Workspace, ref: ChannelRef) -> None:
        """Move a channel's watermark towards its newest decided message, as far as it may go."""
        channel = ref.channel
        if channel in state.held or (state.gap_open and channel not in state.closed):
            return
        reached = state.decided.get(channel, 0)
        undecided = state.undecided.get(channel)
        if undecided:
            reached = min(reached, min(undecided) - 1)
        else:
            state.decided.pop(channel, None)
        if reached > state.position_of(channel):
            state.watermarks[channel] = reached
            self._dirty[ref] = None

    def _raise_floor(self, workspace: str) -> None:
        """Move the workspace's watermark up to the first undecided message of any channel."""
        state = self._state(workspace)
        if state.gap_open or state.floor is None:
            return
        limits = [min(positions) - 1 for positions in state.undecided.values()]
        limits += [state.position_of(channel) for channel in state.held]
        reached = min([state.newest - self._lag, *limits])
        if reached > state.floor:
            state.floor = reached
            state.watermarks = {c: p for c, p in state.watermarks.items() if p > reached}
            self._dirty[ChannelRef(workspace, "")] = None

    def _watermark(self, ref: ChannelRef) -> Watermark | None:
        """The watermark to store; None if the workspace's watermark already covers the channel."""
        state = self._state(ref.workspace)
        position = state.watermarks.get(ref.channel) if ref.channel else state.floor
        if position is None:
            return None
        return Watermark(self._platform, ref.workspace, ref.channel, position)

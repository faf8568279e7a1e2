"""How far each place was decided, in memory: pure, and told by an adapter message by message.

Invariant: a watermark passes a message only when it was decided (accepted, or of no use). It never
passes one that is being taken in, one that failed, or a gap that has not been read yet; and it
never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.domain.inbox import Watermark


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """A channel of a workspace, in the platform's own ids (a thread that is a channel is one)."""

    workspace: str
    channel: str


@dataclass(slots=True)
class _Workspace:
    """What is known of one workspace; an idle channel leaves nothing here."""

    floor: int | None = None  # None: nothing was ever decided here
    newest: int = 0  # the highest position that was decided
    gap: bool = True  # whether something may have been missed that nobody has read yet
    closed: set[str] = field(default_factory=set)  # channels that were read although there is a gap
    rows: dict[str, int] = field(default_factory=dict)  # watermarks above the floor
    live: dict[str, int] = field(default_factory=dict)  # decided, but beyond a gap or an open one
    open: dict[str, set[int]] = field(default_factory=dict)  # being taken in, or failed

    def low(self, channel: str) -> int:
        return max(self.floor or 0, self.rows.get(channel, 0))


class WatermarkTracker:
    """All watermarks of one platform.

    `lag`, in positions, is how far the workspace's own stays behind the newest message: the order
    in which messages of different channels arrive is their order only roughly.
    """

    def __init__(self, platform: str, *, lag: int) -> None:
        self._platform, self._lag = platform, lag
        self._workspaces: dict[str, _Workspace] = {}
        self._dirty: dict[ChannelRef, None] = {}

    # ── what was stored ───────────────────────────────────────────────────────────────────────
    def load(self, stored: Iterable[Watermark]) -> None:
        """Take what the store has; what is known already stays where it is higher."""
        for mark in stored:
            here = self._here(mark.workspace)
            if mark.channel:
                here.rows[mark.channel] = max(here.rows.get(mark.channel, 0), mark.position)
            else:
                here.floor = max(here.floor or 0, mark.position)

    def changes(self) -> list[Watermark]:
        """What is to be stored since the last time, a workspace's own after its channels'."""
        for workspace in dict.fromkeys(spot.workspace for spot in self._dirty):
            self._raise_floor(workspace)
        found = [self._watermark(spot) for spot in self._dirty]
        self._dirty.clear()
        marks = [mark for mark in found if mark is not None]
        return sorted(marks, key=lambda mark: (mark.workspace, not mark.channel))

    def unsaved(self, marks: Iterable[Watermark]) -> None:
        """These could not be stored: they are among the next changes."""
        self._dirty.update(dict.fromkeys(ChannelRef(m.workspace, m.channel) for m in marks))

    @property
    def dirty(self) -> bool:
        """Whether there is something to store."""
        return bool(self._dirty)

    # ── what is asked ─────────────────────────────────────────────────────────────────────────
    def known(self, workspace: str) -> bool:
        """Whether anything was ever decided here; else nobody wants its past answered."""
        return self._here(workspace).floor is not None

    def of(self, spot: ChannelRef) -> int:
        """The watermark of a channel."""
        return self._here(spot.workspace).low(spot.channel)

    # ── messages as they arrive ───────────────────────────────────────────────────────────────
    def seen(self, spot: ChannelRef, position: int) -> None:
        """A message arrived: nothing passes it until it is decided."""
        here = self._here(spot.workspace)
        if position > here.low(spot.channel):
            here.open.setdefault(spot.channel, set()).add(position)

    def decided(self, spot: ChannelRef, position: int) -> None:
        """It was accepted, or is of no use."""
        here = self._here(spot.workspace)
        self._settle(here, spot.channel, {position})
        here.live[spot.channel] = max(here.live.get(spot.channel, 0), position)
        here.newest = max(here.newest, position)
        self._advance(here, spot)

    # ── gaps ──────────────────────────────────────────────────────────────────────────────────
    def interrupted(self, workspace: str | None = None) -> None:
        """Messages may have been missed here, by default everywhere: nothing advances."""
        for here in [self._here(workspace)] if workspace else self._workspaces.values():
            here.gap = True
            here.closed.clear()

    def begin(self, workspace: str, position: int) -> None:
        """Nothing before `position` is wanted from a workspace that was not known."""
        here = self._here(workspace)
        here.floor = max(here.floor or 0, position)
        self._dirty[ChannelRef(workspace, "")] = None

    def read(self, spot: ChannelRef, until: int) -> None:
        """Everything up to `until` was read from the platform and decided."""
        here = self._here(spot.workspace)
        opened = here.open.get(spot.channel, set())
        self._settle(here, spot.channel, {p for p in opened if p <= until})
        if until > here.low(spot.channel):
            here.rows[spot.channel] = until
            here.newest = max(here.newest, until)
            self._dirty[spot] = None

    def closed(self, spot: ChannelRef) -> None:
        """The channel's gap was read to its end (or cannot be read): it advances again."""
        here = self._here(spot.workspace)
        here.closed.add(spot.channel)
        self._advance(here, spot)

    def unread(self, spot: ChannelRef) -> None:
        """The channel's gap could not be read: nothing passes it until it was, others go on."""
        here = self._here(spot.workspace)
        here.open.setdefault(spot.channel, set()).add(here.low(spot.channel) + 1)

    def found(self, spot: ChannelRef) -> None:
        """What was `unread` has been read since, or is never to be."""
        here = self._here(spot.workspace)
        self._settle(here, spot.channel, {here.low(spot.channel) + 1})

    def whole(self, workspace: str) -> None:
        """Every gap was closed, or is `unread`: the other channels missed nothing."""
        here = self._here(workspace)
        here.gap = False
        here.closed.clear()
        here.floor = here.floor or 0
        for channel in list(here.live):
            self._advance(here, ChannelRef(workspace, channel))
        self._dirty[ChannelRef(workspace, "")] = None

    # ── how they move ─────────────────────────────────────────────────────────────────────────
    def _here(self, workspace: str) -> _Workspace:
        return self._workspaces.setdefault(workspace, _Workspace())

    def _settle(self, here: _Workspace, channel: str, positions: set[int]) -> None:
        left = here.open.get(channel)
        if left is None:
            return
        left -= positions
        if not left:
            del here.open[channel]

    def _advance(self, here: _Workspace, spot: ChannelRef) -> None:
        channel = spot.channel
        if here.gap and channel not in here.closed:
            return
        reached = here.live.get(channel, 0)
        undecided = here.open.get(channel)
        if undecided:
            reached = min(reached, min(undecided) - 1)
        else:
            here.live.pop(channel, None)
        if reached > here.low(channel):
            here.rows[channel] = reached
            self._dirty[spot] = None

    def _raise_floor(self, workspace: str) -> None:
        """The workspace's own follows the newest, as far as nothing before it is undecided."""
        here = self._here(workspace)
        if here.gap or here.floor is None:
            return
        undecided = [min(positions) - 1 for positions in here.open.values()]
        reached = min([here.newest - self._lag, *undecided])
        if reached > here.floor:
            here.floor = reached
            here.rows = {c: row for c, row in here.rows.items() if row > reached}
            self._dirty[ChannelRef(workspace, "")] = None

    def _watermark(self, spot: ChannelRef) -> Watermark | None:
        """None for a channel whose workspace's own says it meanwhile."""
        here = self._here(spot.workspace)
        position = here.rows.get(spot.channel) if spot.channel else here.floor
        if position is None:
            return None
        return Watermark(self._platform, spot.workspace, spot.channel, position)

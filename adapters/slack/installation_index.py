"""An in-memory index of installations: about 1 kB each, and no tokens.

Invariant: a workspace counts as not installed only after the database has said so, and then for
ABSENT_SECONDS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from cachetools import TTLCache

from adapters.slack.events import PLATFORM
from adapters.slack.installations import IDENTITY
from adapters.slack.shared_tasks import result_of
from adapters.slack.vault import Vault
from bot.common.retry import retry_while_unavailable
from bot.domain.errors import StoreUnavailable, Unsettled
from bot.domain.installations import Installation

ABSENT_SECONDS = 5.0
"""How long a workspace counts as not installed before the database is asked again."""

MAX_ABSENT = 10_000

FIND_SECONDS = 1.0
"""How long a delivery waits for one lookup; Slack expects an acknowledgement within 3 s."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in the index since it was last read.

    `replaced` have another token; `accepted` are new, or Slack accepts their token again.
    """

    removed: Sequence[str]
    replaced: Sequence[str]
    accepted: Sequence[str]


class InstallationIndex:
    """The installations of the app. `changed` is called after each read of the database."""

    def __init__(self, *, vault: Vault, changed: Callable[[Changes], None]) -> None:
        self._vault, self._clock, self._changed = vault, vault.clock, changed
        self._known: dict[str, Installation] = {}
        self._bots: dict[str, str] = {}  # the bot's user in a workspace → the workspace
        self._absent: TTLCache[str, bool] = TTLCache(
            MAX_ABSENT, ABSENT_SECONDS, self._clock.monotonic
        )
        self._reading: asyncio.Task[None] | None = None

    # ── reading the database ──────────────────────────────────────────────────────────────────
    async def load(self) -> None:
        """Read the index for the first time, retrying for as long as the database fails. Raises
        CannotStart: see `Vault.unlock`."""
        self._update(await retry_while_unavailable(self._vault.unlock, self._clock.sleep))

    async def refresh(self) -> None:
        """Read the index; concurrent callers share the next read.

        Never joins a read that has already begun. Raises StoreUnavailable or Unsettled.
        """
        if self._reading is not None and not self._reading.done():
            await asyncio.wait({self._reading})
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="slack installations")
            self._reading.add_done_callback(_retrieve)
        await result_of(self._reading)

    async def look_for(self, named: Collection[str]) -> None:
        """Read the index, and note which of these workspaces are not in it.

        Raises Unsettled if the database does not answer in time: nothing is known then.
        """
        try:
            async with asyncio.timeout(FIND_SECONDS):
                await self.refresh()
        except (StoreUnavailable, TimeoutError) as error:
            raise Unsettled(f"the installations cannot be read: {error!r}") from error
        self._absent.update(dict.fromkeys((each for each in named if each not in self), True))

    async def aclose(self) -> None:
        """Cancel a read."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self) -> None:
        self._update(await self._vault.records.list_installations(PLATFORM))

    def _update(self, found: Iterable[Installation]) -> None:
        before, self._known = self._known, {each.workspace: _compact(each) for each in found}
        self._index_bots()
        for workspace in [each for each in self._absent if each in self._known]:
            self._absent.pop(workspace, None)
        self._changed(_compare(before, self._known))

    def _index_bots(self) -> None:
        self._bots = {
            user: workspace for workspace in self._known if (user := self.bot_of(workspace))
        }

    # ── what is known ─────────────────────────────────────────────────────────────────────────
    def __contains__(self, workspace: str) -> bool:
        return workspace in self._known

    def __len__(self) -> int:
        return len(self._known)

    @property
    def names(self) -> Sequence[str]:
        """The workspaces with an installation."""
        return tuple(self._known)

    def get(self, workspace: str) -> Installation | None:
        """The installation in a workspace."""
        return self._known.get(workspace)

    def bot_of(self, workspace: str) -> str:
        """The bot's user in a workspace; "" if unknown."""
        known = self._known.get(workspace)
        return known.details.get("bot_user", "") if known is not None else ""

    def workspace_of(self, bot_user: str) -> str | None:
        """The workspace in which the app has this bot user."""
        return self._bots.get(bot_user)

    def is_absent(self, workspace: str) -> bool:
        """Whether the database recently said that the app is not installed there."""
        return workspace in self._absent

    def remove(self, workspace: str) -> None:
        """Remove a deleted installation."""
        self._known.pop(workspace, None)
        self._index_bots()


def _compare(before: dict[str, Installation], now: dict[str, Installation]) -> Changes:
    replaced = [
        workspace
        for workspace, each in now.items()
        if workspace in before and before[workspace].installed_at != each.installed_at
    ]
    accepted = [
        workspace
        for workspace, each in now.items()
        if workspace not in before or (before[workspace].problem and not each.problem)
    ]
    return Changes(tuple(before.keys() - now.keys()), replaced, accepted)


def _compact(installation: Installation) -> Installation:
    """The installation as kept in the index, without details that only commands show."""
    known = installation.details
    return replace(installation, details={name: known[name] for name in IDENTITY if name in known})


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the task's error, because its callers may have stopped waiting."""
    if not task.cancelled():
        task.exception()

"""Describes one person at one place, querying the platform only as far as a decision needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from cachetools import TTLCache

from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.policy import PersonFacts, PersonKind, PersonRef, Standing
from bot.policy.people import Purpose, any_means, applying, needs_person
from bot.ports.policy import Directory

log = structlog.stdlib.get_logger(__name__)

KNOWN_SECONDS = 60.0
"""How long to trust the platform's answer about whether a name exists."""

MAX_NAMES = 10_000

_CHECKED = (PersonKind.NAME, PersonKind.GROUP, PersonKind.CHANNEL)
"""The kinds of references that may match no one. A user id needs no check, because an unknown one
has no effect."""


class KnownNames:
    """Caches for a minute which references exist on the platforms."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._known: TTLCache[PersonRef, bool] = TTLCache(MAX_NAMES, KNOWN_SECONDS, timer=now)

    async def are_known(self, directory: Directory, refs: Sequence[PersonRef]) -> bool:
        """Whether all of `refs` exist. Raises a PlatformError."""
        missing = [ref for ref in refs if ref not in self._known]
        if missing:
            unknown = frozenset(await directory.unknown(missing))
            for ref in missing:
                self._known[ref] = ref.text not in unknown
        return all(self._known.get(ref, False) for ref in refs)


class PersonAt:
    """A person in the workspace of `key`, as described by the platform, which is queried on demand.

    `directory` is None if the platform does not answer. `is_gone`: the person is not there.
    """

    def __init__(
        self, directory: Directory | None, key: ConversationKey, author: Author, names: KnownNames
    ) -> None:
        self._directory, self._key, self._author, self._names = directory, key, author, names
        self.facts: PersonFacts | None = None
        self._reads: dict[PersonRef, bool | None] = {}
        self._asked = self.is_gone = False

    async def is_one_of(self, refs: Sequence[PersonRef], purpose: Purpose) -> bool | None:
        """Whether one of `refs` matches the person; None if unknown."""
        refs = applying(refs, self._key)
        answer = any_means(refs, self._author, self.facts, self._reads, purpose)
        if answer is not None:
            return answer
        if any(needs_person(ref, purpose) for ref in refs):
            await self.describe()
        await self._ask_about_channels([ref for ref in refs if ref.kind is PersonKind.CHANNEL])
        return any_means(refs, self._author, self.facts, self._reads, purpose)

    async def is_stranger(self) -> bool | None:
        """Whether the person belongs to another organization; None if unknown."""
        if self._directory is None:
            return None
        if not self._directory.has_strangers:
            return False
        if self.facts is not None:
            return self.facts.standing is Standing.STRANGER
        try:
            return await self._directory.is_stranger(self._key, self._author)
        except Gone:
            self.is_gone = True
        except (PlatformError, TimeoutError) as error:
            log.warning("the platform did not describe a person", error=repr(error))
        return None

    async def are_known(self, refs: Sequence[PersonRef]) -> bool | None:
        """Whether all of `refs` exist here; None if unknown."""
        here = [
            replace(ref, platform=self._key.platform, workspace=self._key.workspace)
            for ref in applying(refs, self._key)
            if ref.kind in _CHECKED
        ]
        if not here:
            return True
        try:
            directory = self._directory
            return None if directory is None else await self._names.are_known(directory, here)
        except (PlatformError, TimeoutError) as error:
            log.warning("the names in a list cannot be checked", error=repr(error))
            return None

    async def describe(self) -> None:
        """Query the platform about the person, at most once."""
        if self._asked or self._directory is None:
            return
        self._asked = True
        try:
            self.facts = await self._directory.person(self._key, self._author)
        except Gone:
            self.is_gone = True
        except (PlatformError, TimeoutError) as error:
            log.warning("the platform did not describe a person", error=repr(error))

    async def _ask_about_channels(self, refs: Sequence[PersonRef]) -> None:
        for ref in refs:
            if ref not in self._reads and self._directory is not None:
                workspace = ref.workspace or self._key.workspace
                channel = ConversationKey(self._key.platform, workspace, ref.value, "")
                try:
                    can_read = await self._directory.can_read(channel, self._author.id)
                except (PlatformError, TimeoutError) as error:
                    log.warning("the readers of a channel are unknown", error=repr(error))
                    self._reads[ref] = None
                else:
                    self._reads[ref] = can_read

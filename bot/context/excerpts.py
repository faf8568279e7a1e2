"""Reads the excerpts of files that requests contain, once each, and cuts them to size.

Invariant: an excerpt depends only on the files of its message and on the room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cachetools import LRUCache

from bot.context.window import MIN_QUESTION_TOKENS, shorten
from bot.domain.attachments import Extract
from bot.domain.tokens import count_up_to, image_tokens
from bot.ports.attachments import AttachmentStore

MIN_FILE_TOKENS = 50
"""A shorter excerpt would be useless, and a shorter file is no longer than its stub."""

BRIEF_SHARE = 0.1
"""The share of the budget that a huge message keeps once the window was full: its beginning and its
end, about a page, so that the rest of the conversation is not pushed out."""

CACHED_CHARACTERS = 4_000_000
"""Characters of excerpts in memory, for all conversations together (about 16 MB at most), so that a
turn does not read long files again."""


HUGE = 2
"""A message is shortened to its brief only if it has this many times the brief's tokens."""


def brief_tokens(budget: int) -> int:
    """The tokens that an old huge message keeps of a request's `budget` after it is shortened."""
    return max(int(BRIEF_SHARE * budget), MIN_QUESTION_TOKENS)


def lasting_tokens(tokens: float, budget: int) -> float:
    """The tokens that a message of `tokens` needs in the window in the long run."""
    brief = brief_tokens(budget)
    return brief if tokens > HUGE * brief else tokens


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What a model receives of a file: the extract with shortened text, and its images."""

    extract: Extract
    is_shortened: bool


ExcerptCache = LRUCache[tuple[tuple[str, ...], int], Sequence[Excerpt]]


def excerpt_cache() -> ExcerptCache:
    """Create a cache of recent requests' excerpts without images, by digests and size."""
    return LRUCache(CACHED_CHARACTERS, getsizeof=_characters)


def _characters(excerpts: Sequence[Excerpt]) -> int:
    return 1_000 + sum(len(excerpt.extract.text) for excerpt in excerpts)


@dataclass(slots=True)
class ExcerptReader:
    """Reads the excerpts of one request; those with images are kept until the request ends."""

    store: AttachmentStore
    cache: ExcerptCache
    _with_images: dict[str, Extract] = field(default_factory=dict)

    async def read(self, digests: tuple[str, ...], room: int) -> Mapping[str, Excerpt]:
        """Read the excerpts of one message's files, by digest; they share `room`, in tokens.

        Files without an extract are left out. Raises StoreUnavailable.
        """
        if not digests:
            return {}
        if (cached := self.cache.get((digests, room))) is not None:
            return dict(zip(digests, cached, strict=True))
        found = {digest: await self._read(digest) for digest in digests}
        extracts = {digest: extract for digest, extract in found.items() if extract is not None}
        excerpts = dict(zip(extracts, _fit(list(extracts.values()), room), strict=True))
        shown = tuple(excerpts.values())
        is_whole = len(shown) == len(digests) and not any(each.extract.images for each in shown)
        if is_whole and _characters(shown) <= CACHED_CHARACTERS:
            self.cache[digests, room] = shown
        return excerpts

    async def _read(self, digest: str) -> Extract | None:
        if digest in self._with_images:
            return self._with_images[digest]
        extract = await self.store.read_extract(digest)
        if extract is not None and extract.images:
            self._with_images[digest] = extract
        return extract


def _fit(extracts: Sequence[Extract], room: int) -> list[Excerpt]:
    """Share the room between texts: short files stay complete, long ones get equal parts.

    Images of the same message take at most half of the room.
    """
    images = sum(image_tokens(image) for extract in extracts for image in extract.images)
    room -= min(images, room // 2)
    costs = sorted((count_up_to(each.text, room), n) for n, each in enumerate(extracts))
    excerpts = [Excerpt(each, is_shortened=False) for each in extracts]
    left = sum(cost > 0 for cost, _ in costs)
    for cost, n in costs:
        if not cost:
            continue
        share = max(MIN_FILE_TOKENS, max(0, room) // left)
        if cost > share:
            short = replace(extracts[n], text=shorten(extracts[n].text, share))
            excerpts[n] = Excerpt(short, is_shortened=True)
        room, left = room - min(cost, share), left - 1
    return excerpts

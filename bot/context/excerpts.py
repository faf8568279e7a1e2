"""The excerpts of files' extracts that requests contain: read once, and cut to their room.

Invariant: an excerpt depends on the files of its message and on the room, on nothing else.
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
"""A shorter excerpt of a file would be useless; a shorter file is no longer than its stub."""

BRIEF_SHARE = 0.1
"""What a huge message keeps of the budget once the window was full, so that it costs the rest of
the conversation no memory: its beginning and its end, as a page of text."""

CACHED_CHARACTERS = 4_000_000
"""Excerpts in memory, of all conversations together, so that a turn does not read long files again:
about 16 MB at most."""


HUGE = 2
"""A message is shortened to its brief only if it has this many times the tokens: not by a line."""


def brief_tokens(budget: int) -> int:
    """What an old huge message has of a request's `budget` once it was shortened."""
    return max(int(BRIEF_SHARE * budget), MIN_QUESTION_TOKENS)


def lasting_tokens(tokens: float, budget: int) -> float:
    """What a message of `tokens` needs in the window in the long run."""
    brief = brief_tokens(budget)
    return brief if tokens > HUGE * brief else tokens


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What a model gets of a file: the extract with its text shortened, and its images."""

    extract: Extract
    is_shortened: bool


ExcerptCache = LRUCache[tuple[tuple[str, ...], int], Sequence[Excerpt]]


def excerpt_cache() -> ExcerptCache:
    """The excerpts without images of recent requests, by digests and size."""
    return LRUCache(CACHED_CHARACTERS, getsizeof=_characters)


def _characters(excerpts: Sequence[Excerpt]) -> int:
    return 1_000 + sum(len(excerpt.extract.text) for excerpt in excerpts)


@dataclass(slots=True)
class ExcerptReader:
    """Reads the excerpts of one request; those with images are kept until its end."""

    store: AttachmentStore
    cache: ExcerptCache
    _with_images: dict[str, Extract] = field(default_factory=dict)

    async def read(self, digests: tuple[str, ...], room: int) -> Mapping[str, Excerpt]:
        """The excerpts of one message's files, by digest; they share `room`, in tokens.

        A file without an extract is missing. Raises StoreUnavailable.
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
    """Share the room for texts: short files are complete, long ones get equal parts.

    Images of the same message take at most half of it.
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

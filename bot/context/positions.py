"""Decides where a conversation's window begins, and whose attachments become stubs.

Invariant: both positions move only when the request would not fit, and then far enough for many
turns. In between, each request begins with the whole previous request, so that providers' prompt
caches hit. See docs/decisions/2026-11-29-requests-keep-their-beginning.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.context.attachments import RECALLED_MESSAGES, AttachmentContext, new_among
from bot.context.estimates import RequestEstimate
from bot.context.excerpts import HUGE, brief_tokens, lasting_tokens
from bot.context.roles import add_names
from bot.context.window import shorten
from bot.domain.context import ContextState
from bot.domain.conversations import Message, Role
from bot.domain.tokens import ASTRAL_TOKENS, count_up_to
from bot.ports.store import Store

HISTORY_ROWS = 100
"""Messages per read of the history: most contexts need one read, long ones a few."""

MOST_CHARACTERS_PER_TOKEN = 20
"""No tokenizer needs fewer tokens per character, except for runs of one character. This bound is
faster than an estimate and only decides where reading stops."""

KEPT_SHARE = 0.7
"""A full window is cut to this share of the budget, so that turns first use up the other 30 %."""

ROOMY_SHARE = 0.85
"""If stubs and excerpts shrink a full window to this share, no message has to leave it."""

MAX_OPEN_MESSAGES = 60
"""The most messages whose attachments a request includes with their contents: an old conversation
may have thousands of images, which must not be in memory together."""

QUESTION_SHARE = 0.5
"""The largest share of the budget for a message that is no longer a question, and the share that
the questions of one turn count for together."""

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Source:
    """The messages that a request may contain: those of a conversation below index `before`."""

    conversation: int
    epoch: int
    before: int
    questions: frozenset[int] = frozenset()
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size limits of a request, in expected tokens.

    Excerpts are cut for the budget `usual`; `budget` is smaller after a refusal. `fixed` are the
    tokens of the system prompt and of the summary.
    """

    budget: int
    usual: int
    fixed: float


@dataclass(frozen=True, slots=True)
class Positions:
    """The messages of a window, oldest first: as stored rows, and with names and attachments."""

    start: int
    stubs_before: int
    rows: Sequence[Message]
    messages: Sequence[Message]


class WindowReader:
    """Reads a window, and moves its positions if it does not fit."""

    def __init__(
        self,
        *,
        store: Store,
        source: Source,
        sizes: Sizes,
        attached: AttachmentContext,
        estimate: RequestEstimate,
    ) -> None:
        self._store, self._source, self._sizes = store, source, sizes
        self._attached, self._estimate = attached, estimate
        self._images_from = 0  # messages below this index have no images in this request
        self._brief = brief_tokens(sizes.usual)

    async def read(self, state: ContextState) -> Positions:
        """Read the window from its stored positions, or later. Raises StoreUnavailable."""
        rows, is_complete = await self._read_rows(state.start)
        await self._attached.load([*await self._read_above(rows, state), *rows])
        window = await self._expand(rows, state.start, self._first_open(rows, state.stubs_before))
        if self._has_too_many_images():
            window = await self._reduce_images(window)
        if is_complete and self._tokens(window) <= self._sizes.budget:
            return window
        if not self._is_cut(window):
            window = await self._stub(window, self._is_cut)
        if not is_complete or self._tokens(window) > ROOMY_SHARE * self._sizes.budget:
            window = await self._cut(window)
        return window

    async def _read_rows(self, start: int) -> tuple[list[Message], bool]:
        """The rows from `start` on, oldest first, and whether these are all.

        Reading stops once the texts are far too long, so the cost does not grow with the history.
        """
        source, found, before = self._source, list[Message](), self._source.before
        left = self._sizes.budget - self._sizes.fixed
        while True:
            rows = await self._store.history(
                source.conversation,
                epoch=source.epoch,
                start=start,
                before=before,
                limit=HISTORY_ROWS,
            )
            fitting = [self._limit(row) for row in rows]
            found += fitting
            left -= sum(
                len(row.content) / MOST_CHARACTERS_PER_TOKEN
                for row in fitting
                if row.id not in source.questions
            )
            if len(rows) < HISTORY_ROWS or left < 0:
                break
            before = rows[-1].index
        kept = self._drop_far_too_old(found)
        return kept[::-1], len(rows) < HISTORY_ROWS and len(kept) == len(found)

    def _drop_far_too_old(self, found: list[Message]) -> list[Message]:
        """Drop rows (newest first) that cannot stay, before their attachments are read.

        A window that was filled turn by turn has no such rows; one from before an upgrade may.
        """
        if sum(len(row.content) for row in found) < 6 * self._sizes.budget:
            return found
        left, questions = self._sizes.budget - self._sizes.fixed, self._source.questions
        last = max((n for n, row in enumerate(found) if row.id in questions), default=-1)
        for position, row in enumerate(found):
            left -= 0 if row.id in questions else self._lasting(self._estimate.message(row))
            if left < 0 and position > last:
                return found[:position]
        return found

    async def _read_above(self, rows: Sequence[Message], state: ContextState) -> Sequence[Message]:
        """Messages above `rows` whose files one of them may ask for again."""
        first = self._attached.first_wanted(rows, state.stubs_before)
        if first is None:
            return ()
        found = await self._store.history(
            self._source.conversation,
            epoch=self._source.epoch,
            start=first,
            before=rows[0].index,
            limit=RECALLED_MESSAGES,
        )
        return [row for row in reversed(found) if row.has_attachments]

    def _limit(self, row: Message) -> Message:
        """Cut the middle out of the row if it takes half of the budget and is not a question."""
        return self._shorten(row, int(QUESTION_SHARE * self._sizes.usual))

    def _shorten(self, row: Message, most: int) -> Message:
        """Shorten the row to `most` tokens, unless it is a question."""
        if not _is_longer(row, most) or row.id in self._source.questions:
            return row
        return replace(row, content=shorten(row.content, most))

    async def _expand(self, rows: Sequence[Message], start: int, stubs_before: int) -> Positions:
        messages: Sequence[Message] = await self._attached.expand(
            [
                self._shorten(row, self._brief)
                if row.index < stubs_before and self._is_huge(row)
                else row
                for row in rows
            ],
            stubs_before=stubs_before,
            images_from=self._images_from,
        )
        if self._source.shared:
            messages = add_names(messages)
        return Positions(start, stubs_before, rows, messages)

    def _first_open(self, rows: Sequence[Message], stubs_before: int) -> int:
        """The lowest index whose attachments may keep their contents, before any is read."""
        bodies = [index for index in self._attached.bodies(rows) if index >= stubs_before]
        if len(bodies) <= MAX_OPEN_MESSAGES:
            return stubs_before
        kept = bodies[-int(KEPT_SHARE * MAX_OPEN_MESSAGES)]
        asked = [row.index for row in rows if row.id in self._source.questions]
        return max(stubs_before, min((kept, *asked[:1])))

    def _has_too_many_images(self) -> bool:
        return self._attached.image_count > self._attached.max_images

    def _has_fewer_images(self, _window: Positions) -> bool:
        return self._attached.image_count <= max(1, int(KEPT_SHARE * self._attached.max_images))

    def _is_cut(self, window: Positions) -> bool:
        return self._tokens(window) <= KEPT_SHARE * self._sizes.budget

    def _tokens(self, window: Positions) -> float:
        costs = self._costs(window)
        history = sum(cost for each, cost in costs.items() if each not in self._source.questions)
        return self._sizes.fixed + self._questions(costs) + history

    def _questions(self, costs: Mapping[int, float]) -> float:
        asked = sum(cost for each, cost in costs.items() if each in self._source.questions)
        return min(asked, QUESTION_SHARE * self._sizes.budget)

    def _costs(self, window: Positions) -> dict[int, float]:
        """The tokens that each message counts for, by its id.

        A message of the newest turn counts with its later size: if it is huge, this turn has less
        history, but no message has to leave the window.
        """
        newest = self._first_new(window.rows)
        return {
            each.id: self._lasting(cost) if each.index >= newest else cost
            for each in window.messages
            for cost in (self._estimate.message(each),)
        }

    # ── moving ────────────────────────────────────────────────────────────────────────────────
    async def _stub(self, window: Positions, is_enough: Callable[[Positions], bool]) -> Positions:
        """Reduce old messages until `is_enough`, leaving the newest turn unchanged.

        Files become stubs, and huge texts become excerpts.
        """
        newest = self._first_new(window.rows)
        bodies = set(self._attached.bodies(window.rows))
        ends = [
            row.index + 1
            for row in window.rows
            if window.stubs_before <= row.index < newest
            and (row.index in bodies or self._is_huge(row) or self._attached.has_long_words(row))
        ]
        if not ends:
            return window
        low, high = 0, len(ends) - 1  # the lowest end known to be enough, or all of them
        while low < high:
            middle = (low + high) // 2
            tried = await self._expand(window.rows, window.start, ends[middle])
            if is_enough(tried):
                high = middle
            else:
                low = middle + 1
        return await self._expand(window.rows, window.start, ends[high])

    def _is_huge(self, row: Message) -> bool:
        return _is_longer(row, HUGE * self._brief)

    def _lasting(self, tokens: float) -> float:
        return lasting_tokens(tokens, self._sizes.usual)

    def _first_new(self, rows: Sequence[Message]) -> int:
        """The index of the newest turn's first message, or one behind all messages."""
        new = [row.index for row in new_among(rows)]
        asked = [row.index for row in rows if row.id in self._source.questions]
        return min((*new[:1], *asked[:1], self._source.before))

    async def _cut(self, window: Positions) -> Positions:
        """Drop the oldest messages, down to `KEPT_SHARE`; the questions stay."""
        share = KEPT_SHARE
        for _ in range(_TRIES):
            first = self._first_kept(window, share * self._sizes.budget)
            rows = window.rows[first:]
            start = rows[0].index if first else window.start
            window = await self._expand(rows, start, window.stubs_before)
            if self._tokens(window) <= self._sizes.budget:
                break
            share *= KEPT_SHARE  # the first copy of a file is gone, and the next one is complete
        return window

    def _first_kept(self, window: Positions, tokens: float) -> int:
        """The position of the first row to keep within `tokens`; if possible, not an answer."""
        rows, kept, costs = window.rows, len(window.rows), self._costs(window)
        left = tokens - self._sizes.fixed - self._questions(costs)
        asked = [n for n, row in enumerate(rows) if row.id in self._source.questions]
        last = min((*asked[:1], max(len(rows) - 1, 0)))
        for position in range(len(rows) - 1, -1, -1):
            if rows[position].id not in self._source.questions:
                left -= costs[rows[position].id]
            if left < 0:
                break
            kept = position
        kept = min(kept, last)
        while kept < last and rows[kept].role is Role.ASSISTANT:
            kept += 1
        return kept

    async def _reduce_images(self, window: Positions) -> Positions:
        """Drop old images; if the newest turn alone has too many, keep its last messages' images.

        This happens before tokens are counted, so that excess images do not push out messages.
        """
        window = await self._stub(window, self._has_fewer_images)
        if not self._has_too_many_images():
            return window
        left = self._attached.max_images
        for message in reversed(window.messages):
            left -= len(message.parts)
            if left < 0:
                self._images_from = message.index + 1
                break
        return await self._expand(window.rows, window.start, window.stubs_before)


def _is_longer(row: Message, tokens: int) -> bool:
    """Whether the text has more tokens than this; fast for short and for very long texts."""
    is_short = len(row.content) * ASTRAL_TOKENS <= tokens
    return not is_short and count_up_to(row.content, tokens) > tokens

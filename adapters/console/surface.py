"""A reply in the terminal: what is written cannot be edited, so only stable text goes out."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from adapters.console.styles import styled
from bot.domain.replies import Frame, Limit, Request, Shown
from bot.domain.turns import Claim, PageRecord
from bot.ports.platform import RateLimiter
from bot.replies.plan import Render, carried_out, plan_by_appends

# A terminal has no limit to a message; one page keeps the whole reply in one piece.
NO_LIMIT = sys.maxsize

# Control characters, overrides and isolates of the writing direction, halves of characters.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)


def limits(_scope: str) -> Limit | None:
    """A terminal takes whatever comes."""
    return None


class ConsoleRenderer:
    """Markdown as it is, which people read every day; in a terminal, with its emphasis shown."""

    limit = NO_LIMIT

    def __init__(self, style: Render = str) -> None:
        self._style = style

    def render(self, markdown: str) -> str:
        """The text itself, without what could take over the terminal or turn its lines around.

        Joiners, no-break and ideographic spaces are letters of many languages, and stay.
        """
        return self._style(_UNSAFE.sub("", markdown))

    def measure(self, markdown: str) -> int:
        """Characters; nothing is ever cut."""
        return len(markdown)


class Output(Protocol):
    """Where text goes."""

    def write(self, text: str, /) -> object:
        """Write it."""
        ...

    def flush(self) -> None:
        """Let it out."""
        ...

    def isatty(self) -> bool:
        """Whether a person sees it, in a terminal."""
        ...


def renderer_for(out: Output) -> ConsoleRenderer:
    """With emphasis where a person looks at it, without where a program reads it."""
    return ConsoleRenderer(styled) if out.isatty() else ConsoleRenderer()


class ConsoleSurface:
    """Writes to `out` as the reply grows, and calls `on_close` when it has ended."""

    def __init__(
        self, claim: Claim, *, out: Output, rate_limiter: RateLimiter, on_close: Callable[[], None]
    ) -> None:
        self._message_id = f"reply-{claim.fence.turn}"
        self._out, self._rate_limiter, self._on_close = out, rate_limiter, on_close
        self._renderer = renderer_for(out)

    @property
    def renderer(self) -> ConsoleRenderer:
        """Plain Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """No: who sits there waits, or presses Ctrl-C."""
        return False

    @property
    def files(self) -> None:
        """None: a terminal has room for all code."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """A budget without limits."""
        return self._rate_limiter

    async def open(self) -> None:
        """The place is the line below the question."""

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """What an earlier process wrote is not on this terminal: the reply is written anew."""
        return Shown()

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next piece of stable text."""
        return plan_by_appends(
            shown, frame, render=self._renderer.render, scopes=lambda action, page: ()
        )

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Write it."""
        self._out.write(request.text)
        self._out.flush()
        return carried_out(shown, request, message_id=self._message_id)

    async def close(self) -> None:
        """The answer's last line ends."""
        self._out.write("\n")
        self._out.flush()
        self._on_close()


class PipeSurface(ConsoleSurface):
    """Writes the model's own words as they come; the end, which may be a failure's, is held back.

    The pipe carries the answer alone: `ConsoleAdapter.finish` writes the rest of it.
    """

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Write it, but for what comes with the reply's end."""
        if request.final:
            return carried_out(shown, request, message_id=self._message_id)
        return await super().perform(request, shown)

    async def close(self) -> None:
        """The answer's last line ends with what is left of it."""
        self._on_close()

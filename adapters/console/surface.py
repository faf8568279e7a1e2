"""Shows a reply in the terminal, which cannot edit its output, so only stable text is shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from adapters.console.growing import GrowingReply
from bot.domain.replies import Frame, Limit, Request, Shown
from bot.domain.turns import Claim, PageRecord
from bot.ports.platform import RateLimiter
from bot.replies.plan import Render, apply_request, plan_by_appends

# A terminal does not limit messages, so a reply is one page.
NO_LIMIT = sys.maxsize

# Control characters, overrides and isolates of the writing direction, half surrogate pairs.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]"
)


def limits(_scope: str) -> Limit | None:
    """None: the terminal has no rate limits."""
    return None


class ConsoleRenderer:
    """Markdown unchanged, except that `style` may add terminal sequences."""

    limit = NO_LIMIT

    def __init__(self, style: Render = str) -> None:
        self._style = style

    def render(self, markdown: str) -> str:
        """Remove characters that could control the terminal or reverse its lines.

        Joiners, no-break and ideographic spaces stay, because many languages need them.
        """
        return self._style(_UNSAFE.sub("", markdown))

    def measure(self, markdown: str) -> int:
        """The length in characters."""
        return len(markdown)


class Output(Protocol):
    """A text stream to write to."""

    def write(self, text: str, /) -> object:
        """Write `text`."""
        ...

    def flush(self) -> None:
        """Flush the stream's buffer."""
        ...

    def isatty(self) -> bool:
        """Whether this is a terminal with a person in front of it."""
        ...


class ReplyText:
    """Renders the text of one reply from its beginning: styled for people, plain for programs.

    If `NO_COLOR` (no-color.org) is set or the terminal has no styles, the text is plain, too.
    """

    def __init__(self, out: Output) -> None:
        self._clean = ConsoleRenderer().render
        self._growing = GrowingReply() if shows_styles(out) else None

    def begun(self, markdown: str) -> str:
        """The part of the rendering that later text only continues."""
        text = self._clean(markdown)
        return text if self._growing is None else self._growing.begun(text)

    def whole(self, markdown: str) -> str:
        """The rendering of the whole reply."""
        text = self._clean(markdown)
        return text if self._growing is None else self._growing.whole(text)


def shows_styles(out: Output) -> bool:
    """Whether a person sees this output in color."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return out.isatty() and not plain


class ConsoleSurface:
    """Writes the growing reply to `out`, and calls `on_close` at the end."""

    def __init__(
        self, claim: Claim, *, out: Output, rate_limiter: RateLimiter, on_close: Callable[[], None]
    ) -> None:
        self._message_id = f"reply-{claim.fence.turn}"
        self._out, self._rate_limiter, self._on_close = out, rate_limiter, on_close
        self._renderer, self.text = ConsoleRenderer(), ReplyText(out)

    @property
    def renderer(self) -> ConsoleRenderer:
        """The terminal's form of Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """False: the terminal does not indicate that the bot is working."""
        return False

    @property
    def files(self) -> None:
        """None: in a terminal, code of any length fits."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """The rate limiter, which has no limits here."""
        return self._rate_limiter

    async def open(self) -> None:
        """Do nothing: the reply begins on the line below the question."""

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Return nothing: an earlier process wrote to another terminal, so the reply restarts."""
        return Shown()

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """Plan the next part of the stable text."""
        render = self.text.whole if frame.final else self.text.begun
        return plan_by_appends(shown, frame, render=render, scopes=lambda action, page: ())

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Write the request's text."""
        self._out.write(request.text)
        self._out.flush()
        return apply_request(shown, request, message_id=self._message_id)

    async def close(self) -> None:
        """End the answer's last line."""
        self._out.write("\n")
        self._out.flush()
        self._on_close()

    async def abandon(self) -> None:
        """End the line as `close` does, because no other process writes to this terminal."""
        await self.close()


class PipeSurface(ConsoleSurface):
    """Writes the model's text as it arrives, but not the reply's end, which may report a failure.

    A pipe carries only the answer; `ConsoleAdapter.finish` writes the rest of it.
    """

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Write the request's text, unless it is the reply's end."""
        if request.final:
            return apply_request(shown, request, message_id=self._message_id)
        return await super().perform(request, shown)

    async def close(self) -> None:
        """Write nothing: `ConsoleAdapter.finish` ends the last line."""
        self._on_close()

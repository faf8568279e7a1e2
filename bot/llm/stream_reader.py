"""Reading one answer, whoever sends it: within limits in time, and whole or an error.

An answer is whole when a finish reason has come that is known and normal, or, after some text, when
`[DONE]` has. A stream that ends before it was cut off, however cleanly it ended; a finish reason
that is not known is a failure. What follows a finish reason is read as long as the body lasts: the
usage, and more text where a bridge puts a reason on every chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

from bot.domain.errors import CutOff, ModelError, TimedOut
from bot.domain.model import Delta
from bot.llm import finish_reasons
from bot.llm.chunks import ALIVE
from bot.llm.reasoning_split import ReasoningSplitter
from bot.llm.stream_timeout import StreamTimedOut, StreamTimeout, StreamTimeouts
from bot.llm.think_tags import TagQuirk

# After `[DONE]` only the end of the body is due, which lets the connection be used again.
END_SECONDS = 0.02

LOADING: Final = Delta(loading=True)


class Reader:
    """The state of one answer; `aclose` ends it.

    `broken` are the exceptions of the transport and the parser, which `translate` turns into ours
    (it is told whether a token had come). `habit` is the model's, and lasts from one answer to the
    next.
    """

    def __init__(
        self,
        *,
        model: str,
        limits: StreamTimeouts,
        broken: tuple[type[Exception], ...],
        translate: Callable[[Exception, bool], ModelError],
        habit: TagQuirk,
    ) -> None:
        self._model = model
        self._patience = StreamTimeout(limits)
        self._broken, self._translate = broken, translate
        self._habit = habit
        self._parting = ReasoningSplitter(habit)
        self._pending: asyncio.Task[Delta] | None = None  # what is awaited before the first token
        self._told = False  # that the model is loading
        self._named = False
        self._said = False  # whether some text came
        self._reason: str | None = None  # finish_reasons.STOP, LENGTH or FILTERED
        self._failure: ModelError | None = None  # a finish reason that is none of these
        self._done = self._ended = False  # `[DONE]`, and the end of the body

    @property
    def started(self) -> bool:
        """Whether a token came."""
        return self._patience.started

    async def aclose(self) -> None:
        """Stop waiting. The source is closed by its owner."""
        self._patience.__exit__()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
            if not self._pending.cancelled():
                self._pending.exception()  # seen: it failed at that very moment

    async def next(self, source: AsyncIterator[Delta]) -> Delta | None:
        """The next piece of the stream, `LOADING` once, or None at its end."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                delta = await self._piece(source)
            except StopAsyncIteration:
                self._ended = True
                return None
            except StreamTimedOut as error:
                if self._over:
                    return None
                raise self._timed_out() from error
            except self._broken as error:
                if self._over:
                    return None
                raise self._translate(error, self.started) from error
            if delta is not ALIVE:
                return delta
            self._patience.alive()

    def take(self, delta: Delta) -> Delta:
        """Note what a delta means; the first one comes back with the model's name.

        What is reasoning of its text comes back as such, also where that empties the delta: the
        token counts, whatever it was. After `[DONE]` only the usage is of this answer.
        """
        if self._done:
            return Delta(usage=delta.usage)
        if delta.text or delta.reasoning:
            self._patience.token()
            if self._reason is not None and delta.text:
                self._habit.early_finish = True
        delta = self._parting.take(delta)
        self._said = self._said or delta.text != ""
        if delta.finish_reason:
            delta = replace(delta, finish_reason=self._finish(delta.finish_reason))
        if self._named:
            return delta
        self._named = True
        return replace(delta, model=self._model)

    def done(self) -> None:
        """The provider said that nothing follows."""
        self._done = True
        self._patience.settle(END_SECONDS)

    def end(self) -> Delta | None:
        """The stream has ended: what was held back of it. Raises CutOff when it was not whole."""
        if self._failure is not None:
            raise self._failure
        rest = self._parting.flush(
            cut=self._reason in (finish_reasons.LENGTH, finish_reasons.FILTERED)
        )
        said = self._said or rest.text != ""
        if self._reason is None and not (self._done and said):
            raise CutOff("the stream ended without a finish reason", model=self._model)
        return rest if rest.text or rest.reasoning else None

    # ── what has come ─────────────────────────────────────────────────────────────────────────
    @property
    def _over(self) -> bool:
        """Whether nothing is missing, so that what goes wrong now concerns no one.

        Of a server that puts a reason on every chunk, only the end tells that.
        """
        return self._done or (self._reason is not None and not self._habit.early_finish)

    async def _piece(self, source: AsyncIterator[Delta]) -> Delta:
        if self.started:
            return await self._patience.wait(anext(source))
        if self._pending is None:
            self._pending = asyncio.create_task(_first(source))
        timeout = None if self._told else self._patience.until_note
        done, _ = await self._patience.wait(asyncio.wait({self._pending}, timeout=timeout))
        if not done:
            self._told = True
            return LOADING
        pending, self._pending = self._pending, None
        return pending.result()

    def _finish(self, reason: str) -> str | None:
        what = finish_reasons.meaning(reason)
        if isinstance(what, str):
            self._reason = what
            return what
        words = f"finish reason {reason[:40]!r}"
        self._failure = (CutOff if self._said else what)(words, model=self._model)
        return None

    def _timed_out(self) -> TimedOut:
        what = "no further token" if self.started else "no first token"
        return TimedOut(what, model=self._model, started=self.started)


async def _first(source: AsyncIterator[Delta]) -> Delta:
    return await anext(source)

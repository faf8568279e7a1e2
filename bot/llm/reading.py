"""Reading one answer, whoever sends it: within limits in time, and whole or an error.

An answer is whole when a finish reason has come. What goes wrong after that is nobody's concern;
a stream that ends before it was cut off, however cleanly it ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Self, TypeVar

from bot.domain import Delta
from bot.errors import CutOff, ModelError, TimedOut
from bot.llm.patience import Limits, OutOfPatience, Patience
from bot.llm.thinking import UNOPENED, Habit, Splitter

T = TypeVar("T")

# After the finish reason the usage may follow, which is worth a short wait but no error.
USAGE_SECONDS = 2.0
# After `[DONE]` only the end of the body is due, which lets the connection be used again.
END_SECONDS = 0.02


class Reader:
    """The state of one answer; a context manager.

    `broken` are the exceptions of the transport and the parser, which `translate` turns into ours
    (it is told whether a token had come). `habit` is the model's, and lasts from one answer to the
    next.
    """

    def __init__(
        self,
        *,
        model: str,
        limits: Limits,
        broken: tuple[type[Exception], ...],
        translate: Callable[[Exception, bool], ModelError],
        habit: Habit,
    ) -> None:
        self._model = model
        self._patience = Patience(limits)
        self._broken, self._translate = broken, translate
        self._habit = habit
        self._splitter: Splitter | None = Splitter(habit)  # until the text of the answer begins
        self._before = ""  # the piece of text before this one
        self._named = False
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._patience.__exit__()

    @property
    def started(self) -> bool:
        """Whether a token came."""
        return self._patience.started

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """Await what is due before the first token; raises the translated error or TimedOut."""
        try:
            return await self._patience.wait(awaitable)
        except OutOfPatience as error:
            raise self._timed_out() from error
        except self._broken as error:
            raise self._translate(error, self.started) from error

    async def next(self, source: AsyncIterator[T]) -> T | None:
        """The next piece of the stream, or None at its end."""
        try:
            return await self._patience.wait(anext(source))
        except StopAsyncIteration:
            return None
        except OutOfPatience as error:
            if self._finished:
                return None
            raise self._timed_out() from error
        except self._broken as error:
            if self._finished:
                return None
            raise self._translate(error, self.started) from error

    def take(self, delta: Delta) -> Delta:
        """Note what a delta means; the first one comes back with the model's name.

        What is reasoning of its text comes back as such, also where that empties the delta: the
        token counts, whatever it was.
        """
        text = delta.text
        if text or delta.reasoning:
            self._patience.token()
        if self._splitter is not None:
            delta = self._split(delta, self._splitter)
            text = delta.text
        if UNOPENED in text:
            self._habit.notice(self._before, text)
        self._before = text
        if delta.finish_reason:
            self._finished = True
            self._patience.settle(USAGE_SECONDS)
        if self._named:
            return delta
        self._named = True
        return replace(delta, model=self._model)

    def done(self) -> None:
        """The provider said that nothing follows."""
        if self._finished:
            self._patience.settle(END_SECONDS)

    def end(self) -> None:
        """The stream has ended; raises CutOff when the answer was not whole."""
        if not self._finished:
            raise CutOff("the stream ended without a finish reason", model=self._model)

    def _split(self, delta: Delta, splitter: Splitter) -> Delta:
        reasoning, text = splitter.feed(delta.text) if delta.text else ("", "")
        if delta.finish_reason and not splitter.settled:
            thought, rest = splitter.flush(delta.finish_reason)
            reasoning, text = reasoning + thought, text + rest
        if splitter.settled:
            self._splitter = None
        if text == delta.text and not reasoning:
            return delta
        return replace(delta, text=text, reasoning=delta.reasoning + reasoning)

    def _timed_out(self) -> TimedOut:
        what = "no further token" if self.started else "no first token"
        return TimedOut(what, model=self._model, started=self.started)

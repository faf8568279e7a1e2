"""Reads one streamed answer within its time limits, and verifies that it is complete.

An answer is complete once a known, normal finish reason has arrived, or `[DONE]` after some text. A
stream that ends earlier was cut off, however cleanly it ended, and an unknown finish reason is a
failure. After a finish reason, reading continues to the end of the body: the usage may follow, and
so may more text from bridges that put a finish reason on every chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

from bot.domain.errors import CutOff, ModelError, TimedOut
from bot.domain.model import Delta
from bot.llm.chunks import KEEPALIVE
from bot.llm.finish_reasons import FILTERED, LENGTH, STOP, classify_finish_reason
from bot.llm.reasoning_splitter import ReasoningSplitter
from bot.llm.stream_timeout import StreamTimedOut, StreamTimeout, StreamTimeouts
from bot.llm.think_tags import StreamQuirks

# After `[DONE]`, only the end of the body is missing; reading it lets the connection be reused.
END_SECONDS = 0.02

LOADING: Final = Delta(loading=True)


class StreamReader:
    """Reads one answer; `aclose` ends it.

    `translate` turns the transport's and the parser's exceptions (`expected_errors`) into a
    ModelError; its second argument says whether a token had arrived. `quirks` persist between a
    model's answers.
    """

    def __init__(
        self,
        *,
        model: str,
        timeouts: StreamTimeouts,
        expected_errors: tuple[type[Exception], ...],
        translate: Callable[[Exception, bool], ModelError],
        quirks: StreamQuirks,
    ) -> None:
        self._model = model
        self._timeout = StreamTimeout(timeouts)
        self._expected_errors, self._translate = expected_errors, translate
        self._quirks = quirks
        self._splitter = ReasoningSplitter(quirks)
        self._pending: asyncio.Task[Delta] | None = None  # the read before the first token
        self._loading_sent = False
        self._model_sent = False
        self._has_text = False
        self._finish_reason: str | None = None  # STOP, LENGTH or FILTERED
        self._failure: ModelError | None = None  # from any other finish reason
        self._done = False  # `[DONE]` has arrived

    async def aclose(self) -> None:
        """Stop waiting; the caller closes the source."""
        self._timeout.__exit__()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending})
            if not self._pending.cancelled():
                self._pending.exception()  # retrieved, so that asyncio does not log the exception

    async def next(self, source: AsyncIterator[Delta]) -> Delta | None:
        """The stream's next delta, `LOADING` at most once, or None at its end."""
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                delta = await self._read(source)
            except StopAsyncIteration:
                return None
            except StreamTimedOut as error:
                if self._is_complete:
                    return None
                raise self._timed_out() from error
            except self._expected_errors as error:
                if self._is_complete:
                    return None
                raise self._translate(error, self._timeout.started) from error
            if delta is not KEEPALIVE:
                return delta
            self._timeout.record_keepalive()

    def process(self, delta: Delta) -> Delta:
        """Record what a delta means; return the delta with reasoning separated from text.

        The first delta also gets the model's name. A delta that is held back entirely still counts
        as a token. After `[DONE]`, only the usage belongs to this answer.
        """
        if self._done:
            return Delta(usage=delta.usage)
        if delta.text:
            self._timeout.record_token()
            if self._finish_reason is not None:
                self._quirks.reason_on_every_chunk = True
        elif delta.reasoning:
            self._timeout.record_reasoning()
        delta = self._splitter.split(delta)
        self._has_text = self._has_text or delta.text != ""
        if delta.finish_reason:
            delta = replace(delta, finish_reason=self._record_finish(delta.finish_reason))
        if self._model_sent:
            return delta
        self._model_sent = True
        return replace(delta, model=self._model)

    def mark_done(self) -> None:
        """Record `[DONE]`: only the end of the body should follow."""
        self._done = True
        self._timeout.limit_rest(END_SECONDS)

    def finish(self) -> Delta | None:
        """The held-back rest after the stream's end; raises CutOff if the answer is incomplete."""
        if self._failure is not None:
            raise self._failure
        rest = self._splitter.flush(cut=self._finish_reason in (LENGTH, FILTERED))
        has_text = self._has_text or rest.text != ""
        if self._finish_reason is None and not (self._done and has_text):
            raise CutOff("the stream ended without a finish reason", model=self._model)
        return rest if rest.text or rest.reasoning else None

    @property
    def _is_complete(self) -> bool:
        """Whether the answer is complete, so that later errors do not matter.

        If a server puts a finish reason on every chunk, only `[DONE]` or the end proves it.
        """
        return self._done or (
            self._finish_reason is not None and not self._quirks.reason_on_every_chunk
        )

    async def _read(self, source: AsyncIterator[Delta]) -> Delta:
        if self._timeout.started:
            return await self._timeout.wait(anext(source))
        if self._pending is None:
            self._pending = asyncio.create_task(_read_next(source))
        timeout = None if self._loading_sent else self._timeout.seconds_until_note
        done, _ = await self._timeout.wait(asyncio.wait({self._pending}, timeout=timeout))
        if not done:
            self._loading_sent = True
            return LOADING
        pending, self._pending = self._pending, None
        return pending.result()

    def _record_finish(self, reason: str) -> str | None:
        meaning = classify_finish_reason(reason)
        if isinstance(meaning, str):
            # For a shortened answer, bridges send their server's reason first and then "stop".
            if meaning != STOP or self._finish_reason is None:
                self._finish_reason = meaning
            return self._finish_reason
        text = f"finish reason {reason[:40]!r}"
        self._failure = (CutOff if self._has_text else meaning)(text, model=self._model)
        return None

    def _timed_out(self) -> TimedOut:
        text = "no further token" if self._timeout.started else "no first token"
        return TimedOut(text, model=self._model, started=self._timeout.started)


async def _read_next(source: AsyncIterator[Delta]) -> Delta:
    return await anext(source)

"""Reading an answer: a complete answer differs from one that was cut off, failed or timed out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from bot.domain.errors import CutOff, ModelError, ModelFailed, TimedOut
from bot.domain.model import Delta, Usage
from bot.llm.chunks import KEEPALIVE
from bot.llm.stream_reader import StreamReader
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.think_tags import StreamQuirks
from tests.support.clock import timers_without_waiting

QUICK = StreamTimeouts(first_token=0.2, between_tokens=0.1)
PATIENT = StreamTimeouts(first_token=60.0, between_tokens=60.0)


def make_reader(
    timeouts: StreamTimeouts = QUICK, quirks: StreamQuirks | None = None
) -> StreamReader:
    """A reader that expects OSError from its transport."""

    def translate(error: Exception, started: bool) -> ModelError:
        return (CutOff if started else ModelFailed)(str(error))

    return StreamReader(
        model="a:b",
        timeouts=timeouts,
        expected_errors=(OSError,),
        translate=translate,
        quirks=quirks or StreamQuirks(),
    )


async def source(*steps: Delta | Exception | float) -> AsyncIterator[Delta]:
    """A stream of deltas, pauses (seconds) and errors."""
    for step in steps:
        if isinstance(step, Delta):
            yield step
        elif isinstance(step, Exception):
            raise step
        else:
            await asyncio.sleep(step)


async def read(reader: StreamReader, steps: Iterable[Delta | Exception | float]) -> list[Delta]:
    """All deltas of an answer."""
    stream, deltas = source(*steps), []
    try:
        while (delta := await reader.next(stream)) is not None:
            deltas.append(reader.process(delta))
        rest = reader.finish()
        return deltas if rest is None else [*deltas, rest]
    finally:
        await reader.aclose()


async def test_the_first_delta_names_the_model() -> None:
    got = await read(make_reader(), [Delta("a"), Delta("b", finish_reason="stop")])
    assert [delta.model for delta in got] == ["a:b", None]


async def test_an_answer_without_a_finish_reason_was_cut_off() -> None:
    """This holds however cleanly the stream ended, and even if nothing arrived."""
    for steps in ([Delta("a")], []):
        with pytest.raises(CutOff) as caught:
            await read(make_reader(), steps)
        assert caught.value.model == "a:b"


async def test_errors_after_the_finish_reason_are_ignored() -> None:
    """The answer is complete, so a reset or a server that never closes does not matter."""
    complete = [Delta("b"), Delta(finish_reason="stop")]
    assert len(await read(make_reader(), [*complete, OSError("reset")])) == 2
    usage = Delta(usage=Usage(1, 2))
    assert (await read(make_reader(), [*complete, 0.01, usage]))[-1] == usage


async def test_a_finish_reason_on_every_chunk_does_not_end_the_answer() -> None:
    """Only the end of the body does; once the quirk is known, an error before it means a cut."""
    steps = [Delta("b", "", "stop"), 0.05, Delta("c", "", "stop"), 0.05, Delta("d", "", "stop")]
    quirks = StreamQuirks()
    got = await read(make_reader(PATIENT, quirks), steps)
    assert "".join(delta.text for delta in got) == "bcd"
    with pytest.raises(CutOff):
        await read(make_reader(PATIENT, quirks), [*steps[:2], OSError("reset")])


async def test_a_shortened_answer_does_not_become_complete_later() -> None:
    for reason in ("length", "content_filter"):
        steps = [Delta("b", "", "stop"), Delta("c", "", reason), Delta(finish_reason="stop")]
        got = await read(make_reader(), steps)
        assert [delta.finish_reason for delta in got] == ["stop", reason, reason]


async def test_done_without_a_finish_reason_completes_an_answer_with_text_only() -> None:
    for step, complete in ((Delta("b"), True), (Delta(reasoning="hm"), False)):
        reader, stream = make_reader(), source(step)
        while (delta := await reader.next(stream)) is not None:
            reader.process(delta)
            reader.mark_done()
        if complete:
            assert reader.finish() is None
        else:
            with pytest.raises(CutOff):
                reader.finish()
        await reader.aclose()


@pytest.mark.parametrize("reason", ["error", "network_error", "something_new", "OTHER", "abort"])
async def test_an_unknown_finish_reason_is_a_failure(reason: str) -> None:
    """After some text it means a cut; text in the same delta is not lost."""
    with pytest.raises(ModelError) as caught:
        await read(make_reader(), [Delta(finish_reason=reason)])
    assert not isinstance(caught.value, CutOff)
    reader, stream = make_reader(), source(Delta("b", "", reason))
    delta = await reader.next(stream)
    assert delta is not None and reader.process(delta).text == "b"
    with pytest.raises(CutOff):
        await reader.next(stream)
    await reader.aclose()


async def test_after_done_it_does_not_wait() -> None:
    """A server that keeps the body open does not delay the reply."""
    reader, stream = make_reader(), source(Delta("a", finish_reason="stop"), 3_600.0)
    delta = await reader.next(stream)
    assert delta is not None
    reader.process(delta)
    reader.mark_done()
    assert await reader.next(stream) is None
    reader.finish()
    await reader.aclose()


async def test_reasoning_between_tags_comes_back_as_reasoning() -> None:
    """Deltas may mix it with other content; after it, deltas pass unchanged."""
    last = Delta("s.", finish_reason="stop")
    steps = [Delta("<thi"), Delta("nk>hm</think>\n\nYe", reasoning="so "), last]
    got = await read(make_reader(), steps)
    assert [(delta.reasoning, delta.text) for delta in got] == [
        ("", ""),
        ("so hm", "Ye"),
        ("", "s."),
    ]
    assert got[0].model == "a:b" and got[2] == last


async def test_held_back_text_is_returned_at_the_end() -> None:
    """An answer may be shorter than a tag, or never close one."""
    for steps in ([Delta("<th"), Delta(finish_reason="stop")], [Delta("<th", "", "stop")]):
        assert "".join(delta.text for delta in await read(make_reader(), steps)) == "<th"
    unclosed = [Delta("<think>a"), Delta("b", "", "stop")]
    assert (await read(make_reader(), unclosed))[-1].text == "ab"


async def test_held_back_text_counts_as_a_token() -> None:
    with pytest.raises(TimedOut) as caught:
        await read(make_reader(), [Delta("<thi"), 30.0])
    assert caught.value.started


async def test_a_closing_tag_alone_is_remembered_for_the_next_answer() -> None:
    quirks = StreamQuirks()
    steps = [Delta("hm\n"), Delta("</think>"), Delta("\n\nYes."), Delta(finish_reason="stop")]
    await read(make_reader(quirks=quirks), steps)
    got = await read(make_reader(quirks=quirks), steps)
    assert "".join(delta.text for delta in got) == "Yes."


async def test_a_transport_error_is_translated_with_its_cause() -> None:
    """The translation depends on whether a token had come."""
    with pytest.raises(ModelFailed) as failed:
        await read(make_reader(), [OSError("reset")])
    assert isinstance(failed.value.__cause__, OSError)
    with pytest.raises(CutOff):
        await read(make_reader(), [Delta("a"), OSError("reset")])


async def test_timeouts_before_the_first_token_differ_from_later_ones() -> None:
    """Reasoning counts as a token, an empty delta does not."""
    with pytest.raises(TimedOut) as caught:
        await read(make_reader(), [Delta(), 30.0])
    assert not caught.value.started
    for token in (Delta("a"), Delta(reasoning="hm")):
        with pytest.raises(TimedOut) as caught:
            await read(make_reader(), [token, 30.0])
        assert caught.value.started and caught.value.model == "a:b"


async def test_a_model_that_thinks_may_be_silent_while_its_server_is_not() -> None:
    steps = [Delta(reasoning="hm"), *[0.15, KEEPALIVE] * 4, Delta("a", finish_reason="stop")]
    with timers_without_waiting():
        assert (await read(make_reader(), steps))[-1].text == "a"
        with pytest.raises(TimedOut):
            await read(make_reader(), [Delta("a"), *[0.06, KEEPALIVE] * 4, Delta("b")])


async def test_content_after_done_is_ignored() -> None:
    """Such content may be a second stream in the same body, or garbage; its usage still counts."""
    reader = make_reader()
    reader.process(Delta("Yes", finish_reason="stop"))
    reader.mark_done()
    assert reader.process(Delta("b", "hm", "error", Usage(1, 2))) == Delta(usage=Usage(1, 2))
    assert reader.finish() is None
    await reader.aclose()

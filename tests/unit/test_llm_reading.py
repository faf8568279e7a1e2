"""Reading an answer: limits that only tokens extend, and whole answers told from cut ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from bot.domain.errors import CutOff, ModelError, ModelFailed, TimedOut
from bot.domain.model import Delta, Usage
from bot.llm import finish_reasons
from bot.llm.stream_reader import Reader
from bot.llm.stream_timeout import StreamTimedOut, StreamTimeout, StreamTimeouts
from bot.llm.think_tags import TagQuirk

QUICK = StreamTimeouts(first_token=0.2, between_tokens=0.1)


async def forever() -> None:
    """What never comes."""
    await asyncio.Event().wait()


def make_reader(limits: StreamTimeouts = QUICK, habit: TagQuirk | None = None) -> Reader:
    """A reader whose transport breaks with OSError."""

    def translate(error: Exception, started: bool) -> ModelError:
        return (CutOff if started else ModelFailed)(str(error))

    return Reader(
        model="a:b",
        limits=limits,
        broken=(OSError,),
        translate=translate,
        habit=habit or TagQuirk(),
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


async def read(reader: Reader, steps: Iterable[Delta | Exception | float]) -> list[Delta]:
    """Everything that an answer gives."""
    stream, taken = source(*steps), []
    try:
        while (delta := await reader.next(stream)) is not None:
            taken.append(reader.take(delta))
        rest = reader.end()
        return taken if rest is None else [*taken, rest]
    finally:
        await reader.aclose()


# ── patience ──────────────────────────────────────────────────────────────────────────────────
async def test_the_first_token_has_a_limit_over_all_waits() -> None:
    """Waits without a token share it: headers, comments and roles do not extend it."""
    with StreamTimeout(StreamTimeouts(first_token=1.0, between_tokens=9)) as patience:
        await patience.wait(asyncio.sleep(0.3))
        with pytest.raises(StreamTimedOut):
            await patience.wait(asyncio.sleep(0.95))
        assert not patience.started


async def test_each_token_begins_a_new_limit() -> None:
    """Many tokens together may take longer than the limit."""
    with StreamTimeout(StreamTimeouts(first_token=1.0, between_tokens=1.0)) as patience:
        for _ in range(4):
            await patience.wait(asyncio.sleep(0.3))
            patience.token()
        with pytest.raises(StreamTimedOut):
            await patience.wait(forever())
        assert patience.started


async def test_the_limit_between_tokens_may_be_the_shorter_one() -> None:
    """It counts from the token on, not from where the limit to the first token would end."""
    with StreamTimeout(StreamTimeouts(first_token=30, between_tokens=0.1)) as patience:
        await patience.wait(asyncio.sleep(0.01))
        patience.token()
        async with asyncio.timeout(5):
            with pytest.raises(StreamTimedOut):
                await patience.wait(forever())


async def test_the_consumers_time_does_not_count() -> None:
    """The limit runs while the model is waited for, not while its text is worked on."""
    with StreamTimeout(StreamTimeouts(first_token=9, between_tokens=1.0)) as patience:
        await patience.wait(asyncio.sleep(0))
        patience.token()
        await asyncio.sleep(1.1)
        assert await patience.wait(asyncio.sleep(0, "in time")) == "in time"


async def test_another_cancellation_is_not_taken_for_the_limit() -> None:
    """A stopped turn is cancelled, and nothing turns that into an error."""

    async def wait() -> None:
        with StreamTimeout(StreamTimeouts(9, 9)) as patience:
            await patience.wait(forever())

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_limit_leaves_the_task_as_it_was() -> None:
    """After it the task is not half cancelled: it can go on to the next model."""
    with StreamTimeout(QUICK) as patience, pytest.raises(StreamTimedOut):
        await patience.wait(forever())
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    await asyncio.sleep(0)


async def test_no_timer_is_left_behind() -> None:
    """A limit that was not reached fires into nothing."""
    with StreamTimeout(QUICK) as patience:
        await patience.wait(asyncio.sleep(0))
    await asyncio.sleep(0.25)
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


# ── the answer ────────────────────────────────────────────────────────────────────────────────
async def test_the_first_delta_names_the_model() -> None:
    """Only the first, whatever it carries."""
    got = await read(make_reader(), [Delta("a"), Delta("b", finish_reason="stop")])
    assert [delta.model for delta in got] == ["a:b", None]


async def test_an_answer_without_a_finish_reason_was_cut_off() -> None:
    """However cleanly the stream ended, and even when nothing came at all."""
    for steps in ([Delta("a")], []):
        with pytest.raises(CutOff) as caught:
            await read(make_reader(), steps)
        assert caught.value.model == "a:b"


async def test_what_breaks_after_the_finish_reason_is_nobodys_concern() -> None:
    """The answer is whole: a reset, or a server that never closes, changes nothing."""
    whole = [Delta("b"), Delta(finish_reason="stop")]
    assert len(await read(make_reader(), [*whole, OSError("reset")])) == 2
    usage = Delta(usage=Usage(1, 2))
    assert (await read(make_reader(), [*whole, 0.01, usage]))[-1] == usage


async def test_a_finish_reason_on_every_chunk_does_not_end_the_answer() -> None:
    """The end is that of the body; what breaks before it is a cut then, once that is known."""
    steps = [Delta("b", "", "stop"), 0.05, Delta("c", "", "stop"), 0.05, Delta("d", "", "stop")]
    habit = TagQuirk()
    got = await read(make_reader(habit=habit), steps)
    assert "".join(delta.text for delta in got) == "bcd"
    with pytest.raises(CutOff):
        await read(make_reader(habit=habit), [*steps[:2], OSError("reset")])


async def test_done_without_a_finish_reason_ends_a_text_and_nothing_else() -> None:
    for step, whole in ((Delta("b"), True), (Delta(reasoning="hm"), False)):
        reader, stream = make_reader(), source(step)
        while (delta := await reader.next(stream)) is not None:
            reader.take(delta)
            reader.done()
        if whole:
            assert reader.end() is None
        else:
            with pytest.raises(CutOff):
                reader.end()
        await reader.aclose()


@pytest.mark.parametrize("reason", ["error", "network_error", "something_new", "OTHER", "abort"])
async def test_an_unknown_finish_reason_is_a_failure(reason: str) -> None:
    """After some text it is a cut; the text in the same piece is not lost."""
    with pytest.raises(ModelError) as caught:
        await read(make_reader(), [Delta(finish_reason=reason)])
    assert not isinstance(caught.value, CutOff)
    reader, stream = make_reader(), source(Delta("b", "", reason))
    delta = await reader.next(stream)
    assert delta is not None and reader.take(delta).text == "b"
    with pytest.raises(CutOff):
        await reader.next(stream)
    await reader.aclose()


async def test_after_done_it_does_not_wait() -> None:
    """A server that keeps the body open costs the reply a fiftieth of a second at most."""
    reader, stream = make_reader(), source(Delta("a", finish_reason="stop"), 30.0)
    delta = await reader.next(stream)
    assert delta is not None
    reader.take(delta)
    reader.done()
    begun = asyncio.get_running_loop().time()
    assert await reader.next(stream) is None
    assert asyncio.get_running_loop().time() - begun < 0.5
    reader.end()
    await reader.aclose()


async def test_reasoning_between_tags_comes_back_as_reasoning() -> None:
    """Whatever it shares a delta with; afterwards every delta passes as it is."""
    last = Delta("s.", finish_reason="stop")
    steps = [Delta("<thi"), Delta("nk>hm</think>\n\nYe", reasoning="so "), last]
    got = await read(make_reader(), steps)
    assert [(delta.reasoning, delta.text) for delta in got] == [
        ("", ""),
        ("so hm", "Ye"),
        ("", "s."),
    ]
    assert got[0].model == "a:b" and got[2] == last


async def test_what_was_held_back_comes_with_the_finish_reason() -> None:
    """An answer may be shorter than a tag, or never close it."""
    for steps in ([Delta("<th"), Delta(finish_reason="stop")], [Delta("<th", "", "stop")]):
        assert "".join(delta.text for delta in await read(make_reader(), steps)) == "<th"
    unclosed = [Delta("<think>a"), Delta("b", "", "stop")]
    assert (await read(make_reader(), unclosed))[-1].text == "ab"


async def test_a_piece_that_may_become_a_tag_is_a_sign_of_life() -> None:
    """It is held back, and counts all the same."""
    with pytest.raises(TimedOut) as caught:
        await read(make_reader(), [Delta("<thi"), 30.0])
    assert caught.value.started


async def test_a_closing_tag_alone_is_remembered_for_the_next_answer() -> None:
    habit = TagQuirk()
    steps = [Delta("hm\n"), Delta("</think>"), Delta("\n\nYes."), Delta(finish_reason="stop")]
    await read(make_reader(habit=habit), steps)
    got = await read(make_reader(habit=habit), steps)
    assert "".join(delta.text for delta in got) == "Yes."


async def test_a_broken_stream_is_translated_with_its_cause() -> None:
    """The translation is told whether text had come."""
    with pytest.raises(ModelFailed) as failed:
        await read(make_reader(), [OSError("reset")])
    assert isinstance(failed.value.__cause__, OSError)
    with pytest.raises(CutOff):
        await read(make_reader(), [Delta("a"), OSError("reset")])


async def test_time_runs_out_before_the_first_token_and_between_tokens() -> None:
    """The error tells which; reasoning counts as a token, an empty delta does not."""
    with pytest.raises(TimedOut) as caught:
        await read(make_reader(), [Delta(), 30.0])
    assert not caught.value.started
    for token in (Delta("a"), Delta(reasoning="hm")):
        with pytest.raises(TimedOut) as caught:
            await read(make_reader(), [token, 30.0])
        assert caught.value.started and caught.value.model == "a:b"


async def test_what_follows_done_is_not_of_this_answer() -> None:
    """A second stream on the same body, or garbage; the usage still counts."""
    reader = make_reader()
    reader.take(Delta("Yes", finish_reason="stop"))
    reader.done()
    assert reader.take(Delta("b", "hm", "error", Usage(1, 2))) == Delta(usage=Usage(1, 2))
    assert reader.end() is None
    await reader.aclose()


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("endoftext", finish_reasons.STOP),  # AI21
        ("endTurn", finish_reasons.STOP),
        ("maxTokens", finish_reasons.LENGTH),
        ("FinishReason.MAX_TOKENS", finish_reasons.LENGTH),
        ("MODEL_ARMOR", finish_reasons.FILTERED),
        ("output_blocked_by_safety", finish_reasons.FILTERED),
        ("success_maybe", ModelFailed),
    ],
)
def test_a_finish_reason_in_another_spelling(reason: str, means: object) -> None:
    assert finish_reasons.meaning(reason) == means

"""The sandboxed worker that highlights code: a hostile block loses only its colors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.web.growing_html import GrowingHtml
from adapters.web.highlighter import MOST_HIGHLIGHTED, Highlighter, plain
from adapters.web.languages import NAMES, lexer_names
from adapters.web.render import html_of
from bot.sandbox.worker import (
    TaskFailed,
    TaskTooCostly,
    Worker,
    WorkerBusy,
    WorkerFailed,
    WorkerLimits,
)

HERE = "tests.support.worker_tasks"
SHORT = WorkerLimits(cpu_seconds=0.2, seconds=20.0, output_bytes=10_000)
# Each of them blocked the interpreter for hours in the past, or is a kind of attack that a block
# could make.
HOSTILE = {
    "rita": "Say: " * 21 + "x",
    "mcschema": "<!--" + "-" * 30,
    "easytrieve": "\t" * 2_500,
    "tnt": "((((((((((((((((((((((((((((((",
    "bash": "$'" + "\\0" * 60,
    "c": "a& //a\n a //a\n" + "\n" * 15_000,
    "perl": "s!" + "\\" * 60,
    "markdown": "```rita\n" + "Say: " * 21 + "x\n```",
    "rst": ".. code:: rita\n\n    " + "Say: " * 21 + "x\n",
    "http": "HTTP/1.1 200 OK\nContent-Type: text/x-rita\n\n" + "Say: " * 21,
}


@contextlib.contextmanager
def worker(task: str, limits: WorkerLimits = SHORT) -> Iterator[Worker]:
    running = Worker(f"{HERE}:{task}", limits)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def highlighter() -> Iterator[Highlighter]:
    running = Highlighter(limits=WorkerLimits(cpu_seconds=0.3, seconds=20.0))
    try:
        yield running
    finally:
        running.close()


# ── the worker ────────────────────────────────────────────────────────────────────────────────
def test_a_too_costly_task_is_killed_and_the_next_one_runs() -> None:
    """One block computes endlessly in C, and another takes too much memory."""
    with worker("misbehave") as running:
        assert running.run(b"echo") == b"echo"
        with pytest.raises(TaskTooCostly):
            running.run(b"backtrack")
        assert running.run(b"echo") == b"echo"
        with pytest.raises(WorkerFailed):
            running.run(b"memory")
        with pytest.raises(TaskFailed):
            running.run(b"raise")
        with pytest.raises(TaskFailed):
            running.run(b"long")
        assert running.run(b"print") == b"printed"
        with pytest.raises(TaskTooCostly):
            running.run(b"exit")
        assert running.run(b"echo") == b"echo"


def test_a_sleeping_task_times_out() -> None:
    with worker("misbehave", WorkerLimits(seconds=0.3)) as running, pytest.raises(TaskTooCostly):
        running.run(b"sleep")


def test_large_inputs_and_outputs_arrive_complete() -> None:
    with worker("misbehave", WorkerLimits(seconds=20, output_bytes=3_000_000)) as running:
        large = os.urandom(2_000_000)
        assert running.run(large) == large


def test_the_child_sees_no_settings_and_cannot_write_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a-token-of-discord")
    with worker("misbehave") as running:
        assert b"DISCORD_TOKEN" not in running.run(b"environ")
        with pytest.raises(WorkerFailed):
            running.run(b"write " + str(tmp_path / "file").encode())
        with pytest.raises(TaskFailed):
            running.run(b"descriptors")


def test_a_caller_waits_for_a_busy_worker_only_up_to_the_limit() -> None:
    with worker("misbehave", WorkerLimits(seconds=0.5)) as running:
        running.run(b"echo")
        other = threading.Thread(target=lambda: _ignore(running, b"sleep"))
        other.start()
        while not running._lock.locked():
            time.sleep(0.001)
        with pytest.raises((WorkerBusy, TaskTooCostly)):
            running.run(b"sleep")
        other.join()


def _ignore(running: Worker, task: bytes) -> None:
    with contextlib.suppress(WorkerFailed):
        running.run(task)


def test_a_child_that_exited_is_replaced_without_a_failure() -> None:
    with worker("misbehave") as running:
        running.run(b"echo")
        assert running._child is not None
        process = running._child._process
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert running.run(b"again") == b"again"


def test_closing_ends_a_running_task() -> None:
    running = Worker(f"{HERE}:misbehave", WorkerLimits(seconds=60.0))
    running.run(b"echo")
    thread = threading.Thread(target=lambda: _ignore(running, b"sleep"))
    thread.start()
    while not running._lock.locked():
        time.sleep(0.001)
    running.close()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(WorkerFailed):
        running.run(b"echo")


# ── colors ───────────────────────────────────────────────────────────────────────────────────
def test_code_is_highlighted_in_its_language(highlighter: Highlighter) -> None:
    highlight = highlighter.highlight
    assert '<span class="n">x</span>' in html_of("```python\nx = 1\n```", highlight)
    assert '<span class="n">x</span>' in GrowingHtml(highlight).html("```Python\nx = 1\n")
    assert highlight("<b>", "nolanguage") == highlight("<b>", "") == "&lt;b&gt;"
    assert "<span" not in highlight("x = 1\n" * MOST_HIGHLIGHTED, "python")
    assert "&lt;b&gt;" in highlight("'<b>'", "python")


@pytest.mark.parametrize("language", HOSTILE)
def test_a_hostile_block_loses_only_its_colors(highlighter: Highlighter, language: str) -> None:
    """The block, which would take hours, is shown without colors; the next one has colors."""
    code = HOSTILE[language]
    html = html_of(f"~~~~{language}\n{code}\n~~~~", highlighter.highlight)
    assert "data-language" in html
    assert "<span" in highlighter.highlight(f"x = {language!r}", "python")


def test_a_too_costly_lexer_is_disabled_for_a_while(highlighter: Highlighter) -> None:
    """A series of such blocks does not start a worker for each."""
    times = [0.0]
    resting = Highlighter(
        limits=WorkerLimits(cpu_seconds=0.2, seconds=20.0), monotonic=lambda: times[0]
    )
    try:
        assert "<span" in resting.highlight("echo a", "bash")
        assert "<span" not in resting.highlight(HOSTILE["bash"], "bash")
        assert "<span" not in resting.highlight("echo b", "bash")
        assert "<span" in resting.highlight("x = 1", "python")
        times[0] = 60.0
        assert "<span" in resting.highlight("echo c", "bash")
    finally:
        resting.close()


def test_highlighted_blocks_are_cached(highlighter: Highlighter) -> None:
    closing = Highlighter()
    highlighted = closing.highlight("x = 2", "python")
    closing.close()
    assert closing.highlight("x = 2", "python") == highlighted
    assert closing.highlight("x = 3", "python") == plain("x = 3", "python")


def test_every_listed_name_is_a_lexer() -> None:
    assert set(lexer_names().values()) == NAMES


async def test_highlighting_does_not_block_the_event_loop(highlighter: Highlighter) -> None:
    """DNS lookups still work: the loop's default thread pool is not occupied."""
    from adapters.web.html_pool import HtmlPool

    rendering = HtmlPool(Highlighter(limits=WorkerLimits(cpu_seconds=0.2, seconds=20.0)))
    texts = [f"```c\n{HOSTILE['c']}{number}\n```" for number in range(4)]
    working = asyncio.gather(*(rendering.run(html_of, text, rendering.highlight) for text in texts))
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80)
    assert not working.done()
    assert all("data-language" in html for html in await working)
    rendering.close()

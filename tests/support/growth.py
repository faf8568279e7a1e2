"""Whether CPU time grows in proportion to a text, on a machine of any speed.

A step is timed on a text and on an eighth of it. Linear code takes 8 times as long for the whole
text, quadratic code 64 times. Both are measured alternately until the shortest times show less
growth than the limit, so other processes can delay a result, but cannot change it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

PART = 8
"""How many times longer the whole text is."""

LINEAR = 24.0
"""A limit between the growth of linear code, 8, and of quadratic code, 64."""

QUADRATIC = 160.0
"""A limit between the growth of quadratic code, 64, and of cubic code, 512."""

NEGLIGIBLE = 0.002
"""CPU seconds below which growth does not matter and cannot be measured."""

ATTEMPTS = 12


def grows_faster(step: Callable[[str], Any], part: str, whole: str, limit: float = LINEAR) -> bool:
    """Whether `step` takes more than `limit` times as long on `whole` as on `part` of it."""
    least_part = least_whole = float("inf")
    with _no_collections():
        for _ in range(ATTEMPTS):
            least_whole = min(least_whole, _seconds(step, whole))
            if least_whole < NEGLIGIBLE:  # most are: the part need not be measured
                return False
            least_part = min(least_part, *(_seconds(step, part) for _ in range(3)))
            if least_whole < limit * least_part:
                return False
    return True


def _seconds(step: Callable[[str], Any], text: str) -> float:
    began = time.thread_time()
    step(text)
    return time.thread_time() - began


@contextmanager
def _no_collections() -> Iterator[None]:
    """The garbage collector would count the objects of other tests."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def count_calls(step: Callable[[], Any]) -> int:
    """How many Python functions `step` calls, which is the same on every machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        step()
    finally:
        sys.setprofile(before)
    return calls


# ── tasks that may never end ──────────────────────────────────────────────────────────────────
def failing(tasks: Sequence[Callable[[], Any]], seconds: float, most: int = 3) -> list[int]:
    """The numbers of the first `most` tasks that return true, or that a child process failed twice
    to finish within `seconds` of CPU time."""
    failed: list[int] = []
    at = 0
    while at < len(tasks) and len(failed) < most:
        results = _in_a_child(tasks[at:], seconds)
        failed += [at + number for number, result in enumerate(results) if result]
        at += len(results)
        if at < len(tasks):
            if _in_a_child(tasks[at : at + 1], seconds) != [False]:
                failed.append(at)
            at += 1
    return failed[:most]


def _in_a_child(tasks: Sequence[Callable[[], Any]], seconds: float) -> list[bool]:
    """The results of the tasks that a child process finished before it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _finish(tasks, seconds, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            return [bool(byte) for byte in pipe.read()]
    finally:  # also when the test times out
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _finish(tasks: Sequence[Callable[[], Any]], seconds: float, writing: int) -> NoReturn:
    """Write each result, in the child, and exit. It must never return, or it would continue as a
    second copy of the test process, with the same connection to the test run."""
    try:
        gc.freeze()  # a full collection of the parent's objects would count
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        for task in tasks:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            result = bool(task())
            signal.setitimer(signal.ITIMER_PROF, 0)
            os.write(writing, bytes([result]))
    except BaseException:  # noqa: BLE001 - pytest would take it for this test's outcome
        traceback.print_exc()
    finally:
        os._exit(0)

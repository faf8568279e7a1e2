"""The extractor and its children: limits, restarts, closing, and what the children cannot do."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.content.extraction import LIMITS, SandboxExtractor
from bot.domain.attachments import AttachmentKind, Omission
from bot.domain.errors import AttachmentError
from bot.sandbox.worker import (
    TaskCrashed,
    TaskFailed,
    TaskTooCostly,
    Worker,
    WorkerFailed,
    WorkerLimits,
)
from tests.support import hostile_files as hostile
from tests.support import reader_files as files

ROOT = Path(__file__).parents[2]
TASKS = "tests.support.worker_tasks:misbehave"
SLOW = hostile.slow_page()
"""A page that takes longer to parse than any test waits."""


@pytest.fixture
async def extractor() -> AsyncIterator[SandboxExtractor]:
    running = SandboxExtractor(pages=3)
    yield running
    await running.aclose()


@pytest.fixture
def sealed() -> Iterator[Worker]:
    running = Worker(TASKS, WorkerLimits(cpu_seconds=0.5, seconds=20.0, descriptors=0, niceness=5))
    yield running
    running.close()


async def omission_of(extractor: SandboxExtractor, data: bytes) -> AttachmentError:
    with pytest.raises(AttachmentError) as caught:
        await extractor.extract("x", "", data)
    return caught.value


async def test_files_are_read_side_by_side(extractor: SandboxExtractor) -> None:
    given = {
        "a.pdf": files.pdf(["Text"] * 5),
        "b.docx": files.docx_paragraphs(["Text"]),
        "c.png": files.picture("PNG"),
        "d.ogg": b"OggS\0\2" + b"\0" * 30,
        "e.py": b"print('Text')",
    }
    found = await asyncio.gather(*(extractor.extract(name, "", given[name]) for name in given))
    assert [each.kind.value for each in found] == ["document", "document", "image", "audio", "text"]
    assert found[0].notes == ("Only the first 3 pages of 5 were read.",)
    assert found[2].images[0].width == 60
    assert found[3].kind is AttachmentKind.AUDIO
    assert found[4].language == "python"


async def test_every_refusal_has_its_reason(extractor: SandboxExtractor) -> None:
    expected = {
        b"": Omission.EMPTY,
        b"\x7fELF": Omission.UNSUPPORTED,
        b"%PDF-1.4": Omission.DAMAGED,
        files.pdf([""]): Omission.NO_TEXT,
        (files.FIXTURES / "encrypted.pdf").read_bytes(): Omission.ENCRYPTED,
    }
    for data, omission in expected.items():
        error = await omission_of(extractor, data)
        assert (error.omission, error.retry_after) == (omission, None)


async def test_a_file_that_costs_too_much_ends_at_the_limit() -> None:
    limits = WorkerLimits(
        cpu_seconds=0.3, seconds=30.0, memory_bytes=LIMITS.memory_bytes, descriptors=0
    )
    extractor = SandboxExtractor(pages=3, limits=limits, slots=1)
    try:
        error = await omission_of(extractor, SLOW)
        assert (error.omission, error.retry_after) == (Omission.TOO_COSTLY, None)
        assert (await extractor.extract("x", "", b"next")).text == "next"
    finally:
        await extractor.aclose()


async def test_closing_ends_a_file_that_is_being_read() -> None:
    """The file was not at fault, so it is read again after a restart."""
    extractor = SandboxExtractor(pages=3, slots=1)
    reading = asyncio.create_task(extractor.extract("x", "", SLOW))
    waiting = asyncio.create_task(extractor.extract("x", "", SLOW))
    while not _children():
        await asyncio.sleep(0.01)
    began = time.monotonic()
    await extractor.aclose()
    assert time.monotonic() - began < 10
    for task in (reading, waiting):
        with pytest.raises((AttachmentError, asyncio.CancelledError)) as caught:
            await task
        if isinstance(caught.value, AttachmentError):
            assert caught.value.retry_after is not None
    error = await omission_of(extractor, b"late")
    assert error.retry_after is not None
    assert not _children()


def _children() -> list[int]:
    """This process's child processes that read files."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"bot.content.readers.task:run" in command:
            found.append(int(path.name))
    return found


def _state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_child_that_is_killed_is_replaced(extractor: SandboxExtractor) -> None:
    assert (await extractor.extract("x", "", b"one")).text == "one"
    (child,) = _children()
    os.kill(child, signal.SIGKILL)
    while _state(child) != "Z":  # until then, the extractor takes it for alive
        await asyncio.sleep(0.01)
    assert (await extractor.extract("x", "", b"two")).text == "two"


# ── the child ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("attack", [b"socket", b"open", b"write /tmp/x", b"descriptors"])
def test_a_child_without_descriptors_has_no_files_and_no_network(
    sealed: Worker, attack: bytes
) -> None:
    with pytest.raises(TaskFailed):
        sealed.run(attack)
    assert sealed.run(b"echo") == b"echo"


def test_a_crash_in_native_code_is_told_from_a_limit(sealed: Worker) -> None:
    with pytest.raises(TaskCrashed):
        sealed.run(b"crash")
    with pytest.raises(TaskTooCostly) as caught:
        sealed.run(b"backtrack")
    assert not isinstance(caught.value, TaskCrashed)
    assert sealed.run(b"echo") == b"echo"


def test_a_child_that_left_is_asked_once_more(sealed: Worker) -> None:
    """An idle child exits; a task that was on its way to it then goes to the next child."""
    with pytest.raises(TaskTooCostly):
        sealed.run(b"leave")  # the second child leaves, too
    assert sealed.run(b"echo") == b"echo"


def test_a_closed_worker_refuses(sealed: Worker) -> None:
    sealed.close()
    assert sealed.closed
    with pytest.raises(WorkerFailed):
        sealed.run(b"echo")


def test_no_parser_is_imported_in_the_bot() -> None:
    """Importing the extractor imports neither a reader nor a library that only readers need."""
    code = "import bot.content.extraction, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for parser in ("PIL", "pypdfium2", "anydoc", "python_calamine", "selectolax", "pi_heif",
                   "charset_normalizer", "pygments", "email", "zipfile", "tarfile",
                   "bot.content.readers.task", "bot.content.readers.pdf"):  # fmt: skip
        assert parser not in loaded

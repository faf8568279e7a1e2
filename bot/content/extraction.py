"""Reads attached files in limited child processes.

Invariant: no parser runs or is imported in this process. A hostile file costs one task, at most
`LIMITS.seconds`, and the child that read it. While `SLOTS` such files are read, other files wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bot.content.readers import packing
from bot.domain.attachments import Extract, Omission
from bot.domain.errors import AttachmentError
from bot.sandbox.worker import TaskCrashed, TaskFailed, TaskTooCostly, Worker, WorkerFailed
from bot.sandbox.worker import WorkerLimits as Limits

TASK = "bot.content.readers.task:run"

LIMITS = Limits(
    cpu_seconds=15.0,  # a PDF of 100 dense pages takes 2 s, the slowest photo of an iPhone 5 s
    seconds=40.0,  # a turn waits 45 s (ATTACHMENT_WAIT_SECONDS)
    memory_bytes=1024 * 1024 * 1024,  # a photo of 64 megapixels takes 200 MB, and its turned copy
    output_bytes=32 * 1024 * 1024,  # a bit more than the images of `budget`
    descriptors=0,  # no files, no sockets
    niceness=10,  # conversations come first
)

SLOTS = 2
"""Files read at the same time."""

RETRY_SECONDS = 10.0
"""Seconds to wait after a child could not start for lack of memory or processes."""


class SandboxExtractor:
    """The `Extractor` that reads every file in one of `slots` child processes.

    `pages` limits the pages of a document or sheets of a workbook. A child starts with the first
    file (about 0.5 s) and exits after a minute without one.
    """

    def __init__(self, *, pages: int, limits: Limits = LIMITS, slots: int = SLOTS) -> None:
        self._pages = pages
        self._workers = [Worker(TASK, limits) for _ in range(slots)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # last in, first out: warm first
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="extraction")

    async def extract(self, name: str, media_type: str, data: bytes) -> Extract:
        """Read a file by its content, whatever type it claims to have. Raises AttachmentError."""
        if not data:
            raise AttachmentError(Omission.EMPTY)
        task = packing.Task(name, media_type, data, self._pages)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._read, task)
        except RuntimeError as error:  # the pool has been shut down
            raise AttachmentError(
                Omission.TIMED_OUT, "closed", retry_after=RETRY_SECONDS
            ) from error

    async def aclose(self) -> None:
        """Kill the children. Files that were being read fail, and can be read again."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(wait=True)

    def _read(self, task: packing.Task) -> Extract:
        packed = packing.pack_task(task)
        with self._worker() as worker:
            try:
                result = worker.run(packed)
            except WorkerFailed as error:
                raise _translate(error, closed=worker.closed) from error
        return packing.unpack_extract(result)

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        worker = self._idle.get_nowait()  # there are as many threads as workers
        try:
            yield worker
        finally:
            self._idle.put(worker)


def _translate(error: WorkerFailed, *, closed: bool) -> AttachmentError:
    if closed:
        return AttachmentError(Omission.TIMED_OUT, "closed", retry_after=RETRY_SECONDS)
    match error:
        case TaskCrashed() | TaskFailed():
            return AttachmentError(Omission.DAMAGED, str(error))
        case TaskTooCostly():
            return AttachmentError(Omission.TOO_COSTLY, str(error))
        case _:
            return AttachmentError(Omission.TIMED_OUT, str(error), retry_after=RETRY_SECONDS)

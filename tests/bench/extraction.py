"""Extraction in the sandbox, compared with direct calls of the library in a warm process.

Also measures, while hostile files are read, how long the event loop is blocked and how much the
bot's memory grows. The goals are a ratio of at most 1.2, and 50 ms for the loop's delay at p99.
"""

from __future__ import annotations

import asyncio
import gc
import io
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import anydoc
import pypdfium2
import python_calamine

from bot.content.extraction import SandboxExtractor
from bot.domain.errors import AttachmentError
from tests.bench.table import show
from tests.support import hostile_files as hostile
from tests.support import reader_files as files

ROUNDS = 15  # the smallest result counts: other processes only add to it
MEGABYTE = 1024 * 1024
BEAT = 0.005  # seconds between two measurements of the loop's delay


def _words(count: int, seed: int) -> str:
    letters = random.Random(seed)
    return " ".join(f"{letters.randrange(16**6):06x}" for _ in range(count))


def make_pdf() -> bytes:
    """100 pages of 55 lines, and an image; about 1 MB together."""
    lines = ["\n".join(_words(9, 100 * page + line) for line in range(55)) for page in range(100)]
    scan = random.Random(1).randbytes(700_000)
    return files.pdf(lines, title="Bench") + b"%" + scan.replace(b"\n", b"").replace(b"\r", b"")


def make_docx() -> bytes:
    """A Word document of 1 MB."""
    return files.docx_paragraphs([_words(60, number) for number in range(4_500)])


def make_xlsx() -> bytes:
    """A workbook of 1 MB: four sheets of numbers and texts."""
    numbers = random.Random(2)
    return files.xlsx({
        f"Sheet{sheet}": [
            [numbers.random() if column % 3 else f"text {numbers.random()}" for column in range(8)]
            for _ in range(3_000)
        ]
        for sheet in range(4)
    })  # fmt: skip


def read_pdf(data: bytes) -> object:
    """PDFium called directly."""
    document = pypdfium2.PdfDocument(data)
    texts = []
    for page in document:
        textpage = page.get_textpage()
        texts.append(textpage.get_text_range())
        textpage.close()
        page.close()
    document.close()
    return texts


def read_docx(data: bytes) -> object:
    """anydoc called directly."""
    return anydoc.to_markdown_bytes(data)


def read_xlsx(data: bytes) -> object:
    """calamine called directly."""
    book = python_calamine.load_workbook(io.BytesIO(data))
    return [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]


CASES: dict[str, tuple[Callable[[], bytes], Callable[[bytes], object]]] = {
    "report.pdf": (make_pdf, read_pdf),
    "report.docx": (make_docx, read_docx),
    "report.xlsx": (make_xlsx, read_xlsx),
}


async def run() -> None:
    """Print the ratios, the delay, the memory and the cost of the start."""
    await _show_ratios()
    await _show_hostile()
    await _show_start()


async def _show_ratios() -> None:
    extractor = SandboxExtractor(pages=100)
    await extractor.extract("warm.txt", "", b"warm")
    rows: list[list[object]] = []
    for name, (make, direct) in CASES.items():
        data, ours, theirs = make(), [], []
        for _ in range(ROUNDS):
            gc.collect()
            began = time.perf_counter()
            direct(data)
            theirs.append(time.perf_counter() - began)
            began = time.perf_counter()
            await extractor.extract(name, "", data)
            ours.append(time.perf_counter() - began)
        rows.append([
            name, f"{len(data) / MEGABYTE:.2f}", f"{min(theirs) * 1e3:.1f}",
            f"{min(ours) * 1e3:.1f}", f"{min(ours) / min(theirs):.2f}",
        ])  # fmt: skip
    await extractor.aclose()
    show("extraction beside the library (goal: ratio ≤ 1.2)",
         ["file", "MB", "library, ms", "ours, ms", "ratio"], rows)  # fmt: skip


async def _show_hostile() -> None:
    extractor = SandboxExtractor(pages=100)
    attacks = [
        *hostile.loops(), *hostile.nested(), *hostile.entities(),
        *((name, data) for name, (data, _) in hostile.bombs().items()),
        ("20 MB of text", b"some text\n" * (2 * MEGABYTE)),
    ]  # fmt: skip
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    delays: list[float] = []
    watch = asyncio.create_task(_watch(delays))
    for _, data in attacks:
        try:
            await extractor.extract("x", "", data)
        except AttachmentError:
            continue
    watch.cancel()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    await extractor.aclose()
    p99 = statistics.quantiles(delays, n=100)[98]
    show("the bot while hostile files are read (goal: p99 ≤ 50 ms)",
         ["files", "seconds", "delay p99, ms", "longest, ms", "memory grown, MB"],
         [[len(attacks), f"{len(delays) * BEAT:.0f}", f"{p99 * 1e3:.1f}",
           f"{max(delays) * 1e3:.1f}", f"{grown:.0f}"]])  # fmt: skip


async def _watch(delays: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(BEAT)
        delays.append(time.perf_counter() - began - BEAT)


async def _show_start() -> None:
    """The cost of importing the extractor, and of the first file, which starts a child."""
    code = (
        "import asyncio, concurrent.futures, json, queue, subprocess, sys, time\n"
        "import bot.domain.errors, bot.domain.conversations\n"
        "count, began = len(sys.modules), time.process_time()\n"
        "import bot.content.extraction\n"
        "print((time.process_time() - began) * 1e3, len(sys.modules) - count)"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    spent, modules = done.stdout.split()
    extractor = SandboxExtractor(pages=1)
    began = time.perf_counter()
    await extractor.extract("a.txt", "", b"x")
    first = time.perf_counter() - began
    await extractor.aclose()
    show(
        "start",
        ["import in the bot, ms", "modules", "first file, ms"],
        [[f"{float(spent):.1f}", modules, f"{first * 1e3:.0f}"]],
    )

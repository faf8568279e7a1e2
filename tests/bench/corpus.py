"""Reads every file of a folder as if it had been attached: `python -m tests.bench.corpus FOLDER …`.

Prints how many files were tried, read and refused, by kind and with the reasons, and which were
slowest. The folder is not part of the repository: use real files from packages and test suites.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bot.content.extraction import SandboxExtractor
from bot.domain.attachments import Extract
from bot.domain.errors import AttachmentError

LARGEST = 20 * 1024 * 1024
"""ATTACHMENT_MAX_MB's default, in bytes."""

PER_ENDING = 400
"""Limit of files with the same ending: more of them add nothing new."""


def find(folders: Sequence[str]) -> list[Path]:
    """Regular files, at most `PER_ENDING` of each ending, and the same ones every time."""
    found = sorted(
        path
        for folder in folders
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= LARGEST
    )
    random.Random(1).shuffle(found)
    counted: Counter[str] = Counter()
    chosen = []
    for path in found:
        counted[path.suffix.lower()] += 1
        if counted[path.suffix.lower()] <= PER_ENDING:
            chosen.append(path)
    return chosen


async def read_all(paths: Sequence[Path]) -> list[tuple[Path, Extract | AttachmentError, float]]:
    """Read every file; returns its extract or error, and the seconds it took."""
    extractor = SandboxExtractor(pages=100)
    waiting = asyncio.Semaphore(2)

    async def read(path: Path) -> tuple[Path, Extract | AttachmentError, float]:
        async with waiting:
            data = await asyncio.to_thread(path.read_bytes)
            began = time.monotonic()
            try:
                result: Extract | AttachmentError = await extractor.extract(path.name, "", data)
            except AttachmentError as error:
                result = error
            return path, result, time.monotonic() - began

    try:
        return await asyncio.gather(*(read(path) for path in paths))
    finally:
        await extractor.aclose()


def report(results: Sequence[tuple[Path, Extract | AttachmentError, float]]) -> None:
    """Print the counts, every refused file of a kind that should be readable, and the slowest
    files."""
    by_kind: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for path, result, _ in results:
        if isinstance(result, Extract):
            by_kind[result.media_type] += 1
        else:
            refused[f"{result.omission.value}: {path.suffix.lower() or '(none)'}"] += 1
    print(f"tried {len(results)}, read {by_kind.total()}, refused {refused.total()}")
    print("read:", ", ".join(f"{kind} {count}" for kind, count in by_kind.most_common()))
    print("refused:", ", ".join(f"{why} {count}" for why, count in refused.most_common()))
    for path, result, seconds in sorted(results, key=lambda each: -each[2])[:15]:
        print(f"  {seconds:6.2f} s {path} {getattr(result, 'omission', 'read')}")
    for path, result, _ in results:
        if isinstance(result, AttachmentError) and result.omission.value != "unsupported":
            print(f"  {result} {path}")


if __name__ == "__main__":
    report(asyncio.run(read_all(find(sys.argv[1:]))))

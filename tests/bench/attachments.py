"""Cost of a turn with five attachments of 1 MB, compared with the same turn without attachments.

The core runs on a real database between a model that answers immediately and a platform in memory.
The bench measures the process's CPU time from the question to the end of the turn. The first turn
reads the files; the second has them in its history.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bot.domain.inbox import Address
from tests.bench.table import show
from tests.support.content_kit import file
from tests.support.core_kit import World, world_at
from tests.support.store_kit import key

ROUNDS = 15
FILES = 5
SIZE = 1_000_000


async def run() -> None:
    """Print the table."""
    rows = []
    for name, line in (("English", "an ordinary line of a log\n"), ("Chinese", "日志中的一行\n")):
        with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
            path = Path(folder) / "bench.db"
            options = {"max_bytes": 10 * SIZE}
            async with world_at(path, content=options, context_tokens=16_000) as world:
                rows.append([name, *await _measure(world, line)])
    show(
        f"A turn with {FILES} attachments of 1 MB (ms of CPU, median)",
        ("text", "without", "with", "its next turn", "next turn / without"),
        rows,
    )


async def _measure(world: World, line: str) -> list[str]:
    text = (line * (SIZE // len(line.encode()))).encode()
    bare, first, later = [], [], []
    for number in range(ROUNDS):
        names = [f"{number}-{n}.log" for n in range(FILES)]
        world.adapter.files |= {name: name.encode() + text for name in names}
        files = tuple(file(name) for name in names)
        bare.append(await _turn(world, f"bare{number}", 10 * number + 1))
        first.append(await _turn(world, f"files{number}", 10 * number + 2, attachments=files))
        later.append(
            await _turn(world, f"files{number}", 10 * number + 3, address=Address.FOLLOW_UP)
        )
    medians = [statistics.median(each) * 1e3 for each in (bare, first, later)]
    return [*(f"{value:.1f}" for value in medians), f"{medians[2] / medians[0]:.2f}"]


async def _turn(world: World, thread: str, number: int, **more: object) -> float:
    began = time.process_time()
    await world.ask(number, where=key(thread), **more)
    return time.process_time() - began

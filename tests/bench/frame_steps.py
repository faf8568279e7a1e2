"""How long one step of a reply blocks the event loop: the longest step per document and platform.

A step is one call of `Document.frame`. Each document arrives once in one piece and once in chunks.
The same steps run several times, and the least CPU time of each counts, since other processes can
only add to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from adapters.discord.render import DiscordRenderer
from adapters.slack.render import SlackRenderer
from bot.ports.platform import Renderer
from bot.replies.paging.document import Document
from tests.bench.table import show
from tests.support.replies import ANSWERS, chunked
from tests.support.worst_documents import CASES

ROUNDS = 3
GROWTH = 160  # characters between two frames: one second at 40 tokens per second
GOAL_MS = 10.0


def steps(chunks: list[str], renderer: Renderer) -> Iterator[float]:
    """The seconds that each step takes, including those of the final frame."""
    document = Document(renderer)
    for chunk in chunks:
        document.write(chunk)
        yield from _frame(document)
    document.finish()
    yield from _frame(document)


def _frame(document: Document) -> Iterator[float]:
    while True:
        began = time.thread_time()
        document.frame()
        yield time.thread_time() - began
        if not document.behind:
            return


def longest(chunks: list[str], make: type[Renderer]) -> tuple[float, float]:
    """The longest step and the sum of all steps, in seconds."""
    rounds = [list(steps(chunks, make())) for _ in range(ROUNDS)]
    best = [min(each) for each in zip(*rounds, strict=True)]
    return max(best), sum(best)


async def quick() -> None:
    """Run only the realistic answers."""
    await run(ANSWERS)


async def run(cases: dict[str, str] | None = None) -> None:
    """Print the longest step and the total for each document."""
    rows: list[list[object]] = []
    for name, text in (cases or ANSWERS | CASES).items():
        row: list[object] = [name, len(text)]
        for make in (SlackRenderer, DiscordRenderer):
            for chunks in ([text], chunked(text, [GROWTH])):
                most, total = longest(chunks, make)
                row += [f"{most * 1e3:.1f}" + "!" * (most * 1e3 > GOAL_MS), f"{total:.2f}"]
        rows.append(row)
    head = ("one piece ms", "all s", "growing ms", "all s")
    show(
        "The longest step of a reply, Slack's pages and Discord's",
        ("", "chars", *(f"S {name}" for name in head), *(f"D {name}" for name in head)),
        rows,
        f"Goal: no step over {GOAL_MS:.0f} ms (longer steps are marked with !).",
    )

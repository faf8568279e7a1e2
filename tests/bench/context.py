"""Cost of a turn in a conversation of a million messages, compared with an empty conversation.

Both run in one process on one database, between a model that answers immediately and a platform in
memory. The long conversation has a full window, a summary and five attachments. The figures are the
process's CPU time from the question to the end of the turn.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bot.domain.context import Summary
from bot.domain.inbox import Address
from bot.domain.tokens import message_tokens
from bot.store.migrate import migrate
from tests.bench.table import show
from tests.support.content_kit import file
from tests.support.core_kit import World, world_at
from tests.support.long_conversation import prose
from tests.support.store_kit import key, said

MESSAGES = 1_000_000
BUDGETS = (32_000, 16_000)
FILES, FILES_SHARE = 5, 0.3  # share of the budget
FULL_SHARE = 0.93
ROUNDS = 40
GOAL = 2.0


async def run(messages: int = MESSAGES) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        path = Path(folder) / "bench.db"
        _build(path, messages)
        rows = [
            await _row(path, messages, 2 * n * messages, budget)
            for n, budget in enumerate(BUDGETS, 1)
        ]
    show(
        f"A turn with a full window of {messages:,} messages, a summary and {FILES} attachments "
        "(ms of CPU, median)",
        ("budget", "empty", "full", "ratio", "tokens sent"),
        rows,
        f"goal: {GOAL} × an empty one",
    )


async def quick() -> None:
    """The same with fewer messages."""
    await run(20_000)


async def _row(path: Path, messages: int, first: int, budget: int) -> list[str]:
    """The figures of one budget; `first` is the number of its first message."""
    async with world_at(path, context_tokens=budget) as world:
        await _prepare(world, messages, first, budget)
        empty, full = [], []
        for number in range(ROUNDS):
            unused = first + messages + 2 * number
            empty.append(await _turn(world, f"empty{budget}-{number}", unused))
            full.append(await _turn(world, "long", unused + 1))
        tokens = _tokens(world)
    before, after = statistics.median(empty) * 1e3, statistics.median(full) * 1e3
    return [f"{budget:,}", f"{before:.1f}", f"{after:.1f}", f"{after / before:.2f}", f"{tokens:,}"]


async def _prepare(world: World, messages: int, first: int, budget: int) -> None:
    """Attach the files, which moves the window; then write a summary and fill the window."""
    names = [f"{budget}-{number}.log" for number in range(FILES)]
    size = int(3 * budget * FILES_SHARE / FILES)
    world.adapter.files |= {name: (prose(20, name) * size).encode()[:size] for name in names}
    question = said(first, "compare", where=key("long"), attachments=tuple(map(file, names)))
    await world.inbox.receive(question)
    await world.idle()
    contexts = world.store.contexts()
    state = await contexts.read_state(1, epoch=1, model="scripted")
    assert state.start > 0.9 * messages, "the window has not moved"
    text = prose(budget // 20, "summary")
    summary = Summary(text, state.start, "scripted")
    assert await contexts.save_summary(1, epoch=1, revision=state.revision, summary=summary)
    number = first + 1
    while _tokens(world) < FULL_SHARE * budget:
        await world.ask(number, prose(100, number), where=key("long"))
        number += 1


def _tokens(world: World) -> int:
    return sum(map(message_tokens, world.model.requests[-1].messages))


async def _turn(world: World, thread: str, number: int) -> float:
    began = time.process_time()
    await world.ask(number, "and now?", where=key(thread), address=Address.MENTION)
    return time.process_time() - began


def _build(path: Path, size: int) -> None:
    """One conversation of `size` messages, half of them replies."""
    migrate(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        with db:
            db.execute(
                "INSERT INTO conversations (id, platform, workspace, channel, thread, name, shared,"
                " next_index, visibility, created_at, updated_at)"
                " VALUES (1, 'sim', 'w1', 'c1', 'long', 'long', 1, ?, 'private', 0, 0)",
                (size,),
            )
            db.executemany(
                "INSERT INTO messages (conversation_id, epoch, idx, role, kind, content,"
                " author_id, author_name, source, position, created_at)"
                " VALUES (1, 1, ?, ?, 'history', ?, ?, ?, ?, ?, ?)",
                _messages(size),
            )


def _messages(size: int) -> Iterator[tuple[object, ...]]:
    text = prose(60, "message")
    for n in range(size):
        person = (f"U{n % 9}", "Ann", f"sim/w1/c1/h{n}")
        role, author = ("assistant", (None, None, None)) if n % 2 else ("user", person)
        yield (n, role, text, *author, n, float(n))

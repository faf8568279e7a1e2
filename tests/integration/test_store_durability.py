"""Acknowledged data survives a cancelled caller, a kill, a second process and a close."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.errors import LostOwnership, StoreError, StoreUnavailable
from bot.domain.inbox import Receipt
from bot.store.sqlite import SqliteStore
from tests.support.store_kit import (
    ANSWER,
    answer_next,
    check_invariants,
    claim_next,
    key,
    look,
    opened,
    said,
)

ROOT = Path(__file__).parents[2]
# Accepts and answers messages until killed, in four threads, with files that they share; prints
# each acknowledgement.
BUSY = """
import asyncio, sys
from itertools import count
from pathlib import Path
from bot.domain.attachments import IncomingAttachment
from tests.support.store_kit import answer_next, key, opened, said

def file(number):
    return IncomingAttachment(name="file", data=bytes([number % 4]) * 700_000)

async def talk(store, numbers, thread):
    for number in numbers:
        brought = [file(number)] if number % 3 == 0 else []
        accepted = await store.accept(said(number, where=key(thread), attachments=brought))
        sys.stdout.write(f"accepted {number}\\n")
        if number % 3 == 0:
            claim = await answer_next(store, accepted.conversation)
            sys.stdout.write(f"answered {claim.fence.turn}\\n")
            if number % 2 == 0:
                await store.erase(said(number).source, with_reply=False)

async def main(path, start):
    async with opened(path) as store:
        numbers = count(start)
        await asyncio.gather(*(talk(store, numbers, f"t{n}") for n in range(4)))

sys.stdout.reconfigure(line_buffering=True)
asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""
# Keeps the database open until it is killed.
HOLDER = """
import asyncio, sys
from pathlib import Path
from tests.support.store_kit import opened

async def main():
    async with opened(Path(sys.argv[1])):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path) as store:
        yield store
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)


# What the store logs, which depends on how busy the machine is, stays out of the output.
LOG_TO_STDERR = """
import sys, structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOG_TO_STDERR + script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


# ── cancellation ──────────────────────────────────────────────────────────────────────────────
async def test_a_cancelled_caller_leaves_a_complete_transaction_or_none(
    store: SqliteStore, path: Path
) -> None:
    """The cancellation may come before the thread starts, inside the transaction, or after the
    commit."""
    moments = random.Random(7)
    cancelled = {number: asyncio.create_task(_begin(store, number)) for number in range(400)}
    lasting = 0
    for number, task in cancelled.items():
        for _ in range(moments.randrange(4)):
            await asyncio.sleep(moments.random() * 0.0004)
        task.cancel()
        if number % 10 == 0:  # while another caller continues
            accepted = await store.accept(said(10_000 + number, where=key("other")))
            assert accepted.receipt is Receipt.QUESTION
            lasting += 1
    done = await asyncio.gather(*cancelled.values(), return_exceptions=True)
    await store.accept(said(20_000, where=key("other")))  # everything queued earlier is done

    counts = look(
        path,
        "SELECT c.thread, count(DISTINCT t.id), count(m.id), max(t.state = 'running')"
        " FROM conversations c LEFT JOIN turns t ON t.conversation_id = c.id"
        " LEFT JOIN messages m ON m.turn_id = t.id WHERE c.thread <> 'other' GROUP BY c.id",
    )
    assert {row[1:3] for row in counts} <= {(1, 1)}
    stored = {row[0] for row in counts}
    acknowledged = {f"t{n}" for n, result in enumerate(done) if result is None}
    assert acknowledged <= stored
    assert look(path, "SELECT count(*) FROM messages WHERE position >= 10000") == [(lasting + 1,)]
    assert len(acknowledged) < len(cancelled)


async def _begin(store: SqliteStore, number: int) -> None:
    accepted = await store.accept(said(number, where=key(f"t{number}")))
    await claim_next(store, accepted.conversation)


async def test_a_cancelled_caller_does_not_affect_others_in_its_commit(
    store: SqliteStore,
) -> None:
    tasks = [
        asyncio.create_task(store.accept(said(n, where=key(f"t{n}"))), name=str(n))
        for n in range(200)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks[1::2])
    assert {result.receipt for result in results} == {Receipt.QUESTION}
    assert await store.find(key("t199")) is not None


async def test_a_refused_transaction_does_not_affect_others_in_its_commit(
    store: SqliteStore,
) -> None:
    await store.accept(said(0))
    stale = (await claim_next(store, 1)).fence
    fence = (await claim_next(store, 1)).fence
    results = await asyncio.gather(
        *(store.accept(said(n)) for n in range(1, 20)),
        store.conclude(stale, ANSWER),
        store.conclude(fence, ANSWER),
        *(store.accept(said(n)) for n in range(20, 40)),
        return_exceptions=True,
    )
    errors = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in errors] == [LostOwnership]
    assert (await claim_next(store, 1)).result == ANSWER
    await store.finish((await claim_next(store, 1)).fence)
    assert len((await claim_next(store, 1)).questions) == 39


async def test_a_failing_transaction_is_rolled_back_without_the_others_in_its_commit(
    store: SqliteStore, path: Path
) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO commands VALUES ('half', 1)")
        raise RuntimeError("in the middle")

    before = [asyncio.create_task(store.record_command(f"before {n}")) for n in range(9)]
    failing = asyncio.create_task(store._write(half))
    after = [asyncio.create_task(store.record_command(f"after {n}")) for n in range(9)]
    await asyncio.gather(*before, *after)
    with pytest.raises(RuntimeError, match="in the middle"):
        await failing
    assert look(path, "SELECT count(*), sum(source = 'half') FROM commands") == [(18, 0)]


async def test_more_transactions_than_one_commit_takes_are_all_committed(
    store: SqliteStore,
) -> None:
    results = await asyncio.gather(
        *(store.accept(said(n, where=key(f"t{n % 7}"))) for n in range(1_000))
    )
    assert {result.receipt for result in results} == {Receipt.QUESTION}
    assert len(await store.list_unfinished("sim")) == 7


# ── a kill ────────────────────────────────────────────────────────────────────────────────────
async def test_everything_acknowledged_survives_a_kill(path: Path) -> None:
    """SIGKILL at five random moments of a busy process, each on the database that the previous one
    left."""
    moments = random.Random(11)
    accepted: set[int] = set()
    answered_turns: set[int] = set()
    for life in range(5):
        process = started(BUSY, path, 1_000_000 * (life + 1))
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(moments.randrange(5, 250))]
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].splitlines(keepends=True)
        assert process.returncode == -signal.SIGKILL
        for line in lines:
            if line.endswith("\n"):  # the last line may be incomplete
                _note(line, accepted, answered_turns)
        with closing(sqlite3.connect(path)) as db:
            check_invariants(db)
            done = {row[0] for row in db.execute("SELECT id FROM turns WHERE state = 'done'")}
        assert answered_turns <= done
    async with opened(path) as store:
        for number in random.Random(1).sample(sorted(accepted), min(200, len(accepted))):
            thread = look(
                path,
                "SELECT thread FROM messages JOIN conversations c ON c.id = conversation_id"
                " WHERE position = ?",
                number,
            )[0][0]
            again = await store.accept(said(number, where=key(thread)))
            assert again.receipt is Receipt.KNOWN
        while left := await store.list_unfinished("sim"):
            await answer_next(store, left[0])
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)
        assert db.execute("SELECT count(*) FROM discarded_files").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM files WHERE is_staged = 1").fetchone() == (0,)
        assert 0 < db.execute("SELECT count(*) FROM files").fetchone()[0] <= 4


def _note(line: str, accepted: set[int], answered_turns: set[int]) -> None:
    word, number = line.split()
    (accepted if word == "accepted" else answered_turns).add(int(number))


# ── one process ───────────────────────────────────────────────────────────────────────────────
async def test_a_second_process_is_refused_until_the_first_ends(path: Path) -> None:
    first = started(HOLDER, path)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(
            StoreError, match=rf"in use by another Threadline \(process {first.pid}\)"
        ):
            async with opened(path):
                pass
    finally:
        first.kill()
        first.communicate()
    async with opened(path) as store:
        assert (await store.accept(said(1))).receipt is Receipt.QUESTION


async def test_another_name_of_the_file_is_the_same_database(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    async with opened(path):
        link.symlink_to(path)
        with pytest.raises(StoreError, match=rf"process {os.getpid()}"):
            async with opened(link):
                pass


# ── the end ───────────────────────────────────────────────────────────────────────────────────
async def test_operations_that_started_before_the_close_complete(path: Path) -> None:
    async with opened(path) as store:
        tasks = [asyncio.create_task(store.accept(said(n))) for n in range(50)]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks)
    assert {result.receipt for result in results} == {Receipt.QUESTION}
    assert look(path, "SELECT count(*) FROM messages") == [(50,)]


async def test_after_the_close_every_operation_raises(path: Path) -> None:
    async with opened(path) as store:
        accepted = await store.accept(said(1))
        await answer_next(store, accepted.conversation)
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.accept(said(2))
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.find(key())


async def test_a_closed_database_is_one_file(path: Path) -> None:
    """No data is left in a write-ahead log, which a copy of the file would lack."""
    async with opened(path) as store:
        await store.accept(said(1))
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}

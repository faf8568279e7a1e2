"""Old messages are erased at night, by the age set for their place; pinned ones stay."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot import __main__ as command_line
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError
from bot.domain.inbox import Incoming
from bot.domain.policy import (
    PlaceFacts,
    PlaceLevel,
    PlaceRef,
    PolicyConfig,
    PolicyValues,
    Rule,
)
from bot.policy.open_directory import OpenDirectory
from bot.policy.rules import PolicyRules
from bot.privacy.retention import RetentionKeeper, seconds_until_night
from bot.store.sqlite import SqliteStore
from tests.support.clock import ManualClock
from tests.support.privacy_kit import BOB, EVE, Filler, key, traces
from tests.support.store_kit import check_invariants, look, opened, said

DAY = 86_400.0


def keeper_of(
    store: SqliteStore, days: dict[str, int | None], clock: ManualClock
) -> RetentionKeeper:
    async def of(channel: ConversationKey) -> int | None:
        assert channel.thread == ""
        return days.get(channel.channel, 0)

    return RetentionKeeper(store=store.privacy(), days=of, clock=clock)


def opened_at(path: Path, clock: ManualClock) -> AbstractAsyncContextManager[SqliteStore]:
    return SqliteStore.open(path, clock=clock)


async def test_a_quiet_conversation_disappears_and_a_living_one_loses_what_is_old(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "threadline.db", ManualClock()
    async with opened_at(path, clock) as store:
        filler = Filler(store)
        await filler.ask(key("hr", "t1"), EVE, file=b"file of evelynmark")
        await filler.ask(key("hr", "t2"), EVE)
        await filler.ask(key("ops", "t1"), BOB)
        await filler.ask(key("hr", "pinned"), BOB, text="bobmark keep this")
        assert await store.privacy().pin(key("hr", "pinned"), pinned=True)
        assert not await store.privacy().pin(key("hr", "none"), pinned=True)
        await store._write(
            lambda db: db.execute(
                "INSERT INTO usage_by_day SELECT 'sim', 'w1', ?, date(?, 'unixepoch'), 'hr',"
                " 'echo', 'answer', 1, 0, 0, 10, 5, 0, 0, 0, 7",
                (EVE.id, clock.time()),
            )
        )
        clock.jump(40 * DAY)
        await filler.ask(key("hr", "t2"), BOB, text="bobmark new")
        keeper = keeper_of(store, {"hr": 30}, clock)
        erased = await keeper.prune()
        assert (erased.conversations, erased.messages, erased.files) == (1, 2, 1)
        assert traces(path, [b"evelynmark", b"Evelyn", b"UEVE7714"]) == {}
        assert look(path, "SELECT thread FROM conversations ORDER BY id") == [
            ("t2",), ("t1",), ("pinned",),
        ]  # fmt: skip
        texts = look(path, "SELECT content FROM messages WHERE content <> '' ORDER BY id")
        assert ("bobmark new",) in texts
        assert ("bobmark keep this",) in texts
        assert look(path, "SELECT person, input_tokens FROM usage_by_day") == [("", 10)]
        assert await keeper.prune() == type(erased)()
        # The active conversation continues without its beginning.
        await filler.ask(key("hr", "t2"), BOB, text="bobmark newer")
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)


async def test_a_long_conversation_is_erased_in_steps_and_not_while_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.retention.STEP", 3)
    path, clock = tmp_path / "threadline.db", ManualClock()
    async with opened_at(path, clock) as store:
        filler = Filler(store)
        for _ in range(5):
            await filler.ask(key("hr", "t1"), EVE)
        clock.jump(40 * DAY)
        for channel in ("hr", "ops"):
            await filler.ask(key(channel, "t1"), BOB)
        keeper = keeper_of(store, {"hr": 30, "ops": None}, clock)
        busy = await store.accept(_question(filler, "hr"))
        assert (await keeper.prune()).messages == 0
        assert busy.conversation is not None
        await filler.answer(busy.conversation, "fine")
        assert (await keeper.prune()).messages == 5
        assert traces(path, [b"evelynmark"]) == {}
        clock.jump(40 * DAY)
        assert (await keeper.prune()).conversations == 1
        assert look(path, "SELECT channel FROM conversations") == [("ops",)]


def _question(filler: Filler, channel: str) -> Incoming:
    filler.number += 1
    return said(filler.number, "bobmark", where=key(channel, "t1"), author=BOB)


# ── which places ──────────────────────────────────────────────────────────────────────────────
class Named(OpenDirectory):
    """A directory in which channel C1 is #hr."""

    def __init__(self) -> None:
        async def tell(key: ConversationKey, author: Author, text: str) -> None:
            raise AssertionError

        super().__init__(tell)
        self.fault: PlatformError | None = None

    async def place(self, key: ConversationKey) -> PlaceFacts:
        if self.fault is not None:
            raise self.fault
        return PlaceFacts(key, channel_name="hr" if key.channel == "C1" else "ops")


async def test_a_place_that_is_not_known_now_is_not_erased_by_a_wider_rule() -> None:
    where = PlaceRef(PlaceLevel.CHANNEL, "sim", "w1", "hr", is_name=True, text="sim:w1/#hr")
    rule = Rule((where,), PolicyValues(retention_days=365), "rule")
    rules = PolicyRules(PolicyConfig(PolicyValues(retention_days=7), (rule,)))
    directory = Named()
    rules.connect(lambda _platform: directory)
    assert await rules.retention_days(key("C1", "")) == 365
    assert await rules.retention_days(key("C2", "")) == 7
    directory.fault = PlatformError("not now")
    assert await rules.retention_days(key("C1", "")) is None
    directory.fault = Gone("deleted")
    assert await rules.retention_days(key("C1", "")) == 365  # its last known name


def test_the_pass_waits_for_the_night() -> None:
    evening = datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp()
    assert seconds_until_night(evening, UTC) == 4 * 3_600
    assert seconds_until_night(evening + 4 * 3_600, UTC) == DAY


# ── the command line ──────────────────────────────────────────────────────────────────────────
async def test_the_operator_forgets_exports_and_reads_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, file = tmp_path / "threadline.db", tmp_path / "eve.jsonl"
    async with opened(path) as store:
        await Filler(store).fill(4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")

    async def run(*arguments: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(command_line.main, arguments)
        out, err = capsys.readouterr()
        return code, out, err

    person = f"sim/w1/{EVE.id}"
    assert await run("export", "person", person, "--out", str(file)) == (0, "", "")
    assert "evelynmark" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert (await run("export", "person", person, "--out", str(file)))[0] == 1  # never overwritten
    code, out, _ = await run("forget", person, "--yes")
    assert code == 0
    assert "deleted 3 messages" in out
    assert traces(path) == {}
    assert (await run("pin", "sim/w1/d1/t1"))[:2] == (0, "kept whatever its age\n")
    assert (await run("prune"))[0] == 0
    code, out, _ = await run("audit", "--since", "2020-01-01")
    entries = [json.loads(line) for line in out.splitlines()]
    assert [entry["action"] for entry in entries] == [
        "policy.set", "conversation.read", "person.exported", "person.forgotten",
    ]  # fmt: skip
    assert {entry["actor"] for entry in entries[2:]} == {"operator"}
    for wrong in (("forget", "wrong"), ("audit", "--since", "yesterday"), ("pin", "a/b")):
        assert (await run(*wrong))[0] == 2


async def test_usage_by_person_is_erased_even_without_a_conversation(tmp_path: Path) -> None:
    """The books count by day, so a conversation's last day is erased one night after the
    conversation."""
    path, clock = tmp_path / "threadline.db", ManualClock()
    async with opened_at(path, clock) as store:
        await Filler(store).ask(key("hr", "t1"), EVE)
        await store._write(
            lambda db: db.execute(
                "INSERT INTO usage_by_day SELECT 'sim', 'w1', ?, date(?, 'unixepoch'), 'hr',"
                " 'echo', 'answer', 1, 0, 0, 10, 5, 0, 0, 0, 7",
                (EVE.id, clock.time()),
            )
        )
        keeper = keeper_of(store, {"hr": 30}, clock)
        clock.jump(30 * DAY + 1)
        assert (await keeper.prune()).conversations == 1
        clock.jump(DAY)
        await keeper.prune()
        assert look(path, "SELECT person, input_tokens FROM usage_by_day") == [("", 10)]

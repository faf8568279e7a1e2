"""An erased person is gone from the database's bytes, and a restored backup does not bring them
back."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from bot.catchup.leftovers import Leftovers
from bot.common.clock import SystemClock
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import LostOwnership, StoreError, StoreUnavailable
from bot.domain.inbox import Address, Change, Command, Effect
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.model import Usage
from bot.domain.policy import Budget, BudgetScope, OverrideName, Period, PolicyConfig
from bot.domain.privacy import EVERYWHERE, AuditEntry, Person, Receipt
from bot.domain.spending import Booking, Quote, Reserved, Spender
from bot.domain.turns import Outcome, TurnResult
from bot.inbox import commands
from bot.inbox.catch_up_records import CatchUpRecords
from bot.inbox.privacy_commands import PrivacyCommands
from bot.policy.budgets import lines_of
from bot.policy.rules import PolicyRules
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports
from bot.store.backup import backup, restore
from bot.store.erasure_list import ErasureList
from bot.store.sqlite import SqliteStore
from tests.support.privacy_kit import BOB, EVE, Filler, key, texts_of_bob, traces
from tests.support.store_kit import check_invariants, claim_next, look, opened, said, until

PLACE = key("c1", "")
EVERY = Person("sim", "w1", EVE.id)


async def forget(store: SqliteStore, person: Person = EVERY) -> Receipt:
    forgetter = Forgetter(store=store.privacy(), audit=store.audit())
    return await forgetter.forget(person, by="admin", key=PLACE)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_of_a_person_is_left_in_the_bytes(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await Filler(store, seed).fill()
        before = texts_of_bob(path)
        assert len(traces(path)) >= 4
        receipt = await forget(store)
        assert receipt.erased.messages == 30
        assert receipt.erased.conversations == 10
        assert receipt.erased.files >= 10
        assert receipt.erased.replies >= 30
        assert traces(path) == {}  # even while the bot runs
        kept = texts_of_bob(path)
        assert {text for text in before if "wrote:" not in text} <= kept
        assert "why?\n\n[quote erased]" in kept
    assert traces(path) == {}
    with closing(sqlite3.connect(path)) as db:
        check_invariants(db)
    # The answers to Bob are still there, and so are the sums of usage.
    assert look(path, "SELECT count(*) FROM turns WHERE content LIKE '%bobmark%'")[0][0] >= 40
    assert look(path, "SELECT person, input_tokens FROM usage_by_day") == [("", 10)]
    (actor, subject) = look(path, "SELECT actor, subject FROM audit ORDER BY id")[1]
    assert actor == BOB.id
    assert subject.startswith("erased:")


async def test_an_answer_to_another_person_that_repeats_the_erased_one_goes_too(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        filler, where = Filler(store), key("c1", "t1")
        await filler.ask(where, EVE, text="my cat is called Mauritius the Second of his name")
        await filler.ask(where, BOB, "You should ask Evelyn Quist.", text="who has a cat?")
        await filler.ask(where, BOB, "It is Mauritius the Second of his name.", text="its name?")
        await filler.ask(where, BOB, "Cats like fish.", text="what do cats like?")
        await forget(store)
    replies = look(path, "SELECT content FROM turns ORDER BY id")
    assert [text for (text,) in replies] == ["", "", "", "Cats like fish."]
    kept = look(path, "SELECT content FROM messages WHERE kind = 'reply' AND content <> ''")
    assert kept == [("Cats like fish.",)]


class Records(CatchUpRecords):
    """What `Leftovers` asks of the bot's inbox."""

    async def conversation_of(self, source: str) -> ConversationKey | None:
        found = await self._store.conversation_of(source)
        return None if found is None else found.key


async def test_what_a_platform_still_shows_of_an_erased_conversation_is_removed(
    tmp_path: Path,
) -> None:
    """After a restart, too; its row has nothing of the person but the address, and goes."""
    path, removed = tmp_path / "threadline.db", list[Leftover]()
    async with opened(path) as store:
        await Filler(store).ask(key("d1", "t1"), EVE, "An answer.", text="a question")
        left = Leftover(1, LeftoverKind.MESSAGE, "d1", "m1")
        await store.add_leftover(left)
        await forget(store)
        assert look(path, "SELECT count(*) FROM conversations") == [(0,)]
        assert traces(path) == {}

    async def remove(leftover: Leftover) -> None:
        removed.append(leftover)

    async with opened(path) as store:
        records, clock = Records(store, SystemClock()), SystemClock()
        leftovers = Leftovers(platform="sim", inbox=records, clock=clock, remove=remove)
        async with leftovers.running():
            await until(lambda: look(path, "SELECT * FROM leftovers") == [])
    assert removed == [replace(left, conversation=0)]
    assert removed[0].workspace == "w1"


async def test_a_backup_from_before_does_not_bring_the_person_back(tmp_path: Path) -> None:
    path, saved = tmp_path / "threadline.db", tmp_path / "saved.db"
    async with opened(path) as store:
        await Filler(store).fill(8)
        backup(path, saved)
        await forget(store)
        # What the person writes afterwards is stored as usual.
        later = said(900, "evelyn is back", where=key("dnew", "t900"), author=EVE,
                     address=Address.DIRECT)  # fmt: skip
        later = replace(later, sent_at=time.time())
        await store.accept(later)
    assert traces(saved)
    restore(path, saved)
    assert traces(path) == {}
    # The backup is copied over the file, without `restore`.
    path.write_bytes(saved.read_bytes())
    assert traces(path)
    async with opened(path) as store:
        assert traces(path) == {}
        # What the platform still has (a redelivery, a thread's history) is not stored again.
        old = replace(later, text="evelynmark again", message_id="m901", sent_at=time.time() - 60)
        await store.accept(old)
        asked = said(902, "bobmark", where=key("c9", "t9"), author=BOB)
        await store.accept(asked, [replace(old, key=asked.key)])
        assert traces(path) == {}
        await store.accept(later)
    async with opened(path):
        assert look(path, "SELECT content FROM messages WHERE author_id = ?", EVE.id) == [
            ("evelyn is back",)
        ]


async def test_an_erasure_that_was_interrupted_is_completed_by_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await Filler(store).fill(8)
        await store.privacy().list_erasure(EVERY)
        conversations = await store.privacy().conversations_of(EVERY, 2**40)
        await store.privacy().erase_in(conversations[0], EVERY, 2**40)
    with ErasureList(path).path.open("a") as file:
        file.write('{"id": "cut off by a power fail')
    async with opened(path):
        assert traces(path) == {}
    assert ErasureList(path).add(EVERY, 1.0) in ErasureList(path).entries()


def test_a_list_that_is_deleted_while_the_bot_runs_begins_again(tmp_path: Path) -> None:
    """The next start can read it, and still knows who is meant."""
    erased = ErasureList(tmp_path / "threadline.db")
    erased.add(EVERY, 1.0)
    erased.path.unlink()
    entry = erased.add(EVERY, 2.0)
    found = ErasureList(tmp_path / "threadline.db")
    assert found.entries() == [entry]
    assert found.digest(EVERY.platform, EVERY.id) == entry.person


def test_an_entry_that_does_not_fit_on_the_disk_is_not_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may take a part of it without an error."""
    erased = ErasureList(tmp_path / "threadline.db")
    first = erased.add(EVERY, 1.0)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:20]))
    with pytest.raises(StoreError, match="No space left"):
        erased.add(EVERY, 2.0)
    monkeypatch.undo()
    last = erased.add(EVERY, 3.0)
    assert erased.entries() == [first, last]


async def test_only_the_person_who_asked_is_forgotten_by_the_button(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await Filler(store).fill(4)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        run = PrivacyCommands(
            store=store,
            forgetter=forgetter,
            exports=PersonalExports(
                exporter=Exporter(store=store.privacy(), audit=store.audit()), clock=SystemClock()
            ),
        ).forget

        async def press(author: Author, argument: str) -> str:
            command = Command(
                name=commands.FORGET, argument=argument, key=key("c1", "t1"), author=author
            )
            return (await run(command)).text

        asked = await run(
            Command(name=commands.FORGET, argument="", key=key("c1", "t1"), author=EVE)
        )
        (button,) = asked.choices
        assert button.command == commands.FORGET
        assert "forgets the person who asked" in await press(BOB, button.argument)
        assert "deletes everything" in await press(BOB, "evelyn yes")
        assert traces(path)
        assert texts_of_bob(path)
        assert "I have deleted 3 messages" in await press(EVE, button.argument)
        assert traces(path) == {}
        assert texts_of_bob(path)
        assert "0 messages, 0 files" in await press(EVE, "me yes")


def test_a_person_is_one_of_the_workspace_or_of_the_platform() -> None:
    at = Person.at
    assert at(key("c1", "t1"), "U1") == Person("sim", "w1", "U1")
    assert at(key("c1", "t1", "@me"), "U1") == Person("sim", EVERYWHERE, "U1")
    assert at(key("c1", "t1", "ann"), "ann") == Person("sim", EVERYWHERE, "ann")
    assert at(key("c1", "t1"), "U1").covers("@me")
    assert not at(key("c1", "t1"), "U1").covers("w2")
    assert Person("sim", EVERYWHERE, "U1").covers("w2")


async def test_an_export_has_everything_of_the_person_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await Filler(store).fill(8)
        exporter = Exporter(store=store.privacy(), audit=store.audit())
        lines = [line async for line in exporter.lines(EVERY, by="admin", key=PLACE)]
        everyone = look(path, "SELECT content FROM messages WHERE author_id = ?", EVE.id)
        (entry,) = [
            each for each in await store.audit().entries() if each.action == "person.exported"
        ]
    records = [json.loads(line) for line in lines]
    texts = [record["text"] for record in records if record["type"] == "message"]
    assert sorted(texts) == sorted(text for (text,) in everyone)
    assert records[0] == {"type": "person", "person": "sim/w1/UEVE7714", "names": [EVE.name]}
    assert {record["type"] for record in records} >= {
        "person", "message", "reply", "audit", "usage", "feedback",
    }  # fmt: skip
    assert "bobmark" not in "".join(lines)
    assert (entry.actor, entry.subject) == ("admin", EVE.id)


async def test_the_audit_refuses_every_change(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with opened(path) as store:
        await store.audit().record(AuditEntry("policy.set", PLACE, actor="U1", details={"a": 1}))
        for statement in (
            "DELETE FROM audit",
            "UPDATE audit SET details = '{}'",
            "UPDATE audit SET at = 0",
            "UPDATE audit SET actor = 'U2'",
            "UPDATE audit SET subject = 'U2'",
        ):
            with pytest.raises((sqlite3.IntegrityError, StoreUnavailable)):
                await store._write(lambda db, sql=statement: db.execute(sql))  # type: ignore[misc]
        (entry,) = await store.audit().entries()
        assert (entry.action, entry.actor, entry.details) == ("policy.set", "U1", {"a": 1})
        assert await store.audit().entries(after=entry.id) == []
        assert await store.audit().entries(since=entry.at + 1) == []


async def test_an_answer_to_another_person_that_is_not_done_begins_again_without_the_erased_one(
    tmp_path: Path,
) -> None:
    """Its request contains the person's words, so an answer that repeats them could still
    follow."""
    path, words = tmp_path / "threadline.db", "evelynmark lives in the house by the old harbour"
    async with opened(path) as store:
        filler, changes = Filler(store), list[Change]()
        claims = []
        for thread in ("running", "complete", "quoted"):
            where, text = key("c1", thread), f"{EVE.name} wrote:\n> {words}"
            if thread != "quoted":
                await filler.ask(where, EVE, text=words)
                text = "where does she live?"
            accepted = await store.accept(said(500 + len(claims), text, where=where, author=BOB))
            assert accepted.conversation is not None
            claims.append(await claim_next(store, accepted.conversation))
        result = TurnResult(outcome=Outcome.ANSWERED, content=words, display=words, model="echo")
        await store.conclude(claims[1].fence, result)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        forgetter.connect(lambda here: changes.extend(here.changes))
        await forgetter.forget(EVERY, by="admin", key=PLACE)
        assert {
            change.turn for change in changes if change.effect is Effect.REOPENED
        } == {claim.fence.turn for claim in claims}  # fmt: skip
        for claim in (claims[0], claims[2]):
            with pytest.raises(LostOwnership):
                await store.conclude(claim.fence, result)
        assert traces(path) == {}


ROWS = {
    "sessions": ("'d', 'web', ?, 'p', 1.0, 4e9", {"type": "session", "from": 1.0, "until": 4e9}),
    "channel_reads": (
        "'web', '@team', 'ops', ?, 2.0",
        {"type": "channel_read", "channel": "ops", "until": 2.0},
    ),
}


@pytest.mark.parametrize("table", ROWS)
async def test_a_person_who_is_only_signed_in_or_a_reader_is_not_brought_back(
    tmp_path: Path, table: str
) -> None:
    path, saved = tmp_path / "threadline.db", tmp_path / "saved.db"
    values, exported = ROWS[table]
    row = (f"INSERT INTO {table} VALUES ({values})", (EVE.id,))
    async with opened(path) as store:
        await Filler(store).ask(key("c1", "t1"), BOB)
        await store._write(lambda db: db.execute(*row))
        person = Person("web", EVERYWHERE, EVE.id)
        exporter = Exporter(store=store.privacy(), audit=store.audit())
        lines = [json.loads(line) async for line in exporter.lines(person, by="admin", key=PLACE)]
        assert exported in lines
        backup(path, saved)
        await forget(store, person)
        assert look(path, f"SELECT count(*) FROM {table}") == [(0,)]
    restore(path, saved)
    assert look(path, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_a_person_who_only_voted_is_not_brought_back(tmp_path: Path) -> None:
    path, saved = tmp_path / "threadline.db", tmp_path / "saved.db"
    async with opened(path) as store:
        await Filler(store).ask(key("c1", "t1"), BOB)
        vote = ("INSERT INTO feedback SELECT id, ?, 'down', 'evelynmark', 1.0, 1.0 FROM turns",)
        await store._write(lambda db: db.execute(*vote, (EVE.id,)))
        backup(path, saved)
        await forget(store)
        assert traces(path) == {}
    restore(path, saved)
    assert traces(path) == {}
    assert texts_of_bob(path)


async def test_a_user_of_the_page_is_gone_also_as_the_name_of_a_workspace(tmp_path: Path) -> None:
    """On the page, each person has a workspace, so places in every table contain the person's
    name."""
    path, saved = tmp_path / "threadline.db", tmp_path / "saved.db"
    where = ConversationKey("web", EVE.id, "main", "")
    async with opened(path) as store:
        spending = store.spending()
        lines = lines_of(
            [
                Budget(name=scope.value, scope=scope, period=Period.DAY, tokens=1_000_000)
                for scope in BudgetScope
            ],
            where, EVE, now=0.0, zone=UTC,
        )  # fmt: skip
        held = await spending.reserve(Spender(where, EVE), lines, Quote("echo", 5, 5), "2026-11-30")
        assert isinstance(held, Reserved)
        await store.policies().set_override(where, OverrideName.MODEL, "echo", by=BOB)
        await store.audit().record(AuditEntry("conversation.read", PLACE, actor=EVE.id))
        anywhere = ConversationKey("", "", "", "")
        await store.audit().record(AuditEntry("usage.read", anywhere, actor="u", subject=EVE.id))
        await store.record_command(f"web/{EVE.id}/usage-1")
        backup(path, saved)
        await forget(store, Person("web", EVERYWHERE, EVE.id))
        assert traces(path) == {}
        # The request running at that moment is counted, but for no one.
        booking = Booking("echo", Usage(5, 3), 0)
        await spending.settle(held.id, [booking], lines)
        assert traces(path) == {}
        assert look(path, "SELECT person, output_tokens FROM usage_by_day") == [("", 3)]
    restore(path, saved)
    assert traces(path) == {}


async def test_the_rules_in_memory_forget_who_set_them(tmp_path: Path) -> None:
    """Everyone in a channel may use `/why`, and the process runs for months."""
    async with opened(tmp_path / "threadline.db") as store:
        rules, policies = PolicyRules(PolicyConfig()), store.policies()
        for channel, by in (("c1", EVE), ("c2", BOB)):
            await policies.set_override(key(channel, ""), OverrideName.MODEL, "echo", by=by)
        rules.set_overrides(await policies.list_overrides())
        forgetter = Forgetter(
            store=store.privacy(), audit=store.audit(), forget_rules=rules.forget_person
        )
        await forgetter.forget(EVERY, by="admin", key=PLACE)
        for channel in ("c1", "c2"):
            (known,) = rules.overrides_of(key(channel, ""))
            assert known.set_by.name == ("" if channel == "c1" else BOB.name)
        found = [each for name in ("c1", "c2") for each in rules.overrides_of(key(name, ""))]
        assert found == await policies.list_overrides()

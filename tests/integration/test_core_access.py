"""Who may ask and command: the core on a real database, with a directory controlled by the test."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.common.clock import SystemClock
from bot.common.retry import Backoff
from bot.domain import access_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.failures import FailureReason
from bot.domain.inbox import Address, Command, Incoming, Receipt
from bot.domain.model import Delta
from bot.domain.policy import PolicyConfig
from bot.domain.turns import Outcome
from bot.inbox import background_replies, commands
from bot.inbox.feedback_commands import COMMENT, VOTE
from bot.policy.rules import PolicyRules
from bot.turns import access as turns_access
from tests.support.core_kit import World, until, world_at
from tests.support.policy_kit import FixedDirectory, policy_of
from tests.support.store_kit import ANN, BEN, answer_next, key, look, said

CID = Author("U3", "Cid")
RULES = "allow = ['@team', 'user:U1']\nadmins = ['@leads']"
SECRET = "xyzzy"
TABLES = ("conversations", "turns", "messages", "attachments", "commands")


@pytest.fixture
def directory() -> FixedDirectory:
    directory = FixedDirectory()
    directory.add("U1", "team")
    directory.add("U2")
    directory.add("U3", "team")
    directory.add("U9", "leads")
    return directory


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_access, "PAUSES", Backoff(0.005, 0.005))


def _at_the_fake_platform(config: PolicyConfig) -> PolicyConfig:
    """The rules about `slack:T1`, adapted to the fake platform's workspace."""
    rules = [
        replace(
            rule, where=tuple(replace(ref, platform="sim", workspace="w1") for ref in rule.where)
        )
        for rule in config.rules
    ]
    return replace(config, rules=tuple(rules))


@asynccontextmanager
async def world_with(
    tmp_path: Path, directory: FixedDirectory, toml: str = RULES, **more: Any
) -> AsyncIterator[World]:
    policy = PolicyRules(_at_the_fake_platform(policy_of(tmp_path, toml)))
    async with world_at(tmp_path / "t.db", policy=policy, directory=directory, **more) as world:
        yield world


def asked(number: int, text: str = "why?", **more: Any) -> Incoming:
    """A message sent now."""
    return replace(said(number, text, **more), sent_at=SystemClock().time())


def rows(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """All stored conversation data."""
    with closing(sqlite3.connect(world.path)) as db:
        return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


async def receive(world: World, incoming: Incoming) -> Receipt:
    receipt = await world.inbox.receive(incoming)
    await world.idle()
    return receipt


def texts_of(world: World) -> str:
    """All text that was sent to models."""
    return "\n".join(each.content for one in world.model.requests for each in one.messages)


# ── refused people ────────────────────────────────────────────────────────────────────────────
async def test_a_refused_person_is_told_once_a_day_and_nothing_is_stored(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """This holds after a redelivery, a second question, a command word, and a restart."""
    async with world_with(tmp_path, directory) as world:
        before = rows(world)
        for number, text in ((1, "why?"), (1, "why?"), (2, "how?"), (3, "retry")):
            assert await receive(world, asked(number, text, author=BEN)) is Receipt.REFUSED
        await world.inbox.missed([asked(4, "and now?", author=BEN)])
        await until(lambda: bool(directory.told))
        assert world.model.requests == [] and world.adapter.platforms == {}
        after = rows(world)
        assert after.pop("commands") and before.pop("commands") == []
        assert after == before
    async with world_with(tmp_path, directory) as world:
        assert await receive(world, asked(5, author=BEN)) is Receipt.REFUSED
        assert [person for person, _ in directory.told] == ["U2"]
        sentence = directory.told[0][1]
        assert "only some people may ask here" in sentence and "`@leads`" in sentence
        [(actor,)] = look(world.path, "SELECT actor FROM audit WHERE action = 'access.refused'")
        assert actor == "U2"
    [(told_at,)] = look(tmp_path / "t.db", "SELECT told_at FROM refusals_told")
    async with world_with(tmp_path, directory) as world:
        await world.store._write(
            lambda db: db.execute("UPDATE refusals_told SET told_at = ?", (told_at - 86_401,))
        )
        assert await receive(world, asked(6, author=BEN)) is Receipt.REFUSED
        await until(lambda: len(directory.told) == 2)


async def test_a_refused_persons_text_never_reaches_a_model(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """This holds for every way in which text enters a conversation that others continue."""
    async with world_with(tmp_path, directory) as world:
        old = [
            asked(1, f"{SECRET} 1", author=BEN, address=Address.FOLLOW_UP),
            asked(2, "the alert", author=BEN, address=Address.FOLLOW_UP),
            asked(3, "seen by Cid", author=CID, address=Address.FOLLOW_UP),
        ]
        world.adapter.old = [old[0], replace(old[1], from_bot=True), old[2]]
        await receive(world, replace(asked(10), in_old_thread=True))
        assert "the alert" in texts_of(world) and "seen by Cid" in texts_of(world)
        for number, address in enumerate(Address, 11):
            text = f"{SECRET} {address}"
            assert await receive(world, asked(number, text, author=BEN, address=address)) in (
                Receipt.REFUSED,
                Receipt.IGNORED,
            )
        await world.inbox.missed([asked(20, f"{SECRET} missed", author=BEN)])
        # Cid may ask at first, and edits after losing the role.
        await receive(world, asked(21, "mine", author=CID))
        await receive(world, asked(22, "noted", author=CID, address=Address.ASIDE))
        directory.add("U3")
        for number in (21, 22):
            await world.inbox.edited(asked(number, f"{SECRET} edited", author=CID), 2e9)
        again = [asked(21, f"{SECRET} 21", author=CID), asked(22, f"{SECRET} 22", author=CID)]
        await world.inbox.missed([replace(one, edited_at=2e9) for one in again])
        await world.idle()
        assert look(world.path, f"SELECT 1 FROM messages WHERE content LIKE '%{SECRET}%'") == []
        # While the platform does not answer, no one knows who Cid is.
        directory.failing = True
        aside = asked(30, f"{SECRET} aside", author=CID, address=Address.ASIDE)
        assert await receive(world, aside) is Receipt.HISTORY
        for number in (21, 22):
            await world.inbox.edited(asked(number, f"{SECRET} unknown", author=CID), 2e9 + 1)
        question = asked(31, f"{SECRET} question", author=CID)
        assert await receive(world, question) is Receipt.QUESTION
        assert world.outcomes()[-1] == ("failed", FailureReason.ASKER_UNKNOWN.value)
        assert access_texts.ASKER_UNKNOWN in world.shown()[-1]
        directory.failing = False
        await receive(world, asked(40, "so?"))
        assert world.named_contents()[-1].endswith("so?")
        assert SECRET not in texts_of(world)
        withheld = look(world.path, "SELECT content FROM messages WHERE withheld = 1")
        assert len(withheld) == 4  # a question, an aside, and the two edited messages


async def test_an_edit_of_a_refused_person_changes_nothing(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    async with world_with(tmp_path, directory) as world:
        await receive(world, asked(1, "mine", author=CID))
        directory.add("U3")
        before = rows(world)
        now = SystemClock().time()
        await world.inbox.edited(asked(1, "read again", author=CID), now - 3_600)
        assert look(world.path, "SELECT 1 FROM refusals_told") == []
        await world.inbox.edited(asked(1, "changed", author=CID), now)
        await world.inbox.edited(asked(2, "new", author=CID), now)
        await world.idle()
        assert rows(world) == before and len(world.model.requests) == 1
        await until(lambda: [person for person, _ in directory.told] == ["U3"])
        directory.add("U2")
        assert await world.inbox.refusal(key(), CID) == directory.told[0][1]
        assert await world.inbox.refusal(key(), ANN) == ""


# ── the claim ─────────────────────────────────────────────────────────────────────────────────
async def test_a_role_that_is_gone_when_the_turn_is_claimed(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """The turn's other questions are answered; once the role is back, trying again answers all."""
    async with world_with(tmp_path, directory) as world:
        world.model.hold = asyncio.Event()
        await world.inbox.receive(asked(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        await world.inbox.receive(asked(2, "from Cid", author=CID))
        await world.inbox.receive(asked(3, "from Ann"))
        directory.add("U3")
        world.model.hold.set()
        await world.idle()
        assert world.contents()[-1].endswith("from Ann") and "from Cid" not in texts_of(world)
        assert look(world.path, "SELECT content FROM messages WHERE withheld = 1") == [
            ("from Cid",)
        ]
        await receive(world, asked(4, "and then?"))
        assert "from Cid" not in texts_of(world)
        assert [outcome for outcome, _ in world.outcomes()] == ["answered"] * 3
        assert look(world.path, "SELECT count(*) FROM messages WHERE author_id = 'U3'") == [(1,)]


async def test_a_turn_without_anyone_who_may_ask_ends_with_a_sentence(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    async with world_with(tmp_path, directory) as world:
        world.model.hold = asyncio.Event()
        await world.inbox.receive(asked(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        await world.inbox.receive(asked(2, "from Cid", author=CID))
        directory.add("U3")
        world.model.hold.set()
        await world.idle()
        assert world.outcomes()[-1] == ("failed", FailureReason.NOT_ALLOWED.value)
        assert access_texts.NO_LONGER in world.shown()[-1] and len(world.model.requests) == 1
        refused = await world.command("retry")
        assert refused.refused and access_texts.ASKER_REFUSED in refused.text
        directory.add("U3", "team")
        assert not (await world.command("retry")).refused
        await world.idle()
        assert world.outcomes()[-1] == ("answered", None)
        assert world.named_contents()[-1].endswith("Cid: from Cid")


async def test_a_role_that_is_gone_when_a_queued_turn_begins(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """The questions were checked before the turn waited for others to end."""
    async with world_with(tmp_path, directory, max_concurrent=1) as world:
        world.model.hold = asyncio.Event()
        await world.inbox.receive(asked(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        await world.inbox.receive(asked(2, "from Cid", author=CID, where=key("t2")))
        await until(lambda: any("In the queue" in page for page in world.shown("t2")))
        directory.add("U3")
        world.model.hold.set()
        await world.idle()
        assert world.outcomes()[-1] == ("failed", FailureReason.NOT_ALLOWED.value)
        assert len(world.model.requests) == 1


async def test_a_refused_question_stays_withheld_when_another_author_loses_the_role(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """After the queue, all questions are checked again, not only the remaining ones."""
    directory.add("U4", "team")
    dan, first, second = Author("U4", "Dan"), asyncio.Event(), asyncio.Event()
    async with world_with(tmp_path, directory, max_concurrent=1) as world:
        world.model.hold = first
        world.model.pieces = (Delta("Hello.", finish_reason="stop"),)
        await world.inbox.receive(asked(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        for number, author in ((2, CID), (3, dan), (4, ANN)):
            await world.inbox.receive(asked(number, f"from {author.name}", author=author))
        await world.inbox.receive(asked(5, "between", where=key("t2")))
        await until(lambda: any("In the queue" in page for page in world.shown("t2")))
        directory.add("U3")
        world.model.hold = second
        first.set()
        await until(lambda: any("In the queue" in page for page in world.shown()))
        directory.add("U4")
        second.set()
        await world.idle()
        assert world.contents()[-1].endswith("from Ann")
        withheld = "SELECT content FROM messages WHERE withheld = 1 ORDER BY id"
        assert look(world.path, withheld) == [("from Cid",), ("from Dan",)]
        await receive(world, asked(6, "and then?"))
        assert "from Cid" not in texts_of(world) and "from Dan" not in texts_of(world)


async def test_a_platform_that_answers_late_delays_the_answer_alone(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    async with world_with(tmp_path, directory) as world:
        directory.failing = True
        question = asked(1, "from Cid", author=CID)
        assert await world.inbox.receive(question) is Receipt.QUESTION
        assert look(world.path, "SELECT withheld FROM messages") == [(1,)]
        asks = directory.calls.count("person")
        await until(lambda: directory.calls.count("person") > asks)
        directory.failing = False
        await world.idle()
        assert world.outcomes() == [("answered", None)]
        assert look(world.path, "SELECT withheld FROM messages WHERE kind = 'question'") == [(0,)]


async def test_without_rules_only_strangers_are_refused(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """On a platform without strangers, no one is looked up."""
    async with world_with(tmp_path, directory, "") as world:
        await receive(world, asked(1, author=BEN))
        assert set(directory.calls) == {"is_stranger"}
    directory.has_strangers, directory.calls = False, []
    async with world_with(tmp_path, directory, "") as world:
        await receive(world, asked(2, author=BEN))
        await world.inbox.edited(asked(2, "how?", author=BEN), 2e9)
        await world.command("stop")
        await world.idle()
        assert directory.calls == [] and len(world.model.requests) in (1, 2)  # or stopped


# ── modes ─────────────────────────────────────────────────────────────────────────────────────
async def test_which_messages_are_questions(tmp_path: Path, directory: FixedDirectory) -> None:
    toml = """
        [[rules]]
        where = "slack:T1/#quiet"
        answers = "mention"
        [[rules]]
        where = "slack:T1/#talkative"
        answers = "always"
    """
    directory.channels = {"c9": "talkative", "c8": "other", "quiet": "quiet"}
    async with world_with(tmp_path, directory, toml) as world:
        quiet, talk, other = (key(channel=each) for each in ("quiet", "c9", "c8"))
        assert world.inbox.listens(talk) and world.inbox.listens(other)  # the name decides
        for number, (where, address, text, expected) in enumerate(
            (
                (quiet, Address.FOLLOW_UP, "hm", Receipt.IGNORED),
                (quiet, Address.MENTION, "a question", Receipt.QUESTION),
                (quiet, Address.FOLLOW_UP, "to each other", Receipt.HISTORY),
                (quiet, Address.REQUEST, "a program's", Receipt.QUESTION),
                (quiet, Address.CHANNEL, "hello", Receipt.IGNORED),
                (other, Address.CHANNEL, "hello", Receipt.IGNORED),
                (talk, Address.CHANNEL, "", Receipt.IGNORED),
                (talk, Address.CHANNEL, "hello", Receipt.QUESTION),
                (talk, Address.FOLLOW_UP, "more", Receipt.QUESTION),
                (talk, Address.ASIDE, "to Ben", Receipt.HISTORY),
                (key("t2"), Address.REQUEST, "too late", Receipt.IGNORED),
                (key("t2"), Address.CHANNEL, "hello", Receipt.IGNORED),
            ),
            1,
        ):
            incoming = asked(number, text, where=where, address=address)
            assert await receive(world, incoming) is expected, (where, address)
            bots = replace(incoming, message_id=f"b{number}", from_bot=True)
            if address.begins:
                assert await receive(world, bots) is Receipt.IGNORED
        assert "to each other" in texts_of(world)
        missed = [
            asked(50, "missed", where=each, address=Address.CHANNEL) for each in (talk, other)
        ]
        await world.inbox.missed(missed)
        await world.idle()
        assert world.contents()[-1].endswith("missed")
        old = asked(55, "last week", where=key("t55", "c9"), address=Address.CHANNEL)
        await world.inbox.missed([replace(old, sent_at=0.0)])
        assert await world.store.find(old.key) is None  # no thread just for an apology
        assert await world.inbox.apology_due(asked(60, where=talk, address=Address.CHANNEL))
        assert not await world.inbox.apology_due(
            asked(61, where=other, address=Address.CHANNEL, author=BEN)
        )


async def test_a_refused_person_who_talks_to_no_one_is_left_alone(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """Even where the bot answers everything, people talk to each other."""
    async with world_with(tmp_path, directory, RULES + "\nanswers = 'always'") as world:
        chat = asked(1, "hello all", author=BEN, address=Address.CHANNEL)
        assert await receive(world, chat) is Receipt.REFUSED
        await world.inbox.edited(replace(chat, text="hello everyone"), SystemClock().time())
        assert look(world.path, "SELECT 1 FROM refusals_told") == []
        assert await receive(world, asked(2, "you?", author=BEN)) is Receipt.REFUSED
        await until(lambda: [person for person, _ in directory.told] == ["U2"])


async def test_a_refused_person_who_corrects_a_remark_is_left_alone(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """Where only mentions are questions, the rest of a thread is talk among people."""
    async with world_with(tmp_path, directory, RULES + "\nanswers = 'mention'") as world:
        await receive(world, asked(1, author=CID))
        remark = asked(2, "noted", author=CID, address=Address.FOLLOW_UP)
        assert await receive(world, remark) is Receipt.HISTORY
        directory.add("U3")
        now = SystemClock().time()
        await world.inbox.edited(replace(remark, text="well noted"), now)
        assert look(world.path, "SELECT 1 FROM refusals_told") == []
        await world.inbox.edited(asked(1, "how?", author=CID), now)
        await until(lambda: [person for person, _ in directory.told] == ["U3"])


async def test_an_old_message_to_no_one_is_no_question_when_it_is_corrected(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """A new message is a question, and so is an old one whose edit adds a mention."""
    toml = 'answers = "always"'
    async with world_with(tmp_path, directory, toml) as world:
        now = SystemClock().time()
        for number, address, sent_at, is_question in (
            (1, Address.CHANNEL, now - 3_600, False),
            (2, Address.CHANNEL, now - 10, True),
            (3, Address.MENTION, now - 3_600, True),
        ):
            text, where = f"corrected {number}", key(f"t{number}")
            corrected = replace(asked(number, text, where=where, address=address), sent_at=sent_at)
            await world.inbox.edited(corrected, now)
            await world.idle()
            assert (text in texts_of(world)) is is_question, number


# ── commands: people × controls × places ──────────────────────────────────────────────────────
@dataclass(frozen=True)
class Person:
    author: Author
    asks: bool
    wrote: bool = False
    admin: bool = False


PEOPLE = (
    Person(Author("part", "Pat"), asks=True, wrote=True),
    Person(Author("other", "Oz"), asks=True),
    Person(Author("gone", "Gus"), asks=False, wrote=True),  # was allowed when they wrote
    Person(Author("blocked", "Bea"), asks=False),
    Person(Author("boss", "Bo"), asks=True, admin=True),
    Person(Author("mute", "Mo"), asks=False, admin=True),
)
PLACES = {
    "c-default": "everyone",
    "c-part": "participants",
    "c-all": "everyone",
    "c-admin": "admins",
}
TABLE = "block = '@out'\nadmins = '@leads'\n" + "".join(
    f"[[rules]]\nwhere = 'slack:T1/#{place}'\ncontrols = '{controls}'\n"
    for place, controls in PLACES.items()
    if place != "c-default"
)
BUTTONS = (*commands.NAMES, VOTE, COMMENT)
ARGUMENTS = {commands.MODEL: "other", commands.EFFORT: "low"}


def may(person: Person, command: str, controls: str) -> bool:
    """What the rules promise, written independently of the product."""
    if command in ("stop", "retry", "continue", "undo", "reset"):
        if person.admin:
            return person.asks or command != "continue"  # an action that asks a question
        took_part = controls == "everyone" or (controls == "participants" and person.wrote)
        return person.asks and took_part
    return person.asks if command in ("model", "effort", "vote", "comment") else True


async def test_people_times_controls_times_places(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """A refused press or word changes nothing, and every other one is accepted."""
    for person in PEOPLE:
        groups = [*(["leads"] if person.admin else ()), *([] if person.asks else ["out"])]
        directory.add(person.author.id, *groups)
    directory.channels = {place: place for place in PLACES}
    async with world_with(tmp_path, directory, TABLE) as world:
        cells = 0
        for place, controls in PLACES.items():
            where = await _conversation(world, place)
            before = rows(world)
            refused = [
                (person, command)
                for person in PEOPLE
                for command in BUTTONS
                if not may(person, command, controls)
            ]
            for person, command in refused:
                await _press_refused(world, person, command, where)
            after = rows(world)
            recorded = len(after.pop("commands")) - len(before.pop("commands"))
            assert after == before
            assert recorded == len([1 for _, command in refused if command in commands.NAMES])
            cells += len(refused)
            for person in PEOPLE:
                for command in BUTTONS:
                    if may(person, command, controls):
                        press = _press(command, where, person)
                        assert not (await world.inbox.command(press)).refused, (press, controls)
                        cells += 1
                await world.idle()
        assert cells == len(PEOPLE) * len(PLACES) * len(BUTTONS)


async def _conversation(world: World, place: str) -> ConversationKey:
    where = key(place, channel=place)
    for number, person in enumerate(PEOPLE):
        if person.wrote:
            incoming = asked(number, where=where, author=person.author)
            await world.store.accept(replace(incoming, channel=place))
    found = await world.store.find(where)
    assert found is not None
    await answer_next(world.store, found.id)
    return where


def _press(command: str, where: ConversationKey, person: Person) -> Command:
    argument = ARGUMENTS.get(command, "")
    return Command(name=command, argument=argument, key=where, author=person.author)


async def _press_refused(
    world: World, person: Person, command: str, where: ConversationKey
) -> None:
    """Press the button, then send the word as a message if it is a command there."""
    press = _press(command, where, person)
    reply = await world.inbox.command(press)
    assert reply.refused and reply.text.startswith("Nothing was changed: "), press
    if command not in commands.NAMES:
        return
    text = f"/{command} {press.argument}".strip()
    word = asked(900, text, where=where, author=person.author)
    word = replace(word, message_id=f"{person.author.id}-{command}", channel=where.channel)
    expected = Receipt.COMMAND if person.asks else Receipt.REFUSED
    assert await world.inbox.receive(word) is expected, press


async def test_participants_control_a_conversation_after_a_reset(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """People who wrote before the reset may undo it, but not people who wrote only before an older
    one."""
    async with world_with(tmp_path, directory, "controls = 'participants'") as world:
        await receive(world, asked(1))
        await receive(world, asked(2, author=BEN))

        async def press(name: str, author: Author) -> bool:
            command = Command(name=name, key=key(), author=author)
            return not (await world.inbox.command(command)).refused

        assert await press("reset", BEN)
        assert not await press("undo", CID) and await press("undo", BEN)
        assert await press("reset", ANN)
        await receive(world, asked(3))
        assert await press("reset", ANN) and await press("reset", ANN)
        await receive(world, asked(4))
        assert await press("stop", ANN) and not await press("stop", BEN)
        nothing = Command(name="reset", key=key("t9"), author=CID)
        assert not (await world.inbox.command(nothing)).refused


async def test_an_unknown_person_controls_nothing(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    async with world_with(tmp_path, directory) as world:
        await receive(world, asked(1))
        directory.failing = True
        before = rows(world)
        reply = await world.inbox.command(Command(name="reset", key=key(), author=CID))
        assert reply.refused and "does not say who you are" in reply.text
        assert rows(world) == before


async def test_a_refusal_that_cannot_be_stored_is_delivered_again(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> bool:
        raise StoreUnavailable("the disk is full")

    async with world_with(tmp_path, directory) as world:
        monkeypatch.setattr(world.store, "refusal_due", fail)
        with pytest.raises(StoreUnavailable):
            await world.inbox.receive(asked(1, author=BEN))
        monkeypatch.undo()
        assert directory.told == []
        assert await receive(world, asked(1, author=BEN)) is Receipt.REFUSED
        await until(lambda: len(directory.told) == 1)


async def test_an_outcome_is_stored_for_a_stop_while_the_platform_is_silent(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the platform is part of the turn, so people can stop it."""
    monkeypatch.setattr(turns_access, "PAUSES", Backoff(3_600.0, 3_600.0))
    async with world_with(tmp_path, directory, RULES + "\ncontrols = 'everyone'") as world:
        directory.failing = True
        await world.inbox.receive(asked(1, author=CID))
        await until(lambda: directory.calls.count("person") >= 2)
        reply = await world.inbox.command(Command(name="stop", key=key(), author=ANN))
        assert not reply.refused
        await world.idle()
        assert world.outcomes() == [(Outcome.STOPPED.value, None)]


async def test_a_late_author_lookup_loses_no_one_elses_messages(
    tmp_path: Path, directory: FixedDirectory
) -> None:
    """In the thread before the first mention, other people's messages are read."""
    async with world_with(tmp_path, directory) as world:
        directory.held["U2"] = asyncio.Event()
        world.adapter.old = [
            asked(1, f"{SECRET} by Ben", author=BEN, address=Address.FOLLOW_UP),
            asked(2, "seen by Cid", author=CID, address=Address.FOLLOW_UP),
        ]
        await receive(world, replace(asked(10), in_old_thread=True))
        assert "seen by Cid" in texts_of(world) and SECRET not in texts_of(world)


async def test_no_one_waits_in_the_queue_behind_a_silent_platform(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn whose author is unknown when it gets its slot passes the slot to the next turn."""
    async with world_with(tmp_path, directory, max_concurrent=1) as world:
        world.model.hold = asyncio.Event()
        await world.inbox.receive(asked(1, "first"))
        await until(lambda: len(world.model.requests) == 1)
        for number, author in ((2, CID), (3, ANN)):
            thread = f"t{number}"
            await world.inbox.receive(asked(number, "next", author=author, where=key(thread)))
            await until(lambda t=thread: any("In the queue" in x for x in world.shown(t)))  # type: ignore[misc]
        monkeypatch.setattr(turns_access, "PAUSES", Backoff(3_600.0, 3_600.0))
        directory.failing = True  # the rule names Ann, so she needs no lookup
        world.model.hold.set()
        await until(lambda: any("Hello." in page for page in world.shown("t3")), 10)
        assert len(world.model.requests) == 2
        stop = Command(name="stop", argument="", key=key("t2"), author=ANN)
        await world.inbox.command(stop)
        await world.idle()


async def test_a_flood_of_refusals_does_not_fill_the_memory(
    tmp_path: Path, directory: FixedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentences beyond the limit are dropped, and later ones are shown."""
    monkeypatch.setattr(background_replies, "MAX_REPLIES", 2)
    async with world_with(tmp_path, directory) as world:
        for number in range(1, 5):
            world.inbox._replies.tell(asked(number), f"sentence {number}")
        await world.inbox.aclose()
        world.inbox._replies.tell(asked(5), "sentence 5")
        await until(lambda: len(directory.told) == 3)
        assert [text[-1] for _, text in directory.told] == ["1", "2", "5"]

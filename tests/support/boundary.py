"""Random histories over places and people, and a judge: nothing from one place ever appears in
another.

Every text, file, file name and person's name carries the mark of its place. The models repeat every
mark that they get, so that a leak spreads until it is seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.context.compaction import Compactor
from bot.context.context_ports import TurnOptions
from bot.context.requests import cache_key
from bot.domain.attachments import IncomingAttachment
from bot.domain.conversations import Author, ConversationKey
from bot.domain.health import Finding, Verdict
from bot.domain.inbox import Address, Command, Incoming
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.domain.policy import PolicyConfig, PolicyValues, Redaction
from bot.domain.privacy import Person
from bot.domain.turns import Claim
from bot.inbox import commands as names
from bot.inbox.commands import Commands
from bot.inbox.edits import EditHandler
from bot.inbox.gates import build_gates
from bot.inbox.inbox import DurableInbox
from bot.inbox.privacy_commands import PrivacyCommands
from bot.llm.redaction import Redactor
from bot.policy.open_directory import OpenDirectory
from bot.policy.rules import PolicyRules
from bot.privacy.exporting import Exporter
from bot.privacy.forgetting import Forgetter
from bot.privacy.personal_exports import PersonalExports
from bot.store.backup import backup, restore
from bot.store.sqlite import SqliteStore
from bot.turns.runner import TurnRunner
from bot.turns.scheduler import Scheduler
from tests.support.catalog import FixedCatalog
from tests.support.content_kit import content_of, context_of
from tests.support.core_kit import CHANNEL, CLOCK, FakeAdapter, until
from tests.support.reports import FixedReporter
from tests.support.store_kit import look, opened
from tests.support.surfaces import FakeSurface, Platform

MARK = re.compile(r"mark(\d\d)q(\d{5})z")
CONTEXT_TOKENS = 1_000
SHARED_FILE = b"the same file in several places\n" * 5

PLACES = [
    ConversationKey(platform, workspace, channel, thread)
    for platform, workspace in (("sim", "w1"), ("sim", "w2"), ("sam", "w1"))
    for channel, thread in (("c1", "t1"), ("c1", "t2"), ("c2", "t1"), ("dm", ""))
]
PEOPLE = ("U1", "U2", "U3")


def marks(text: str) -> set[tuple[int, int]]:
    return {(int(place), int(number)) for place, number in MARK.findall(text)}


@dataclass
class RepeatingModel:
    """Answers with every mark in its request, or with a summary that contains the newest of
    them."""

    name: str
    requests: list[ChatRequest]
    sees: bool | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)
    redactor: Redactor = field(default_factory=Redactor)

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        return self.redactor.stream(_Inner(self), request)

    async def answer(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.requests.append(request)
        text = "\n".join(message.content for message in request.messages)
        found = " ".join(dict.fromkeys(match[0] for match in MARK.finditer(text)))
        await asyncio.sleep(0)
        if self.name == "summarizer":
            yield Delta(f"<notes>\n{found[-240:].partition(' ')[2]}\n</notes>", model=self.name)
        else:
            for start in range(0, len(found) + 1, 50):
                yield Delta(f"{found[start : start + 50]}", model=None if start else self.name)
                await asyncio.sleep(0)
        yield Delta(finish_reason="stop")

    async def check(self) -> Finding:
        return Finding(self.name, Verdict.OK, "")

    async def aclose(self) -> None:
        """Nothing to close."""


class _Inner(RepeatingModel):
    def __init__(self, outer: RepeatingModel) -> None:
        super().__init__(outer.name, outer.requests)

    def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        return self.answer(request)


class MarkedAdapter(FakeAdapter):
    """A platform that keeps the pages of each place apart."""

    def __init__(self, name: str, shown: dict[ConversationKey, Platform]) -> None:
        super().__init__()
        self.name, self._shown = name, shown

    def surface(self, claim: Claim) -> FakeSurface:
        platform = self._shown[claim.conversation.key]
        surface = FakeSurface(rate_limiter=self._rate_limiter, clock=CLOCK, platform=platform)
        surface.channel = f"{CHANNEL}-{claim.conversation.key}"
        return surface


@dataclass
class Judged:
    """What the judge has examined."""

    operations: int = 0
    requests: int = 0
    summaries: int = 0
    exports: int = 0
    restores: int = 0
    erasures: int = 0
    leaks: list[str] = field(default_factory=list)


class History:
    """A random history on the database at `path`."""

    def __init__(self, path: Path, seed: int, *, leak: Callable[[Any], None] | None = None) -> None:
        self.path, self.random = path, random.Random(seed)
        self.judged = Judged()
        self._leak = leak
        self._shown: dict[ConversationKey, Platform] = defaultdict(Platform)
        self._requests: list[ChatRequest] = []
        self._number = 100  # the marks of people's names have smaller numbers
        self._messages: dict[int, list[Incoming]] = defaultdict(list)
        self._said: dict[tuple[str, str, str], set[tuple[int, int]]] = defaultdict(set)
        self._erased: set[tuple[int, int]] = set()
        self._saved: Path | None = None

    async def run(self, operations: int) -> Judged:
        """Perform random operations, and judge after each phase; a restore begins a new phase."""
        left = operations
        while left > 0:
            async with opened(self.path) as store:
                if self._leak is not None:
                    self._leak(store)
                left = await self._phase(store, left)
            if self._saved is not None and left > 0:
                kept = restore(self.path, self._saved)
                assert kept is not None
                kept.unlink()
                self.judged.restores += 1
                self._judge_database()
        return self.judged

    async def _phase(self, store: SqliteStore, left: int) -> int:
        async with AsyncExitStack() as stack:
            self._build(store)
            stack.push_async_callback(self._close)
            for name in ("sim", "sam"):
                await self.inbox.connected(name)
            while left > 0:
                left -= 1
                self.judged.operations += 1
                await self._operation(store)
                if self.random.random() < 0.3:
                    await self._settle()
                    await self._judge(store)
                if self._saved is not None and self.random.random() < 0.1:
                    break
            await self._settle()
            await self._judge(store)
        return left

    def _build(self, store: SqliteStore) -> None:
        adapters = {name: MarkedAdapter(name, self._shown) for name in ("sim", "sam")}
        self.content = content_of(store, adapters, CLOCK)
        model = RepeatingModel("repeater", self._requests)
        summarizer = RepeatingModel("summarizer", self._requests)
        models = FixedCatalog(model, {})
        policy = PolicyRules(PolicyConfig(PolicyValues(redact=frozenset(Redaction))))
        policy.connect(lambda _platform: OpenDirectory(_tell))
        self.compactor = Compactor(
            store=store,
            contexts=store.contexts(),
            attachments=store.attachments(),
            summarizer=lambda _conversation, _assigned: summarizer,
            budget=lambda _model: CONTEXT_TOKENS,
        )
        options = TurnOptions(system_prompt="Be brief.", context_tokens=CONTEXT_TOKENS)
        context = context_of(store, CLOCK, options, wait=self.compactor.wait, policy=policy)
        runner = TurnRunner(
            store=store,
            surface=lambda claim: adapters[claim.conversation.key.platform].surface(claim),
            models=models,
            context=context,
            attachments=self.content.ports,
            compactor=self.compactor,
        )
        self.scheduler = Scheduler(store=store, work=runner.run, clock=CLOCK)
        forgetter = Forgetter(store=store.privacy(), audit=store.audit())
        edits = EditHandler(store=store, scheduler=self.scheduler, clock=CLOCK, with_reply=True)
        forgetter.connect(edits.follow_erasure)
        self.exporter = Exporter(store=store.privacy(), audit=store.audit())
        exports = PersonalExports(exporter=self.exporter, clock=CLOCK)
        self.inbox = DurableInbox(
            store=store,
            scheduler=self.scheduler,
            commands=Commands(
                store=store,
                scheduler=self.scheduler,
                models=models,
                reporter=FixedReporter(),
                policy=policy,
                more=PrivacyCommands(store=store, forgetter=forgetter, exports=exports).handlers(),
            ),
            models=models,
            gates=build_gates(store=store, adapters=adapters, clock=CLOCK),
            edits=edits,
            clock=CLOCK,
            missed_seconds=3_600,
            intake=self.content.intake,
        )

    async def _close(self) -> None:
        await self.scheduler.drain(5)
        await self.compactor.aclose()
        await self.content.fetcher.aclose()
        await self.inbox.aclose()

    async def _settle(self) -> None:
        await until(lambda: self.scheduler.busy == 0 and self.compactor.busy == 0)

    # ── operations ────────────────────────────────────────────────────────────────────────────
    async def _operation(self, store: SqliteStore) -> None:
        match self.random.choices(
            ("say", "edit", "delete", "command", "export", "backup", "forget"),
            (60, 8, 5, 12, 4, 3, 2),
        )[0]:
            case "say":
                places = self.random.sample(range(len(PLACES)), self.random.randint(1, 3))
                await asyncio.gather(*(self.inbox.receive(self._message(n)) for n in places))
            case "edit":
                await self._edit()
            case "delete":
                if message := self._any_message():
                    await self.inbox.deleted(message.source)
            case "command":
                await self._command()
            case "export":
                await self._settle()
                await self._export()
            case "backup":
                await self._settle()
                self._saved = self.path.with_name(f"saved-{self._number}.db")
                if not self._saved.exists():
                    await asyncio.to_thread(backup, self.path, self._saved)
            case "forget":
                await self._settle()
                await self._forget()

    def _mark(self, place: int, user: str = "") -> str:
        self._number += 1
        if user:
            key = PLACES[place]
            self._said[key.platform, key.workspace, user].add((place, self._number))
        return f"mark{place:02}q{self._number:05}z"

    def _message(self, place: int) -> Incoming:
        key, user = PLACES[place], self.random.choice(PEOPLE)
        text = f"{self._mark(place, user)} and {'more ' * self.random.randint(1, 40)}"
        if self.random.random() < 0.2:
            text += f" {self._mark(place, user)}@example.org"
        number = self._number
        is_direct = key.channel == "dm"
        address = self.random.choice((Address.MENTION, Address.MENTION, Address.ASIDE))
        incoming = Incoming(
            key=key,
            channel=key.channel,
            message_id=f"m{number}",
            position=number,
            author=Author(user, f"mark{place:02}q{int(user[1:]):05}z"),
            text=text,
            address=Address.DIRECT if is_direct else address,
            sent_at=CLOCK.time(),
            attachments=self._files(place, user),
        )
        self._messages[place].append(incoming)
        return incoming

    def _files(self, place: int, user: str) -> tuple[IncomingAttachment, ...]:
        if self.random.random() < 0.75:
            return ()
        data = f"file: {self._mark(place, user)}\n".encode() * 3
        if self.random.random() < 0.4:
            data = SHARED_FILE
        return (IncomingAttachment(name=f"{self._mark(place, user)}.txt", data=data),)

    def _any_message(self) -> Incoming | None:
        known = [message for messages in self._messages.values() for message in messages]
        return self.random.choice(known) if known else None

    async def _edit(self) -> None:
        if message := self._any_message():
            place = PLACES.index(message.key)
            text = f"{self._mark(place, message.author.id)} edited"
            await self.inbox.edited(replace(message, text=text), CLOCK.time())

    async def _command(self) -> None:
        place = self.random.randrange(len(PLACES))
        name = self.random.choice((names.RESET, names.UNDO, names.RETRY, names.STOP))
        author = Author(self.random.choice(PEOPLE), "x")
        await self.inbox.command(Command(name=name, key=PLACES[place], author=author))

    async def _forget(self) -> None:
        key, user = self.random.choice(PLACES), self.random.choice(PEOPLE)
        author = Author(user, "x")
        command = Command(name=names.FORGET, argument="me yes", key=key, author=author)
        await self.inbox.command(command)
        await self._settle()
        self._erased |= self._said.pop((key.platform, key.workspace, user), set())
        self.judged.erasures += 1

    # ── the judge ─────────────────────────────────────────────────────────────────────────────
    async def _judge(self, store: SqliteStore) -> None:
        self._judge_requests()
        for key, platform in self._shown.items():
            self._require(marks("\n".join(platform.messages)), PLACES.index(key), "a page")
        self._judge_database()
        for place, key in enumerate(PLACES):
            conversation = await store.find(key)
            if conversation is None:
                continue
            for message in await store.library().latest(conversation.id, limit=1_000):
                text = f"{message.content} {message.author} {message.attachments}"
                self._require(marks(text), place, "a record")
            for reply in await store.library().replies(conversation.id, limit=1_000):
                self._require(marks(f"{reply.display} {reply.content}"), place, "a reply")

    def _judge_requests(self) -> None:
        known = {
            cache_key(_Known(ConversationKey(*row[:4]), row[4])): PLACES.index(
                ConversationKey(*row[:4])
            )
            for row in look(
                self.path, "SELECT platform, workspace, channel, thread, created_at"
                " FROM conversations",
            )
        }  # fmt: skip
        for request in self._requests:
            text = "\n".join(message.content for message in request.messages)
            found = marks(text)
            places = {place for place, _ in found}
            self.judged.requests += 1
            self.judged.summaries += not request.cache_key
            place = known.get(request.cache_key, next(iter(places), 0))
            self._require(found, place, "a request")
            if "@example" in text:
                self.judged.leaks.append("an address in a request")
        self._requests.clear()

    def _judge_database(self) -> None:
        """Erased people appear in no row."""
        for table, columns in (
            ("messages", "content || coalesce(author_name, '')"),
            ("turns", "coalesce(content, '') || coalesce(display, '')"),
            ("summaries", "text"),
            ("attachments", "name"),
            ("extracts", "text || title"),
            ("conversations", "name"),
        ):
            text = "\n".join(
                str(row[0]) for row in look(self.path, f"SELECT {columns} FROM {table}")
            )
            left = {mark for mark in marks(text) if mark in self._erased}
            if left:
                self.judged.leaks.append(f"{table} has the erased {sorted(left)[:3]}")

    def _require(self, found: Iterable[tuple[int, int]], place: int, where: str) -> None:
        wrong = sorted(mark for mark in found if mark[0] != place)
        if wrong:
            self.judged.leaks.append(f"{where} of {PLACES[place]} has {wrong[:3]}")

    async def _export(self) -> None:
        key, user = self.random.choice(PLACES), self.random.choice(PEOPLE)
        person = Person(key.platform, key.workspace, user)
        places: dict[str, int] = {}
        async for line in self.exporter.lines(person, by="admin", key=key):
            record = json.loads(line)
            if record["type"] == "message":
                where = ConversationKey(*record["place"].split("/"))
                places[record["id"]] = PLACES.index(where)
                if not person.covers(where.workspace) or where.platform != person.platform:
                    self.judged.leaks.append(f"an export of {person} has {where}")
                others = marks(line) - self._said[where.platform, where.workspace, user]
                foreign = {mark for mark in others if mark[1] > len(PEOPLE)}
                if foreign - self._erased:
                    self.judged.leaks.append(f"an export of {person} has {sorted(foreign)[:3]}")
            if record["type"] in ("message", "reply"):
                place = places[record["id" if record["type"] == "message" else "to"]]
                self._require(marks(line), place, "an export")
            if marks(line) & self._erased:
                self.judged.leaks.append("an export has the erased")
        self.judged.exports += 1


async def _tell(_key: ConversationKey, _author: Author, text: str) -> None:
    raise AssertionError(text)


@dataclass(frozen=True)
class _Known:
    """The part of a conversation that `cache_key` needs."""

    key: ConversationKey
    created_at: float

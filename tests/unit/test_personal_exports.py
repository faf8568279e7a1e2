"""Exports that people request for themselves: how often, how large, and what happens after a
failure."""

from __future__ import annotations

import asyncio
import io
import json
import random
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest

from bot.domain import privacy_texts, texts
from bot.domain.conversations import ConversationKey
from bot.domain.errors import NoFile, Refused, StoreUnavailable, TooEarly, Unsettled
from bot.domain.inbox import CommandReply
from bot.domain.privacy import AuditEntry, Person
from bot.inbox import private_files
from bot.inbox.private_files import deliver
from bot.privacy.exporting import Exporter
from bot.privacy.personal_exports import FILE_NAME, MAX_AT_ONCE, PersonalExports
from tests.support.clock import ManualClock

ANN, BEN = Person("sim", "w1", "U1"), Person("sim", "w1", "U2")
PLACE = ConversationKey("sim", "w1", "c1", "")
MOST = 10_000_000


class Records:
    """The store and the audit of an exporter; the messages have these texts."""

    def __init__(self, *said: str) -> None:
        self.said, self.audit = said, list[AuditEntry]()
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def record(self, entry: AuditEntry) -> None:
        if self.error is not None:
            raise self.error
        self.audit.append(entry)

    async def export_person(self, person: Person) -> Sequence[dict[str, Any]]:
        if self.gate is not None:
            await self.gate.wait()
        return [{"type": "person", "person": str(person)}]

    async def export_messages(
        self, person: Person, *, after: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        if after >= len(self.said):
            return [], 0
        return [{"type": "message", "text": self.said[after]}], after + 1


def exports_of(records: Records, clock: ManualClock | None = None) -> PersonalExports:
    exporter = Exporter(store=records, audit=records)  # type: ignore[arg-type]
    return PersonalExports(exporter=exporter, clock=clock or ManualClock())


def reply_of(exports: PersonalExports, person: Person = ANN) -> CommandReply:
    file = exports.file(person, by=person.id, key=PLACE)
    return CommandReply(privacy_texts.EXPORT_READY, file=file)


def unpacked(data: bytes) -> list[dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = archive.namelist()
        return [json.loads(line) for line in archive.read(name).splitlines()]


class Sent:
    """Accepts files, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.files = error, list[tuple[str, bytes]]()

    async def __call__(self, name: str, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.files.append((name, data))


async def test_the_file_is_a_zip_with_all_lines_and_is_audited() -> None:
    records, sent = Records("one", "zwei €"), Sent()
    reply = await deliver(reply_of(exports_of(records)), sent, most=MOST, sent="It is sent.")
    ((name, data),) = sent.files
    assert (name, reply.text, reply.file) == (FILE_NAME, "It is sent.", None)
    assert [line.get("text") for line in unpacked(data)] == [None, "one", "zwei €"]
    assert [(each.actor, each.subject, each.key) for each in records.audit] == [("U1", "U1", PLACE)]


async def test_a_person_has_an_export_once_an_hour() -> None:
    clock = ManualClock()
    exports = exports_of(Records(), clock)
    await deliver(reply_of(exports), Sent(), most=MOST, sent="ok")
    clock.jump(3_000)
    with pytest.raises(TooEarly) as early:
        reply_of(exports)
    assert early.value.seconds == 600
    assert privacy_texts.export_too_early(600) == (
        "You can have this file once an hour: ask again in 10 minutes."
    )
    reply_of(exports, BEN)  # other people are not affected
    clock.jump(601)
    reply_of(exports)


@pytest.mark.parametrize("error", [Refused("no files"), Unsettled("no answer"), TimeoutError()])
async def test_a_failed_delivery_is_one_sentence_and_may_be_tried_again(error: Exception) -> None:
    exports = exports_of(Records())
    reply = await deliver(reply_of(exports), Sent(error), most=MOST, sent="ok")
    assert (reply.text, reply.file) == (privacy_texts.EXPORT_NOT_SENT, None)
    reply_of(exports)


async def test_an_endless_delivery_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "DELIVERY_SECONDS", 0.05)

    async def never(_name: str, _data: bytes) -> None:
        await asyncio.Event().wait()

    exports = exports_of(Records())
    reply = await deliver(reply_of(exports), never, most=MOST, sent="ok")
    assert reply.text == privacy_texts.EXPORT_NOT_SENT
    reply_of(exports)


async def test_a_delivery_that_is_cancelled_may_be_tried_again() -> None:
    records = Records()
    records.gate = asyncio.Event()
    exports, sent = exports_of(records), Sent()
    task = asyncio.create_task(deliver(reply_of(exports), sent, most=MOST, sent="ok"))
    while not records.audit:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent.files == []
    reply_of(exports)


async def test_a_file_that_is_too_large_names_the_operators_command() -> None:
    noise = random.Random(7).randbytes(200_000).hex()
    exports, sent = exports_of(Records(*[noise] * 4)), Sent()
    reply = await deliver(reply_of(exports), sent, most=300_000, sent="ok")
    assert reply.text == privacy_texts.EXPORT_TOO_LARGE.format(person="sim/w1/U1")
    assert "threadline export person sim/w1/U1" in reply.text and sent.files == []
    with pytest.raises(NoFile):  # a file that fits until its last chunk
        await exports_of(Records()).file(ANN, by="U1", key=PLACE).build(10)


async def test_a_failing_database_is_a_sentence() -> None:
    records = Records()
    records.error = StoreUnavailable("full")
    exports = exports_of(records)
    reply = await deliver(reply_of(exports), Sent(), most=MOST, sent="ok")
    assert reply.text == texts.STORE_DOWN
    reply_of(exports)


async def test_few_files_are_made_at_the_same_time() -> None:
    records = Records()
    records.gate = asyncio.Event()
    exports = exports_of(records)
    people = [Person("sim", "w1", f"U{number}") for number in range(MAX_AT_ONCE + 1)]
    tasks = [
        asyncio.create_task(deliver(reply_of(exports, each), Sent(), most=MOST, sent="ok"))
        for each in people
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result().text for task in done] == [privacy_texts.EXPORTS_BUSY]
    records.gate.set()
    assert [(await task).text for task in tasks].count("ok") == MAX_AT_ONCE


async def test_a_reply_without_a_file_stays_as_it_is() -> None:
    reply = CommandReply("Hello.")
    assert await deliver(reply, Sent(), most=MOST, sent="ok") is reply


async def test_a_download_that_breaks_off_may_be_tried_again() -> None:
    exports = exports_of(Records("one", "two"))
    exports.take(ANN)
    lines = exports.lines(ANN, by="U1", key=PLACE)
    await anext(lines)
    await lines.aclose()
    exports.take(ANN)
    assert [line async for line in exports.lines(ANN, by="U1", key=PLACE)]
    with pytest.raises(TooEarly):
        exports.take(ANN)

"""A whole conversation as a file: complete, safely named, and as its description says."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote
from uuid import UUID
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from fastapi import HTTPException
from starlette.requests import ClientDisconnect

from adapters.web.export_markdown import MarkdownWriter, closed
from adapters.web.exports import ExportRoutes, export_name
from adapters.web.limits import StreamLimit
from adapters.web.schemas import ConversationExport
from bot.domain.attachments import AttachmentState
from bot.domain.conversations import Author, Conversation, ConversationKey, Role
from bot.domain.records import AttachmentRecord, ConversationRecord, MessageRecord
from tests.sims.model.client import ModelSim
from tests.support.clock import ManualClock
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, serving, until

LONG = 10_000
UID = UUID("5d6a1f6e-6f0b-4d0e-9c53-2f1f7d8a3b10")


async def export(person: Person, path: str) -> tuple[aiohttp.ClientResponse, str]:
    async with person.http.get(path) as response:
        return response, await response.text()


async def test_a_conversation_is_exported_as_markdown_and_as_json(tmp_path: Path) -> None:
    """The file has times in the reader's zone, the model, the files and settings; only the owner
    can get it."""
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim", HTTP_TOKENS=HTTP_TOKENS) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        await model.say("```python\nprint(1)")  # a block that is not closed
        mine = await alice.post("/conversation", {"name": "Race/conditions: a *start*"})
        form = aiohttp.FormData()
        form.add_field("message", "what?")
        form.add_field("files", b"1,2", filename="data.csv", content_type="text/csv")
        async with alice.http.post(f"/conversation/completion/{mine['id']}", data=form) as asked:
            assert asked.status == 200, await asked.text()
        await alice.ask("PATCH", f"/conversation/{mine['id']}", {"instructions": "Be kind."})
        path = f"/conversation/{mine['id']}/export"
        response, text = await export(alice, f"{path}?zone=Asia/Kolkata")
        assert response.headers["Content-Type"] == "text/markdown; charset=utf-8"
        name = unquote(response.headers["Content-Disposition"].partition("''")[2])
        assert re.fullmatch(r"Race-conditions- a -start \d{4}-\d\d-\d\d\.md", name)
        assert text.startswith('---\ntitle: "Race/conditions: a *start*"\nid: ')
        assert 'instructions: "Be kind."\n' in text
        assert re.search(r'\nexported_at: "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30"\n---\n', text)
        assert re.search(r"\n## alice · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30\n\nwhat\?\n", text)
        assert "\n- Attached: `data.csv` (text/csv, 3 bytes)\n" in text
        assert re.search(
            r"\n## Threadline · openai/sim · .*\n\n```python\nprint\(1\)\n```\n$", text
        )

        response, text = await export(alice, f"{path}?format=json")
        assert response.headers["Content-Type"] == "application/json"
        known = ConversationExport.model_validate_json(text)
        assert [(m.author, m.content) for m in known.messages] == [
            ("alice", "what?"), (None, "```python\nprint(1)"),
        ]  # fmt: skip
        assert known.messages[0].attachments[0].name == "data.csv"
        assert known.messages[1].usage is not None
        assert (known.conversation.instructions, known.version) == ("Be kind.", 1)
        assert known.exported_at.endswith("+00:00")

        assert (await bob.ask("GET", path))[0] == 404
        for wrong in ("format=pdf", "zone=Nowhere/None", "zone=../../etc/passwd", "zone=/etc"):
            assert (await alice.ask("GET", f"{path}?{wrong}"))[0] == 422, wrong
        described = await alice.get("/openapi.json")
        assert "ConversationExport" in described["components"]["schemas"]


async def test_a_long_thread_is_exported_whole(tmp_path: Path) -> None:
    """Ten thousand messages, page by page; printing reads them in the same way."""
    async with serving(tmp_path) as site, site.person() as person:
        thread = (await person.say("@threadline first"))["thread"]

        async def has_answered() -> bool:
            return [each["state"] for each in await person.replies(thread)] == ["done"]

        await until(has_answered)
        library = site.core.store.library()
        [number] = await site.core.store._read(
            lambda db: db.execute("SELECT id FROM conversations").fetchone()
        )

        def fill(db: object) -> None:
            rows = [(number, n, f"message {n}") for n in range(10, LONG)]
            db.executemany(  # type: ignore[attr-defined]
                "INSERT INTO messages (conversation_id, epoch, idx, role, kind, content,"
                " created_at) VALUES (?, 1, ?, 'user', 'history', ?, 1.0)",
                rows,
            )

        await site.core.store._write(fill)
        assert await library.messages(number, after=LONG - 2, limit=9)
        _, text = await export(person, f"/conversation/{thread}/export?format=json")
        contents = [each["content"] for each in json.loads(text)["messages"]]
        assert contents[-1] == f"message {LONG - 1}"
        assert len([each for each in contents if each.startswith("message ")]) == LONG - 10
        _, text = await export(person, f"/conversation/{thread}/export")
        assert text.count("\n## ") == len(contents)
        found, after = 0, -1
        while after is not None:
            page = await person.get(f"/app/threads/{thread}/messages?after={after}")
            found, after = found + len(page["messages"]), page["next"]
        assert found == len(contents)


NOW = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "Conversation"),
        ("../../etc/passwd", "etc-passwd"),
        ('a<b>c:d"e|f?g*h\\i', "a-b-c-d-e-f-g-h-i"),
        ("two\nlines\u202e\0", "two lines"),
        ("...hidden", "hidden"),
        ("CON", "CON"),  # not reserved with the date
        ("日本語の名前", "日本語の名前"),
        ("x" * 200, "x" * 60),
        ("?" * 10, "Conversation"),
    ],
)
def test_names_of_files_are_safe(name: str, expected: str) -> None:
    assert export_name(name, NOW, "md") == f"{expected} 2026-11-30.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("```\na", "```\na\n```"),
        ("```\na\n```", "```\na\n```"),
        ("````\n```\na", "````\n```\na\n````"),
        ("~~~\n```", "~~~\n```\n~~~"),
        ("```py\na\n``` b", "```py\na\n``` b\n```"),
    ],
)
def test_an_open_block_does_not_swallow_the_next_message(text: str, expected: str) -> None:
    assert closed(text) == expected


def test_markdown_shows_where_a_conversation_started_over() -> None:
    key = ConversationKey("web", "ann", "general", "t")
    conversation = Conversation(1, key, "Name", None, 2, 0.0, 0.0)
    writer = MarkdownWriter(ZoneInfo("Europe/Berlin"))
    head = writer.head("uid", conversation, "sim", exported_at=0.0)
    assert "temperature" not in head
    assert 'created_at: "1970-01-01T01:00:00+01:00"' in head
    first = MessageRecord("1", Role.USER, "a", 0, 0.0, Author("U1", "A*n*n\n# b"))
    link = AttachmentRecord(
        uid="f", name="https://e.org/`x`", media_type="text/html", size=None,
        state=AttachmentState.READY, is_link=True,
    )  # fmt: skip
    second = replace(first, content="", author=None, epoch=2, attachments=(link,))
    assert writer.message(first) == ("\n## A\\*n\\*n \\# b · 1970-01-01 01:00:00 +01:00\n\na\n")
    text = writer.message(second)
    assert text.startswith("\n---\n\n*Started over: the model gets nothing from above.*\n")
    assert text.endswith("\n- Link: `https://e.org/'x'`\n")


async def test_an_export_that_no_one_reads_releases_its_place() -> None:
    """The client may be gone before the first byte."""
    limit, clock = StreamLimit(1), ManualClock()
    key = ConversationKey("web", "ann", "general", "t")
    known = ConversationRecord(str(UID), Conversation(1, key, "A name", None, 1, 0.0, 0.0))

    async def readable(_user: str, _uid: UUID) -> ConversationRecord:
        return known

    parts: Any = SimpleNamespace(library=None, html_pool=None, clock=clock)
    routes = ExportRoutes(chat=parts, readable=readable, models=parts, streams=limit)
    response = await routes.export("ann", UID)
    with pytest.raises(HTTPException):
        limit.require_free("ann")

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None:
        raise OSError

    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "headers": []}
    with suppress(ClientDisconnect):
        await response(scope, receive, send)
    limit.require_free("ann")

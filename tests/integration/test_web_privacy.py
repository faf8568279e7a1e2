"""Redaction, exports, erasures and the audit, in the composed bot."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from tests.sims.model.client import ModelSim
from tests.support.privacy_kit import traces
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, next_event, serving, until

CONFIG = 'redact = ["email", "card"]\n'
KEY = "ghp_" + "a1B2c3D4e5" * 4
CARD, MAIL = "4111 1111 1111 1111", "alice.mark@example.org"


async def say(person: Person, text: str, thread: str | None = None) -> dict[str, Any]:
    """Post a message; returns the thread and its newest reply."""
    before = len(await person.replies(thread)) if thread else 0
    sent = await person.say(f"@threadline {text}" if thread is None else text, thread)

    async def check() -> dict[str, Any] | None:
        replies = await person.replies(sent["thread"])
        is_done = len(replies) > before and replies[-1]["state"] != "writing"
        return replies[-1] if is_done else None

    reply: dict[str, Any] = await until(check)
    return {"thread": sent["thread"], **reply}


def contents(body: Any) -> list[str]:
    return [message["content"] for message in body["messages"]]


async def test_requests_have_placeholders_and_answers_their_values(tmp_path: Path) -> None:
    file, path = tmp_path / "threadline.toml", tmp_path / "threadline.db"
    file.write_text(CONFIG)
    async with (
        ModelSim() as model,
        serving(
            tmp_path, model, HTTP_TOKENS=HTTP_TOKENS, ADMINS="web:bob", THREADLINE_CONFIG=str(file)
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        # The simulator sends a few characters at a time.
        await model.say("Your card [card-1] and [email-1], key [key-1]; [card-2] is none.", rate=0)
        first = await say(alice, f"alicemark1: {CARD} {MAIL} {KEY}")
        assert f"Your card {CARD} and " in first["html"]
        assert KEY in first["html"]
        assert "[card-2] is none." in first["html"]
        (before,) = [contents(record.body) for record in await model.streams()]
        await say(alice, "and again?", first["thread"])
        after = contents((await model.streams())[-1].body)
        assert after[: len(before)] == before
        assert (
            after[len(before)] == "Your card [card-1] and [email-1], key [key-1]; [text-1] is none."
        )
        sent = json.dumps([record.body for record in await model.streams()])
        assert not any(value in sent for value in (KEY, CARD, MAIL))

        async with alice.http.get("/me/export") as response:
            assert response.content_type == "application/jsonl"
            lines = [json.loads(line) for line in (await response.text()).splitlines()]
        said = [line["text"] for line in lines if line["type"] == "message"]
        assert said == [f"alicemark1: {CARD} {MAIL} {KEY}", "and again?"]
        assert len([line for line in lines if line["type"] == "reply"]) == 2

        async with alice.http.get("/me/export") as response:
            assert response.status == 429
            assert 3_000 < int(response.headers["Retry-After"]) <= 3_600
            assert "once an hour" in (await response.json())["error"]
        said_again = await alice.say("@threadline /export me")
        assert "GET /me/export" in said_again["answer"]

        await say(bob, "bobmark1: hello")
        marks = [b"alicemark", MAIL.encode(), b"alice"]
        assert len(traces(path, marks)) == 3
        receipt = await alice.post("/me/forget", {"confirm": True})
        assert (receipt["conversations"], receipt["messages"], receipt["replies"]) == (1, 2, 2)
        assert traces(path, marks) == {}
        assert traces(path, [b"bobmark1"])
        assert (await alice.get("/conversation")) == []

        assert (await alice.ask("GET", "/admin/audit"))[0] == 403
        await alice.post(
            "/admin/forget",
            {"platform": "web", "workspace": "*", "person": "bob", "confirm": True},
            status=403,
        )
        audit = await bob.get("/admin/audit")
        assert [entry["action"] for entry in audit] == ["person.exported", "person.forgotten"]
        assert {entry["actor"] for entry in audit} == {f"erased:{receipt['receipt']}"}
        assert audit[1]["details"] == {"receipt": receipt["receipt"]}
        await bob.post(
            "/admin/forget",
            {"platform": "web", "workspace": "*", "person": "bob", "confirm": True},
        )
    assert traces(path, [b"alice", b"bobmark"]) == {}


async def test_the_page_forgets_whoever_writes_it_and_confirms(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    async with (
        serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS) as site,
        site.person(TOKENS["alice"]) as alice,
    ):
        await say(alice, "alicemark2: hello")
        await alice.say("@threadline /forget me")
        assert traces(path, [b"alicemark"])
        async with alice.stream("GET", "/app/events") as tab:
            await next_event(tab, "ready")
            await alice.say("@threadline /forget me yes")
            await next_event(tab, "refresh")  # what is erased must not stay on the screen
        assert (await alice.get("/app/threads"))["threads"] == []

        async def is_gone() -> bool:
            return traces(path, [b"alicemark", b"alice"]) == {}

        await until(is_gone)


async def test_everything_of_the_page_is_exported_and_forgotten(tmp_path: Path) -> None:
    """Versions, settings, links and their readers, shared channels, and the words in the search
    index."""
    path = tmp_path / "threadline.db"
    async with (
        serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, HTTP_CHANNELS="ops", MODELS="echo") as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        own = (await say(alice, "alicemark1 first"))["thread"]
        edit = {"text": "alicemark2 edited", "client_id": str(uuid.uuid4())}
        [question, _] = (await alice.get(f"/app/threads/{own}"))["messages"]
        await alice.post(f"/app/threads/{own}/edits", {**edit, "message": question["id"]})
        await until(lambda: _is_answered(alice, own, "alicemark2"))
        settings = {"name": "alicemark3", "instructions": "alicemark4", "pinned": True}
        await alice.ask("PATCH", f"/conversation/{own}", settings)
        link = (await alice.ask("PUT", f"/app/threads/{own}/share"))[1]["share"]["uid"]
        shown = [each["text"] for each in (await bob.get(f"/app/shared/{link}"))["messages"]]
        assert len(shown) == 2
        assert not any("alicemark1" in text for text in shown)
        await alice.ask("PUT", "/app/default-model", {"model": "echo"})
        shared = {"text": "@threadline alicemark5", "channel": "ops"}
        team = await alice.post("/app/messages", {**shared, "client_id": str(uuid.uuid4())})
        await until(lambda: _is_answered(alice, team["thread"], "alicemark5"))
        await say(bob, "bobmark", team["thread"])
        assert [hit["title"]["text"] for hit in await _hits(alice, "alicemark3")] == ["alicemark3"]
        assert (await alice.get("/usage"))["today"]["requests"] == 3

        async with alice.http.get("/me/export") as response:
            lines = [json.loads(line) for line in (await response.text()).splitlines()]
        said = {line["text"] for line in lines if line["type"] == "message"}
        assert said == {"alicemark1 first", "alicemark2 edited", "alicemark5"}
        records = {line["id"]: line for line in lines if line["type"] == "conversation"}
        assert set(records) == {own, team["thread"]}
        assert len([line for line in lines if line["type"] == "conversation"]) == 2
        mine = records[own]
        assert (mine["name"], mine["instructions"]) == ("alicemark3", "alicemark4")
        assert (mine["pinned"], mine["shared_as"]) == (True, link)

        await alice.post("/me/forget", {"confirm": True})
        assert traces(path, [b"alicemark", b"alice"]) == {}
        assert (await bob.ask("GET", f"/app/shared/{link}"))[0] == 404
        assert "bobmark" in str(await bob.get(f"/app/threads/{team['thread']}"))


async def _is_answered(person: Person, thread: str, word: str) -> bool:
    return any(
        reply["state"] == "done" and word in reply["text"] for reply in await person.replies(thread)
    )


async def _hits(person: Person, words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await person.get(f"/app/search?q={words}"))["hits"]
    return found

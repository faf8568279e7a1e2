"""Links to threads: who reads what through them, and what they never show."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import HTTPException

from adapters.web import sharing
from adapters.web.minute_limit import MinuteLimit
from tests.sims.model.client import ModelSim
from tests.support.clock import ManualClock
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, serving, until

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8ffff3f0005fe02fea7d6059b0000000049454e44ae426082"
)


@dataclass(frozen=True, slots=True)
class House:
    site: Site
    model: ModelSim
    alice: Person
    bob: Person


@asynccontextmanager
async def house(folder: Path, toml: str = "", tokens: str = HTTP_TOKENS) -> AsyncIterator[House]:
    async with (
        ModelSim() as model,
        serving(
            folder, model, toml=toml or "feedback = true\n", LLM="openai/sim",
            HTTP_TOKENS=tokens, ADMINS="web:bob",
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):  # fmt: skip
        yield House(site, model, alice, bob)


async def thread_of(person: Person, text: str = "what?", *, file: bool = False) -> str:
    """A thread with one answer."""
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("text", f"@threadline {text}")
    form.add_field("client_id", str(uuid.uuid4()))
    if file:
        form.add_field("files", PNG, filename="dot.png", content_type="image/png")
    async with person.http.post("/app/messages", data=form) as response:
        assert response.status == 200, await response.text()
        thread: str = (await response.json())["thread"]
    await wait_answered(person, thread)
    return thread


async def wait_answered(person: Person, thread: str, count: int = 1) -> None:
    async def check() -> bool:
        replies = await person.replies(thread)
        return len(replies) == count and all(each["state"] == "done" for each in replies)

    await until(check)


async def share(person: Person, thread: str) -> str:
    """The address of the thread's link."""
    status, body = await person.ask("PUT", f"/app/threads/{thread}/share")
    assert status == 200, body
    uid: str = body["share"]["uid"]
    return uid


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "threadline.db")) as db:
        return db.execute(sql).fetchall()


async def test_every_user_reads_what_was_shared_and_nothing_else(tmp_path: Path) -> None:
    """No later messages, settings, costs or other threads; the audit names the readers."""
    async with house(tmp_path) as here:
        await here.model.say("It is 42.")
        thread = await thread_of(here.alice, "the first question", file=True)
        private = await thread_of(here.alice, "a private question", file=True)
        secret = {"instructions": "never-shown", "temperature": 0.3}
        assert (await here.alice.ask("PATCH", f"/conversation/{thread}", secret))[0] == 200
        uid = await share(here.alice, thread)
        await here.alice.say("a later question", thread)
        await wait_answered(here.alice, thread, 2)
        read = await here.bob.get(f"/app/shared/{uid}")
        assert [each["text"] for each in read["messages"]] == ["the first question", "It is 42."]
        assert (read["shared_by"], read["own_thread"], read["missing"]) == ("alice", None, 0)
        assert [each["cost"] for each in read["messages"]] == [None, None]
        text = str(read)
        assert not [word for word in ("never-shown", "later", "private") if word in text]
        assert (await here.alice.get(f"/app/shared/{uid}"))["own_thread"] == thread
        # A picture of this thread, and none of another one's.
        [mine] = read["messages"][0]["attachments"]
        async with here.bob.http.get(f"/app/shared/{uid}/attachments/{mine['id']}") as response:
            assert (response.status, await response.read()) == (200, PNG)
            assert response.headers["Cache-Control"] == "no-store"
        theirs = await here.alice.get(f"/app/threads/{private}")
        [hidden] = theirs["messages"][0]["attachments"]
        assert (await here.bob.ask("GET", f"/app/shared/{uid}/attachments/{hidden['id']}"))[
            0
        ] == 404
        assert (await here.bob.ask("GET", f"/attachments/{mine['id']}"))[0] == 404
        # Page by page, and as it is after an update.
        first = await here.bob.get(f"/app/shared/{uid}?limit=1")
        rest = await here.bob.get(f"/app/shared/{uid}?after={first['next']}")
        assert (first["messages"] + rest["messages"], rest["next"]) == (read["messages"], None)
        assert await share(here.alice, thread) == uid
        assert len((await here.bob.get(f"/app/shared/{uid}"))["messages"]) == 4
        [listed] = (await here.alice.get("/app/shares"))["shares"]
        assert (listed["uid"], listed["thread"], listed["has_news"]) == (uid, thread, False)
        assert (await here.bob.get("/app/shares"))["shares"] == []
        audit = rows(
            tmp_path, "SELECT action, actor, subject FROM audit WHERE action LIKE 'share.%'"
        )
        assert audit == [
            ("share.created", "alice", ""), ("share.read", "bob", "alice"),
            ("share.updated", "alice", ""),
        ]  # fmt: skip


Removal = Callable[[House, str], Coroutine[Any, Any, object]]


async def revoke(here: House, thread: str) -> None:
    assert (await here.alice.ask("DELETE", f"/app/threads/{thread}/share"))[0] == 200


async def delete(here: House, thread: str) -> None:
    assert (await here.alice.ask("DELETE", f"/conversation/{thread}"))[0] == 204


async def forget(here: House, _thread: str) -> None:
    await here.alice.post("/me/forget", {"confirm": True})


async def erase(here: House, thread: str) -> None:
    for message in await here.alice.get(f"/conversation/{thread}/messages"):
        path = f"/conversation/{thread}/messages/{message['id']}"
        assert (await here.alice.ask("DELETE", path))[0] == 204


@pytest.mark.parametrize("remove", [revoke, delete, forget])
async def test_a_link_is_gone_on_every_route(tmp_path: Path, remove: Removal) -> None:
    """The link was revoked, or is gone with its thread or its owner; the owner cannot open it
    either."""
    async with house(tmp_path) as here:
        thread = await thread_of(here.alice, file=True)
        uid = await share(here.alice, thread)
        [file] = (await here.bob.get(f"/app/shared/{uid}"))["messages"][0]["attachments"]
        await remove(here, thread)
        for person in (here.alice, here.bob):
            for path in (uid, f"{uid}?after=0", f"{uid}/attachments/{file['id']}"):
                status, body = await person.ask("GET", f"/app/shared/{path}")
                assert (status, body["error"]) == (
                    404,
                    "This link does not exist, or not any more.",
                )
        assert (await here.alice.get("/app/shares"))["shares"] == []
        assert rows(tmp_path, "SELECT * FROM shares") == []
        assert rows(tmp_path, "SELECT * FROM share_messages") == []


async def test_erased_messages_are_in_no_link(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        thread = await thread_of(here.alice, file=True)
        uid = await share(here.alice, thread)
        [file] = (await here.bob.get(f"/app/shared/{uid}"))["messages"][0]["attachments"]
        await erase(here, thread)
        read = await here.bob.get(f"/app/shared/{uid}")
        assert (read["messages"], read["missing"], read["next"]) == ([], 2, None)
        assert (await here.bob.ask("GET", f"/app/shared/{uid}/attachments/{file['id']}"))[0] == 404


async def test_only_the_owner_manages_a_link(tmp_path: Path) -> None:
    """Another user, even an administrator of the page, gets 404 on every route of the thread."""
    async with house(tmp_path) as here:
        thread = await thread_of(here.alice)
        uid = await share(here.alice, thread)
        for method, path in (
            ("GET", "share"), ("PUT", "share"), ("DELETE", "share"), ("GET", "settings"),
            ("GET", "messages"),
        ):  # fmt: skip
            assert (await here.bob.ask(method, f"/app/threads/{thread}/{path}"))[0] == 404
        assert (await here.bob.ask("GET", f"/app/models?thread={thread}"))[0] == 404
        assert (await here.bob.ask("GET", f"/conversation/{thread}/export"))[0] == 404
        assert (await here.bob.get(f"/app/shared/{uid}"))["messages"]
        async with here.site.person() as stranger:
            for path in (f"/app/shared/{uid}", "/app/shares", f"/app/threads/{thread}/share"):
                assert (await stranger.ask("GET", path))[0] == 401
        with_anything = await here.alice.ask("GET", "/app/shared/..%2fshares")
        assert with_anything[0] == 404


async def test_the_rules_may_forbid_sharing(tmp_path: Path) -> None:
    """Links made earlier stop working, too."""
    async with house(tmp_path) as here:
        thread = await thread_of(here.alice)
        uid = await share(here.alice, thread)
    async with house(tmp_path, "share = false\n") as here:
        state = await here.alice.get(f"/app/threads/{thread}/share")
        assert (state["allowed"], state["share"]["uid"]) == (False, uid)
        status, body = await here.alice.ask("PUT", f"/app/threads/{thread}/share")
        assert (status, body["error"]) == (403, "The rules of this place do not allow sharing.")
        for person in (here.alice, here.bob):
            assert (await person.ask("GET", f"/app/shared/{uid}"))[0] == 404
        await revoke(here, thread)  # revoking is always allowed
        assert rows(tmp_path, "SELECT * FROM shares") == []


async def test_without_tokens_there_is_no_one_to_share_with(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, site.person() as person:
        assert (await person.get("/app/session"))["sharing"] is False
        thread = await thread_of(person)
        for method, path in (
            ("GET", "/app/shares"), ("PUT", f"/app/threads/{thread}/share"),
            ("GET", "/app/shared/x"),
        ):  # fmt: skip
            assert (await person.ask(method, path))[0] == 404


async def test_wrong_addresses_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is per reader; other readers, and links that exist, are not affected."""
    monkeypatch.setattr(sharing, "WRONG", 3)
    async with house(tmp_path) as here:
        uid = await share(here.alice, await thread_of(here.alice))
        wrong = [await here.bob.ask("GET", f"/app/shared/{n}") for n in range(4)]
        assert [status for status, _ in wrong] == [404, 404, 404, 429]
        assert (await here.alice.ask("GET", "/app/shared/0"))[0] == 404
        assert (await here.bob.ask("GET", f"/app/shared/{uid}"))[0] == 200


async def test_a_minute_limit_counts_each_user_and_each_minute() -> None:
    clock = ManualClock()
    limit = MinuteLimit(2, clock)

    def taken(user: str) -> int:
        """The seconds to wait; 0 if the request was accepted."""
        try:
            limit.take(user)
        except HTTPException as error:
            return int((error.headers or {})["Retry-After"])
        return 0

    assert [taken("a") for _ in range(3)] == [0, 0, 60]
    assert taken("b") == 0
    await clock.advance(59.5)
    assert taken("a") == 1
    await clock.advance(0.5)
    assert [taken("a") for _ in range(3)] == [0, 0, 60]

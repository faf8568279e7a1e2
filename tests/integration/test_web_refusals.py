"""Users of the page and the API who may not ask: every way to ask is refused with the reason."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bot.domain.conversations import Author, ConversationKey
from tests.support.store_kit import look
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, next_event, serving, until

RULES = "block = 'user:bob'\ncontrols = 'participants'\nadmins = 'workspace-admins'"
REASON = "you are blocked here"
CONTROLS = ("stop", "retry", "continue", "undo", "reset", "model", "effort")
SETTINGS = {"HTTP_TOKENS": HTTP_TOKENS, "ADMINS": "web:alice"}


@contextlib.asynccontextmanager
async def both(folder: Path, toml: str = "") -> AsyncIterator[tuple[Site, Person, Person]]:
    """The site, with alice, its administrator, and bob."""
    async with (
        serving(folder, toml=toml, **SETTINGS) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        yield site, alice, bob


async def begin(person: Person) -> tuple[str, str, str]:
    """A thread of the page, and a conversation of the API with the id of its first message."""
    said = await person.say("@threadline hello")
    await until(lambda: person.replies(said["thread"]))
    chat = (await person.post("/conversation"))["id"]
    await person.post(f"/conversation/completion/{chat}", {"message": "hello"})
    [first, *_] = await person.get(f"/conversation/{chat}/messages")
    return said["thread"], chat, first["id"]


def asking(thread: str, chat: str, message: str) -> list[tuple[str, str, Any]]:
    """Every request that asks, or that writes what a later question would contain."""

    def page(text: str, where: str | None) -> tuple[str, str, Any]:
        body = {"text": text, "thread": where, "client_id": str(uuid.uuid4())}
        return "POST", "/app/messages", body

    return [
        page("@threadline why?", None),
        page("why?", thread),
        ("POST", "/conversation", None),
        ("POST", f"/conversation/completion/{chat}", {"message": "why?"}),
        ("PATCH", f"/conversation/{chat}", {"effort": "low"}),
        ("POST", f"/conversation/{chat}/messages", {"role": "user", "content": "so"}),
        ("PATCH", f"/conversation/{chat}/messages/{message}", {"content": "so"}),
        ("POST", "/api/chat", {"prompt": "why?"}),
        ("POST", "/api/chat", {"prompt": "why?", "id": "mine"}),
        (
            "POST",
            "/api/conversational",
            {"inputs": {"past_user_inputs": [], "generated_responses": [], "text": "why?"}},
        ),
    ]


async def test_every_way_to_ask_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Earlier messages stay readable, and can be deleted."""
    async with both(tmp_path) as (_, alice, bob):
        places = {"bob": await begin(bob), "alice": await begin(alice)}
    database = tmp_path / "threadline.db"
    before = look(database, "SELECT count(*), max(id), sum(length(content)) FROM messages")
    async with both(tmp_path, RULES) as (_, alice, bob):
        for method, path, body in asking(*places["bob"]):
            status, answer = await bob.ask(method, path, body)
            assert status == 403 and REASON in str(answer), (path, answer)
        await _press_everything(bob, places["bob"][0])
        counted = look(database, "SELECT count(*), max(id), sum(length(content)) FROM messages")
        assert counted == before
        for method, path, body in asking(*places["alice"]):
            status, answer = await alice.ask(method, path, body)
            assert status in (200, 201), (path, answer)
        for path in ("/app/threads", f"/app/threads/{places['bob'][0]}", "/conversation"):
            await bob.get(path)
        assert (await bob.ask("DELETE", f"/conversation/{places['bob'][1]}"))[0] == 204


async def _press_everything(bob: Person, thread: str) -> None:
    """Press every button: the response has the reason; words in a message are refused like
    questions."""
    for name in CONTROLS:
        command = {"thread": thread, "name": name, "argument": ""}
        answer = (await bob.post("/app/commands", command))["answer"]
        assert answer.startswith("Nothing was changed: ") and REASON in answer, name
        message = {"text": f"/{name}", "thread": thread, "client_id": str(uuid.uuid4())}
        status, refused = await bob.ask("POST", "/app/messages", message)
        assert status == 403 and REASON in str(refused), name
    for name in ("help", "whoami", "why", "context"):
        command = {"thread": thread, "name": name, "argument": ""}
        answer = (await bob.post("/app/commands", command))["answer"]
        assert answer and "Nothing was changed" not in answer, name


async def test_users_are_members_and_those_of_admins_administrators(tmp_path: Path) -> None:
    async with both(tmp_path, RULES) as (site, alice, bob):
        for person, sentence in ((alice, "You administer me here"), (bob, "You may not ask")):
            command = {"thread": None, "name": "whoami", "argument": ""}
            assert sentence in (await person.post("/app/commands", command))["answer"]
        async with bob.stream("GET", "/app/events") as events:
            await anext(events)
            key = ConversationKey("web", "bob", "general", "")
            async with asyncio.timeout(30):
                await site.adapter.directory.tell(key, Author("bob", "bob"), "Only for you.")
                await next_event(events, "notice", text="Only for you.")


async def test_a_question_over_the_rate_is_answered_429(tmp_path: Path) -> None:
    """The API and the page respond with the seconds to wait, and the page also shows a notice."""
    async with both(tmp_path, "limits = { questions_per_minute = 1 }") as (_, alice, bob):
        chat = (await bob.post("/conversation"))["id"]
        ask = f"/conversation/completion/{chat}"
        await bob.post(ask, {"message": "hello"})
        for path, body in (
            (ask, {"message": "again"}),
            (
                "/app/messages",
                {"text": "@threadline why?", "thread": None, "client_id": str(uuid.uuid4())},
            ),
        ):
            status, answer = await bob.ask("POST", path, body)
            assert status == 429 and "ask again in" in str(answer)
        await alice.post(
            f"/conversation/completion/{(await alice.post('/conversation'))['id']}",
            {"message": "hello"},
        )

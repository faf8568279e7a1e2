"""The page's list of threads over HTTP, and its marks as programs see them."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.web.page_serializers import PREVIEW_CHARACTERS, page_message, preview_of
from tests.sims.model.client import ModelSim
from tests.support.store_kit import connected
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, serving, until


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


@pytest.fixture
async def site(tmp_path: Path, model: ModelSim) -> AsyncIterator[Site]:
    async with serving(tmp_path, model, HTTP_TOKENS=HTTP_TOKENS) as site:
        yield site


@pytest.fixture
async def alice(site: Site) -> AsyncIterator[Person]:
    async with site.person(TOKENS["alice"]) as person:
        yield person


async def begin(person: Person, text: str) -> str:
    """Ask without a mention; returns the thread once it is answered."""
    body = {"text": text, "thread": None, "client_id": str(uuid.uuid4()), "begins": True}
    thread: str = (await person.post("/app/messages", body))["thread"]

    async def is_answered() -> bool:
        return (
            bool((await row(person, thread))["answered_at"])
            and not ((await row(person, thread))["busy"])
        )

    await until(is_answered)
    return thread


async def row(person: Person, thread: str) -> dict[str, Any]:
    found: dict[str, Any] = (await person.get(f"/app/threads/{thread}"))["entry"]
    return found


async def list_ids(person: Person, *, archived: bool = False) -> list[str]:
    page = await person.get(f"/app/list?archived={str(archived).lower()}")
    return [entry["id"] for entry in page["entries"]]


async def test_a_conversation_begins_without_a_mention_and_is_named_after_its_question(
    alice: Person, model: ModelSim
) -> None:
    await model.say("**Yes**, it is.", match="is it")
    thread = await begin(alice, "is it?")
    (entry,) = (await alice.get("/app/list"))["entries"]
    assert (entry["id"], entry["name"], entry["preview"]) == (thread, "is it?", "Yes, it is.")
    assert (entry["unread"], entry["busy"], entry["by_user"]) == (True, False, False)


async def test_the_list_comes_in_pages(alice: Person, model: ModelSim) -> None:
    await model.say("Here.")
    made = [await begin(alice, f"number {n}") for n in range(3)]
    first = await alice.get("/app/list?limit=2")
    second = await alice.get(f"/app/list?limit=2&after={first['next']}")
    assert [each["id"] for each in first["entries"] + second["entries"]] == made[::-1]
    assert second["next"] is None
    for wrong in ("x", "0~nan~" + made[0], "2~1.0~" + made[0], "0~1.0~x"):
        status, answer = await alice.ask("GET", f"/app/list?after={wrong}")
        assert status == 422
        assert answer["error"] == "after: write the `next` of the page before, unchanged"


async def test_what_one_tab_changes_every_tab_hears(
    alice: Person, site: Site, model: ModelSim
) -> None:
    await model.say("Here.")
    thread = await begin(alice, "a question")
    entry = await row(alice, thread)
    path = f"/app/threads/{thread}"
    feed = site.adapter._hub.feed("alice")  # type: ignore[attr-defined]
    heard = feed.number

    def newest(name: str) -> Any:
        events = [event for event in feed.since(heard) if event.name == name]
        return events[-1].data()

    await alice.post(f"{path}/read", {"until": entry["answered_at"]})
    assert newest("entry") == {**entry, "unread": False}
    assert (await alice.ask("PATCH", path, {"pinned": True}))[1]["pinned"] is True
    assert newest("entry") == {**entry, "unread": False, "pinned": True}
    await alice.ask("PATCH", path, {"name": "  Another   name "})
    assert newest("thread")["entry"]["name"] == "Another name"
    await alice.ask("DELETE", path)
    assert newest("gone") == {"id": thread}
    heard = feed.number
    restored = await alice.post(f"{path}/restore", {})
    assert newest("thread")["entry"] == restored["entry"]
    assert restored["entry"]["pinned"] is True
    assert restored["event"] == f"{site.adapter._hub.epoch}-{heard}"  # type: ignore[attr-defined]
    status, answer = await alice.ask("PATCH", path, {"name": "   "})
    assert status == 422
    assert "at least one word" in answer["error"]


async def test_tabs_at_other_processes_hear_of_every_change(
    alice: Person, site: Site, model: ModelSim
) -> None:
    await model.say("Here.")
    thread = await begin(alice, "a question")
    until_ = (await row(alice, thread))["answered_at"]
    told: list[str] = []
    chat = site.adapter._chat  # type: ignore[attr-defined]
    chat.tell_others = lambda workspace, _conversation: told.append(workspace)
    path = f"/app/threads/{thread}"
    for method, where, body in (
        ("POST", f"{path}/read", {"until": until_}),
        ("PATCH", path, {"archived": True}),
        ("DELETE", path, None),
        ("POST", f"{path}/restore", {}),
        ("PATCH", f"/conversation/{thread}", {"name": "by a program"}),
        ("POST", "/app/commands", {"thread": thread, "name": "reset"}),
        ("POST", "/app/commands", {"thread": thread, "name": "undo"}),
    ):
        told.clear()
        assert (await alice.ask(method, where, body))[0] == 200
        assert told == ["alice"], where


async def test_a_thread_whose_answer_ends_before_its_question_is_told_is_not_busy(
    alice: Person, site: Site, model: ModelSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.say("Here.")
    thread = await begin(alice, "a question")
    pool = site.adapter._html_pool  # type: ignore[attr-defined]
    feed, run = site.adapter._hub.feed("alice"), pool.run  # type: ignore[attr-defined]
    heard = feed.number

    def busy() -> list[bool]:
        events = [event for event in feed.since(heard) if event.name == "thread"]
        return [event.data()["busy"] for event in events]

    async def is_over() -> bool:
        return busy() == [False]

    async def run_late(function: Any, *values: Any) -> Any:
        if function is page_message:
            await until(is_over)
        return await run(function, *values)

    monkeypatch.setattr(pool, "run", run_late)
    body = {"text": "and another", "thread": thread, "client_id": str(uuid.uuid4())}
    await alice.post("/app/messages", body)
    assert busy() == [False]


async def test_only_its_owner_holds_a_deletion_and_only_while_it_can_be_undone(
    alice: Person, site: Site, model: ModelSim, tmp_path: Path
) -> None:
    await model.say("Here.")
    path = f"/app/threads/{await begin(alice, 'a question')}"

    def deleted_at() -> Any:
        with connected(tmp_path / "threadline.db") as db:
            return db.execute("SELECT deleted_at FROM conversations").fetchone()["deleted_at"]

    assert (await alice.ask("POST", f"{path}/hold", {}))[0] == 404
    await alice.ask("DELETE", path)
    begun = deleted_at()
    async with site.person(TOKENS["bob"]) as bob:
        assert (await bob.ask("POST", f"{path}/hold", {}))[0] == 404
    assert deleted_at() == begun
    assert await alice.post(f"{path}/hold", {}) == {"undo_seconds": 8}
    assert deleted_at() > begun
    await alice.post(f"{path}/restore", {})
    assert (await alice.ask("POST", f"{path}/hold", {}))[0] == 404
    assert deleted_at() is None


async def test_another_version_changes_the_row(alice: Person, site: Site, model: ModelSim) -> None:
    await model.say("First.", times=1)
    thread = await begin(alice, "a question")
    path = f"/app/threads/{thread}"
    await model.say("Second.", times=1)
    [reply] = await alice.replies(thread)
    await alice.post(f"{path}/again", {"turn": int(reply["id"].removeprefix("turn-"))})

    async def is_answered() -> bool:
        return (await row(alice, thread))["preview"] == "Second."

    await until(is_answered)
    feed = site.adapter._hub.feed("alice")  # type: ignore[attr-defined]
    heard = feed.number
    assert (await alice.ask("PUT", f"{path}/shown", {"version": reply["index"]}))[0] == 200
    heard_of = [event.data() for event in feed.since(heard) if event.name == "thread"]
    assert [each["entry"]["preview"] for each in heard_of] == ["First."]


async def test_a_deleted_thread_is_gone_and_comes_back_until_it_is_too_late(
    alice: Person, site: Site, model: ModelSim
) -> None:
    await model.say("Here.")
    thread = await begin(alice, "a question")
    path = f"/app/threads/{thread}"
    assert (await alice.ask("DELETE", path))[1] == {"undo_seconds": 8.0}
    assert await list_ids(alice) == []
    for method, where in (("GET", path), ("DELETE", path), ("GET", f"/conversation/{thread}")):
        assert (await alice.ask(method, where))[0] == 404
    library = site.adapter._chat.library  # type: ignore[attr-defined]
    until_ = time.time()
    assert (await alice.ask("POST", f"{path}/hold", {}))[0] == 200  # "Undo" has the focus
    assert not await library.erase_hidden(thread, before=until_)
    assert (await alice.ask("POST", f"{path}/restore", {}))[0] == 200
    assert (await alice.ask("POST", f"{path}/restore", {}))[0] == 200  # a repeated request
    assert (await alice.ask("POST", f"{path}/hold", {}))[0] == 404
    assert await list_ids(alice) == [thread]
    assert len((await alice.get(path))["messages"]) == 2
    await alice.ask("DELETE", path)
    assert await library.erase_hidden(thread, before=2e10)
    status, answer = await alice.ask("POST", f"{path}/restore", {})
    assert (status, answer["error"]) == (
        404, "It is too late to undo this: the thread has been erased.",
    )  # fmt: skip


async def test_deleting_a_thread_stops_its_answer(alice: Person, model: ModelSim) -> None:
    await model.say("word " * 400, match="long", wait_at=200)
    body = {"text": "long", "thread": None, "client_id": str(uuid.uuid4()), "begins": True}
    thread = (await alice.post("/app/messages", body))["thread"]
    path = f"/app/threads/{thread}"

    async def is_writing() -> bool:
        return any(one["text"] for one in await alice.replies(thread))

    await until(is_writing)
    await alice.ask("DELETE", path)
    await alice.post(f"{path}/restore", {})

    async def is_stopped() -> bool:
        return [one["state"] for one in await alice.replies(thread)] == ["stopped"]

    await until(is_stopped)


async def test_no_one_changes_the_thread_of_another_user(
    alice: Person, site: Site, model: ModelSim
) -> None:
    await model.say("Here.")
    thread = await begin(alice, "mine")
    before = await row(alice, thread)
    async with site.person(TOKENS["bob"]) as bob:
        path = f"/app/threads/{thread}"
        assert await list_ids(bob) == []
        for method, where, body in (
            ("PATCH", path, {"archived": True}),
            ("DELETE", path, None),
            ("POST", f"{path}/restore", {}),
        ):
            assert (await bob.ask(method, where, body))[0] == 404
        await bob.ask("POST", f"{path}/read", {"until": 2e9})
    assert await row(alice, thread) == before


async def test_programs_pin_archive_and_list_by_archive(alice: Person, model: ModelSim) -> None:
    await model.say("Here.")
    one, other = [(await alice.post("/conversation", {}))["id"] for _ in range(2)]
    details = (await alice.ask("PATCH", f"/conversation/{one}", {"archived": True}))[1]
    assert (details["archived"], details["pinned"]) == (True, False)
    assert (await alice.ask("PATCH", f"/conversation/{one}", {"pinned": True}))[1]["pinned"]

    async def ids(query: str) -> set[str]:
        return {each["id"] for each in await alice.get(f"/conversation{query}")}

    assert await ids("") == {one, other}
    assert await ids("?archived=true") == {one}
    assert await ids("?archived=false") == {other}
    await alice.ask("POST", f"/conversation/completion/{one}", {"message": "news"})
    assert await ids("?archived=true") == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A **bold** and `code`\n\n# Title", "A bold and code Title"),
        ("```python\nprint(1)\n```", "print(1)"),
        ("See [the docs](https://example.org/a) ![p](b.png)", "See the docs p"),
        ("[cut off](https://exam", "cut off"),
        ("2 * 3 = snake_case", "2 * 3 = snake_case"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a b 1 2"),
        ("> quoted\n- item", "quoted item"),
        ("x" * 400, "x" * PREVIEW_CHARACTERS),
        ("", ""),
    ],
)
def test_a_preview_has_no_markdown(text: str, shown: str) -> None:
    assert preview_of(text) == shown

"""Shared channels of the page: what everyone sees, and what only the beginner of a thread may
change."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.store_kit import connected
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Site, next_event, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = """
[[rules]]
where = "web:@team/#quiet"
allow = ["web:bob"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        await running.pace(rate=2_000, first_delay=0.001)
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(model: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("channels")
    async with serving(
        folder, model, toml=RULES, HTTP_TOKENS=HTTP_TOKENS, HTTP_CHANNELS="ops,quiet"
    ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def alice(site: Site) -> AsyncIterator[Person]:
    async with site.person(TOKENS["alice"]) as person:
        yield person


@pytest_asyncio.fixture(loop_scope="module")
async def bob(site: Site) -> AsyncIterator[Person]:
    async with site.person(TOKENS["bob"]) as person:
        yield person


async def post(person: Person, text: str, channel: str | None, **more: Any) -> Any:
    message = {"text": text, "channel": channel, "client_id": str(uuid.uuid4()), **more}
    return await person.post("/app/messages", message)


async def threads(person: Person, channel: str | None = None) -> list[str]:
    found = await person.get("/app/threads", params={"channel": channel} if channel else {})
    return [thread["id"] for thread in found["threads"]]


async def wait_replies(person: Person, thread: str, count: int) -> list[str]:
    async def check() -> list[str] | None:
        found = await person.replies(thread)
        over = [reply["text"] for reply in found if reply["state"] == "done"]
        return over if len(over) == count else None

    replies: list[str] = await until(check)
    return replies


async def test_everyone_sees_and_continues_a_thread_of_a_shared_channel(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    await model.script(Answer(match="disk", text="Full."), Answer(match="which", text="sda."))
    assert (await bob.get("/app/session"))["channels"] == ["ops", "quiet"]
    async with bob.stream("GET", "/app/events") as tab:
        await next_event(tab, "ready")
        sent = await post(alice, "@threadline why is the disk slow?", "ops")
        thread = sent["thread"]
        await next_event(tab, "reply", thread=thread, state="done")
        line = await next_event(tab, "thread", id=thread)  # replaces those that were not read yet
        assert (line.data["channel"], line.data["root"]["author"]) == ("ops", "alice")
    assert thread in await threads(bob, "ops")
    assert thread not in [*await threads(bob), *await threads(alice), *await threads(bob, "quiet")]
    async with alice.stream("GET", "/app/events") as tab:
        await next_event(tab, "ready")
        await post(bob, "which one?", None, thread=thread)
        message = await next_event(tab, "message", thread=thread)
        assert (message.data["author"], message.data["text"]) == ("bob", "which one?")
    assert await wait_replies(alice, thread, 2) == ["Full.", "sda."]
    said = [m["content"] for m in (await model.last("which one?")).body["messages"][1:]]
    assert said == ["alice: why is the disk slow?", "Full.", "bob: which one?"]


async def test_only_the_beginner_of_a_shared_thread_changes_it(alice: Person, bob: Person) -> None:
    file = {"filename": "log.txt", "file_data": "data:text/plain;base64,aGk="}
    begun = await post(alice, "@threadline look", "ops")
    path = f"/conversation/{begun['thread']}"
    await wait_replies(alice, begun["thread"], 1)
    prompt = [{"type": "text", "text": "and this"}, {"type": "file", "file": file}]
    await alice.post(f"/conversation/completion/{begun['thread']}", {"message": prompt})
    read = await bob.get(path)
    [question] = [m for m in await bob.get(f"{path}/messages") if m["content"] == "and this"]
    async with bob.http.get(f"/attachments/{question['attachments'][0]['id']}") as got:
        assert (got.status, await got.text()) == (200, "hi")
    assert (await bob.ask("GET", f"{path}/context"))[0] == 200
    assert read["id"] == begun["thread"]
    assert (await bob.ask("PATCH", path, {"name": "mine"}))[0] == 403
    assert (await bob.ask("DELETE", path))[0] == 403
    record = f"{path}/messages/{question['id']}"
    for person in (alice, bob):  # others have read it
        assert (await person.ask("PATCH", record, {"content": "else"}))[0] == 403
        assert (await person.ask("DELETE", record))[0] == 403
        added = {"role": "user", "content": "else"}
        assert (await person.ask("POST", f"{path}/messages", added))[0] == 403
    assert (await alice.ask("PATCH", path, {"name": "Logs"}))[0] == 200
    assert (await bob.get(path))["name"] == "Logs"
    async with bob.stream("GET", "/app/events") as tab:
        await next_event(tab, "ready")
        assert (await alice.ask("DELETE", path))[0] == 204
        await next_event(tab, "refresh")
    assert (await bob.ask("GET", path))[0] == 404


async def test_buttons_work_for_everyone_in_a_shared_thread(
    alice: Person, bob: Person, model: ModelSim
) -> None:
    await model.script(Answer(match="long", text="word " * 2_000, rate=50))
    begun = await post(alice, "@threadline a long one", "ops")

    async def grows() -> bool:
        return any(reply["text"] for reply in await bob.replies(begun["thread"]))

    await until(grows)
    await bob.post("/app/commands", {"thread": begun["thread"], "name": "stop"})

    async def is_stopped() -> bool:
        return [reply["state"] for reply in await alice.replies(begun["thread"])] == ["stopped"]

    await until(is_stopped)


async def test_reading_a_channel_clears_its_marks_on_every_device(
    alice: Person, bob: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unread marks count from a user's first visit; what was said before is not new."""
    told: list[tuple[str, int]] = []

    async def news(person: Person) -> list[str]:
        return list((await person.get("/app/session"))["news"])

    await news(alice)
    begun = await post(alice, "@threadline before bob came", "ops")
    await wait_replies(alice, begun["thread"], 1)
    path = "/app/channels/ops/read"
    await news(bob)
    await bob.post(path, {"until": 9e9})  # whatever other tests have posted
    assert await news(bob) == []
    async with bob.stream("GET", "/app/events") as tab:
        await next_event(tab, "ready")
        found = (await alice.get("/app/threads", params={"channel": "ops"}))["threads"][-1]
        assert found["people"] == ["alice"]
        await post(bob, "and I", None, thread=begun["thread"])
        await wait_replies(alice, begun["thread"], 2)
        line = await next_event(tab, "thread", id=begun["thread"], busy=False)
        assert line.data["people"] == ["alice", "bob"]
        assert line.data["active_at"] > found["active_at"]
        assert "ops" in await news(alice)
        async with alice.stream("GET", "/app/events") as other:
            await next_event(other, "ready")
            chat = site.adapter._chat  # type: ignore[attr-defined]
            monkeypatch.setattr(chat, "tell_others", lambda *whom: told.append(whom))
            for _once in range(2):
                await alice.post(path, {"until": line.data["active_at"]})
            seen = {"name": "ops", "until": line.data["active_at"]}
            assert (await next_event(other, "channel")).data == seen
    assert told == [("alice", 0)], "tabs at other processes hear of what is new"
    assert "ops" not in await news(alice)
    await alice.post(path, {"until": found["active_at"]})  # an older mark changes nothing
    assert "ops" not in await news(alice)
    assert (await alice.ask("POST", "/app/channels/none/read", {"until": 1}))[0] == 404
    assert (await alice.ask("POST", path, {"until": "inf"}))[0] == 422


async def test_a_first_visit_has_no_news_whatever_the_clocks_say(
    model: ModelSim, tmp_path: Path
) -> None:
    """The process that stored a message may have a clock that is ahead of the reader's."""
    async with (
        serving(tmp_path, model, HTTP_TOKENS=HTTP_TOKENS, HTTP_CHANNELS="ops,quiet") as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        thread = (await post(alice, "@threadline before bob came", "ops"))["thread"]
        await wait_replies(alice, thread, 1)
        with connected(tmp_path / "threadline.db") as db:
            db.execute("UPDATE conversations SET active_at = active_at + 60")
        for _visit in range(2):
            assert (await bob.get("/app/session"))["news"] == []
        await post(alice, "@threadline the first one", "quiet")

        async def news() -> Any:
            return (await bob.get("/app/session"))["news"]

        assert await until(news) == ["quiet"]


async def test_a_search_finds_shared_channels_with_their_names(alice: Person, bob: Person) -> None:
    """It finds them only while the channel is shared, and never finds other users' own threads."""
    begun = await post(alice, "@threadline the quokka smiles", "ops")
    await post(alice, "@threadline a secret quokka", None)
    await wait_replies(alice, begun["thread"], 1)

    async def find(path: str = "/app/search") -> list[dict[str, Any]]:
        results = await bob.get(path, params={"q": "quokka"})
        return [] if results["partial"] else list(results["hits"])

    hits = await until(find)
    assert {(hit["conversation_id"], hit["channel"]) for hit in hits} == {(begun["thread"], "ops")}
    [question] = [hit for hit in hits if hit["role"] == "user"]
    assert question["author"] == "alice"
    assert len(await until(lambda: find("/conversation/search"))) == len(hits)


async def test_rules_of_a_shared_channel_hold(alice: Person, bob: Person) -> None:
    message = {"text": "@threadline hello", "channel": "quiet", "client_id": str(uuid.uuid4())}
    assert (await alice.ask("POST", "/app/messages", message))[0] == 403
    begun = await post(bob, "@threadline hello", "quiet")
    assert await threads(alice, "quiet") == [begun["thread"]]


async def test_private_threads_stay_private(alice: Person, bob: Person) -> None:
    own = await post(alice, "@threadline for me", None)
    await wait_replies(alice, own["thread"], 1)
    async with bob.stream("GET", "/app/events") as tab:
        await next_event(tab, "ready")
        await post(alice, "more for me", None, thread=own["thread"])
        await wait_replies(alice, own["thread"], 2)
        shared = await post(alice, "@threadline for all", "ops")
        seen = await next_event(tab, "message")  # the first event that bob receives
        assert seen.data["thread"] == shared["thread"]
    for path in (f"/app/threads/{own['thread']}", f"/conversation/{own['thread']}"):
        assert (await bob.ask("GET", path))[0] == 404


async def test_an_unknown_channel_does_not_exist(alice: Person) -> None:
    assert (await alice.ask("GET", "/app/threads", params={"channel": "hr"}))[0] == 404
    message = {"text": "@threadline hi", "channel": "hr", "client_id": str(uuid.uuid4())}
    status, answer = await alice.ask("POST", "/app/messages", message)
    assert (status, answer["error"]) == (404, "There is no such channel.")


async def test_a_channel_that_is_no_longer_shared_is_closed(
    model: ModelSim, tmp_path: Path
) -> None:
    async with (
        serving(tmp_path, model, HTTP_TOKENS=HTTP_TOKENS, HTTP_CHANNELS="ops") as site,
        site.person(TOKENS["alice"]) as alice,
    ):
        thread = (await post(alice, "@threadline hi", "ops"))["thread"]
        await wait_replies(alice, thread, 1)
        assert (await alice.get("/app/search", params={"q": "hi"}))["hits"]
    async with (
        serving(tmp_path, model, HTTP_TOKENS=HTTP_TOKENS, HTTP_CHANNELS="quiet") as site,
        site.person(TOKENS["alice"]) as alice,
    ):
        for path in ("/app/search", "/conversation/search"):
            assert (await alice.get(path, params={"q": "hi"}))["hits"] == []
        for path in (f"/app/threads/{thread}", f"/conversation/{thread}"):
            assert (await alice.ask("GET", path))[0] == 404

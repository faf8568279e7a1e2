"""The search's routes: only the user's own conversations, and long threads around a hit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.web.places import Places
from adapters.web.search import MOST_AT_ONCE, SearchRoutes
from bot.domain.records import RecordScope
from bot.domain.search import SearchPage
from bot.ports.library import Library
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, serving, until


async def search_for(
    person: Person, text: str, path: str = "/conversation/search"
) -> dict[str, Any]:
    """The results, requested again while the server is too busy to search everything."""
    while True:
        results: dict[str, Any] = await person.get(path, params={"q": text})
        if not results["partial"]:
            return results


async def ask(person: Person, messages: list[str]) -> str:
    said = [{"role": "user", "content": text} for text in messages]
    body = {"name": messages[0], "messages": said}
    return str((await person.post("/conversation", body))["id"])


async def test_people_find_their_own_conversations(tmp_path: Path) -> None:
    site = serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, LLM="echo")
    async with site as at, at.person(TOKENS["alice"]) as alice, at.person(TOKENS["bob"]) as bob:
        uid = await ask(alice, ["Kubernetes & <b>co</b>", "how does 京都 look?"])
        await ask(bob, ["Kubernetes of Bob"])
        results = await search_for(alice, "kuber")
        assert [hit["conversation_id"] for hit in results["hits"]] == [uid, uid]
        title, message = results["hits"]
        assert title["title"] == {"text": "Kubernetes & <b>co</b>", "marks": [[0, 5]]}
        assert (title["message_id"], title["snippet"]) == (None, None)
        assert message["snippet"]["text"] == "Kubernetes & <b>co</b>"
        assert (message["role"], message["index"]) == ("user", 0)
        assert results["next"] is None
        assert len((await search_for(bob, "kuber"))["hits"]) == 2
        assert len((await search_for(alice, "京都"))["hits"]) == 1
        # The page's channel has other threads than the API.
        assert (await search_for(alice, "kuber", "/app/search"))["hits"] == []
        for odd in ('"', "-", "in:", "before:yesterday", "a" * 500, "*:^()OR NOT"):
            await search_for(alice, odd)


async def test_a_wrong_request_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, LLM="echo") as site:
        path = "/conversation/search"
        async with site.person() as stranger:
            assert (await stranger.ask("GET", path, params={"q": "a"}))[0] == 401
        async with site.person(TOKENS["alice"]) as alice:
            wrong: list[dict[str, str]] = [{}, {"q": "a" * 501}, {"q": "a", "after": "x1"}]
            for params in wrong:
                assert (await alice.ask("GET", path, params=params))[0] == 422
            for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
                async with alice.http.request(method, path) as response:
                    assert (response.status, response.headers["Allow"]) == (405, "GET")


async def test_a_thread_of_more_messages_says_that_others_come_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions belong to the part that has their place, and to no other message."""
    monkeypatch.setattr("adapters.web.threads.MOST_MESSAGES", 2)
    site = serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, LLM="echo")
    async with site as at, at.person(TOKENS["alice"]) as alice:
        thread = (await alice.say("@threadline first"))["thread"]
        await until(lambda: has_answered(alice, thread))
        await alice.post("/app/commands", {"thread": thread, "name": "retry"})
        await until(lambda: has_versions(alice, thread))
        await alice.say("second", thread)
        await until(lambda: has_answered(alice, thread))
        newest = await alice.get(f"/app/threads/{thread}")
        assert [m["text"].split()[0] for m in newest["messages"]] == ["second", "You"]
        assert newest["earlier"] and not newest["versions"]
        before = newest["messages"][0]["index"] - 1
        oldest = await alice.get(f"/app/threads/{thread}", params={"until": before})
        assert [m["text"].split()[0] for m in oldest["messages"]] == ["first", "You"]
        assert not oldest["earlier"] and list(oldest["versions"]) == [oldest["messages"][1]["id"]]


async def test_a_long_thread_is_read_up_to_a_message(tmp_path: Path) -> None:
    site = serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, LLM="echo")
    async with site as at, at.person(TOKENS["alice"]) as alice:
        thread = (await alice.say("@threadline first"))["thread"]
        for text in ("second", "third"):
            await until(lambda: has_answered(alice, thread))
            await alice.say(text, thread)
        await until(lambda: has_answered(alice, thread))
        whole = await alice.get(f"/app/threads/{thread}")
        assert (len(whole["messages"]), whole["later"]) == (6, False)
        results = await search_for(alice, "second", "/app/search")
        hit = results["hits"][-1]
        assert hit["anchor"] == whole["messages"][2]["id"]
        part = await alice.get(f"/app/threads/{thread}", params={"until": hit["index"]})
        assert part["messages"] == whole["messages"][:3]
        assert part["later"]
        reply = next(hit for hit in results["hits"] if hit["role"] == "assistant")
        assert reply["anchor"] == whole["messages"][3]["id"]


async def has_answered(person: Person, thread: str) -> bool:
    messages = (await person.get(f"/app/threads/{thread}"))["messages"]
    return len(messages) % 2 == 0 and all(each["state"] == "done" for each in messages)


async def has_versions(person: Person, thread: str) -> bool:
    found = await person.get(f"/app/threads/{thread}")
    return bool(found["versions"]) and await has_answered(person, thread)


class SlowSearch:
    """Answers when the test allows it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.done = asyncio.Event()

    async def search(self, _scopes: Sequence[RecordScope], *_: object, **__: object) -> SearchPage:
        self.waiting += 1
        await self.done.wait()
        return SearchPage()


async def test_a_person_has_a_few_searches_at_once() -> None:
    slow = SlowSearch()
    routes = SearchRoutes(slow, Places(cast(Library, None)))
    asked = [asyncio.create_task(routes.all("ann", "a")) for _ in range(MOST_AT_ONCE)]
    while slow.waiting < MOST_AT_ONCE:
        await asyncio.sleep(0)
    with pytest.raises(Exception, match="429"):
        await routes.all("ann", "a")
    others = asyncio.create_task(routes.page("bob", "a"))
    slow.done.set()
    assert (await others)["hits"] == []
    await asyncio.gather(*asked)
    assert (await routes.all("ann", "a"))["hits"] == []

"""Events that a page may read again when it reconnects contain nothing that was erased since."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.web.hub import KEPT_SECONDS, Feed
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, Said, serving, until

SECRET = "the wombat's birthday"


async def first_replayed(person: Person, epoch: str) -> list[Said]:
    """What a page gets that saw no event of this process, up to the secret or a `refresh`."""
    said: list[Said] = []
    async with person.stream("GET", "/app/events", **{"Last-Event-ID": f"{epoch}-0"}) as events:
        while not said or not (said[-1].name == "refresh" or SECRET in str(said[-1].data)):
            said.append(await anext(events))
    return said


async def test_forgetting_a_person_reaches_the_kept_events_of_others(tmp_path: Path) -> None:
    site = serving(tmp_path, HTTP_TOKENS=HTTP_TOKENS, LLM="echo", HTTP_CHANNELS="ops")
    async with site as at, at.person(TOKENS["alice"]) as alice, at.person(TOKENS["bob"]) as bob:
        epoch = (await bob.get("/app/threads", params={"channel": "ops"}))["event"].split("-")[0]
        body = {"thread": None, "text": f"@threadline {SECRET}", "channel": "ops"}
        body["client_id"] = "3a0f7c1e-0b7f-4a39-9d0e-5a5f3c1f8f11"
        thread = (await alice.post("/app/messages", body))["thread"]

        async def has_answer() -> bool:
            messages = (await bob.get(f"/app/threads/{thread}"))["messages"]
            return len(messages) == 2 and messages[1]["state"] == "done"

        await until(has_answer)
        assert SECRET in str((await first_replayed(bob, epoch))[-1].data)
        await alice.post("/me/forget", {"confirm": True})
        assert [said.name for said in await first_replayed(bob, epoch)] == ["refresh"]


def test_events_are_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their texts may have become too old and been erased; a page that was away reads again."""
    now = 1_000.0
    monkeypatch.setattr("adapters.web.hub.time.monotonic", lambda: now)
    feed = Feed()
    feed.push("message", lambda: {"text": SECRET}, size=len(SECRET))
    now += KEPT_SECONDS / 2
    feed.push("message", lambda: {"text": "newer"}, size=5)
    assert [event.number for event in feed.since(0) or ()] == [1, 2]
    now += KEPT_SECONDS / 2 + 1
    assert feed.since(0) is None
    assert [event.number for event in feed.since(1) or ()] == [2]
    assert feed.since(2) == []

"""Versions through the page's server and the API: the model gets the branch that is shown."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.sims.model.client import ModelSim
from tests.support.store_kit import Place, PostgresPlace, check
from tests.support.web_kit import Person, Site, next_event, serving, until

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        await running.pace(rate=20_000, first_delay=0.0)
        yield running


@pytest_asyncio.fixture
async def site(place: Place, model: ModelSim, tmp_path: Path) -> AsyncIterator[Site]:
    url = place.url if isinstance(place, PostgresPlace) else f"sqlite:///{place}"
    models = "openai:sim,openai:sim-2"
    async with serving(tmp_path, model, DATABASE_URL=url, MODELS=models) as running:
        yield running
    check(place)


@dataclass(eq=False)
class Node:
    """A message, and the alternatives of what follows it."""

    text: str
    next: list[Node] = field(default_factory=list)
    chosen: int = 0

    def path(self) -> list[Node]:
        """The messages that are shown below this node."""
        return [self.next[self.chosen], *self.next[self.chosen].path()] if self.next else []

    def add(self, *texts: str) -> None:
        """Show another alternative, a sequence of messages."""
        node = self
        for text in texts:
            node.next.append(Node(text))
            node.chosen = len(node.next) - 1
            node = node.next[-1]


class Program:
    """A program that asks, edits, tries again and goes back in one conversation."""

    def __init__(self, api: Person, model: ModelSim, conversation: str) -> None:
        self.api, self.model, self.tree = api, model, Node("")
        self.path = f"/conversation/{conversation}"
        self.completion = f"/conversation/completion/{conversation}"
        self.number = 0

    async def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.api.get(f"{self.path}/messages")
        return found

    async def new(self) -> tuple[str, str]:
        """A new question, and the answer that the model will give next."""
        self.number += 1
        await self.model.say(f"a{self.number}", times=1)
        return f"q{self.number}", f"a{self.number}"

    async def check_request(self, shown: list[str]) -> None:
        """Check that the newest request has exactly these messages after the system message."""
        record = (await self.model.streams())[-1]
        assert [each["content"] for each in record.messages[1:]] == shown

    def above(self, at: int) -> Node:
        return [self.tree, *self.tree.path()][at]

    async def ask(self, _: int) -> None:
        question, answer = await self.new()
        await self.api.post(self.completion, {"message": question})
        before = [each.text for each in self.tree.path()]
        await self.check_request([*before, question])
        [self.tree, *self.tree.path()][-1].add(question, answer)

    async def another(self, number: int) -> None:
        """Create another version of a random question or answer."""
        records = await self.records()
        if not records:
            return
        at = number % len(records)
        question, answer = await self.new()
        is_question = records[at]["role"] == "user"
        body = {"content": question} if is_question else {"model": "openai:sim-2"}
        place = f"{self.path}/messages/{records[at]['id']}"
        got = await self.api.post(f"{place}/versions", body, status=201)
        assert got["content"] == answer
        before = [each.text for each in self.tree.path()[:at]]
        await self.check_request([*before, question] if is_question else before)
        record = (await self.model.streams())[-1]
        assert record.body["model"] == ("sim" if is_question else "sim-2")
        self.above(at).add(*((question, answer) if is_question else (answer,)))

    async def show(self, number: int) -> None:
        """Show another version of a message that has several."""
        records = await self.records()
        places = [at for at in range(len(records)) if len(self.above(at).next) > 1]
        if not places:
            return
        at = places[number % len(places)]
        place, wanted = self.above(at), number % len(self.above(at).next)
        found = await self.api.get(f"{self.path}/messages/{records[at]['id']}/versions")
        assert [each["content"] for each in found] == [each.text for each in place.next]
        assert [each["shown"] for each in found] == [
            number == place.chosen for number in range(len(found))
        ]
        shown = f"{self.path}/messages/{found[wanted]['id']}/shown"
        assert await self.api.ask("PUT", shown) == (204, None)
        place.chosen = wanted


async def test_the_model_gets_the_branch_that_is_shown(site: Site, model: ModelSim) -> None:
    chance = random.Random(7)
    async with site.person() as api:
        conversation = (await api.post("/conversation"))["id"]
        program = Program(api, model, conversation)
        for _ in range(30):
            step = chance.choice([program.ask, program.another, program.another, program.show])
            await step(chance.randrange(100))
            shown = [each["content"] for each in await program.records()]
            assert shown == [each.text for each in program.tree.path()]


async def test_a_program_hears_what_it_cannot_do(tmp_path: Path, model: ModelSim) -> None:
    async with serving(tmp_path, model, MODELS="openai:sim") as site, site.person() as api:
        conversation = (await api.post("/conversation"))["id"]
        await api.post(f"/conversation/completion/{conversation}", {"message": "q"})
        place = f"/conversation/{conversation}/messages"
        question, answer = await api.get(place)
        for one, body, field_name in (
            (question, {}, "content"),
            (question, {"content": "x", "model": "openai:sim"}, "model"),
            (answer, {"content": "x"}, "content"),
            (answer, {"model": "other:model"}, "model"),
        ):
            status, said = await api.ask("POST", f"{place}/{one['id']}/versions", body)
            assert (status, said["error"].partition(":")[0]) == (422, field_name)
        for method, path in (("GET", "versions"), ("POST", "versions"), ("PUT", "shown")):
            status, _ = await api.ask(method, f"{place}/{NOBODY}/{path}", {"content": "x"})
            assert status == 404
        added = await api.post(place, {"role": "user", "content": "told"}, status=201)
        status, said = await api.ask("POST", f"{place}/{added['id']}/versions", {"content": "x"})
        assert status == 409
        assert said["error"].startswith("Only a question")
        assert (await api.ask("PUT", f"{place}/{added['id']}/shown"))[0] == 204


async def test_the_page_tells_its_tabs_which_branch_is_shown(
    tmp_path: Path, model: ModelSim
) -> None:
    models = "openai:sim,openai:sim-2"
    async with (
        serving(tmp_path, model, MODELS=models) as site,
        site.person() as page,
        page.stream("GET", "/app/events") as events,
    ):
        sent = await page.say("@threadline q1")
        thread, place = sent["thread"], f"/app/threads/{sent['thread']}"
        await next_event(events, "reply", state="done")
        question = (await page.get(place))["messages"][0]
        edit = {"message": question["id"], "text": "q2", "client_id": str(uuid.uuid4())}
        await page.post(f"{place}/edits", edit)
        told = await next_event(events, "branch", thread=thread)
        assert told.data["since"] == 0
        await next_event(events, "reply", state="done")
        await until(lambda: is_quiet(page, thread))
        again = await page.post(f"{place}/edits", edit)  # a second delivery changes nothing
        read = await page.get(place)
        assert [each["text"] for each in read["messages"]][:1] == ["q2"]
        assert read["versions"] == {again["message"]["id"]: [{"versions": [0, 2], "shown": 1}]}
        turn = int(read["messages"][1]["id"].removeprefix("turn-"))
        await page.post(f"{place}/again", {"turn": turn, "model": "openai:sim-2"})
        told = await next_event(events, "branch", thread=thread)
        assert told.data["since"] == 3
        done = await next_event(events, "reply", state="done")
        assert done.data["model"] == "openai:sim-2"
        await until(lambda: is_quiet(page, thread))
        assert await page.ask("PUT", f"{place}/shown", {"version": 0}) == (200, {})
        await next_event(events, "branch", thread=thread, since=None)
        read = await page.get(place)
        assert [each["text"] for each in read["messages"]][:1] == ["q1"]
        assert read["name"] == "q1"
        status, said = await page.ask("PUT", f"{place}/shown", {"version": 3})
        assert (status, said["error"]) == (
            409,
            "This version is not in the conversation as it is shown now.",
        )
        status, said = await page.ask("POST", f"{place}/again", {"turn": 10**6})
        assert status == 404


async def is_quiet(page: Person, thread: str) -> bool:
    """Whether no turn of the thread is waiting or running."""
    threads = (await page.get("/app/threads"))["threads"]
    return not next(each for each in threads if each["id"] == thread)["busy"]

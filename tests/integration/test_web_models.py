"""Models, effort, tokens and contexts as programs and the page get them, while models change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.domain import http_texts
from bot.domain.context import ContextPart, ContextPartKind, ContextReport
from bot.domain.conversations import ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.model import ModelFacts
from bot.llm.echo import EchoModel
from bot.ports.model import ChatModel
from tests.sims.model.client import ModelSim
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, next_event, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN_FIELDS = {
    "input_tokens", "output_tokens", "total_tokens", "cached_tokens", "cache_write_tokens",
    "reasoning_tokens",
}  # fmt: skip
REPORT = ContextReport(
    model="big/one",
    budget=16_000,
    window=128_000,
    parts=(
        ContextPart(ContextPartKind.PROMPT, 120),
        ContextPart(ContextPartKind.SUMMARY, 400),
        ContextPart(ContextPartKind.MESSAGES, 9_000, 41),
        ContextPart(ContextPartKind.FILES, 400, 2),
    ),
    cached_tokens=1_920,
    summarized=30,
    left_out=3,
    summary="They spoke about <b>herons</b>.",
)


class NamedModel(EchoModel):
    """A model with any name and facts."""

    def __init__(self, name: str, facts: ModelFacts) -> None:
        super().__init__()
        self.name, self._facts = name, facts

    @property
    def facts(self) -> ModelFacts:
        return self._facts


@dataclass
class ChangingModels:
    """A catalog whose names a test changes; `listed` are those that a server adds when asked."""

    names: Sequence[str] = ("big/one", "small/one")
    listed: Sequence[str] = ()
    default: str = "big/one"
    asked: int = 0
    facts: dict[str, ModelFacts] = field(default_factory=dict)

    async def list_names(self) -> Sequence[str]:
        self.asked += 1
        self.names = (*self.names, *(name for name in self.listed if name not in self.names))
        return self.names

    def get(self, name: str | None, _assigned: str | None = None) -> ChatModel:
        known = name if name is not None and name in self.names else self.default
        return NamedModel(known, self.facts.get(known, ModelFacts()))


@dataclass
class Reporter:
    """Describes every conversation by `report`; raises `error` if it is set."""

    report_is: ContextReport | None = REPORT
    error: Exception | None = None
    keys: list[ConversationKey] = field(default_factory=list)

    async def report(self, key: ConversationKey) -> ContextReport | None:
        self.keys.append(key)
        if self.error is not None:
            raise self.error
        return self.report_is


@dataclass
class House:
    """A running site with the parts that a test changes."""

    alice: Person
    bob: Person
    models: ChangingModels
    reporter: Reporter


@pytest_asyncio.fixture(loop_scope="module")
async def house(tmp_path: Path) -> AsyncIterator[House]:
    models, reporter = ChangingModels(), Reporter()
    async with (
        serving(
            tmp_path, models=models, reporter=reporter, HTTP_TOKENS=HTTP_TOKENS, ADMINS="web:alice"
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        yield House(alice, bob, models, reporter)


async def new_conversation(api: Person, body: Any = None) -> str:
    identity: str = (await api.post("/conversation", body))["id"]
    return identity


async def thread_of(page: Person, text: str = "hello") -> str:
    """A thread of the page, once it is answered."""
    thread: str = (await page.say(f"@threadline {text}"))["thread"]

    async def is_done() -> bool:
        return [reply["state"] for reply in await page.replies(thread)] == ["done"]

    await until(is_done)
    return thread


# ── models ────────────────────────────────────────────────────────────────────────────────────
async def test_the_list_of_models_is_asked_for_each_time(house: House) -> None:
    """The page's session only has the names known without asking a server."""
    assert (await house.alice.get("/app/session"))["models"] == ["big/one", "small/one"]
    assert house.models.asked == 0
    house.models.listed = ("local/new",)
    assert await house.alice.get("/models") == {
        "default": "big/one",
        "models": ["big/one", "small/one", "local/new"],
    }
    assert house.models.asked == 1
    assert "local/new" in (await house.alice.get("/app/session"))["models"]


async def test_a_model_of_a_server_that_was_not_asked_yet_can_be_chosen(house: House) -> None:
    house.models.listed = ("local/new",)
    conversation = await new_conversation(house.alice, {"model": "local/new"})
    details = await house.alice.get(f"/conversation/{conversation}")
    assert (details["model"], details["answering_model"]) == ("local/new", "local/new")
    assert house.models.asked == 1


async def test_an_unknown_model_is_refused_with_a_few_of_the_names(house: House) -> None:
    """The servers are asked first; the status, place and type of the error are as before."""
    house.models.listed = [f"local/m{n}" for n in range(400)]
    conversation = await new_conversation(house.alice)
    for method, path in (("POST", "/conversation"), ("PATCH", f"/conversation/{conversation}")):
        status, answer = await house.alice.ask(method, path, {"model": "big/two"})
        assert status == 422
        (problem,) = answer["detail"]
        assert (problem["loc"], problem["type"]) == (["body", "model"], "value_error")
        assert "big/one, small/one, local/m0" in answer["error"]
        assert "and 382 more that GET /models lists" in answer["error"]
        assert len(answer["error"]) < 500
    assert (await house.alice.get(f"/conversation/{conversation}"))["model"] is None


async def test_a_model_name_that_is_too_long_is_refused(house: House) -> None:
    status, answer = await house.alice.ask("POST", "/conversation", {"model": "m" * 301})
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", "model"]


async def test_the_default_answers_for_a_model_that_is_gone(house: House) -> None:
    """The API and the page both use it; the choice is kept, because the model may come back."""
    thread = await thread_of(house.alice)
    await house.alice.ask("PATCH", f"/conversation/{thread}", {"model": "small/one"})
    house.models.names = ("big/one",)
    details = await house.alice.get(f"/conversation/{thread}")
    assert (details["model"], details["answering_model"]) == ("small/one", "big/one")
    shown = await house.alice.get(f"/app/threads/{thread}")
    assert (shown["model"], shown["answering_model"]) == ("small/one", "big/one")
    (line,) = (await house.alice.get("/app/threads"))["threads"]
    assert (line["model"], line["answering_model"]) == ("small/one", "big/one")
    house.models.names = ("big/one", "small/one")
    assert (await house.alice.get(f"/app/threads/{thread}"))["answering_model"] == "small/one"


async def test_the_description_names_no_models(house: House) -> None:
    """They change while the server runs, and clients may keep the description."""
    description = await house.alice.get("/openapi.json")
    assert "small/one" not in json.dumps(description)
    shapes = description["components"]["schemas"]
    for shape in ("NewConversation", "ConversationChange"):
        text = shapes[shape]["properties"]["model"]["anyOf"][0]
        assert (text["type"], text["maxLength"]) == ("string", 300)


# ── effort ────────────────────────────────────────────────────────────────────────────────────
async def test_effort_is_chosen_at_the_start_and_later(house: House) -> None:
    """It is independent of the model; null means the default again, and a missing field keeps
    it."""
    conversation = await new_conversation(house.alice, {"effort": "high"})
    path = f"/conversation/{conversation}"
    assert (await house.alice.get(path))["effort"] == "high"
    for change, effort, model in (
        ({"name": "x"}, "high", None),
        ({"model": "small/one"}, "high", "small/one"),
        ({"effort": "low"}, "low", "small/one"),
        ({"effort": None}, None, "small/one"),
    ):
        status, details = await house.alice.ask("PATCH", path, change)
        assert (status, details["effort"], details["model"]) == (200, effort, model)


@pytest.mark.parametrize("effort", ["", "HIGH", "default", 3, ["low"]])
async def test_another_effort_is_refused(house: House, effort: Any) -> None:
    conversation = await new_conversation(house.alice)
    path = f"/conversation/{conversation}"
    status, answer = await house.alice.ask("PATCH", path, {"effort": effort})
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", "effort"]


async def test_effort_changed_by_a_program_reloads_the_page(house: House) -> None:
    thread = await thread_of(house.alice)
    house.models.facts["big/one"] = ModelFacts(effort=True)
    async with house.alice.stream("GET", "/app/events") as events:
        await anext(events)
        await house.alice.ask("PATCH", f"/conversation/{thread}", {"effort": "medium"})
        await next_event(events, "refresh")
    shown = await house.alice.get(f"/app/threads/{thread}")
    assert (shown["effort"], shown["takes_effort"]) == ("medium", True)


# ── tokens ────────────────────────────────────────────────────────────────────────────────────
async def test_an_answers_tokens_are_in_its_record_and_on_the_page(tmp_path: Path) -> None:
    async with ModelSim() as model, serving(tmp_path, model) as site, site.person() as api:
        await model.pace(rate=0, first_delay=0.0)
        thread = await thread_of(api)
        question, answer = await api.get(f"/conversation/{thread}/messages")
        assert (question["usage"], question["model"]) == (None, None)
        usage = answer["usage"]
        assert set(usage) == TOKEN_FIELDS
        assert usage["input_tokens"] > 0
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert answer["model"] == "openai:sim"
        (reply,) = await api.replies(thread)
        assert {name: reply[name] for name in TOKEN_FIELDS} == usage
        (asked, _) = (await api.get(f"/app/threads/{thread}"))["messages"]
        assert {asked[name] for name in TOKEN_FIELDS} == {None}
        # The message format that clients of small chat backends expect is unchanged.
        (_, said) = (await api.get(f"/conversation/{thread}"))["messages"]
        assert set(said) == {"id", "author", "content", "created_at"}


# ── contexts ──────────────────────────────────────────────────────────────────────────────────
async def test_a_context_is_described_to_its_owner(house: House) -> None:
    conversation = await new_conversation(house.alice)
    assert await house.alice.get(f"/conversation/{conversation}/context") == {
        "model": "big/one",
        "tokens": 9_920,
        "budget": 16_000,
        "window": 128_000,
        "parts": [
            {"kind": "prompt", "tokens": 120, "count": 1},
            {"kind": "summary", "tokens": 400, "count": 1},
            {"kind": "messages", "tokens": 9_000, "count": 41},
            {"kind": "files", "tokens": 400, "count": 2},
        ],
        "cached_tokens": 1_920,
        "summarized": 30,
        "left_out": 3,
        "summary": "They spoke about <b>herons</b>.",
    }
    assert [key.thread for key in house.reporter.keys] == [conversation]


async def test_no_one_else_gets_a_context(house: House) -> None:
    """Another user, an administrator and someone without a token get none, and nothing is
    computed."""
    conversation = await new_conversation(house.bob)
    path = f"/conversation/{conversation}/context"
    assert (await house.alice.ask("GET", path))[0] == 404
    async with Person(house.alice.url) as stranger:
        assert (await stranger.ask("GET", path))[0] == 401
        assert (await stranger.ask("GET", "/models"))[0] == 401
    assert house.reporter.keys == []


async def test_a_context_that_cannot_be_described_is_an_error_with_a_sentence(
    house: House,
) -> None:
    conversation = await new_conversation(house.alice)
    path = f"/conversation/{conversation}/context"
    house.reporter.report_is = None
    assert (await house.alice.ask("GET", path))[0] == 404
    house.reporter.error = StoreUnavailable("gone")
    status, answer = await house.alice.ask("GET", path)
    assert status == 503
    assert "gone" not in answer["error"]
    house.reporter.error = RuntimeError("a mistake")
    status, answer = await house.alice.ask("GET", path)
    assert (status, answer["error"]) == (500, http_texts.FAILED_UNEXPECTEDLY)


async def test_many_contexts_at_once_do_not_disturb_an_answer(house: House) -> None:
    conversation = await new_conversation(house.alice)
    path = f"/conversation/{conversation}/context"
    answers = await asyncio.gather(
        house.alice.post(f"/conversation/completion/{conversation}", {"message": "hello"}),
        *(house.alice.get(path) for _ in range(20)),
    )
    assert "hello" in answers[0]["content"]
    assert all(report["tokens"] == 9_920 for report in answers[1:])

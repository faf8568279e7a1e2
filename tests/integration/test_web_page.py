"""The page's endpoints: channel, threads, commands, and events that keep all tabs in sync."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.web.hub import KEPT_EVENTS
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.web_kit import Person, Said, Site, next_event, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESSAGE = {
    "id", "role", "author", "html", "text", "created_at", "state", "model", "input_tokens",
    "output_tokens", "seconds",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(server: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("page")
    async with serving(folder, server, MODELS="openai:sim,openai:sim-2") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def model(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2_000, first_delay=0.001)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def page(site: Site) -> AsyncIterator[Person]:
    async with site.person() as person:
        yield person


def tab(
    page: Person, **headers: str
) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Said]]:
    """The events of one open tab."""
    return page.stream("GET", "/app/events", None, **headers)


async def wait_replies(page: Person, thread: str, count: int = 1) -> list[dict[str, Any]]:
    """The replies of a thread, once there are `count` and none is in progress."""

    async def check() -> list[dict[str, Any]] | None:
        found = await page.replies(thread)
        whole = [reply for reply in found if reply["state"] not in ("writing", "queued")]
        return found if len(whole) == len(found) == count else None

    replies: list[dict[str, Any]] = await until(check)
    return replies


# ── conversations ─────────────────────────────────────────────────────────────────────────────
async def test_the_session_lists_the_choices(page: Person) -> None:
    session = await page.get("/app/session")
    assert session["user"] == "local"
    assert session["needs_token"] is False
    assert session["models"] == ["openai:sim", "openai:sim-2"]
    assert session["default_model"] == "openai:sim"
    assert {command["name"] for command in session["commands"]} >= {"reset", "stop", "model"}


async def test_a_mention_opens_a_thread_that_answers_and_continues(
    page: Person, model: ModelSim
) -> None:
    await model.script(Answer(match="first", text="**One.**"), Answer(match="on", text="Two."))
    sent = await page.say("@Threadline, the *first*")
    assert sent["receipt"] == "question"
    assert sent["answer"] is None
    assert set(sent["message"]) >= MESSAGE
    assert sent["message"]["text"] == "the *first*"
    assert sent["message"]["html"] == '<p class="plain">the *first*</p>\n'
    (reply,) = await wait_replies(page, sent["thread"])
    assert set(reply) >= MESSAGE
    assert reply["html"] == "<p><strong>One.</strong></p>\n"
    assert (reply["role"], reply["author"], reply["state"]) == ("assistant", "Threadline", "done")
    assert reply["model"] == "openai:sim"
    assert reply["output_tokens"] > 0
    assert reply["seconds"] >= 0
    await page.say("go on", sent["thread"])
    assert [one["text"] for one in await wait_replies(page, sent["thread"], 2)] == [
        "**One.**",
        "Two.",
    ]
    assert [m["content"] for m in (await model.last("go on")).body["messages"]][1:] == [
        "the *first*", "**One.**", "go on",
    ]  # fmt: skip


async def test_a_message_without_a_mention_starts_nothing(page: Person) -> None:
    for text in ("hello", "mail me@threadline.example", "@threadlines", "stop"):
        message = {"text": text, "thread": None, "client_id": str(uuid.uuid4())}
        status, answer = await page.ask("POST", "/app/messages", message)
        assert status == 422
        assert answer["detail"][0]["loc"] == ["body", "text"]
        assert "@threadline" in answer["error"]


async def test_resending_a_message_changes_nothing(page: Person, model: ModelSim) -> None:
    """A tab that lost its connection sends unconfirmed messages again."""
    await model.say("Once.")
    message = {"text": "@threadline once?", "thread": None, "client_id": str(uuid.uuid4())}
    first = await page.post("/app/messages", message)
    again = await page.post("/app/messages", message)
    assert again["receipt"] == "known"
    assert (again["thread"], again["message"]["id"]) == (first["thread"], first["message"]["id"])
    await wait_replies(page, first["thread"])
    assert len((await page.get(f"/app/threads/{first['thread']}"))["messages"]) == 2
    assert len(await model.streams(match="once?")) == 1


async def test_a_question_that_is_sent_again_is_told_again(page: Person, model: ModelSim) -> None:
    """The first request may have stored it, and failed before it told the tabs."""
    await model.say("Once.")
    message = {"text": "@threadline told twice", "client_id": str(uuid.uuid4())}
    sent = await page.post("/app/messages", message)
    await wait_replies(page, sent["thread"])
    async with tab(page) as events:
        await next_event(events, "ready")
        await page.post("/app/messages", message)
        told = await next_event(events, "message", client_id=message["client_id"])
    assert (told.data["id"], told.data["thread"]) == (sent["message"]["id"], sent["thread"])


async def test_threads_are_listed_in_pages_newest_last(tmp_path: Path) -> None:
    async with serving(tmp_path) as alone, alone.person() as page:
        made = [(await page.say(f"@threadline number {n}"))["thread"] for n in range(5)]
        newest = await page.get("/app/threads?limit=3")
        older = await page.get(f"/app/threads?limit=3&before={newest['next']}")
        assert [one["id"] for one in older["threads"] + newest["threads"]] == made
        assert older["next"] is None
        line = newest["threads"][-1]
        assert (line["name"], line["root"]["text"]) == ("number 4", "number 4")
        assert {"created_at", "updated_at", "replies", "busy"} <= set(line)
        await until(lambda: idle(page, 5))
        assert (await page.get("/app/threads"))["threads"][0]["replies"] == 1


async def idle(page: Person, count: int) -> bool:
    threads = (await page.get("/app/threads"))["threads"]
    return len(threads) == count and not any(thread["busy"] for thread in threads)


# ── commands ──────────────────────────────────────────────────────────────────────────────────
async def test_a_command_word_is_executed_and_answered(page: Person, model: ModelSim) -> None:
    await model.say("Hm.")
    thread = (await page.say("@threadline the first"))["thread"]
    await wait_replies(page, thread)
    chosen = await page.say("/model openai:sim-2", thread)
    assert (chosen["receipt"], chosen["message"]) == ("command", None)
    assert "`openai:sim-2`" in chosen["answer"]
    assert (await page.get(f"/app/threads/{thread}"))["model"] == "openai:sim-2"
    assert "Started over" in (await page.say("/reset", thread))["answer"]
    await page.say("the second", thread)
    await wait_replies(page, thread, 2)
    request = (await model.last("the second")).body
    assert request["model"] == "sim-2"
    assert [message["content"] for message in request["messages"]][1:] == ["the second"]


async def test_help_needs_neither_thread_nor_mention(page: Person) -> None:
    before = await page.get("/app/threads")
    answer = await page.say("/help")
    assert answer["thread"] is None
    assert "`/reset`" in answer["answer"]
    assert "`/reset`" in (await page.say("@threadline help"))["answer"]
    assert (await page.get("/app/threads"))["threads"] == before["threads"]


async def test_stop_ends_the_reply_and_keeps_its_text(page: Person, model: ModelSim) -> None:
    await model.say("Once upon a time there was more.", wait_at=3)
    thread = (await page.say("@threadline a story"))["thread"]
    await until(lambda: writing(page, thread, "Once"))
    answer = await page.post("/app/commands", {"thread": thread, "name": "stop"})
    assert answer == {"answer": "Stopped.", "refused": False}
    (reply,) = await wait_replies(page, thread)
    assert reply["state"] == "stopped"
    assert reply["text"].startswith("Once")
    assert "<em>Stopped.</em>" in reply["html"]
    assert (await model.wait_ended()).outcome == "disconnected"


async def writing(page: Person, thread: str, text: str) -> bool:
    return any(
        reply["state"] == "writing" and reply["text"].startswith(text)
        for reply in await page.replies(thread)
    )


async def test_an_unknown_command_or_thread_is_refused(page: Person) -> None:
    nowhere = str(uuid.uuid4())
    assert (await page.ask("POST", "/app/commands", {"thread": None, "name": "rm"}))[0] == 422
    assert (await page.ask("GET", f"/app/threads/{nowhere}"))[0] == 404
    message = {"text": "x", "thread": nowhere, "client_id": nowhere}
    assert (await page.ask("POST", "/app/messages", message))[0] == 404


# ── events ────────────────────────────────────────────────────────────────────────────────────
async def test_every_tab_sees_the_reply_grow_and_complete(page: Person, model: ModelSim) -> None:
    """Each event has an id; a reply's states come in order, and the last one holds its outcome."""
    await model.say("It grows and then it is whole.", wait_at=3)
    async with tab(page) as one, tab(page) as other:
        assert (await anext(one)).name == (await anext(other)).name == "ready"
        sent = await page.say("@threadline grow")
        thread = sent["thread"]
        for events in (one, other):
            message = await next_event(events, "message", thread=thread)
            assert message.id
            assert message.data["text"] == "grow"
            growing = await next_event(events, "reply", thread=thread, text="It grows and")
            assert growing.data["state"] == "writing"
            assert growing.data["html"].startswith("<p>It")
        await until(model.release)
        for events in (one, other):
            done = await next_event(events, "reply", thread=thread, state="done")
            assert set(done.data) >= MESSAGE | {"thread"}
            assert done.data["id"] == growing.data["id"]
            assert done.data["text"] == "It grows and then it is whole."
            assert (await next_event(events, "thread", id=thread)).data["busy"] is False


async def test_every_tab_gets_a_commands_reply(page: Person, model: ModelSim) -> None:
    """The event has the id of the request, so that the sending tab does not show the message
    twice."""
    await model.say("Hm.")
    thread = (await page.say("@threadline hm"))["thread"]
    await wait_replies(page, thread)
    async with tab(page) as events:
        await anext(events)
        client = str(uuid.uuid4())
        command = {"thread": thread, "name": "reset", "client_id": client}
        answer = (await page.post("/app/commands", command))["answer"]
        notice = await next_event(events, "notice")
        assert notice.data == {"thread": thread, "text": answer, "client_id": client}


async def test_a_lost_connection_resumes_after_the_last_event(
    page: Person, model: ModelSim
) -> None:
    """Missed events come first, with only the newest state of a reply."""
    await model.say("Said in between.")
    async with tab(page) as events:
        last = (await anext(events)).id
    assert last
    async with tab(page) as watching:
        thread = (await page.say("@threadline in between"))["thread"]
        await next_event(watching, "reply", thread=thread, state="done")
    for headers, path in (({"Last-Event-ID": last}, ""), ({}, f"?after={last}")):
        async with page.stream("GET", f"/app/events{path}", None, **headers) as events:
            first = await anext(events)
            assert (first.name, first.data["thread"]) == ("message", thread)
            states = [first]
            while states[-1].name != "reply":
                states.append(await anext(events))
            assert states[-1].data["state"] == "done"


@pytest.mark.parametrize("last", ["nonsense", "deadbeef-3", "", "{epoch}-999999", "{epoch}-x"])
async def test_an_event_id_from_another_process_makes_the_page_reload(
    page: Person, last: str
) -> None:
    async with tab(page) as events:
        identity = (await anext(events)).id
    assert identity
    last = last.format(epoch=identity.partition("-")[0])
    async with tab(page, **{"Last-Event-ID": last}) as events:
        assert (await anext(events)).name == ("refresh" if last else "ready")


async def test_a_too_old_event_id_makes_the_page_reload(page: Person, model: ModelSim) -> None:
    await model.say("Hm.")
    thread = (await page.say("@threadline hm"))["thread"]
    await wait_replies(page, thread)
    async with tab(page) as events:
        old = (await anext(events)).id
    assert old
    command = {"thread": thread, "name": "model"}
    for _ in range(0, KEPT_EVENTS + 1, 10):
        await asyncio.gather(*(page.post("/app/commands", command) for _ in range(10)))
    async with tab(page, **{"Last-Event-ID": old}) as events:
        assert (await anext(events)).name == "refresh"


async def test_a_page_loaded_in_mid_reply_shows_the_text_so_far(
    page: Person, model: ModelSim
) -> None:
    await model.say("Half of it, and the other half.", wait_at=2)
    thread = (await page.say("@threadline half"))["thread"]
    await until(lambda: writing(page, thread, "Half"))
    (reply,) = await page.replies(thread)
    assert (reply["state"], reply["text"]) == ("writing", "Half of")
    assert reply["id"].startswith("turn-")
    assert (await page.get("/app/threads"))["threads"][-1]["busy"] is True
    await until(model.release)
    (whole,) = await wait_replies(page, thread)
    assert whole["id"] == reply["id"]


async def test_a_waiting_question_is_marked_as_queued(page: Person, model: ModelSim) -> None:
    await model.script(
        Answer(match="next", text="Two."), Answer(match="first", text="One and only.", wait_at=1)
    )
    thread = (await page.say("@threadline the first"))["thread"]
    await until(lambda: writing(page, thread, "One"))
    assert (await page.say("the next", thread))["message"]["state"] == "queued"
    await until(model.release)
    await wait_replies(page, thread, 2)
    messages = (await page.get(f"/app/threads/{thread}"))["messages"]
    assert [(m["text"], m["state"]) for m in messages] == [
        ("the first", "done"), ("One and only.", "done"), ("the next", "done"), ("Two.", "done"),
    ]  # fmt: skip


async def test_a_reply_that_waits_for_a_slot_is_marked_as_queued(
    server: ModelSim, model: ModelSim, tmp_path: Path
) -> None:
    await model.say("One and only.", match="first", wait_at=1)
    async with (
        serving(tmp_path, server, MAX_CONCURRENT_TURNS="1") as narrow,
        narrow.person() as page,
    ):
        first = (await page.say("@threadline the first"))["thread"]
        await until(lambda: writing(page, first, "One"))
        second = (await page.say("@threadline the second"))["thread"]

        async def states() -> bool:
            return [reply["state"] for reply in await page.replies(second)] == ["queued"]

        await until(states)
        await until(model.release)
        await wait_replies(page, second)


async def test_a_failed_reply_is_shown_again_after_a_reload(page: Person, model: ModelSim) -> None:
    await model.refuse("bad_key")
    thread = (await page.say("@threadline will it work?"))["thread"]
    (reply,) = await wait_replies(page, thread)
    assert reply["state"] == "failed"
    assert "refused my key" in reply["html"]
    assert reply["sentence"] in reply["html"]


async def test_threads_start_with_the_configured_opening(
    server: ModelSim, model: ModelSim, tmp_path: Path
) -> None:
    await model.say("Oui.")
    template = tmp_path / "opening.hbs"
    template.write_text(
        '{{#message role="system"}}Answer in French.{{/message}}\n'
        '{{#message role="user"}}{{input}}{{/message}}\n'
    )
    async with (
        serving(tmp_path, server, WEB_OPENING=str(template)) as french,
        french.person() as page,
    ):
        thread = (await page.say("@threadline yes?"))["thread"]
        await wait_replies(page, thread)
        request = (await model.last("yes?")).body["messages"]
        system, question = [(one["role"], one["content"]) for one in request]
        assert question == ("user", "yes?")
        assert system[1].startswith("Be brief.\n\nAnswer in French.\n\nToday is ")


async def test_programs_can_continue_the_pages_threads(page: Person, model: ModelSim) -> None:
    """A thread is a conversation; a program's questions in it reach the page as events."""
    await model.script(Answer(match="program", text="Two."), Answer(match="page", text="One."))
    thread = (await page.say("@threadline from the page"))["thread"]
    await wait_replies(page, thread)
    async with tab(page) as events:
        await anext(events)
        body = {"message": "from a program"}
        answer = await page.post(f"/conversation/completion/{thread}", body)
        assert answer["content"] == "Two."
        await next_event(events, "message", thread=thread, text="from a program")
        await next_event(events, "reply", thread=thread, state="done", text="Two.")
    assert [one["text"] for one in await wait_replies(page, thread, 2)] == ["One.", "Two."]


async def test_the_page_reloads_a_thread_changed_by_a_program(
    page: Person, model: ModelSim
) -> None:
    await model.say("One.")
    thread = (await page.say("@threadline from the page"))["thread"]
    await wait_replies(page, thread)
    question, _ = await page.get(f"/conversation/{thread}/messages")
    own = (await page.post("/conversation"))["id"]
    async with tab(page) as events:
        await anext(events)
        await page.ask("PATCH", f"/conversation/{own}", {"name": "not the page's"})
        for method, path, body in (
            ("PATCH", f"/conversation/{thread}", {"name": "another"}),
            ("PATCH", f"/conversation/{thread}/messages/{question['id']}", {"content": "hm"}),
            ("DELETE", f"/conversation/{thread}/messages/{question['id']}", None),
            ("DELETE", f"/conversation/{thread}", None),
        ):
            assert (await page.ask(method, path, body))[0] in (200, 204)
            assert (await anext(events)).name == "refresh"
    assert (await page.ask("GET", f"/app/threads/{thread}"))[0] == 404

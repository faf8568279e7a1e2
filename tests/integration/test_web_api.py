"""The API from a program's view: conversations, streams, failures, over real sockets.

Responses are compared field by field with what clients of small chat backends expect.
"""

from __future__ import annotations

import asyncio
import io
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.context.roles import UNSAID
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.web_kit import Person, Site, next_event, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITH_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(server: ModelSim, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("api")
    async with serving(folder, server, MODELS="openai:sim,openai:sim-2") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def model(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2_000, first_delay=0.001)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def api(site: Site) -> AsyncIterator[Person]:
    async with site.person() as person:
        yield person


async def new_conversation(api: Person, body: Any = None) -> str:
    """The id of a new conversation."""
    identity: str = (await api.post("/conversation", body))["id"]
    return identity


async def ask(api: Person, conversation: str, message: str) -> Any:
    body = {"message": message, "stream": False}
    return await api.post(f"/conversation/completion/{conversation}", body)


def is_id(value: str) -> bool:
    return str(uuid.UUID(value)) == value


def sent(record: Any) -> list[tuple[str, str]]:
    """The model's last request, without the date at the end of the system prompt."""
    messages = [(message["role"], message["content"]) for message in record.body["messages"]]
    return [(role, text.partition("\n\nToday is ")[0]) for role, text in messages]


# ── conversations with messages ───────────────────────────────────────────────────────────────
async def test_a_new_conversation_has_id_no_messages_and_its_time(api: Person) -> None:
    new = await api.post("/conversation")
    assert set(new) == {"id", "messages", "created_at"}
    assert is_id(new["id"])
    assert new["messages"] == []
    assert WITH_ZONE.fullmatch(new["created_at"])


@pytest.mark.parametrize("stream", [False, "false", None])
async def test_a_completion_is_one_assistant_message(
    api: Person, model: ModelSim, stream: Any
) -> None:
    """`stream` is a boolean, a string, or left out."""
    await model.say("It is Monday.")
    conversation = await new_conversation(api)
    body = {"message": "What is the current day?"} | ({} if stream is None else {"stream": stream})
    message = await api.post(f"/conversation/completion/{conversation}", body)
    assert set(message) == {"id", "author", "content", "created_at"}
    assert is_id(message["id"])
    assert (message["author"], message["content"]) == ("assistant", "It is Monday.")
    assert WITH_ZONE.fullmatch(message["created_at"])


async def test_the_list_has_conversations_with_messages_in_order(
    api: Person, model: ModelSim
) -> None:
    await model.say("It is Monday.")
    conversation = await new_conversation(api)
    answer = await ask(api, conversation, "What is the current day?")
    listed = await api.get("/conversation")
    found = next(one for one in listed if one["id"] == conversation)
    assert set(found) == {"id", "messages", "created_at"}
    assert WITHOUT_ZONE.fullmatch(found["created_at"])
    question, reply = found["messages"]
    assert set(question) == set(reply) == {"id", "author", "content", "created_at"}
    assert (question["author"], question["content"]) == ("user", "What is the current day?")
    assert (reply["author"], reply["content"]) == ("assistant", "It is Monday.")
    assert reply["id"] == answer["id"]
    assert all(WITHOUT_ZONE.fullmatch(one["created_at"]) for one in (question, reply))


async def test_the_model_gets_the_conversation_in_order(api: Person, model: ModelSim) -> None:
    await model.script(Answer(match="second", text="Two."), Answer(match="first", text="One."))
    conversation = await new_conversation(api)
    await ask(api, conversation, "the first question")
    await ask(api, conversation, "the second question")
    assert sent(await model.last("second")) == [
        ("system", "Be brief."),
        ("user", "the first question"),
        ("assistant", "One."),
        ("user", "the second question"),
    ]


async def test_command_words_are_ordinary_messages(api: Person, model: ModelSim) -> None:
    await model.say("A word.")
    conversation = await new_conversation(api)
    for word in ("/reset", "stop", "help"):
        assert (await ask(api, conversation, word))["content"] == "A word."
        assert sent(await model.last())[-1] == ("user", word)


async def test_an_unknown_conversation_is_404(api: Person) -> None:
    for method, path, body in (
        ("GET", f"/conversation/{NOBODY}", None),
        ("PATCH", f"/conversation/{NOBODY}", {"name": "x"}),
        ("DELETE", f"/conversation/{NOBODY}", None),
        ("POST", f"/conversation/completion/{NOBODY}", {"message": "x"}),
        ("GET", f"/conversation/{NOBODY}/messages", None),
        ("POST", f"/conversation/{NOBODY}/messages", {"role": "user", "content": "x"}),
    ):
        status, answer = await api.ask(method, path, body)
        assert (status, answer) == (404, {"error": "You have no such conversation."})


async def test_details_name_and_model_change(api: Person, model: ModelSim) -> None:
    await model.say("Hm.", model="sim-2")
    conversation = await new_conversation(api)
    details = await api.get(f"/conversation/{conversation}")
    assert set(details) == {
        "id", "messages", "created_at", "name", "model", "user_id", "updated_at",
        "answering_model", "effort", "instructions", "temperature", "pinned", "archived",
    }  # fmt: skip
    assert (details["name"], details["model"], details["user_id"]) == ("", None, "local")
    change = {"name": "Days", "model": "openai:sim-2"}
    status, changed = await api.ask("PATCH", f"/conversation/{conversation}", change)
    assert (status, changed["name"], changed["model"]) == (200, "Days", "openai:sim-2")
    await ask(api, conversation, "which model?")
    assert (await model.last("which model?")).body["model"] == "sim-2"
    status, changed = await api.ask("PATCH", f"/conversation/{conversation}", {"model": None})
    assert (changed["name"], changed["model"]) == ("Days", None)


async def test_a_conversation_is_named_after_its_first_question(
    api: Person, model: ModelSim
) -> None:
    await model.say("Hm.")
    conversation = await new_conversation(api)
    await ask(api, conversation, "What is\nthe current day?")
    await ask(api, conversation, "And now?")
    assert (await api.get(f"/conversation/{conversation}"))["name"] == "What is the current day?"


async def test_an_unavailable_model_is_refused_by_name(api: Person) -> None:
    known = f"/conversation/{await new_conversation(api)}"
    for method, path in (("POST", "/conversation"), ("PATCH", known)):
        status, answer = await api.ask(method, path, {"model": "openai:other"})
        assert status == 422
        assert answer["detail"][0]["loc"] == ["body", "model"]
        assert "openai:sim-2" in answer["error"]


async def test_the_list_is_paged_without_gaps(site: Site, tmp_path: Path) -> None:
    """Newest first; following the Link header visits each of them once."""
    async with serving(tmp_path) as alone, alone.person() as api:
        made = [await new_conversation(api) for _ in range(7)]
        seen: list[str] = []
        path: str | None = "/conversation?limit=3"
        while path:
            async with api.http.get(path) as response:
                seen += [one["id"] for one in await response.json()]
                link = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
                path = link[1] if link else None
        assert seen == made[::-1]


# ── streaming ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("stream", [True, "true"])
async def test_a_streamed_completion_arrives_in_pieces_and_ends_complete(
    api: Person, model: ModelSim, stream: Any
) -> None:
    """The first words arrive while the model still streams; the pieces add up to the whole."""
    text = "Monday it is, as far as I know today."
    await model.say(text, wait_at=3, rate=300)
    conversation = await new_conversation(api)
    body = {"message": "What is the current day?", "stream": stream}
    pieces: list[str] = []
    async with api.stream("POST", f"/conversation/completion/{conversation}", body) as events:
        first = await anext(events)
        assert set(first.data) == {"content"}
        pieces.append(first.data["content"])
        await until(model.release)
        async for event in events:
            if event.name == "done":
                break
            pieces.append(event.data["content"])
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert set(event.data) == {"id", "author", "content", "created_at"}
    assert (event.data["author"], event.data["content"]) == ("assistant", text)
    stored = (await api.get(f"/conversation/{conversation}"))["messages"][-1]
    assert (stored["id"], stored["content"]) == (event.data["id"], text)


@pytest.mark.parametrize("setting", ["hidden", "shown"])
@pytest.mark.parametrize("form", ["field", "tags"])
async def test_programs_get_no_reasoning(
    server: ModelSim, model: ModelSim, tmp_path: Path, setting: str, form: str
) -> None:
    """Neither the stream nor the whole answer contains it, whatever people see, and no request
    does."""
    await model.dialect(reasoning=form)
    await model.say("> Yes, **of course**.", reasoning="ponder " * 30, rate=300)
    async with serving(tmp_path, server, REASONING=setting) as site, site.person() as api:
        conversation = await new_conversation(api)
        pieces: list[str] = []
        async with api.completion(conversation, "is it?") as events:
            async for event in events:
                pieces.append(event.data["content"])
                if event.name == "done":
                    break
        assert "".join(pieces[:-1]) == pieces[-1] == "> Yes, **of course**."
        assert (await ask(api, conversation, "really?"))["content"] == "> Yes, **of course**."
        assert "ponder" not in str(await api.get(f"/conversation/{conversation}"))
    assert ("assistant", "> Yes, **of course**.") in sent(await model.last())
    assert "ponder" not in str((await model.last()).body)


async def test_a_client_that_disconnects_cancels_nothing(api: Person, model: ModelSim) -> None:
    """One of two readers disconnects in mid-stream: the other and the database get everything."""
    await model.say("All of it, to the very end.", wait_at=2)
    conversation = await new_conversation(api)
    async with api.completion(conversation, "how much?") as leaving:
        await anext(leaving)
    await until(model.release)

    async def find_answers() -> list[str]:
        messages = (await api.get(f"/conversation/{conversation}"))["messages"]
        return [message["content"] for message in messages if message["author"] == "assistant"]

    assert await until(find_answers) == ["All of it, to the very end."]
    assert (await model.wait_ended()).outcome == "done"


async def test_questions_during_a_reply_join_the_next_turn(api: Person, model: ModelSim) -> None:
    """Each stream follows the turn that answers its question and never another one."""
    await model.script(
        Answer(match="third", text="Both of them."),
        Answer(match="first", text="One and only.", wait_at=1),
    )
    conversation = await new_conversation(api)
    async with api.completion(conversation, "the first") as first:
        await until(lambda: model.streams(match="the first"))
        second = asyncio.create_task(ask(api, conversation, "the second"))
        await until(lambda: waiting(api, conversation, 1))
        third = asyncio.create_task(ask(api, conversation, "the third"))
        await until(lambda: waiting(api, conversation, 2))
        await until(model.release)
        assert (await next_event(first, "done")).data["content"] == "One and only."
    answers = [await second, await third]
    assert answers[0] == answers[1]
    assert answers[0]["content"] == "Both of them."
    assert [text for _, text in sent(await model.last("third"))[1:]] == [
        "the first", "One and only.", "the second\n\nthe third",
    ]  # fmt: skip


async def waiting(api: Person, conversation: str, count: int) -> bool:
    records = await api.get(f"/conversation/{conversation}/messages")
    return [record["index"] for record in records].count(None) == count


async def test_deleting_a_conversation_ends_its_stream_and_its_model_call(
    api: Person, model: ModelSim
) -> None:
    await model.say("this will never be whole", wait_at=2)
    conversation = await new_conversation(api)
    async with api.completion(conversation, "go on without end") as events:
        await anext(events)
        assert await api.ask("DELETE", f"/conversation/{conversation}") == (204, None)
        error = await next_event(events, "error")
        assert error.data == {"error": "This conversation has been deleted.", "status": 404}
    assert (await model.wait_ended()).outcome == "disconnected"
    assert (await api.ask("GET", f"/conversation/{conversation}"))[0] == 404


@pytest_asyncio.fixture(loop_scope="module")
async def fragile(server: ModelSim, model: ModelSim, tmp_path: Path) -> AsyncIterator[Person]:
    """A separate site, so that circuit breakers opened here affect no other test."""
    async with serving(tmp_path, server) as running, running.person() as person:
        yield person


# ── failures ──────────────────────────────────────────────────────────────────────────────────
FAILURES = pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [
        ("rate_limited", 503, "too many requests"),
        ("bad_key", 502, "refused my key"),
        ("unknown_model", 502, "does not exist"),
        ("too_long", 413, "too long for the model"),
    ],
)


@FAILURES
async def test_a_failing_model_is_an_error_in_our_words(
    fragile: Person, model: ModelSim, fault: str, status: int, sentence: str
) -> None:
    """The status fits, the provider's wording is hidden, and the next question works."""
    await model.refuse(fault, times=None)
    conversation = await new_conversation(fragile)
    path = f"/conversation/completion/{conversation}"
    got, answer = await fragile.ask("POST", path, {"message": "will it work?"})
    assert got == status
    assert set(answer) == {"error"}
    assert sentence in answer["error"]
    assert not answer["error"].startswith("_")
    await model.reset()
    await model.say("Now it works.")
    assert (await ask(fragile, conversation, "again"))["content"] == "Now it works."


@FAILURES
async def test_a_failing_model_ends_a_stream_with_an_error_event(
    fragile: Person, model: ModelSim, fault: str, status: int, sentence: str
) -> None:
    await model.refuse(fault, times=None)
    async with fragile.completion(await new_conversation(fragile), "and streamed?") as events:
        (error,) = [event async for event in events]
    assert error.name == "error"
    assert (set(error.data), error.data["status"]) == ({"error", "status"}, status)
    assert sentence in error.data["error"]


async def test_a_cut_off_answer_is_an_error_and_its_text_is_stored(
    fragile: Person, model: ModelSim
) -> None:
    api = fragile
    await model.say("Half of the answer is here.", breaks="end", at=4, times=1)
    conversation = await new_conversation(api)
    pieces = []
    async with api.completion(conversation, "whole please") as events:
        async for event in events:
            pieces.append(event.data.get("content", ""))
    assert (event.name, event.data["status"]) == ("error", 502)
    assert "broke off" in event.data["error"]
    half = "".join(pieces)
    assert half
    assert "Half of the answer is here.".startswith(half)
    messages = (await api.get(f"/conversation/{conversation}"))["messages"]
    assert messages[-1]["content"] == half.strip()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ["message"]),
        ({"message": ""}, ["message"]),
        ({"message": "x" * 64_001}, ["message"]),
        ({"message": 7}, ["message"]),
        ({"message": "x", "stream": "yes"}, ["stream"]),
        ({"message": "x", "stream": 1}, ["stream"]),
    ],
)
async def test_an_invalid_field_is_named(api: Person, body: Any, field: list[str]) -> None:
    path = f"/conversation/completion/{await new_conversation(api)}"
    status, answer = await api.ask("POST", path, body)
    assert status == 422
    assert answer["error"].startswith(field[0])
    assert answer["detail"][0]["loc"][:2] == ["body", *field]
    assert set(answer["detail"][0]) == {"loc", "msg", "type"}


async def test_a_body_that_is_not_json_is_422_and_a_too_long_one_413(
    api: Person, site: Site
) -> None:
    path, kind = (
        f"/conversation/completion/{await new_conversation(api)}",
        {"Content-Type": "application/json"},
    )
    async with api.http.post(path, data=b"{", headers=kind) as response:
        assert response.status == 422
        assert (await response.json())["error"] == "body: JSON decode error"
    long = io.BytesIO(b" " * 1_048_577)
    async with api.http.post("/conversation", data=long, headers=kind) as response:
        assert response.status == 413
        assert set(await response.json()) == {"error"}


# ── messages as records ───────────────────────────────────────────────────────────────────────
async def test_records_are_added_read_in_order_changed_and_deleted(
    api: Person, model: ModelSim
) -> None:
    """Each has role, content, index and conversation_id; deleted ones are no longer sent."""
    await model.say("Fine.")
    conversation = await new_conversation(api)
    path = f"/conversation/{conversation}/messages"
    added = [
        await api.post(path, {"role": role, "content": f"{role} says"}, 201)
        for role in ("system", "user", "assistant", "user")
    ]
    assert set(added[0]) == {
        *("id", "role", "content", "index", "conversation_id", "created_at", "attachments"),
        *("model", "usage", "cost", "currency"),
    }
    assert {(record["model"], record["usage"]) for record in added} == {(None, None)}
    assert [record["index"] for record in added] == [0, 1, 2, 3]
    assert {record["conversation_id"] for record in added} == {conversation}
    assert await api.get(path) == added
    assert await api.get(f"{path}?after=1&limit=1") == [added[2]]

    change = {"content": "I say", "role": "assistant"}
    status, changed = await api.ask("PATCH", f"{path}/{added[1]['id']}", change)
    assert (status, changed) == (200, {**added[1], **change})
    assert await api.ask("DELETE", f"{path}/{added[3]['id']}") == (204, None)
    assert (await api.ask("DELETE", f"{path}/{added[3]['id']}"))[0] == 404
    await ask(api, conversation, "well?")
    assert sent(await model.last("well?")) == [
        ("system", "Be brief.\n\nsystem says"),
        ("user", UNSAID),
        ("assistant", "I say\n\nassistant says"),
        ("user", "well?"),
    ]
    assert [record["index"] for record in await api.get(path)] == [0, 1, 2, 4, 5]


async def test_a_question_and_its_answer_can_be_changed_but_keep_their_roles(
    api: Person, model: ModelSim
) -> None:
    """Later requests to the model contain the changed records."""
    await model.script(Answer(match="later", text="Hm."), Answer(match="first", text="One."))
    conversation = await new_conversation(api)
    await ask(api, conversation, "the first")
    path = f"/conversation/{conversation}/messages"
    question, reply = await api.get(path)
    assert [question["role"], reply["role"]] == ["user", "assistant"]
    status, answer = await api.ask("PATCH", f"{path}/{reply['id']}", {"role": "user"})
    assert (status, set(answer)) == (409, {"error"})
    await api.ask("PATCH", f"{path}/{question['id']}", {"content": "another first"})
    await api.ask("PATCH", f"{path}/{reply['id']}", {"content": "Another one."})
    await ask(api, conversation, "later")
    assert sent(await model.last("later"))[1:3] == [
        ("user", "another first"),
        ("assistant", "Another one."),
    ]


async def test_a_question_cannot_be_changed_while_it_is_answered(
    api: Person, model: ModelSim
) -> None:
    await model.say("ever so slowly", wait_at=1)
    conversation = await new_conversation(api)
    answer = asyncio.create_task(ask(api, conversation, "take your time"))
    await until(lambda: model.streams(match="take your time"))
    (question,) = await api.get(f"/conversation/{conversation}/messages")
    path = f"/conversation/{conversation}/messages/{question['id']}"
    assert (await api.ask("PATCH", path, {"content": "hurry"}))[0] == 409
    assert (await api.ask("DELETE", path))[0] == 409
    await until(model.release)
    await answer
    assert (await api.ask("DELETE", path))[0] == 204


async def test_a_conversation_starts_with_messages_or_a_template(
    api: Person, model: ModelSim
) -> None:
    await model.say("Because.")
    opening = [
        {"role": "user", "content": "Which movie is the best?"},
        {"role": "assistant", "content": "It's Die Hard for sure."},
    ]
    template = (
        '<message role="user">Which movie is the best?</message>'
        '<message role="assistant">It\'s Die Hard for sure.</message>'
        '<message role="user">{user}</message>'
    )
    for body in ({"messages": opening}, {"template": template}):
        made = await api.post("/conversation", body)
        said = [{"role": one["author"], "content": one["content"]} for one in made["messages"]]
        assert said == opening
        await ask(api, made["id"], "Can you explain why ?")
        assert sent(await model.last("explain"))[1:] == [
            *((one["role"], one["content"]) for one in opening),
            ("user", "Can you explain why ?"),
        ]
    made = await api.post("/conversation", {"template": template, "input": "Why ?"})
    assert made["messages"][-1]["content"] == "Why ?"


async def test_a_template_that_cannot_start_a_conversation_names_the_problem(api: Person) -> None:
    for template, sentence in (
        ('<message role="user">\n  hm\n', "line 1, column 1: this message is never closed"),
        ('<message role="bot">hm</message>', "line 1, column 1: the role “bot” is unknown"),
        ('<message role="user">tell me: {user}</message>', "must stand alone"),
    ):
        status, answer = await api.ask("POST", "/conversation", {"template": template})
        assert status == 422
        assert sentence in answer["error"]
        assert answer["detail"][0]["loc"] == ["body", "template"]


# ── one request ───────────────────────────────────────────────────────────────────────────────
async def test_a_prompt_without_an_id_has_no_history(api: Person, model: ModelSim) -> None:
    await model.say("Paris.")
    for _ in range(2):
        answer = await api.post("/api/chat", {"prompt": "What is the capital of France?"})
        assert answer == {"assistantMessage": {"role": "assistant", "content": "Paris."}}
        assert len(sent(await model.last("France"))) == 2


async def test_prompts_with_the_same_id_share_a_conversation(api: Person, model: ModelSim) -> None:
    """The program may choose any id, even one that a conversation already has."""
    await model.script(Answer(match="first", text="One."), Answer(match="second", text="Two."))
    for identity in (f"my chat №{uuid.uuid4()}", str(uuid.uuid4()), await new_conversation(api)):
        await api.post("/api/chat", {"prompt": "the first", "id": identity})
        answer = await api.post("/api/chat", {"prompt": "the second", "id": identity})
        assert answer == {"assistantMessage": {"role": "assistant", "content": "Two."}}
        assert [text for _, text in sent(await model.last("second"))[1:]] == [
            "the first", "One.", "the second",
        ]  # fmt: skip


async def test_a_failed_prompt_has_an_error_field(fragile: Person, model: ModelSim) -> None:
    await model.refuse("bad_key")
    status, answer = await fragile.ask("POST", "/api/chat", {"prompt": "hello"})
    assert (status, set(answer)) == (502, {"error"})


async def test_a_conversational_request_gets_a_conversational_response(
    api: Person, model: ModelSim
) -> None:
    await model.say("It's the best movie ever.")
    inputs = {
        "past_user_inputs": ["Which movie is the best ?"],
        "generated_responses": ["It's Die Hard for sure."],
        "text": "Can you explain why ?",
    }
    assert await api.post("/api/conversational", {"inputs": inputs}) == {
        "options": [
            {
                "generated_text": "It's the best movie ever.",
                "conversation": {
                    "past_user_inputs": ["Which movie is the best ?", "Can you explain why ?"],
                    "generated_responses": [
                        "It's Die Hard for sure.",
                        "It's the best movie ever.",
                    ],
                },
            }
        ]
    }
    assert sent(await model.last("explain"))[1:] == [
        ("user", "Which movie is the best ?"),
        ("assistant", "It's Die Hard for sure."),
        ("user", "Can you explain why ?"),
    ]


async def test_lists_of_unequal_length_are_refused(api: Person) -> None:
    inputs = {"past_user_inputs": ["a", "b"], "generated_responses": ["c"], "text": "d"}
    status, answer = await api.ask("POST", "/api/conversational", {"inputs": inputs})
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", "inputs", "generated_responses"]
    assert "2 past_user_inputs need as many generated_responses, not 1" in answer["error"]


async def test_a_template_is_parsed_filled_and_written_in_both_notations(api: Person) -> None:
    handlebars = '{{#message role="user"}}\n    {{input}}\n{{/message}}\n'
    answer = await api.post("/api/template", {"template": handlebars, "input": "Why ?"})
    assert answer == {
        "messages": [{"role": "user", "content": "Why ?"}],
        "handlebars": '{{#message role="user"}}\n    Why ?\n{{/message}}\n',
        "tags": '<message role="user">\n    Why ?\n</message>\n',
    }
    again = await api.post("/api/template", {"messages": answer["messages"]})
    assert again == answer
    unfilled = await api.post("/api/template", {"template": handlebars})
    assert unfilled["tags"] == '<message role="user">\n    {user}\n</message>\n'
    assert unfilled["handlebars"] == handlebars


async def test_a_body_of_unknown_length_is_read_only_up_to_the_limit(
    api: Person, site: Site
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    kind = {"Content-Type": "application/json"}
    async with api.http.post("/api/template", data=endless(), headers=kind) as response:
        assert response.status == 413
        assert (await response.json()) == {"error": "A request may have 1,048,576 bytes at most."}

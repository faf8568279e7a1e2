"""Votes through the API: people rate the answers of their own conversations."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from bot.domain import feedback_texts
from tests.sims.model.client import ModelSim
from tests.support.web_kit import HTTP_TOKENS, TOKENS, serving

UP, NONE = {"vote": "up", "comment": ""}, {"vote": None, "comment": ""}
DOWN = {"vote": "down", "comment": "It is 43."}


@pytest.mark.parametrize("is_on", [True, False])
async def test_answers_are_rated_by_their_owner(tmp_path: Path, is_on: bool) -> None:
    """A program rates by the answer's id; no one rates another person's answers, or other
    messages."""
    file = tmp_path / "threadline.toml"
    file.write_text(f"feedback = {str(is_on).lower()}\n")
    async with (
        ModelSim() as model,
        serving(
            tmp_path,
            model,
            LLM="openai/sim",
            HTTP_TOKENS=HTTP_TOKENS,
            THREADLINE_CONFIG=str(file),
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        await model.say("It is 42.")
        mine = await alice.post("/conversation", {})
        answer = await alice.post(f"/conversation/completion/{mine['id']}", {"message": "what?"})
        question = (await alice.get(f"/conversation/{mine['id']}"))["messages"][0]
        path = f"/conversation/{mine['id']}/messages/{{}}/feedback"
        if not is_on:
            status, body = await alice.ask("PUT", path.format(answer["id"]), UP)
            assert (status, body["error"]) == (409, feedback_texts.SWITCHED_OFF)
            return
        for feedback, kept in ((UP, UP), (DOWN, DOWN), (UP | {"comment": "?"}, UP), (NONE, NONE)):
            assert await alice.ask("PUT", path.format(answer["id"]), feedback) == (200, kept)
        for person, message, feedback, status in (
            (bob, answer["id"], UP, 404),
            (alice, question["id"], UP, 404),
            (alice, uuid.uuid4(), UP, 404),
            (alice, answer["id"], {"vote": "sideways"}, 422),
            (alice, answer["id"], {"vote": "down", "comment": "x" * 2_001}, 422),
        ):
            assert (await person.ask("PUT", path.format(message), feedback))[0] == status

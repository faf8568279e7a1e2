"""What people can choose: models with facts, a personal default, the settings of a thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.domain.prompts import INSTRUCTIONS_LABEL, MAX_INSTRUCTIONS
from tests.sims.model.client import ModelSim
from tests.support.web_kit import HTTP_TOKENS, TOKENS, Person, serving, until

FACTS = """
currency = "EUR"
usd_rate = 0.5
[models."openai/sim"]
context = 128_000
sees = true
effort = false
price = { input = 1.0, output = 8.0 }
"""
MODELS = "openai/sim,openai/sim-2"


async def ask(person: Person, text: str = "what?", thread: str | None = None) -> str:
    """Ask on the page, and wait for the answer; returns the thread."""
    count = 0 if thread is None else len(await person.replies(thread))
    sent = await person.say(text if thread else f"@threadline {text}", thread)
    found: str = sent["thread"]

    async def has_answered() -> bool:
        replies = await person.replies(found)
        return len(replies) > count and replies[-1]["state"] == "done"

    await until(has_answered)
    return found


async def system_of(model: ModelSim) -> str:
    """The system message of the newest request."""
    found: str = (await model.last()).body["messages"][0]["content"]
    return found


async def test_models_are_described_with_what_is_known(tmp_path: Path) -> None:
    """Prices are in the team's currency; a thread's choice, a person's default and the place's are
    marked."""
    async with (
        ModelSim() as model,
        serving(
            tmp_path, model, toml=FACTS, LLM="openai/sim", MODELS=MODELS, HTTP_TOKENS=HTTP_TOKENS
        ) as site,
        site.person(TOKENS["alice"]) as alice,
        site.person(TOKENS["bob"]) as bob,
    ):
        known = await alice.get("/app/models")
        first, second = known.pop("models")
        assert known.pop("default") == first
        assert known == {"currency": "EUR", "chosen": None, "mine": None}
        facts = {"window": 128_000, "sees": True, "effort": False, "rests_for": 0.0, "failure": ""}
        assert first == {
            "name": "openai/sim", "max_output": None, "tools": None, "input_price": 0.5,
            "output_price": 4.0, **facts,
        }  # fmt: skip
        assert (second["name"], second["window"], second["input_price"]) == (
            "openai/sim-2", None, None,
        )  # fmt: skip
        # A personal default applies to the person's new threads on the page, and to no one else.
        path = "/app/default-model"
        assert (await alice.ask("PUT", path, {"model": "nonsense"}))[0] == 422
        assert (await alice.ask("PUT", path, {"model": "openai/sim-2"}))[0] == 200
        thread = await ask(alice)
        read = await alice.get(f"/app/models?thread={thread}")
        assert (read["chosen"], read["mine"]) == ("openai/sim-2", "openai/sim-2")
        assert (await alice.get(f"/app/threads/{thread}"))["answering_model"] == "openai/sim-2"
        other = await ask(bob)
        assert (await bob.get(f"/app/threads/{other}"))["model"] is None
        assert (await alice.post("/conversation", {}))["id"]  # programs name their models
        assert (await alice.ask("PUT", path, {"model": None}))[0] == 200
        assert (await alice.get("/app/models"))["mine"] is None
        await alice.ask("PUT", path, {"model": "openai/sim-2"})
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim", HTTP_TOKENS=HTTP_TOKENS) as site,
        site.person(TOKENS["alice"]) as alice,
    ):  # it is no longer offered
        assert (await alice.get("/app/models"))["mine"] is None
        thread = await ask(alice, "again")
        assert (await alice.get(f"/app/threads/{thread}"))["model"] is None


async def test_a_model_that_rests_after_failures_says_so(tmp_path: Path) -> None:
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim", MODELS=MODELS) as site,
        site.person() as person,
    ):
        await model.refuse("rate_limited", times=None, retry_after=100)
        conversation = await person.post("/conversation", {})
        path = f"/conversation/completion/{conversation['id']}"
        assert (await person.ask("POST", path, {"message": "?"}))[0] == 503
        [first, second] = (await person.get("/app/models"))["models"]
        assert 0 < first["rests_for"] <= 100
        assert "too many requests" in first["failure"]
        assert (second["rests_for"], second["failure"]) == (0.0, "")


async def test_a_threads_instructions_follow_the_operators_prompt(tmp_path: Path) -> None:
    """They are in every request from the next answer on, and counted, as is the temperature."""
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim") as site,
        site.person() as person,
    ):
        thread = await ask(person)
        assert "verse" not in await system_of(model)
        path = f"/conversation/{thread}"
        wanted = {"instructions": " Answer in verse.\n", "temperature": 0.3}
        status, changed = await person.ask("PATCH", path, wanted)
        assert status == 200
        assert (changed["instructions"], changed["temperature"]) == ("Answer in verse.", 0.3)
        for text in ("and then?", "and after that?"):
            await ask(person, text, thread)
            system = await system_of(model)
            assert system.startswith(f"Be brief.\n\n{INSTRUCTIONS_LABEL}\n\nAnswer in verse.\n\n")
            assert (await model.last()).body["temperature"] == 0.3
        report = await person.get(f"{path}/context")
        sizes = {part["kind"]: part["tokens"] for part in report["parts"]}
        assert sizes["instructions"] > 0
        assert sizes["prompt"] > sizes["instructions"]
        settings = await person.get(f"/app/threads/{thread}/settings")
        assert settings == {
            "instructions": "Answer in verse.", "temperature": 0.3, "usual_temperature": None,
            "allowed": True, "most_characters": MAX_INSTRUCTIONS, "model": "openai/sim",
            "takes_temperature": None,
        }  # fmt: skip
        await person.ask("PATCH", path, {"instructions": "", "temperature": None})
        await ask(person, "plain again?", thread)
        assert "verse" not in await system_of(model)
        assert "temperature" not in (await model.last()).body


@pytest.mark.parametrize(
    "wrong",
    [
        {"instructions": "x" * (MAX_INSTRUCTIONS + 1)}, {"temperature": 2.1}, {"temperature": -1},
        {"temperature": "warm"},
    ],
)  # fmt: skip
async def test_settings_of_a_thread_are_bounded(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async with serving(tmp_path) as site, site.person() as person:
        conversation = await person.post("/conversation", {})
        assert (await person.ask("PATCH", f"/conversation/{conversation['id']}", wrong))[0] == 422


async def test_a_model_that_refuses_a_temperature_is_known_for_it(tmp_path: Path) -> None:
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim") as site,
        site.person() as person,
    ):
        await model.models("sim", reasoning=("sim",))
        thread = await ask(person)
        await person.ask("PATCH", f"/conversation/{thread}", {"temperature": 0.9})
        await ask(person, "and now?", thread)
        settings = await person.get(f"/app/threads/{thread}/settings")
        assert settings["takes_temperature"] is False


async def test_the_rules_may_forbid_instructions(tmp_path: Path) -> None:
    """Earlier instructions stay stored, but reach no model, and can be deleted."""
    async with (
        ModelSim() as model,
        serving(tmp_path, model, LLM="openai/sim") as site,
        site.person() as person,
    ):
        thread = await ask(person)
        chosen = {"instructions": "Answer in verse.", "temperature": 0.3}
        assert (await person.ask("PATCH", f"/conversation/{thread}", chosen))[0] == 200
    async with (
        ModelSim() as model,
        serving(tmp_path, model, toml="instructions = false\n", LLM="openai/sim") as site,
        site.person() as person,
    ):
        path = f"/conversation/{thread}"
        for wanted in ({"instructions": "Other."}, {"temperature": 1.0}):
            status, body = await person.ask("PATCH", path, wanted)
            assert (status, body["error"]) == (
                403, "The rules of this place allow no instructions or temperature of one's own.",
            )  # fmt: skip
        await ask(person, "and now?", thread)
        assert "verse" not in await system_of(model)
        assert "temperature" not in (await model.last()).body
        assert (await person.get(f"/app/threads/{thread}/settings"))["allowed"] is False
        assert (await person.ask("PATCH", path, {"name": "Still possible"}))[0] == 200
        status, cleared = await person.ask("PATCH", path, {"instructions": "", "temperature": None})
        assert (status, cleared["instructions"], cleared["temperature"]) == (200, "", None)

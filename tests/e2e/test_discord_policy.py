"""Rules on Discord, with the real bot process: who may ask, with which model and prompt, which
messages are questions, and who may press which button."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.domain import access_texts, policy_texts
from tests.sims.discord import constants as d
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess, command
from tests.support.platform_driver import DiscordDriver
from tests.support.store_kit import look

RULES = """
admins = ["workspace-admins"]

[profiles.ops]
model = "openai/ops"
prompt = "ops.md"
allow = ["@On-Call"]
block = ["@interns"]
controls = "participants"

[profiles.support]
model = "openai/support"
prompt = "support.md"
answers = "always"

[[rules]]
where = "discord:{guild}/#ops"
profile = "ops"

[[rules]]
where = "discord:{guild}/category:Support"
profile = "support"

[[rules]]
where = "discord:{guild}/{quiet}"
answers = "mention"
"""


@dataclass
class Team:
    """A server with channels, roles and people, and the bot on it."""

    sim: DiscordSim
    model: ModelSim
    bot: BotProcess
    environ: Mapping[str, str]
    ops: int
    quiet: int
    support: int
    oncall: int
    interns: int
    people: Mapping[str, int]

    async def model_of(self, text: str) -> tuple[str, str]:
        """The model and the system prompt of the request whose last message contains `text`."""
        body = (await self.model.last(text)).body
        return body["model"], body["messages"][0]["content"]

    async def answer_to(self, question: int, text: str = "Certainly.") -> dict[str, Any]:
        """The finished answer in the question's thread."""

        async def find() -> Any:
            if not await self.has_thread(question):
                return None
            shown = await self.sim.messages(question, author=d.BOT)
            done = [
                m for m in shown if text in m["content"] and ":stop:" not in str(m["components"])
            ]
            return done[-1] if done else None

        result: dict[str, Any] = await self.sim.until(find)
        return result

    async def wait_stored(self, message: int) -> None:
        """Wait until the bot has stored a message."""

        async def is_stored() -> bool:
            sources = [str(entry.get("source")) for entry in self.bot.events("message")]
            return any(source.endswith(f"/{message}") for source in sources)

        await self.sim.until(is_stored)

    async def wait_text(self, text: str) -> None:
        """Wait until the bot has stored a message with this text."""

        sql = "SELECT 1 FROM messages WHERE content LIKE '%' || ? || '%'"

        async def is_stored() -> bool:
            return bool(look(self.bot.folder / "threadline.db", sql, text))

        await self.sim.until(is_stored)

    async def has_thread(self, message: int) -> bool:
        return any(x["id"] == message for x in (await self.sim.state())["threads"])

    async def list_told(self, person: str) -> list[str]:
        """The direct messages of the bot to a person."""
        channel = (await self.sim.state())["dms"].get(str(self.people[person]))
        shown = await self.sim.messages(channel, author=d.BOT) if channel else []
        return [message["content"] for message in shown]

    async def wait_told(self, person: str, text: str) -> None:
        async def is_told() -> bool:
            return any(text in sentence for sentence in await self.list_told(person))

        await self.sim.until(is_told)

    async def reply_to(self, interaction: int) -> str:
        """The private reply to an interaction; "" if the bot only acknowledged it."""

        async def find() -> Any:
            found = await self.sim.interaction(interaction)
            sent = [x["data"] for x in found["answers"] if x["type"] in ("followup", "edit")]
            flags = [x["data"].get("flags") or 0 for x in found["answers"]]
            assert not sent or any(each & d.EPHEMERAL for each in flags), found
            return next((x["content"] for x in sent if x.get("content")), None)

        return str(await self.sim.until(find))

    async def answer_to_press(self, thread: int, control: str) -> dict[str, Any]:
        """The bot's message in a thread, once it has a button for `control`."""

        async def find() -> Any:
            if not await self.has_thread(thread):
                return None
            shown = await self.sim.messages(thread, author=d.BOT)
            return next((m for m in shown if f":{control}:" in str(m["components"])), None)

        result: dict[str, Any] = await self.sim.until(find)
        return result

    async def press(self, person: str, thread: int, control: str) -> int:
        """Press a button; returns the interaction."""
        message = await self.answer_to_press(thread, control)
        buttons = [part for row in message["components"] for part in row["components"]]
        [wanted] = [x["custom_id"] for x in buttons if f":{control}:" in x["custom_id"]]
        return await self.sim.click(self.people[person], message["id"], wanted)

    async def expect_refusals(self, thread: int, shown: Mapping[str, Any], control: str) -> None:
        """Press a button as people who may not: each is refused privately, and the message stays
        unchanged."""
        for person, reason in MAY_NOT.items():
            reply = await self.reply_to(await self.press(person, thread, control))
            assert reason in reply, (person, control)
        now = await self.answer_to_press(thread, control)
        assert (now["content"], now["components"]) == (shown["content"], shown["components"])

    async def slash(self, person: str, channel: int, command: str, /, **options: str) -> str:
        """The reply to a command."""
        interaction = await self.sim.slash(self.people[person], channel, command, options)
        return await self.reply_to(interaction)


@pytest.fixture
async def team(model: ModelSim, tmp_path: Path) -> AsyncIterator[Team]:
    async with DiscordSim() as sim:
        await sim.grant_intents("message_content", "members")
        oncall, interns = await sim.add_role("On-Call"), await sim.add_role("Interns")
        category = await sim.add_channel("Support", "category")
        quiet = await sim.add_channel("quiet")
        rules = RULES.format(guild=d.GUILD, quiet=quiet)
        (tmp_path / "threadline.toml").write_text(rules)
        (tmp_path / "ops.md").write_text("You run things.")
        (tmp_path / "support.md").write_text("You help customers.")
        environ = {
            **DiscordDriver(sim).settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
            "SYSTEM_PROMPT": "Be brief.",
        }
        team = Team(
            sim=sim,
            model=model,
            bot=BotProcess(tmp_path, environ),
            environ=environ,
            ops=await sim.add_channel("ops"),
            quiet=quiet,
            support=await sim.add_channel("help-desk", category=category),
            oncall=oncall,
            interns=interns,
            people={
                "alice": d.ALICE,  # on call
                "dan": await sim.add_person("dan"),  # on call, too
                "bob": d.BOB,  # has another role
                "ivy": await sim.add_person("ivy"),  # on call, and an intern
                "carol": d.CAROL,  # owns the server, and has no role
            },
        )
        await sim.set_roles(d.ALICE, oncall)
        await sim.set_roles(team.people["dan"], oncall)
        await sim.set_roles(team.people["ivy"], oncall, interns)
        await model.models("sim", "ops", "support")
        await model.say("Certainly.")
        yield team


async def test_rules_decide_who_is_answered_and_by_what(team: Team) -> None:
    sim, people = team.sim, team.people
    async with team.bot:
        # A role gives a person access, and the channel has a model and a prompt.
        allowed = await sim.mention("first deploy", user=people["alice"], channel=team.ops)
        await team.answer_to(allowed)
        used, prompt = await team.model_of("first deploy")
        assert used == "ops" and "You run things." in prompt

        # Others get one private sentence a day, but no thread and no model request.
        reasons = {"bob": policy_texts.NOT_ALLOWED, "ivy": policy_texts.BLOCKED}
        refused = [
            await sim.mention(f"{person} asks", user=people[person], channel=team.ops)
            for person in ("bob", "ivy", "bob")
        ]
        for person, reason in reasons.items():
            await team.wait_told(person, reason)

        # Elsewhere the same person may ask, and the defaults apply.
        await team.answer_to(await sim.mention("hello general", user=people["bob"]))
        used, prompt = await team.model_of("hello general")
        assert used == "sim" and "Be brief." in prompt
        assert not any([await team.has_thread(message) for message in refused])
        assert [len(await team.list_told(person)) for person in reasons] == [1, 1]
        assert await team.model.streams(match="asks") == []

        # In a category with that mode, each message in a channel is answered in a thread; others
        # are refused.
        plain = await sim.say(people["bob"], team.support, "my printer smokes")
        to_alice = await sim.say(people["bob"], team.support, f"<@{d.ALICE}> look at this")
        await team.answer_to(plain)
        used, prompt = await team.model_of("my printer smokes")
        assert used == "support" and "You help customers." in prompt
        await sim.say(people["bob"], plain, "still burning")
        await sim.until(lambda: team.model.streams(match="still burning"))
        assert not await team.has_thread(to_alice)

        # Where only mentions count, the other messages in a thread are history.
        quiet = await sim.mention("start", user=people["bob"], channel=team.quiet)
        await team.answer_to(quiet)
        await team.wait_stored(await sim.say(people["bob"], quiet, "just talking"))
        await sim.mention("summing up", user=people["bob"], channel=quiet)
        await sim.until(lambda: team.model.streams(match="summing up"))
        said = str((await team.model.last("summing up")).body["messages"])
        assert "just talking" in said
        assert all("summing up" in str(x.body) for x in await team.model.streams(match="talking"))

        # Values and access can be explained, visible only to the person who asks.
        why = await team.slash("bob", team.ops, "why")
        assert "openai/ops" in why and "#ops" in why
        assert "may ask" in await team.slash("alice", team.ops, "whoami")
        assert policy_texts.NOT_ALLOWED in await team.slash("bob", team.ops, "whoami")

        # Server administrators set a channel's values, which apply from then on.
        denied = await team.slash("alice", d.CHANNEL, "channel", setting="answers", value="always")
        assert "dministrator" in denied
        await team.slash("carol", d.CHANNEL, "channel", setting="answers", value="always")
        await team.answer_to(await sim.say(people["bob"], d.CHANNEL, "general talk"))


async def test_a_role_that_is_gone_at_the_claim_lets_no_one_in(team: Team) -> None:
    """The waiting question is not sent to the model, and its author learns why."""
    sim = team.sim
    await team.model.script(
        Answer(match="long story", text="Once upon a time. " * 20, wait_at=5, times=1),
        Answer(text="Certainly."),
    )
    async with team.bot:
        thread = await sim.mention("a long story", channel=team.ops)
        await sim.until(lambda: team.model.streams(match="long story"))
        dan = team.people["dan"]
        await team.wait_stored(await sim.mention("also mine", user=dan, channel=thread))
        await sim.set_roles(dan)
        await team.model.release()
        await team.answer_to(thread, access_texts.NO_LONGER)
        assert await team.model.streams(match="also mine") == []
        # Nor is the question included in a later request.
        await sim.mention("and mine?", channel=thread)
        await team.answer_to(thread, "Certainly.")
        assert "also mine" not in str((await team.model.last("and mine?")).body)


async def test_rules_apply_to_what_was_missed(team: Team) -> None:
    """Messages read after an outage carry no roles, so the bot asks Discord for them."""
    sim, people = team.sim, team.people
    async with team.bot:
        await team.answer_to(await sim.mention("hello", user=people["alice"], channel=team.ops))
    allowed = await sim.mention("missed deploy", user=people["dan"], channel=team.ops)
    refused = await sim.mention("missed of Bob", user=people["bob"], channel=team.ops)
    plain = await sim.say(people["bob"], team.support, "my printer smokes")
    left = await sim.mention("missed of Ivy", user=people["ivy"], channel=team.ops)
    await sim.leave_guild(people["ivy"])
    async with team.bot:
        await team.answer_to(allowed)
        await team.answer_to(plain)
        for person in ("bob", "ivy"):
            await team.wait_told(person, policy_texts.NOT_ALLOWED)
        assert (await team.model_of("missed deploy"))[0] == "ops"
        assert not await team.has_thread(refused)
        assert not await team.has_thread(left)
        assert await team.model.streams(match="missed of") == []


async def test_doctor_lists_names_that_no_one_has(team: Team) -> None:
    """`doctor` works without the gateway and applies the same rules as the running bot."""
    wrong = f'[[rules]]\nwhere = "discord:{d.GUILD}/#opps"\nallow = ["@on-cal", "role:5"]\n'
    file = team.bot.folder / "threadline.toml"
    file.write_text(file.read_text() + wrong)
    _, out, _ = await command("doctor", folder=team.bot.folder, environ=team.environ)
    for name in (f"discord:{d.GUILD}/#opps", "@on-cal", "role:5"):
        assert f"'{name}' names no one" in out
    assert out.count("names no one") == 3


# ── buttons and commands ──────────────────────────────────────────────────────────────────────
MAY_NOT = {
    "dan": policy_texts.NOT_YOURS,
    "bob": policy_texts.NOT_ALLOWED,
    "ivy": policy_texts.BLOCKED,
}
"""Someone who may ask but took no part, and people who may not ask."""


async def test_only_those_who_may_control_a_conversation(team: Team) -> None:
    """All combinations of people and controls: a refused person gets a private reply, and nothing
    changes."""
    sim, model = team.sim, team.model
    await model.script(
        Answer(match="tell", text="Once upon a time. " * 20, wait_at=5, times=1),
        Answer(text="Certainly."),
    )
    async with team.bot:
        thread = await sim.mention("tell me a story", channel=team.ops)
        running = await team.answer_to_press(thread, "stop")
        await team.expect_refusals(thread, running, "stop")
        assert (await model.streams())[-1].ended is None
        await team.press("alice", thread, "stop")
        await model.wait_ended()
        assert len(await model.streams()) == 1

        stopped = await team.answer_to_press(thread, "retry")
        for control in ("retry", "continue"):
            await team.expect_refusals(thread, stopped, control)
        for name, options in (
            ("reset", {}),
            ("model", {"name": "openai:sim"}),
            ("effort", {"level": "low"}),
            ("channel", {"setting": "model", "value": "openai:sim"}),
        ):
            for person, reason in MAY_NOT.items():
                if name in ("model", "effort") and person == "dan":
                    continue  # he may ask, so he may choose for the next answer
                reply = await team.slash(person, thread, name, **options)
                assert reason in reply or name == "channel", (person, name)
                assert "dministrator" in reply or name != "channel", (person, name)
        await sim.mention("reset", user=team.people["dan"], channel=thread)
        await team.wait_told("dan", policy_texts.NOT_YOURS)
        assert await sim.messages(thread, author=d.BOT) == [stopped]
        assert len(await model.streams()) == 1

        await team.press("carol", thread, "retry")
        await team.answer_to(thread)
        assert (await team.model_of("tell"))[0] == "ops"
        # An edit by someone who may no longer ask changes nothing.
        await sim.set_roles(d.ALICE)
        await sim.edit(thread, f"<@{d.BOT}> tell me another one")
        await team.wait_told("alice", policy_texts.NOT_ALLOWED)
        for person in ("alice", "carol"):
            reply = await team.slash(person, thread, "reset")
            assert (policy_texts.NOT_ALLOWED in reply) == (person == "alice"), reply
        assert await model.streams(match="another one") == []


async def test_an_edit_through_a_proxy_counts_as_the_persons(team: Team) -> None:
    """A webhook has no roles, but the person it speaks for does, or has lost them. A post by
    another bot belongs to no person."""
    sim, people = team.sim, team.people
    async with team.bot:
        ids = await sim.say_by_proxy(
            f"<@{d.BOT}> frist", "Robin", user=people["alice"], channel=team.ops
        )
        thread = ids["message"]
        await team.answer_to(thread)
        await sim.edit(thread, f"<@{d.BOT}> corrected")
        await sim.until(lambda: team.model.streams(match="corrected"))
        await team.answer_to(thread)
        post = await sim.say(d.OTHER_BOT, thread, "building")
        await team.wait_stored(post)
        await sim.edit(post, "built")
        await team.wait_text("built")
        await sim.mention("is it done?", user=people["alice"], channel=thread)
        await sim.until(lambda: team.model.streams(match="is it done"))
        assert "built" in str((await team.model.last("is it done")).body["messages"])
        await team.answer_to(thread)
        await sim.set_roles(people["alice"])
        await sim.edit(thread, f"<@{d.BOT}> not any more")
        await team.bot.wait_for_log("a person may not ask")
        await team.wait_told("alice", policy_texts.NOT_ALLOWED)
        assert await team.model.streams(match="not any more") == []

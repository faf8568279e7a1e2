"""Rules on Slack, with the real client and the bot in a separate process: who may ask, which
messages are questions, and who may press which button. Each test uses one process with many
rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.domain import access_texts, spending_texts
from tests.e2e.test_control import HELD, STORY, whole, writes
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import Seen, SlackDriver, ThreadRef, at_rest

HERE = f"slack:{ids.TEAM}"


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
def driver(sim: SlackSim) -> SlackDriver:
    return SlackDriver(sim)


@pytest.fixture
def bot(driver: SlackDriver, model: ModelSim, tmp_path: Path) -> BotProcess:
    return BotProcess(
        tmp_path,
        {
            **driver.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
        },
    )


def write_rules(bot: BotProcess, toml: str, **prompts: str) -> None:
    (bot.folder / "threadline.toml").write_text(toml)
    for name, text in prompts.items():
        (bot.folder / f"{name}.md").write_text(text)


async def channels_of(sim: SlackSim, *names: str) -> list[str]:
    """New channels with Alice, Bob, the stranger Carol and the bot as members."""
    made = [await sim.add_channel(name) for name in names]
    for channel in made:
        await sim.join(ids.CAROL, channel)
    return made


async def mention(sim: SlackSim, user: str, channel: str, text: str) -> ThreadRef:
    ts = await sim.say(user, channel, text, mention=True)
    return ThreadRef(channel, ts, ts)


async def answer_to(sim: SlackSim, user: str, channel: str, command: str, text: str = "") -> str:
    """The reply to a slash command, which only its author sees."""
    return str((await sim.slash(user, channel, command, text))["payload"])


async def has_event(sim: SlackSim, kind: str) -> bool:
    """Whether the bot acknowledged an event of this kind."""
    return any(one["event"] == kind and one["acked"] for one in await sim.deliveries())


# ── people ────────────────────────────────────────────────────────────────────────────────────
async def test_who_may_ask(
    sim: SlackSim, driver: SlackDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A user group grants access; blocked people, guests and strangers get one private sentence.
    While Slack does not list the groups, a question waits."""
    ops, team = await channels_of(sim, "ops", "team")
    dan, gil = [await sim.add_person(name, [ops, team]) for name in ("dan", "gil")]
    for guest in (dan, gil):
        await sim.describe_person(guest, guest=True)
    zoe = await sim.add_person("zoe", [team], team=ids.OTHER_TEAM)
    await sim.group("oncall", [ids.ALICE, ids.BOB, ids.CAROL])
    write_rules(
        bot,
        f"""
        [profiles.ops]
        model = "openai/other"
        prompt = "ops.md"

        [[rules]]
        where = "{HERE}/#ops"
        profile = "ops"
        allow = ["@oncall"]
        block = ["user:{ids.BOB}"]

        [[rules]]
        where = "{HERE}/#team"
        block = ["guests"]
        """,
        ops="You answer operators.",
    )
    await model.models("sim", "other")
    await model.say("Sure.")
    async with bot:
        thread = await mention(sim, ids.ALICE, ops, "is it up?")
        await whole(driver, thread, "Sure.")
        request = (await model.last("is it up?")).body
        assert request["model"] == "other"
        assert request["messages"][0]["content"].startswith("You answer operators.")
        elsewhere = await mention(sim, ids.ALICE, team, "and here?")
        await whole(driver, elsewhere, "Sure.")
        assert (await model.last("and here?")).body["model"] == "sim"

        reasons = {ids.BOB: "you are blocked here", dan: "only some people", ids.CAROL: "only some"}
        await assert_refused(sim, model, bot, ops, reasons)
        reasons = {gil: "you are blocked here", zoe: "people of other organizations"}
        await assert_refused(sim, model, bot, team, reasons)
        told = await sim.ephemeral()
        refusals = len(bot.events("a person may not ask"))
        await mention(sim, dan, team, "secret of today")
        await bot.wait_for_log("a person may not ask", refusals + 1)

        await sim.call("fault", match="/api/usergroups.list", status=503, body={}, times=3)
        await sim.group("cooks", [])  # after this event, the groups are listed again
        await sim.until(lambda: has_event(sim, "subteam_created"))
        failing = await mention(sim, ids.ALICE, ops, "is it up now?")
        await whole(driver, failing, "Sure.")
        assert bot.events("the user groups are unknown")

        why = await answer_to(sim, ids.ALICE, ops, "/why")
        assert "`openai/other`, because channel #ops says so (rule in line " in why
        assert "@oncall" in await answer_to(sim, ids.ALICE, ops, "/whoami")
        assert "guest" in await answer_to(sim, dan, ops, "/whoami")
        # Only Alice sees the reply to her slash command, so it does not say where to look.
        used = await answer_to(sim, ids.ALICE, team, "/usage")
        assert "You have used" in used
        assert spending_texts.USAGE_IS_PRIVATE not in used
        await at_rest(driver)
        assert [one["ts"] for one in told] == [
            one["ts"] for one in await sim.ephemeral() if "do not answer you" in one["shown"]
        ]
        assert await model.streams(match="secret of") == []


async def assert_refused(
    sim: SlackSim, model: ModelSim, bot: BotProcess, channel: str, reasons: Mapping[str, str]
) -> None:
    """Assert that each person, asking twice, gets only one private sentence, and that no request
    reaches the model."""
    asked = []
    for user, reason in reasons.items():
        refusals, told = len(bot.events("a person may not ask")), len(await sim.ephemeral(user))
        asked += [await mention(sim, user, channel, f"secret of {user}") for _ in range(2)]
        await bot.wait_for_log("a person may not ask", refusals + 2)

        async def is_told(user: str = user, told: int = told) -> Any:
            return (await sim.ephemeral(user))[told:]

        (notice,) = await sim.until(is_told)
        assert reason in notice["shown"]
        assert notice["channel"] == channel
    state = await sim.state()
    for thread in asked:
        assert len(await sim.thread(channel, thread.id)) == 1  # the question alone
        for one in (*state["statuses"], *state["sessions"]):
            assert one["thread_ts"] != thread.id
    assert await model.streams(match="secret of") == []


async def test_a_right_that_is_lost_while_a_question_waits(
    sim: SlackSim, driver: SlackDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Neither the question nor its edit is sent to the model; both are answered once the right is
    back."""
    (ops,) = await channels_of(sim, "ops")
    await sim.group("oncall", [ids.ALICE])
    write_rules(bot, f"[[rules]]\nwhere = '{HERE}/#ops'\nallow = ['@oncall']")
    await model.script(
        Answer(match="first", text=STORY, wait_at=HELD, times=1), Answer(text="Sure.")
    )
    async with bot:
        thread = await mention(sim, ids.ALICE, ops, "the first")
        await writes(driver, thread, "Once there")
        second = await driver.say(thread, "the second")

        async def is_stored() -> bool:
            return any(second in one.get("source", "") for one in bot.events("message"))

        await sim.until(is_stored)
        await sim.group("oncall", [])
        await sim.until(lambda: has_event(sim, "subteam_members_changed"))
        await model.release()
        await whole(driver, thread, "Once there", access_texts.NO_LONGER)
        refusals = len(bot.events("a person may not ask"))
        await driver.edit(thread, second, "the second, changed")
        await bot.wait_for_log("a person may not ask", refusals + 1)
        assert await model.streams(match="the second") == []
        await sim.group("oncall", [ids.ALICE, ids.BOB])

        async def is_allowed() -> bool:
            return "may not ask" not in await answer_to(sim, ids.ALICE, ops, "/whoami")

        await sim.until(is_allowed)
        await driver.press(thread, "retry")
        await whole(driver, thread, "Once there", "Sure.")
        assert len(await model.streams(match="the second")) == 1
        assert await model.streams(match="changed") == []


# ── which messages are questions ──────────────────────────────────────────────────────────────
async def test_three_answer_modes(
    sim: SlackSim, driver: SlackDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The third is set by an administrator's command."""
    quiet, usual, busy = await channels_of(sim, "quiet", "usual", "busy")
    write_rules(
        bot,
        f"""
        admins = ["user:{ids.BOB}"]

        [[rules]]
        where = "{HERE}/#quiet"
        answers = "mention"
        """,
    )
    await model.say("Sure.")
    async with bot:
        for channel, answers in ((quiet, ["Sure."]), (usual, ["Sure.", "Sure."])):
            thread = await mention(sim, ids.ALICE, channel, "a question")
            await whole(driver, thread, "Sure.")
            await driver.say(thread, f"more in {channel}")
            await whole(driver, thread, *answers)
        quiet_thread = await mention(sim, ids.ALICE, quiet, "begin")
        await whole(driver, quiet_thread, "Sure.")
        await driver.say(quiet_thread, "only a remark")
        await driver.mention_in(quiet_thread, "now answer")
        await whole(driver, quiet_thread, "Sure.", "Sure.")
        request = await model.last("now answer")
        assert "only a remark" in str(request.body["messages"])

        await sim.say(ids.ALICE, busy, "before the mode")
        assert "administrators" in await answer_to(
            sim, ids.ALICE, busy, "/channel", "answers always"
        )
        await answer_to(sim, ids.BOB, busy, "/channel", "answers always")
        first = await sim.say(ids.ALICE, busy, "without a mention")
        await sim.say(ids.ALICE, busy, "@bob for you")
        await sim.say(ids.CAROL, busy, "by a stranger")
        second = await sim.say(ids.ALICE, busy, "another one")
        for ts in (first, second):
            await whole(driver, ThreadRef(busy, ts, ts), "Sure.")
        await sim.edit(busy, second, "another one, corrected")

        async def is_answered_again() -> bool:
            return len(await model.streams(match="corrected")) == 1

        await sim.until(is_answered_again)
        await at_rest(driver)
        for text in ("before the mode", "for you", "by a stranger"):
            assert await model.streams(match=text) == []
        top = await sim.channel(busy)
        assert [len(one["replies"]) for one in top] == [0, 1, 0, 0, 1]


# ── buttons and commands ──────────────────────────────────────────────────────────────────────
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "participants": ("alice", "eve"),
    "everyone": ("alice", "bob", "dan", "eve"),
    "admins": ("eve",),
}
PEOPLE = ("alice", "bob", "carol", "dan", "eve")


async def with_retry_button(driver: SlackDriver, thread: ThreadRef) -> Seen:
    """The reply, once it no longer changes: its buttons arrive with an edit after the last text,
    and Slack's sign of work is removed after that."""

    async def check() -> Seen | None:
        (reply,) = await driver.seen(thread) or [None]
        settled = reply is not None and reply.button("retry") and not reply.working
        return reply if settled else None

    found: Seen = await driver.sim.until(check)
    return found


async def test_people_and_controls(
    sim: SlackSim, driver: SlackDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A person who may not press a button or reset gets a private reply, and nothing changes."""
    names = tuple(ALLOWED)
    channels = dict(zip(names, await channels_of(sim, *names), strict=True))
    people = {"alice": ids.ALICE, "bob": ids.BOB, "carol": ids.CAROL}
    for name in ("dan", "eve"):
        people[name] = await sim.add_person(name, list(channels.values()))
    await sim.describe_person(people["dan"], guest=True)
    await sim.describe_person(people["eve"], admin=True)
    rules = [f"[[rules]]\nwhere = '{HERE}/#{n}'\ncontrols = '{n}'" for n in names]
    write_rules(bot, "\n".join(["admins = ['workspace-admins']", *rules]))
    await model.script(Answer(text="Half of the answer.", rate=0, finish_reason="length"))
    async with bot:
        for controls, channel in channels.items():
            thread = await mention(sim, ids.ALICE, channel, f"question for {controls}")
            reply = await with_retry_button(driver, thread)
            for name in PEOPLE:
                if name not in ALLOWED[controls]:
                    await assert_cannot_control(sim, driver, thread, people[name], reply.id)
            (after,) = await driver.seen(thread)
            assert after == reply, controls
            assert len(await model.streams(match=f"question for {controls}")) == 1
            for count, name in enumerate(ALLOWED[controls], 2):
                await sim.click(people[name], channel, reply.id, "threadline_retry")

                async def is_asked(count: int = count, controls: str = controls) -> bool:
                    return len(await model.streams(match=f"question for {controls}")) == count

                await sim.until(is_asked)
                await whole(driver, thread, "Half of")
                reply = await with_retry_button(driver, thread)
        refused = await answer_to(sim, ids.CAROL, channels["everyone"], "/model")
        assert "Nothing was changed: people of other organizations" in refused
        await assert_stop_is_refused(sim, driver, model, channels["participants"])


async def assert_cannot_control(
    sim: SlackSim, driver: SlackDriver, thread: ThreadRef, user: str, reply: Any
) -> None:
    """Try each button of a reply that was cut off, and the message shortcut for a reset."""
    told = len(await sim.ephemeral(user))
    for button in ("retry", "continue"):
        await sim.click(user, thread.channel, reply, f"threadline_{button}")
    shortcut = {"channel": thread.channel, "message_ts": reply}
    await sim.shortcut(user, "threadline_reset", **shortcut)

    async def are_told() -> Any:
        found = (await sim.ephemeral(user))[told:]
        return found if len(found) == 3 else None

    for each in await sim.until(are_told):
        assert each["shown"].startswith("Nothing was changed: ")


async def assert_stop_is_refused(
    sim: SlackSim, driver: SlackDriver, model: ModelSim, channel: str
) -> None:
    """Slack's own stop button ends the stream, and the answer continues as edits."""
    await model.script(Answer(match="a story", text=STORY, wait_at=HELD))
    thread = await mention(sim, ids.ALICE, channel, "tell a story")
    await writes(driver, thread, "Once there")
    told = len(await sim.ephemeral(ids.BOB))
    await driver.press(thread, "stop", user="bob")

    async def is_told() -> Any:
        return (await sim.ephemeral(ids.BOB))[told:]

    (notice,) = await sim.until(is_told)
    assert notice["shown"].startswith("Nothing was changed: ")
    await model.release()
    (reply,) = await whole(driver, thread, STORY.strip()[-30:])
    assert "Stopped" not in reply.text
    await at_rest(driver)

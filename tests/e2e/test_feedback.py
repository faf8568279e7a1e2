"""Votes on replies and comments on them, with the real clients on both platforms."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.domain import feedback_texts
from tests.e2e.test_control import until, wait_command_reply, whole
from tests.sims.model.client import ModelSim
from tests.sims.slack import ids as s
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import (
    DiscordDriver,
    PlatformDriver,
    Seen,
    SlackDriver,
    ThreadRef,
)


def votes(bot: BotProcess) -> list[tuple[Any, ...]]:
    """The stored votes: person, vote and comment."""
    with closing(sqlite3.connect(bot.folder / "threadline.db")) as db:
        return db.execute("SELECT person, vote, comment FROM feedback ORDER BY person").fetchall()


async def have_votes(bot: BotProcess, driver: PlatformDriver, *expected: tuple[Any, ...]) -> None:
    async def check() -> bool:
        return votes(bot) == list(expected)

    await until(check, driver)


async def vote(driver: PlatformDriver, thread: ThreadRef, thumb: str, user: str = "alice") -> Any:
    """Press a thumb below the newest reply; returns Discord's interaction."""
    message = (await driver.seen(thread))[-1]
    if isinstance(driver, DiscordDriver):
        button = message.button(f":{thumb}:")
        assert button is not None, message.buttons
        return await driver.sim.click(driver.people[user], message.id, button)
    assert isinstance(driver, SlackDriver)
    [element] = await feedback_elements(driver, thread)
    value = element["positive_button" if thumb == "up" else "negative_button"]["value"]
    person, channel = driver.people[user], thread.channel
    return await driver.sim.click(person, channel, message.id, "threadline_vote", value)


async def feedback_elements(driver: SlackDriver, thread: ThreadRef) -> list[Any]:
    """The feedback elements of all messages in a thread."""
    return [
        element
        for message in await driver.sim.thread(thread.channel, thread.id)
        for block in message.get("blocks") or []
        if block["type"] == "context_actions"
        for element in block["elements"]
    ]


async def comment(driver: PlatformDriver, pressed: Any, text: str, user: str = "alice") -> None:
    """Fill in the form that the press opened, and submit it."""
    if isinstance(driver, DiscordDriver):
        discord = driver.sim

        async def has_form() -> bool:
            return any(
                each["type"] == 9 for each in (await discord.interaction(pressed))["answers"]
            )

        await until(has_form, driver)
        await discord.submit(pressed, {"text": text})
        return
    assert isinstance(driver, SlackDriver)
    slack = driver.sim

    async def views() -> list[str]:
        return list((await slack.state())["views"])

    [view] = await until(views, driver)
    values = {"comment": {"text": {"type": "plain_text_input", "value": text}}}
    result = await slack.view_submit(driver.people[user], view, values)
    assert result["acked"], result
    assert not result["payload"], result


async def test_a_vote_is_changed_commented_and_taken_back(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """This works after a restart too, and for each person separately. Only the person sees the
    responses."""
    await model.say("It is 42.")
    (bot.folder / "threadline.toml").write_text("feedback = true\n")
    people = {name: str(person) for name, person in driver.people.items()}  # type: ignore[attr-defined]
    alice, bob = people["alice"], people["bob"]
    async with bot:
        thread = await driver.mention("what is it?")
        await whole(driver, thread, "It is 42.")
        await vote(driver, thread, "up")
        await wait_command_reply(driver, thread, feedback_texts.THANKS_UP)
        assert votes(bot) == [(alice, "up", "")]
    async with bot:
        pressed = await vote(driver, thread, "down")
        await comment(driver, pressed, "It is 43.")
        await vote(driver, thread, "up", user="bob")
        expected = sorted([(alice, "down", "It is 43."), (bob, "up", "")])
        await have_votes(bot, driver, *expected)
        await vote(driver, thread, "down")
        await wait_command_reply(driver, thread, feedback_texts.TAKEN_BACK)
        await have_votes(bot, driver, (bob, "up", ""))
        [reply] = await whole(driver, thread, "It is 42.")
        assert "Thanks" not in reply.text
        await driver.press(thread, "retry")  # the new answer has no votes
        await have_votes(bot, driver)


async def test_replies_are_calm_where_no_one_asked_for_votes(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """By default there are thumbs on Slack only; with `feedback = false` there are none, and old
    buttons say so."""
    await model.say("It is 42.")
    async with bot:
        thread = await driver.mention("what is it?")
        [reply] = await whole(driver, thread, "It is 42.")
        versions = reply.versions
        if isinstance(driver, SlackDriver):
            assert len(await feedback_elements(driver, thread)) == 1
        else:
            assert reply.button(":up:") is None
        await bot.wait_for_log("turn ended")  # or the next start shows the reply again
    (bot.folder / "threadline.toml").write_text("feedback = false\n")
    async with bot:
        if isinstance(driver, SlackDriver):
            await vote(driver, thread, "up")
            await wait_command_reply(driver, thread, feedback_texts.SWITCHED_OFF)
        other = await driver.mention("what is it?")
        [reply] = await whole(driver, other, "It is 42.")
        assert reply.versions <= versions + 1
        assert reply.button(":up:") is None
        if isinstance(driver, SlackDriver):
            assert await feedback_elements(driver, other) == []
        assert votes(bot) == []


@pytest.fixture
async def slack() -> AsyncIterator[SlackDriver]:
    async with SlackSim() as sim:
        yield SlackDriver(sim)


async def test_a_workspace_without_the_element_shows_replies_whole(
    slack: SlackDriver, model: ModelSim, tmp_path: Path
) -> None:
    """The reply ends as an edit, or as the close of a native stream; the bot remembers the
    refusal."""
    await model.say("It is 42. " * 20)
    settings = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-x"}
    bot = BotProcess(tmp_path, {**slack.settings(), **settings})
    await slack.sim.blocks(unknown=["context_actions"])
    for agent in (True, False):  # only agents have streams
        await slack.sim.agent(agent)
        async with bot:
            for count in (1, 2):
                thread = await slack.mention(f"what is it, {count}?")
                reply = await until(partial(find_ended, slack, thread), slack)
                assert reply.text.count("42") == 20
                assert await feedback_elements(slack, thread) == []
    assert len(bot.events("Slack refuses feedback buttons")) == 2
    assert bot.events("the platform refused") == []


async def find_ended(slack: SlackDriver, thread: ThreadRef) -> Seen | None:
    """The thread's reply, once it shows its final buttons."""
    seen = await slack.seen(thread)
    return seen[0] if seen and seen[0].button("retry") else None


async def test_only_a_person_who_sees_the_form_can_comment(
    slack: SlackDriver, model: ModelSim, tmp_path: Path
) -> None:
    """A comment sent after the vote was taken back is refused in the form, so the text is not
    lost."""
    await model.say("It is 42.")
    settings = {"LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-x"}
    bot = BotProcess(tmp_path, {**slack.settings(), **settings})
    async with bot:
        thread = await slack.mention("what is it?")
        await whole(slack, thread, "It is 42.")
        await vote(slack, thread, "down")

        async def views() -> list[str]:
            return list((await slack.sim.state())["views"])

        [view] = await until(views, slack)
        values = {"comment": {"text": {"type": "plain_text_input", "value": "hm"}}}
        with pytest.raises(AssertionError, match="only the person"):
            await slack.sim.view_submit(s.BOB, view, values)
        await vote(slack, thread, "down")
        await have_votes(bot, slack)
        late = await slack.sim.view_submit(s.ALICE, view, values)
        assert late["payload"] == {
            "response_action": "errors",
            "errors": {"comment": feedback_texts.NO_VOTE},
        }

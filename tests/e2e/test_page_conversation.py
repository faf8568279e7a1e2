"""The page's main features: mentions, threads, streamed replies, follow-ups, commands, stopping."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.sims.model.answers import Answer
from tests.support.browser import House, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

STORY = "Once there was a thread that grew. " * 12
COSTS = re.compile(r"^openai:sim · \d+ tokens in, \d+ out · \d+(\.\d)? s$")

# Records the replies' nodes, and the length of the text at each change.
WATCH_GROWTH = """() => {
  const thread = document.querySelector("#thread");
  Object.assign(window, { lengths: [], nodes: new Set() });
  new MutationObserver(() => {
    const reply = thread.querySelector("article.from-assistant");
    if (!reply) return;
    nodes.add(reply);
    lengths.push(reply.querySelector(".text").textContent.length);
  }).observe(thread, { subtree: true, childList: true, characterData: true });
}"""


async def test_mention_opens_a_thread_where_one_message_streams_and_completes(
    visit: Visit, house: House
) -> None:
    """A cursor shows while the reply streams, then its model, tokens and time; the channel shows a
    count."""
    await house.model.say(STORY, match="grow a story", rate=40, wait_at=40)
    tab = await (await visit(house)).tab()
    await tab.page.evaluate(WATCH_GROWTH)
    await tab.mention("grow a story")

    await expect(tab.replies.locator(".text")).to_contain_text("Once there")
    await expect(tab.replies.locator(".cursor")).to_be_visible()
    await house.model.release("grow a story")
    reply = await tab.wait_reply(STORY.strip())
    await expect(reply.locator(".cursor")).to_have_count(0)
    await expect(reply.locator(".costs")).to_have_text(COSTS)
    await expect(tab.roots).to_have_count(1)
    await expect(tab.roots.first.get_by_role("button")).to_contain_text("1 reply")
    await expect(tab.stop).to_be_hidden()

    lengths: list[int] = await tab.page.evaluate("[...new Set(lengths)]")
    assert len(lengths) >= 2  # the held text, and the whole text: a busy page skips states
    assert lengths == sorted(lengths)
    assert await tab.page.evaluate("nodes.size") == 1


async def test_reply_in_the_thread_continues_with_its_history(visit: Visit, house: House) -> None:
    """The model gets the earlier messages; the channel shows one message for the thread."""
    await house.model.script(
        Answer(match="going on one", text="First."), Answer(match="going on two", text="Second.")
    )
    tab = await (await visit(house)).tab()
    await tab.mention("going on one")
    await tab.wait_reply("First.")
    await tab.say("going on two")
    await tab.wait_reply("Second.")
    body = (await house.model.last("going on two")).body
    assert [message["content"] for message in body["messages"][1:]] == [
        "going on one",
        "First.",
        "going on two",
    ]
    await expect(tab.roots).to_have_count(1)
    await expect(tab.roots.first.get_by_role("button")).to_contain_text("3 replies")


async def test_stop_ends_the_reply_and_keeps_its_text(visit: Visit, house: House) -> None:
    """The text so far stays, the model's request is closed, and the input box is ready."""
    await house.model.say(STORY, match="stop this", wait_at=20)
    tab = await (await visit(house)).tab()
    await tab.mention("stop this")
    await expect(tab.replies.locator(".text")).to_contain_text("Once there")
    await tab.stop.click()

    await expect(tab.replies).to_have_attribute("data-state", "stopped")
    await expect(tab.replies.locator(".text")).to_contain_text("Once there")
    await expect(tab.stop).to_be_hidden()
    await expect(tab.box).to_be_focused()

    async def is_closed() -> bool:
        return (await house.model.last("stop this")).outcome == "disconnected"

    await until(is_closed)


async def test_reset_draws_a_line_that_hides_earlier_messages_from_the_model(
    visit: Visit, house: House
) -> None:
    """Only the sender sees the command's answer; the line is still there after a reload."""
    tab = await (await visit(house)).tab()
    await tab.mention("remember the word heron")
    await tab.wait_reply("heron")
    await tab.say("/reset")
    await expect(tab.notices).to_contain_text("Started over")
    await tab.say("which bird was it")
    await tab.wait_reply("which bird was it")
    body = (await house.model.last("which bird")).body
    assert "heron" not in str(body["messages"])

    await expect(tab.page.get_by_role("button", name="Undo")).to_have_count(0)
    await tab.page.reload()
    line = tab.thread.locator("article.from-divider")
    await expect(line).to_have_text(re.compile("Started over"))
    order = await tab.thread.locator("article").evaluate_all("all => all.map(a => a.className)")
    assert [name.split()[1] for name in order] == [
        *("from-user", "from-assistant", "from-divider", "from-user", "from-assistant"),
    ]


async def test_start_over_can_be_undone_and_stopped_reply_retried(
    visit: Visit, house: House
) -> None:
    """The buttons are below the newest message only."""
    await house.model.script(
        Answer(match="try twice", text=STORY, wait_at=9, times=1),
        Answer(match="try twice", text="At the second try."),
    )
    tab = await (await visit(house)).tab()
    await tab.mention("try twice")
    await expect(tab.replies.locator(".text")).to_contain_text("Once")
    await tab.stop.click()
    await expect(tab.replies).to_have_attribute("data-state", "stopped")
    await tab.thread.get_by_role("button", name="Try again", exact=True).click()
    await tab.wait_reply("At the second try.")
    await expect(tab.replies).to_have_count(1)
    await tab.say("/reset")
    await expect(tab.thread.get_by_role("button", name="Try again", exact=True)).to_have_count(0)
    await tab.thread.get_by_role("button", name="Undo").click()
    await expect(tab.notices.last).to_contain_text("Undone")
    await expect(tab.thread.locator("article.from-divider")).to_have_count(0)
    await expect(tab.thread.get_by_role("button", name="Try again", exact=True)).to_have_count(1)


async def test_model_is_chosen_from_the_list_and_shown_below_the_next_reply(
    visit: Visit, house: House
) -> None:
    """It is chosen from the completion list by keyboard alone; the row below the message box shows
    it too."""
    tab = await (await visit(house)).tab()
    await tab.mention("hello to you")
    await tab.wait_reply("hello to you")
    await tab.box.press_sequentially("/mo")
    await expect(tab.page.get_by_role("option", name="/model")).to_be_visible()
    await tab.box.press("Enter")
    await expect(tab.page.get_by_role("option")).to_have_count(3)  # two names and the default
    await tab.box.press("ArrowDown")
    await tab.box.press("Tab")
    await expect(tab.box).to_have_value("/model openai:sim-2")
    await tab.box.press("Enter")
    await expect(tab.notices).to_contain_text("openai:sim-2")
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
    await tab.say("and now")
    reply = await tab.wait_reply("and now")
    await expect(reply.locator(".costs")).to_contain_text("openai:sim-2")


async def test_help_answers_in_the_channel(visit: Visit, house: House) -> None:
    """No thread opens, and the model gets no request."""
    tab = await (await visit(house)).tab()
    await tab.channel_box.fill("/help")
    await tab.channel_box.press("Enter")
    notice = tab.channel.locator("article.from-notice")
    await expect(notice).to_contain_text("Begin a message in the channel with @threadline")
    await expect(notice.locator("code").nth(1)).to_have_text("/reset")
    await expect(notice).to_have_count(1)
    await expect(tab.thread).to_be_hidden()


async def test_message_without_a_mention_stays_in_the_box_with_a_hint(
    visit: Visit, house: House
) -> None:
    """One press inserts the mention, and the hint disappears. A mention alone is not a question."""
    tab = await (await visit(house)).tab()
    await tab.channel_box.fill("is anybody there")
    await tab.channel_box.press("Enter")
    await expect(tab.channel.get_by_role("alert")).to_contain_text("Mention @threadline")
    await expect(tab.channel_box).to_have_value("is anybody there")
    await tab.channel.get_by_role("button", name="Add @threadline").click()
    await expect(tab.channel_box).to_have_value("@threadline is anybody there")
    await tab.channel_box.press("Enter")
    await tab.wait_reply("is anybody there")
    await tab.channel_box.fill("@threadline ")
    await tab.channel_box.press("Enter")
    await expect(tab.channel.get_by_role("alert")).to_contain_text("Write your question after")
    await expect(tab.roots).to_have_count(1)


async def test_question_during_a_reply_is_shown_as_queued_and_answered_next(
    visit: Visit, house: House
) -> None:
    """The question is not lost, and its reply appears below it."""
    await house.model.script(Answer(match="long one", text=STORY, wait_at=3))
    tab = await (await visit(house)).tab()
    await tab.mention("long one")
    await expect(tab.replies.locator(".text")).to_contain_text("Once")
    await tab.say("quick one")
    await expect(tab.questions.last).to_contain_text("Waiting for its turn")
    await house.model.release("long one")
    await tab.wait_reply("quick one")
    await expect(tab.questions.last).not_to_contain_text("Waiting")
    await expect(tab.replies).to_have_count(2)
    await expect(tab.replies.first.locator(".text")).to_have_text(STORY.strip())


async def test_copy_copies_a_messages_markdown_or_a_code_blocks_text(
    visit: Visit, house: House
) -> None:
    """Both the button and the C key on the message copy."""
    source = "Take **this**:\n\n```python\nfor n in range(3):\n    print(n)\n```\n\nThat is all."
    await house.model.say(source, match="copy me")
    visitor = await visit(house, permissions=["clipboard-read", "clipboard-write"])
    tab = await visitor.tab()
    await tab.mention("copy me")
    reply = await tab.wait_reply("That is all.")
    await reply.get_by_role("button", name="Copy code").click()
    await expect(tab.page.locator("#news")).to_have_text("Code copied.")
    read = "navigator.clipboard.readText()"
    assert await tab.page.evaluate(read) == "for n in range(3):\n    print(n)"
    await tab.box.press("ArrowUp")
    await tab.page.keyboard.press("c")
    await expect(tab.page.locator("#news")).to_have_text("Message copied.")
    assert await tab.page.evaluate(read) == source

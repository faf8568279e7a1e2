"""The demo model's scripted answers."""

from __future__ import annotations

import re

import pytest

from bot.domain import texts
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest
from bot.llm.demo import DemoModel
from bot.llm.demo_answers import MOST_REMEMBERED, SUGGESTIONS, answer

STORY = "Tell me a long story"


def asked(*said: str) -> list[Message]:
    """A conversation that begins with a question, and in which questions and answers alternate."""
    roles = (Role.USER, Role.ASSISTANT)
    return [Message(roles[k % 2], text) for k, text in enumerate(said)]


async def ask(*said: str, max_tokens: int | None = None) -> tuple[str, str | None]:
    """The answer and its finish reason."""
    messages = (Message(Role.SYSTEM, "Answer in haiku."), *asked(*said))
    request = ChatRequest(messages=messages, max_tokens=max_tokens)
    deltas = [delta async for delta in DemoModel(seconds_per_piece=0).stream(request)]
    return "".join(delta.text for delta in deltas), deltas[-1].finish_reason


@pytest.mark.parametrize("question", re.findall(r"^- \*(.+?)\*", SUGGESTIONS, re.MULTILINE))
async def test_what_it_suggests_it_answers(question: str) -> None:
    text, _ = await ask(question)
    assert len(text) > 100 and "I cannot answer" not in text


@pytest.mark.parametrize(
    ("question", "contains"),
    [
        ("what can you do?", "| you do | what happens |"),
        ("explain a race condition, in Python", "```python\nimport threading"),
        ("How do I connect a model?", "`LLM=ollama/llama3.1`"),
        ("tell me a long story", "## The message that arrived twice"),
    ],
)
async def test_answers_have_markup(question: str, contains: str) -> None:
    text, _ = await ask(question)
    assert contains in text


async def test_it_says_what_it_is() -> None:
    for question in ("what can you do?", "Why is the sky blue?", ""):
        assert "**demo model**" in (await ask(question))[0]


async def test_an_unknown_question_is_quoted_as_plain_text() -> None:
    text, finish = await ask("Why is *everything* <b>blue</b>?\n\n> and `green`?")
    assert r"> Why is \*everything\* \<b\>blue\</b\>? \> and \`green\`?" in text
    assert finish == "stop"


async def test_it_remembers_the_thread() -> None:
    text, _ = await ask("first *one*", "…", "second", "…", "What did I ask before?")
    assert "1. first \\*one\\*\n2. second\n" in text
    assert "first question in this thread" in (await ask("What did I ask before?"))[0]


async def test_of_a_long_thread_it_lists_the_newest_questions() -> None:
    said = [f"question {k}" if k % 2 == 0 else "…" for k in range(2 * MOST_REMEMBERED + 4)]
    text, _ = await ask(*said, "What did I ask before?")
    assert "question 22" in text and "question 2\n" not in text and "that 2 more" in text


async def test_the_long_answer_continues_where_it_ends() -> None:
    """It may have ended at the demo's limit, after a stop inside a word, or at the request's
    limit."""
    first, finish = await ask(STORY)
    assert finish == "length"
    rest, finish = await ask(STORY, first, texts.GO_ON)
    assert finish == "stop" and rest.startswith("## What the book was for")
    whole = first + rest
    for cut in (200, 1_001, len(first) - 3):
        again, _ = await ask(STORY, whole[:cut], texts.GO_ON)
        assert "".join((whole[:cut] + again).split()) == "".join(whole.split())
    short, finish = await ask(STORY, max_tokens=10)
    assert finish == "length" and first.startswith(short)


async def test_a_complete_answer_is_not_continued() -> None:
    assert "was complete" in (await ask("what can you do?", "…", texts.GO_ON))[0]


async def test_it_counts_images_and_tokens() -> None:
    image = ImagePart(data=b"x", media_type="image/png", width=1, height=1)
    assert "1 image(s)" in answer([Message(Role.USER, "look", parts=(image,))]).text
    request = ChatRequest(messages=tuple(asked("hello")))
    deltas = [delta async for delta in DemoModel(seconds_per_piece=0).stream(request)]
    usage = deltas[-1].usage
    assert usage is not None and usage.input_tokens > 0
    assert usage.output_tokens == sum(bool(delta.text) for delta in deltas)


async def test_the_doctor_warns() -> None:
    finding = await DemoModel().check()
    assert finding.verdict is Verdict.WARNING and "openai/gpt-5-mini" in finding.advice

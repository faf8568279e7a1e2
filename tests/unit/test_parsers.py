"""Parsers of texts from people, models and platforms take linear time.

Single patterns are in `test_patterns`. Markdown renderers have separate tests: pages or threads
bound their cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from adapters.discord import text as discord_text
from adapters.slack import text as slack_text
from adapters.slack.render import defuse_mentions
from bot.domain import excerpts
from bot.domain.conversations import Role
from bot.domain.errors import TemplateError
from bot.domain.templates import parse, template_of, write_handlebars, write_tags
from bot.llm.sse import EventDecoder
from bot.llm.think_tags import StreamQuirks, ThinkTagParser
from bot.replies.markdown.mend import close_open
from bot.replies.paging.file_names import file_name
from bot.turns import display, reasoning
from tests.support.growth import PART, failing, grows_faster
from tests.support.worst_documents import CASES

CPU_SECONDS = 5.0  # kills a parser that would never end
MORE = {
    "comment": "#" * 25_000 + " " * 25_000 + "x y\ncode",
    "quotes and braces": "\"'{}" * 12_000,
    "mentions": "<@U1> " * 8_000,
    "commands": "</a" * 16_000,
    "open tags": "<think>" * 7_000,
    "templates": '{{#message role="user"}}' * 2_000,
    "data lines": "data: x\n" * 6_000,
}
TEXTS = CASES | MORE


def _templates(text: str) -> None:
    said = template_of([(Role.USER, text)])
    assert parse(write_tags(said)) == parse(write_handlebars(said)) == said


def _read_as_template(text: str) -> None:
    for begin in ('{{#message role="user"}}', "<message>", ""):
        try:
            parse(begin + text)
        except TemplateError:
            continue


def _part(text: str) -> str:
    """The head and the tail of a text that mostly repeats one word between them."""
    size = len(text) // PART // 2
    return text[:size] + text[-size:]


def _chunks(text: str) -> list[str]:
    return [text[at : at + 40] for at in range(0, len(text), 40)]


def _decode(text: str) -> None:
    decoder = EventDecoder()
    for chunk in _chunks(text):
        decoder.feed(chunk.encode())
    decoder.flush()


def _split(text: str) -> None:
    splitter = ThinkTagParser(StreamQuirks())
    for piece in _chunks(text):
        splitter.feed(piece)
    splitter.flush("stop")


PARSERS: dict[str, Callable[[str], object]] = {
    "discord: a message": lambda text: discord_text.to_model_text(
        text, discord_text.Names(users={1: "Ann"})
    ),
    "discord: a thread's title": discord_text.thread_title,
    "discord: a quote": excerpts.quote,
    "slack: a message": lambda text: slack_text.for_model(text, {"U2": "Ben"}, "U1"),
    "slack: whom it names": slack_text.mentioned_users,
    "slack: what may not ping": defuse_mentions,
    "web: templates written and read": _templates,
    "web: templates": _read_as_template,
    "reasoning, quoted": display.quote_reasoning,
    "reasoning, stripped": display.strip_reasoning,
    "reasoning, split": reasoning.split_reasoning,
    "excerpts": lambda text: excerpts.excerpt("Embed", text),
    "a code block's file name": lambda text: file_name("", text),
    "a code block's info": lambda text: file_name(text, "x"),
    "what is open at the end": close_open,
    "a stream's events": _decode,
    "a stream's tags": _split,
}


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_are_linear(name: str) -> None:
    parser = PARSERS[name]
    parser("x")  # imports on first use do not count
    tasks = [functools.partial(grows_faster, parser, _part(text), text) for text in TEXTS.values()]
    assert [[*TEXTS][number] for number in failing(tasks, CPU_SECONDS)] == []

"""What reads texts of people, models and platforms, and is no single pattern: linear in its input.

Renderers of Markdown have tests of their own; they are bounded by their pages, or have threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from adapters.discord import text as discord_text
from adapters.slack import text as slack_text
from adapters.slack.render import harmless
from adapters.web.templates import parse, template_of, write_handlebars, write_tags
from bot.domain import excerpts
from bot.domain.conversations import Role
from bot.domain.errors import TemplateError
from bot.llm.sse import EventDecoder
from bot.llm.think_tags import TagQuirk, ThinkTagParser
from bot.replies.markdown.mend import close_open
from bot.replies.paging.file_names import file_name
from bot.turns import reasoning
from tests.support.worst_documents import CASES
from tests.unit.test_patterns import over_the_limit

# Each takes some milliseconds for the longest text; one that is quadratic takes a second or more.
CPU_SECONDS = 0.4
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


def _pieces(text: str) -> list[str]:
    return [text[at : at + 40] for at in range(0, len(text), 40)]


def _decode(text: str) -> None:
    decoder = EventDecoder()
    for piece in _pieces(text):
        decoder.feed(piece.encode())
    decoder.flush()


def _split(text: str) -> None:
    splitter = ThinkTagParser(TagQuirk())
    for piece in _pieces(text):
        splitter.feed(piece)
    splitter.flush("stop")


PARSERS: dict[str, Callable[[str], object]] = {
    "discord: a message": lambda text: discord_text.for_model(
        text, discord_text.Names(users={1: "Ann"})
    ),
    "discord: a thread's title": discord_text.title,
    "discord: a quote": excerpts.quoted,
    "slack: a message": lambda text: slack_text.for_model(text, {"U2": "Ben"}, "U1"),
    "slack: whom it names": slack_text.people,
    "slack: what may not ping": harmless,
    "web: templates written and read": _templates,
    "web: templates": _read_as_template,
    "reasoning, shown": reasoning.quoted,
    "reasoning, taken out": reasoning.unquoted,
    "reasoning, parted": reasoning.parted,
    "excerpts": lambda text: excerpts.excerpt("Embed", text),
    "a code block's file name": lambda text: file_name("", text),
    "a code block's info": lambda text: file_name(text, "x"),
    "what is open at the end": close_open,
    "a stream's events": _decode,
    "a stream's tags": _split,
}


@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_takes_longer_than_its_text_is_long(name: str) -> None:
    parser = PARSERS[name]
    tasks = [functools.partial(parser, text) for text in TEXTS.values()]
    first = over_the_limit(tasks, CPU_SECONDS, most=3)
    again = over_the_limit([tasks[number] for number in first], CPU_SECONDS)
    slow = [[*TEXTS][first[number]] for number in again]
    assert slow == []

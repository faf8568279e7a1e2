"""Conversation templates: both notations parse alike and round-trip; errors name the problem."""

from __future__ import annotations

import contextlib
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.conversations import Role
from bot.domain.errors import TemplateError
from bot.domain.templates import (
    Block,
    Part,
    Slot,
    Template,
    parse,
    template_of,
    write_handlebars,
    write_tags,
)
from tests.support.growth import PART, grows_faster

HANDLEBARS = """\
{{#message role="user"}}
    Which movie is the best?
{{/message}}

{{#message role="assistant"}}
    It's Die Hard for sure.
{{/message}}

{{#message role="user"}}
    {{input}}
{{/message}}
"""
TAGS = """\
<message role="user">
    Which movie is the best?
</message>

<message role="assistant">
    It's Die Hard for sure.
</message>

<message role="user">
    {user}
</message>
"""
MESSAGES = (
    (Role.USER, "Which movie is the best?"),
    (Role.ASSISTANT, "It's Die Hard for sure."),
    (Role.USER, "Can you explain why ?"),
)


def test_both_notations_parse_to_the_same_conversation() -> None:
    assert parse(HANDLEBARS) == parse(TAGS)
    assert parse(HANDLEBARS).messages("Can you explain why ?") == MESSAGES


def test_a_filled_template_is_written_with_its_input() -> None:
    filled = parse(HANDLEBARS).render("Can you explain why ?")
    assert write_tags(filled) == TAGS.replace("{user}", "Can you explain why ?")
    assert write_tags(template_of(MESSAGES)) == write_tags(filled)


def test_a_parsed_template_is_written_back_unchanged() -> None:
    assert write_handlebars(parse(HANDLEBARS)) == HANDLEBARS
    assert write_tags(parse(TAGS)) == TAGS


def test_an_opening_leaves_the_placeholder_for_the_question() -> None:
    assert parse(TAGS).opening() == MESSAGES[:2]
    assert parse('<message role="system">Be kind.</message>').opening() == (
        (Role.SYSTEM, "Be kind."),
    )
    for wrong in ("Tell me: {user}", "{user}</message><message role='user'>and?"):
        with pytest.raises(TemplateError, match="stand alone"):
            parse(f'<message role="user">{wrong}</message>').opening()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (r'{{#message role="user"}}a \{{b}} {{ input }}{{/message}}', (r"a {{b}} ", Slot.INPUT)),
        (r'{{#message role="user"}}C:\\{{input}}{{/message}}', ("C:\\", Slot.INPUT)),
        ('{{#message role="user"}}{{{input}}}{{/message}}', ("{", Slot.INPUT, "}")),
        ('<message role="user">{{"a": {user}}}</message>', ('{"a": ', Slot.INPUT, "}")),
        (
            "<message role='user'>&lt;message&gt; &amp; &eacute;</message>",
            ("<message> & &eacute;",),
        ),
        ('<message role="user">one\n  two</message>', ("one\n  two",)),
        ('<message role="user">\n  one\n    two\n\n  three\n</message>', ("one\n  two\n\nthree",)),
        ('<message role="user"></message>', ()),
    ],
)
def test_braces_entities_and_indentation(text: str, parts: tuple[Part, ...]) -> None:
    (block,) = parse(text).blocks
    assert block == Block(Role.USER, parts)


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("", 1, 1, "there is no message"),
        ("\n  hello", 2, 3, "there is no message"),
        ('\n {{#message role="user"}}\nhi', 2, 2, "never closed"),
        ('<message role="user">\na\n <message role="user">b</message>', 1, 1, "never closed"),
        ('{{#message role="user"}}a{{/message}}\n{{/message}}', 2, 1, "outside of every message"),
        ('<message role="user">a</message> tail', 1, 34, "outside of every message"),
        ('head <message role="user">a</message>', 1, 1, "outside of every message"),
        ('<message role="user">a</message>\n{user}', 2, 1, "outside of every message"),
        ('<message role="bot">a</message>', 1, 1, "the role “bot” is unknown"),
        ('{{#message role=""}}a{{/message}}', 1, 1, "the role “” is unknown"),
        ("<message>a</message>", 1, 1, 'write <message role="user">'),
        ('<message role="user" x="y">a</message>', 1, 1, 'write <message role="user">'),
        ('{{#message role="user"}}\n {{name}}{{/message}}', 2, 2, "“name” is unknown"),
        ('{{#message role="user"}}{{#if x}}{{/message}}', 1, 25, "“#if x” is unknown"),
        ('{{#message role="user"}}a{{', 1, 26, "braces are never closed"),
        ('<message role="user">a {name}</message>', 1, 24, "write {user} for the input"),
        ('<message role="user">a }</message>', 1, 24, "{{ and }} for braces"),
    ],
)
def test_errors_name_the_problem_and_its_position(
    text: str, line: int, column: int, problem: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(problem)) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"line {line}, column {column}: ")


TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="{}\\&lt;gamp<>/message \n\tx", max_size=30),
    st.sampled_from(["{{", "\\{{", "</message>", "{{/message}}", "&lt;", '<message role="user">']),
)


def block(role: Role, parts: list[Part]) -> Block:
    """Messages as parsing yields them: no empty or adjacent same-role texts, and no surrounding
    blanks."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    if joined and isinstance(joined[0], str):
        joined[0] = joined[0].lstrip()
    if joined and isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip()
    return Block(role, tuple(part for part in joined if part != ""))


BLOCKS = st.builds(
    block,
    st.sampled_from(Role),
    st.lists(st.one_of(TEXTS, st.just(Slot.INPUT)), max_size=6),
)


@settings(deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=3))
def test_written_templates_round_trip(blocks: list[Block]) -> None:
    template = Template(tuple(blocks))
    assert parse(write_tags(template)) == template
    assert parse(write_handlebars(template)) == template


@pytest.mark.parametrize("piece", ["\\", "{", "<message", "</message ", "{{ ", "&lt;", "\\{{"])
def test_parsing_takes_linear_time(piece: str) -> None:
    """This holds whether the hardest 64,000 characters are parsed or refused."""

    def round_trip(text: str) -> None:
        for head, foot in (
            ('{{#message role="user"}}', "\n{{/message}}"),
            ('<message role="user">', "\n</message>"),
        ):
            try:
                template = parse(head + text + foot)
            except TemplateError:
                continue
            assert parse(write_handlebars(template)) == template

    assert not grows_faster(round_trip, *repeated(piece))


def repeated(piece: str) -> tuple[str, str]:
    """64,000 characters, and a part of them."""
    times = 64_000 // len(piece)
    return piece * (times // PART), piece * times


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("fill", [Template.render, Template.messages])
def test_a_too_long_result_is_refused_before_it_is_filled(fill: Any) -> None:
    """Many placeholders and a long input: 64 kB of each would take a gigabyte."""
    slots = '{{#message role="user"}}' + "{{input}}" * 7_000 + "{{/message}}"
    template = parse(slots)
    tracemalloc.start()
    with pytest.raises(
        TemplateError, match=r"filled in, it has 448,000,000 characters; the limit is 400,000"
    ):
        fill(template, "x" * 64_000)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_bytes < 4_000_000
    most = Template((Block(Role.USER, ("a" * 100_000, *[Slot.INPUT] * 3)),))
    assert (
        len(fill(most, "x" * 100_000).blocks if fill is Template.render else fill(most, "x")) == 1
    )
    with pytest.raises(TemplateError):
        fill(most, "x" * 100_001)


@pytest.mark.parametrize(
    "piece", ["{{", "}}", "\\{{", "{{input}}", "&lt;", "{user}", "<message", "\n "]
)
@pytest.mark.parametrize(
    "notation", ['{{{{#message role="user"}}}}{}{{{{/message}}}}', "<message>{}"]
)
def test_parsing_time_is_linear_in_both_notations(notation: str, piece: str) -> None:
    def read_and_write(text: str) -> None:
        with contextlib.suppress(TemplateError):
            template = parse(notation.format(text))
            write_tags(template)
            write_handlebars(template)

    assert not grows_faster(read_and_write, *repeated(piece))

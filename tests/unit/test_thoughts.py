"""What people see of reasoning: nothing, a word, or a few harmless lines above the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.discord.render import DiscordRenderer
from adapters.slack.render import SlackRenderer
from bot.domain import texts
from bot.domain.model import Reasoning
from bot.replies.markdown.mend import close_open
from bot.turns.reasoning import (
    MOST_CHARACTERS,
    MOST_LINES,
    NOTE_AFTER,
    NOTE_EVERY,
    Thoughts,
    parted,
    quoted,
    unquoted,
)

LABEL = f"> _{texts.THOUGHTS}_\n"


# ── the note ──────────────────────────────────────────────────────────────────────────────────
def thinking(form: Reasoning, *moments: float) -> list[str]:
    """The notes of a model that gives "a0 ", "a1 " … at these moments."""
    thoughts, notes = Thoughts(form), list[str]()
    for number, now in enumerate(moments):
        thoughts.take(f"a{number} ")
        thoughts.tell(now, note=notes.append, sign=notes.append)
    return notes


def test_hidden_reasoning_is_named_once_and_only_when_it_lasts() -> None:
    """A quick answer costs no request for a note."""
    assert thinking(Reasoning.HIDDEN, 0.0, 1.0, NOTE_AFTER - 0.1) == []
    assert thinking(Reasoning.HIDDEN, 5.0, 6.0, 5 + NOTE_AFTER, 60.0) == ["_Thinking…_"]


def test_shown_reasoning_is_there_at_once_and_then_at_an_even_pace() -> None:
    notes = thinking(Reasoning.SHOWN, 0.0, 0.1, NOTE_EVERY, NOTE_EVERY + 0.1)
    assert notes == [f"{LABEL}> a0", f"{LABEL}> a0 a1 a2"]


def test_hidden_reasoning_is_not_above_the_answer() -> None:
    thoughts = Thoughts(Reasoning.HIDDEN)
    thoughts.take("secret")
    assert not thoughts.pending
    assert thoughts.above("more") == ""


def test_another_model_begins_with_thoughts_of_its_own() -> None:
    """What a model that failed had thought is not above the answer of the next."""
    thoughts = Thoughts(Reasoning.SHOWN)
    thoughts.take("first")
    thoughts.forget()
    assert not thoughts.pending and thoughts.above() == ""
    thoughts.take("second")
    assert thoughts.pending and thoughts.above() == f"{LABEL}> second"


def test_an_answer_that_was_taken_for_reasoning_is_shown_once() -> None:
    thoughts = Thoughts(Reasoning.SHOWN)
    thoughts.take("It is 42.")
    assert thoughts.above(content="It is 42.") == ""


# ── the quote ─────────────────────────────────────────────────────────────────────────────────
def test_the_last_of_it_is_shown_from_a_whole_word_on() -> None:
    """Newest words at the end; the beginning goes."""
    quote = quoted(" ".join(f"word{n}" for n in range(500)))
    assert quote.startswith(f"{LABEL}> …word") and quote.endswith("word499")
    assert len(quote) <= MOST_CHARACTERS + len(LABEL) + 10
    lines = quoted("\n\n".join(map(str, range(100)))).splitlines()
    assert lines[1:] == ["> …92", *(f"> {n}" for n in range(93, 100))]
    assert len(lines) == MOST_LINES + 1
    assert quoted("x" * 5_000).count("x") == MOST_CHARACTERS


@pytest.mark.parametrize("nothing", ["", " \n\n\t"])
def test_blank_reasoning_has_no_quote(nothing: str) -> None:
    assert quoted(nothing) == ""


NASTY = [
    "```py\nx = 1",
    "~~~",
    "# Heading\n## Another",
    "text\n===",
    "text\n---",
    "- a\n- b\n1. c\n2) d",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "**bold** and `code` and [a](http://x.y) and ![i](u) half **bo",
    "<div>\n<!-- x\n<script>",
    "> quote\n>> more",
    "a\\*b \\",
    "ends with \\\nand more",
    "snake_case _em_ __init__ &amp; &#35; AT&T",
    "<@123> @everyone ||spoiler||",
    "[a]: http://x.y",
    "12345. not a list of this",
]
_SIGNS = st.text(alphabet="ab1 \n#>-+=*_`~[]()<|\\&;.!:@", max_size=60)
_COMMON = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shape(markdown: str) -> tuple[list[str], str]:
    """The blocks and the inline marks that CommonMark sees, and the plain text."""
    tokens = _COMMON.parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    marks = [child.type for child in inline if child.type not in ("text", "softbreak")]
    text = "".join("\n" if child.type == "softbreak" else child.content for child in inline)
    return [token.type for token in tokens if token.type != "inline"] + marks, text


@pytest.mark.parametrize("nasty", NASTY)
def test_whatever_it_contains_is_plain_text(nasty: str) -> None:
    assert_plain(nasty)


@given(_SIGNS)
def test_whatever_signs_it_has_are_plain_text(signs: str) -> None:
    assert_plain(signs)


def assert_plain(reasoning: str) -> None:
    quote = quoted(reasoning)
    if not quote:
        return
    blocks, text = shape(quote)
    assert blocks == [
        "blockquote_open",
        "paragraph_open",
        "paragraph_close",
        "blockquote_close",
        "em_open",
        "em_close",
    ]
    lines = [line.strip() for line in reasoning.splitlines() if line.strip()]
    assert text.split("\n")[1:] == lines


@pytest.mark.parametrize("nasty", NASTY)
def test_the_answer_below_is_as_if_it_were_not_there(nasty: str) -> None:
    """Also in a platform's own renderer, where a fence or a list of it would reach further."""
    answer = "# Title\n\n- one\n- two\n\n```py\nx = 1\n```"
    for renderer in (DiscordRenderer(), SlackRenderer()):
        whole = renderer.render(f"{quoted(nasty)}\n\n{answer}")
        assert whole.endswith(renderer.render(answer))
        assert all(line.startswith(">") for line in renderer.render(quoted(nasty)).splitlines())
    assert close_open(f"{quoted(nasty)}\n\n{answer}").endswith("x = 1\n```")


@given(_SIGNS, st.sampled_from(["answer", "> quote\n\nanswer", ""]))
def test_programs_get_the_answer_without_it(reasoning: str, answer: str) -> None:
    quote = quoted(reasoning)
    assert unquoted(f"{quote}\n\n{answer}" if quote else answer) == answer


# ── a closing tag alone ───────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("Hm.\n</think>\n\nYes.", "Hm.", "Yes."),
        ("Hm.\n</think>Yes.", "Hm.", "Yes."),
        ("Hm.\n</think>\nDraft.\n</think>\nYes.", "Hm.\n\nDraft.", "Yes."),
        ("Hm.\n</think>", "Hm.", ""),
        ("`</think>` ends it.", "", "`</think>` ends it."),
        ("It ends with </think> there.", "", "It ends with </think> there."),
        ("So:\n```\nHm.\n</think>\n```\n", "", "So:\n```\nHm.\n</think>\n```\n"),
        ("So:\n\n<think>\nHm.\n</think>\n\nYes.", "", "So:\n\n<think>\nHm.\n</think>\n\nYes."),
        ("```py\nx\n```\n</think>\nYes.", "```py\nx\n```", "Yes."),
        ("Yes.", "", "Yes."),
    ],
)
def test_a_closing_tag_that_begins_a_line_ends_reasoning(
    text: str, reasoning: str, answer: str
) -> None:
    """Templates that put the opening tag into the prompt leave it alone; prose quotes it."""
    assert parted(text) == (reasoning, answer)

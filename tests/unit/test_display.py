"""The parts of a reply, composed into one Markdown document, and finding our sentence in it
again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.discord.render import DiscordRenderer
from adapters.slack.render import SlackRenderer
from bot.domain import texts
from bot.replies.markdown.mend import close_open
from bot.turns.display import (
    MAX_QUOTE_CHARACTERS,
    MAX_QUOTE_LINES,
    ReplyParts,
    quote_reasoning,
    sentence_of,
    strip_reasoning,
)

LABEL = f"> _{texts.THOUGHTS}_\n"


# ── the parts ─────────────────────────────────────────────────────────────────────────────────
def test_parts_are_composed_in_reading_order() -> None:
    parts = ReplyParts(
        notice="Late.", reasoning="Hm.", content="```\nx", sentences=("Cut off.", "Shortened.")
    )
    opening = f"_Late._\n\n{LABEL}> Hm.\n\n"
    assert parts.opening() == opening
    assert parts.markdown() == f"{opening}```\nx\n```\n\n_Cut off._\n\n_Shortened._"
    assert ReplyParts(content="Yes.").markdown() == "Yes."
    assert ReplyParts().markdown() == ReplyParts().opening() == ""


CONTENTS = st.sampled_from(["", "Yes.", "So _it_ ends:\n\n_emphasis_", "```py\nx = 1", "_Stop"])


@given(CONTENTS, st.sampled_from([(), ("Cut off.",), (texts.STOPPED,)]), st.booleans())
def test_our_sentence_is_found_in_the_composed_reply(
    content: str, sentences: tuple[str, ...], shortened: bool
) -> None:
    """Neither emphasis by the model nor the note about a shortened question is mistaken for it."""
    notes = (*sentences, texts.SHORTENED) if shortened and content else sentences
    parts = ReplyParts(notice="Late.", reasoning="Hm.", content=content, sentences=notes)
    if not content and not sentences:
        return
    assert sentence_of(parts.markdown(), content) == "".join(sentences)


def test_a_reply_without_our_sentences_has_none() -> None:
    assert sentence_of("", "") == sentence_of(texts.NO_QUESTION, "") == ""


# ── the quote ─────────────────────────────────────────────────────────────────────────────────
def test_a_long_quote_keeps_the_end_and_starts_with_a_whole_word() -> None:
    quote = quote_reasoning(" ".join(f"word{n}" for n in range(500)))
    assert quote.startswith(f"{LABEL}> …word") and quote.endswith("word499")
    assert len(quote) <= MAX_QUOTE_CHARACTERS + len(LABEL) + 10
    lines = quote_reasoning("\n\n".join(map(str, range(100)))).splitlines()
    assert lines[1:] == ["> …92", *(f"> {n}" for n in range(93, 100))]
    assert len(lines) == MAX_QUOTE_LINES + 1
    assert quote_reasoning("x" * 5_000).count("x") == MAX_QUOTE_CHARACTERS


@pytest.mark.parametrize("nothing", ["", " \n\n\t"])
def test_blank_reasoning_has_no_quote(nothing: str) -> None:
    assert quote_reasoning(nothing) == ""


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
    """The types of blocks and inline markup in CommonMark, and the plain text."""
    tokens = _COMMON.parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    marks = [child.type for child in inline if child.type not in ("text", "softbreak")]
    text = "".join("\n" if child.type == "softbreak" else child.content for child in inline)
    return [token.type for token in tokens if token.type != "inline"] + marks, text


@pytest.mark.parametrize("nasty", NASTY)
def test_markup_in_reasoning_is_plain_text(nasty: str) -> None:
    assert_plain(nasty)


@given(_SIGNS)
def test_any_characters_in_reasoning_are_plain_text(signs: str) -> None:
    assert_plain(signs)


def assert_plain(reasoning: str) -> None:
    quote = quote_reasoning(reasoning)
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
def test_a_quote_does_not_change_how_the_answer_below_renders(nasty: str) -> None:
    """Platform renderers do not let a fence or a list reach beyond the quote either."""
    answer = "# Title\n\n- one\n- two\n\n```py\nx = 1\n```"
    for renderer in (DiscordRenderer(), SlackRenderer()):
        whole = renderer.render(f"{quote_reasoning(nasty)}\n\n{answer}")
        assert whole.endswith(renderer.render(answer))
        assert all(
            line.startswith(">") for line in renderer.render(quote_reasoning(nasty)).splitlines()
        )
    assert close_open(f"{quote_reasoning(nasty)}\n\n{answer}").endswith("x = 1\n```")


@given(_SIGNS, st.sampled_from(["answer", "> quote\n\nanswer", ""]))
def test_programs_get_the_answer_without_the_quote(reasoning: str, answer: str) -> None:
    quote = quote_reasoning(reasoning)
    assert strip_reasoning(f"{quote}\n\n{answer}" if quote else answer) == answer

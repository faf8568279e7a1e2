"""Rendered replies notify no one, have the right size and stay readable."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.slack.mrkdwn import MAX_UNITS, Mrkdwn
from adapters.slack.render import BREAK, LIMIT, SlackRenderer, utf16_length
from tests.support.pings import pings

RENDERER = SlackRenderer()
MRKDWN = Mrkdwn()

MENTIONS = (
    "<!channel>",
    "<!here|here>",
    "<!everyone>",
    "<!subteam^S0123>",
    "<@U0ALICE001>",
    "<@W0ALICE001|x>",
    "<@B0BOT00001>",
    "@here",
    "@channel",
    "@everyone",
    "<!CHANNEL>",
    "&lt;!channel&gt;",
    "&#60;!here>",
    "&#x3C;&#64;U0ALICE001>",
    "<&#33;channel>",
    r"\<\!channel>",
)
MARKS = ("`", "```", "\n", "**", "_", "[", "](", ")", "> ", "- ", "&", "<", ">", "@", "!", "|")
texts = st.lists(
    st.one_of(st.sampled_from(MENTIONS), st.sampled_from(MARKS), st.text(max_size=8)), max_size=12
).map("".join)


def encoded(mention: str, style: int) -> str:
    """A mention with some characters as entities, in one of several spellings."""
    ways = (
        lambda c: f"&#{ord(c)};",
        lambda c: f"&#x{ord(c):X};",
        lambda c: f"&#000{ord(c)}",
        lambda c: f"&amp;#{ord(c)};",
        lambda c: f"&amp;amp;#x{ord(c):x};",
    )
    every = style // len(ways)
    write = ways[style % len(ways)]
    return "".join(
        write(c) if every == 0 or n % (every + 1) == 1 else c for n, c in enumerate(mention)
    )


@given(texts)
@example("".join(MENTIONS))
@example("&amp;lt;!channel>")
def test_nothing_that_the_model_writes_notifies_anyone(markdown: str) -> None:
    """Neither the page nor its notification text contains a mention."""
    assert pings(RENDERER.render(markdown)) == []
    short = MRKDWN.summarize(RENDERER.render(markdown))
    controls = re.findall(r"<([^<>]*)>", short)
    assert all(control.startswith(("http://", "https://", "mailto:")) for control in controls)
    assert pings(short) == []


@pytest.mark.parametrize("style", range(20))
def test_mentions_written_as_entities_notify_no_one(style: int) -> None:
    """Slack decodes entities before it looks for mentions."""
    for number, mention in enumerate(MENTIONS):
        around = ("{}", "a {} b", "# {}", "| {} |\n|---|\n| {} |", "**{}**")[number % 5]
        markdown = around.replace("{}", encoded(mention, style))
        for text in (RENDERER.render(markdown), MRKDWN.summarize(markdown)):
            assert pings(text) == [], (markdown, text)
        assert RENDERER.render(markdown).replace(BREAK, "") == markdown


@pytest.mark.parametrize(
    "markdown",
    [
        "<!ch&#97;nnel>",
        "@h&#101;re",
        "&lt;!h&#x65;re&gt;",
        "@**here**",
        "# @<b></b>here",
        "@ev&eacute;ryone @every&#111;ne",
        "<&#64;U0ALICE001>",
        "&#38;lt;!channel>",
        "&am&#112;;lt;!channel>",
    ],
)
def test_mentions_that_only_a_parser_would_join_notify_no_one(markdown: str) -> None:
    rendered = RENDERER.render(markdown)
    assert pings(rendered) == []
    assert pings(MRKDWN.convert(markdown)) == []
    assert RENDERER.render(rendered) == rendered


@given(texts, st.data())
def test_appended_pieces_notify_no_one(markdown: str, data: st.DataObject) -> None:
    """A stream shows the sum of its pieces, and each state is rendered from the whole text.

    If the next state does not extend the last one, the stream is closed and edited instead.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(markdown)), max_size=6)))
    shown = ""
    for cut in (*cuts, len(markdown)):
        target = RENDERER.render(markdown[:cut])
        if target.startswith(shown):
            shown += target[len(shown) :]
            assert pings(shown) == []


@pytest.mark.parametrize("mention", MENTIONS)
@pytest.mark.parametrize("around", ["{}", "a{}", "`{}`", "```\n{}\n```", "[x]({})", "**{}**"])
def test_a_mention_stays_readable_and_notifies_no_one(mention: str, around: str) -> None:
    markdown = around.format(mention)
    rendered = RENDERER.render(markdown)
    assert pings(rendered) == []
    visible = "".join(one for one in rendered if unicodedata.category(one) != "Cf")
    assert visible == markdown


@pytest.mark.parametrize(
    "markdown",
    [
        "# T\n\n**b** _i_ ~~s~~ `c`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "```html\n<!DOCTYPE html>\n<!-- note -->\n<div>@click</div>\n```",
        "`<T>` a < b; List<@NonNull String> x; a@here.org, https://example.com/@here, foo@channel",
        "<https://example.com> and <a@b.org>",
    ],
)
def test_other_text_is_unchanged(markdown: str) -> None:
    """Slack's markdown block displays standard Markdown, and people copy code from it."""
    assert RENDERER.render(markdown) == markdown


@given(texts)
def test_measure_is_the_length_of_the_rendered_text(markdown: str) -> None:
    rendered = RENDERER.render(markdown)
    assert RENDERER.measure(markdown) == len(rendered.encode("utf-16-le", "surrogatepass")) // 2
    assert RENDERER.render(rendered) == rendered
    assert RENDERER.limit == LIMIT <= 12_000


@given(st.text())
def test_characters_beyond_the_basic_plane_count_twice(text: str) -> None:
    assert utf16_length(text) == sum(2 if ord(character) > 0xFFFF else 1 for character in text)


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**b** *i* ~~s~~ `c<d`", "*b* _i_ ~s~ `c&lt;d`"),
        ("# Head **bold** & more\ntext", "*Head bold &amp; more*\n\ntext"),
        ("[label](https://e.org/?a=1&b=2)", "<https://e.org/?a=1&amp;b=2|label>"),
        ("<https://e.org>", "<https://e.org>"),
        ("![pic](https://e.org/p.png)", "<https://e.org/p.png|pic>"),
        ("[x](!channel)", "x (!channel)"),
        ("> one\n> two", "> one\n> two"),
        ("- a\n- b\n  - c", "• a\n• b\n    ◦ c"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("```py\na < b\n```", "```\na &lt; b\n```"),
        ("---", "─" * 12),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("| a | bb |\n|---|---|\n| 1 | & |", "```\na | bb\n--+---\n1 | &amp;\n```"),
        ("| a | b |\n|---|---|", "```\na | b\n--+--\n```"),
        ("a  \nb", "a\nb"),
        ("", ""),
    ],
)
def test_markdown_becomes_mrkdwn(markdown: str, mrkdwn: str) -> None:
    assert MRKDWN.convert(markdown) == mrkdwn


@given(st.text(alphabet="&<>*_`[]()# \n|-ab", max_size=400), st.integers(20, 200))
def test_a_summary_keeps_its_limit(markdown: str, limit: int) -> None:
    """Escaping makes text longer, and chat.update refuses a text over 4,000."""
    assert utf16_length(MRKDWN.summarize(markdown, limit)) <= limit


def test_the_summary_of_the_longest_page_keeps_its_limit() -> None:
    summary = MRKDWN.summarize("&😀" * LIMIT)
    assert utf16_length(summary) <= MAX_UNITS
    assert summary.endswith("…")

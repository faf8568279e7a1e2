"""What a reply looks like in Slack: nothing pings, sizes are right, and text stays readable."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.slack.mrkdwn import MOST, Mrkdwn
from adapters.slack.render import BREAK, LIMIT, SlackRenderer, units
from tests.support.pings import pings

RENDERER = SlackRenderer()
MRKDWN = Mrkdwn()

CALLS = (
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
    st.one_of(st.sampled_from(CALLS), st.sampled_from(MARKS), st.text(max_size=8)), max_size=12
).map("".join)


def encoded(call: str, style: int) -> str:
    """A call with its characters written as entities, in one of the ways there are."""
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
        write(c) if every == 0 or n % (every + 1) == 1 else c for n, c in enumerate(call)
    )


@given(texts)
@example("".join(CALLS))
@example("&amp;lt;!channel>")
def test_nothing_the_model_writes_pings(markdown: str) -> None:
    """Nor would what notifications show."""
    assert pings(RENDERER.render(markdown)) == []
    short = MRKDWN.short(RENDERER.render(markdown))
    controls = re.findall(r"<([^<>]*)>", short)
    assert all(control.startswith(("http://", "https://", "mailto:")) for control in controls)
    assert pings(short) == []


@pytest.mark.parametrize("style", range(20))
def test_calls_written_as_entities_call_no_one(style: int) -> None:
    """Slack decodes before it looks for calls; so whatever the form, the call is broken."""
    for number, call in enumerate(CALLS):
        around = ("{}", "a {} b", "# {}", "| {} |\n|---|\n| {} |", "**{}**")[number % 5]
        markdown = around.replace("{}", encoded(call, style))
        for text in (RENDERER.render(markdown), MRKDWN.short(markdown)):
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
def test_what_only_a_parser_would_join_calls_no_one(markdown: str) -> None:
    rendered = RENDERER.render(markdown)
    assert pings(rendered) == []
    assert pings(MRKDWN.convert(markdown)) == []
    assert RENDERER.render(rendered) == rendered


@given(texts, st.data())
def test_appended_pieces_call_no_one(markdown: str, data: st.DataObject) -> None:
    """A stream shows the sum of its pieces: each state is what is rendered of a whole text.

    Where the next state does not go on from the last, the stream is closed and edited instead.
    """
    cuts = sorted(data.draw(st.lists(st.integers(0, len(markdown)), max_size=6)))
    shown = ""
    for cut in (*cuts, len(markdown)):
        target = RENDERER.render(markdown[:cut])
        if target.startswith(shown):
            shown += target[len(shown) :]
            assert pings(shown) == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("around", ["{}", "a{}", "`{}`", "```\n{}\n```", "[x]({})", "**{}**"])
def test_a_call_of_people_stays_readable_and_calls_no_one(call: str, around: str) -> None:
    markdown = around.format(call)
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
def test_all_else_is_sent_as_it_was_written(markdown: str) -> None:
    """Slack's markdown block speaks the models' Markdown; code must stay what can be copied."""
    assert RENDERER.render(markdown) == markdown


@given(texts)
def test_the_measure_is_the_size_of_what_is_rendered(markdown: str) -> None:
    rendered = RENDERER.render(markdown)
    assert RENDERER.measure(markdown) == len(rendered.encode("utf-16-le", "surrogatepass")) // 2
    assert RENDERER.render(rendered) == rendered
    assert RENDERER.limit == LIMIT <= 12_000


@given(st.text())
def test_units_count_what_is_beyond_the_basic_plane_twice(text: str) -> None:
    assert units(text) == sum(2 if ord(character) > 0xFFFF else 1 for character in text)


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
def test_markdown_as_mrkdwn(markdown: str, mrkdwn: str) -> None:
    assert MRKDWN.convert(markdown) == mrkdwn


@given(st.text(alphabet="&<>*_`[]()# \n|-ab", max_size=400), st.integers(20, 200))
def test_the_short_form_fits(markdown: str, most: int) -> None:
    """Escapes make text longer: chat.update refuses a text over 4,000."""
    assert units(MRKDWN.short(markdown, most)) <= most


def test_the_short_form_of_the_longest_page_fits() -> None:
    short = MRKDWN.short("&😀" * LIMIT)
    assert units(short) <= MOST
    assert short.endswith("…")

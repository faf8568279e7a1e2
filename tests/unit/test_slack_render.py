"""What a reply looks like in Slack: nothing pings, sizes are right, and text stays readable."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.slack.mrkdwn import MOST, Mrkdwn
from adapters.slack.render import LIMIT, SlackRenderer, units

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


def calls(shown: str) -> list[str]:
    """An independent check: what Slack would take for a call of people, however it is decoded.

    Tried on the text itself, with entities and backslash escapes undone once and twice, and as a
    CommonMark parser reads it.
    """
    undone = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", unescape(shown))
    parsed = "".join(
        token.content
        for block in MarkdownIt().parse(shown)
        for token in (block.children or [block])
    )
    forms = (shown, undone, unescape(undone), parsed)
    pattern = (
        r"<!(?i:channel|here|everyone|group|subteam)|<@[UWB][A-Z0-9]"
        r"|(?<![A-Za-z0-9/])@(?:here|channel|everyone)(?![A-Za-z0-9])"
    )
    return [hit for form in forms for hit in re.findall(pattern, form)]


@given(texts)
@example("".join(CALLS))
@example("&amp;lt;!channel>")
def test_nothing_the_model_writes_pings(markdown: str) -> None:
    """Nor would what notifications show."""
    assert calls(RENDERER.render(markdown)) == []
    short = MRKDWN.short(RENDERER.render(markdown))
    controls = re.findall(r"<([^<>]*)>", short)
    assert all(control.startswith(("http://", "https://", "mailto:")) for control in controls)
    assert not re.search(r"(?<![A-Za-z0-9/])@(?:here|channel|everyone)(?![A-Za-z0-9])", short)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("around", ["{}", "a{}", "`{}`", "```\n{}\n```", "[x]({})", "**{}**"])
def test_a_call_of_people_stays_readable_and_calls_nobody(call: str, around: str) -> None:
    markdown = around.format(call)
    rendered = RENDERER.render(markdown)
    assert calls(rendered) == []
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

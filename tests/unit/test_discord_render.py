"""Markdown in Discord's dialect, without mentions."""

from __future__ import annotations

import re
import textwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.discord.render import LIMIT, DiscordRenderer, size

RENDERER = DiscordRenderer()
ZW = "\u200b"


def render(markdown: str) -> str:
    return RENDERER.render(textwrap.dedent(markdown))


# ── inline ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("plain words", "plain words"),
        ("**bold** and __bold__", "**bold** and **bold**"),
        ("*it* and _it_ and in*side*word", "*it* and *it* and in*side*word"),
        ("**bold _and_ it**", "**bold _and_ it**"),
        ("~~gone~~", "~~gone~~"),
        ("`code`", "`code`"),
        ("``a ` b``", "`` a ` b ``"),
        ("one\ntwo", "one\ntwo"),
        ("one  \ntwo", "one\ntwo"),
        ("one<br>two", "one<br>two"),
        (r"\*not it\* and \_", r"\*not it\* and \_"),
        ("AT&amp;T &lt;b&gt;", "AT&T <b>"),
        ("&#42;not it&#42;", r"\*not it\*"),
    ],
)
def test_inline_markup_has_discords_dialect(markdown: str, shown: str) -> None:
    assert RENDERER.render(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("2 ** 3 ** 4", r"2 \*\* 3 \*\* 4"),
        ("my__init__func", r"my\_\_init\_\_func"),
        ("if a || b || c", r"if a \|\| b \|\| c"),
        ("snake_case_name and x_ y_", r"snake_case_name and x\_ y\_"),
        ("a ~~ b ~~ c", r"a \~\~ b \~\~ c"),
        ("-# no subtext", r"\-# no subtext"),
        ("https://e.org/a_b_*c?x=1__2", "https://e.org/a_b_*c?x=1__2"),
    ],
)
def test_plain_text_stays_plain_on_discord(markdown: str, shown: str) -> None:
    """Discord treats more characters as markup than CommonMark does; URLs stay whole."""
    assert RENDERER.render(markdown) == shown


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("[text](https://e.org/a)", "[text](<https://e.org/a>)"),
        ("[text](https://e.org/a_(b) 'title')", "[text](<https://e.org/a_(b)>)"),
        ("<https://e.org>", "<https://e.org>"),
        ("[https://e.org/](https://e.org)", "<https://e.org>"),
        ("[https://e.org](https://evil.org)", "https://e.org (<https://evil.org>)"),
        ("[file](./a.md)", "file (./a.md)"),
        ("<me@e.org>", "me@e.org"),
        ("[`code`](https://e.org)", "[`code`](<https://e.org>)"),
        ("[ref][1]\n\n[1]: https://e.org", "[ref](<https://e.org>)\n\n\\[1]: https://e.org"),
        ("![a cat](https://e.org/c.png)", "[a cat](<https://e.org/c.png>)"),
        ("![](https://e.org/c.png)", "<https://e.org/c.png>"),
        ("[![a cat](https://e.org/c.png)](https://e.org)", "[a cat](<https://e.org>)"),
    ],
)
def test_links_have_no_preview_and_images_become_links(markdown: str, shown: str) -> None:
    assert RENDERER.render(markdown) == shown


# ── blocks ────────────────────────────────────────────────────────────────────────────────────
def test_deep_headings_become_bold_lines() -> None:
    assert render("# A\n### B\n#### C *d* **e**\nText") == "# A\n### B\n**C _d_ e**\nText"


def test_paragraphs_keep_the_blank_line_between_them() -> None:
    assert render("One\n\nTwo\n- a\n- b\n\nThree") == "One\n\nTwo\n- a\n- b\n\nThree"


def test_lists_nest_and_keep_their_numbers() -> None:
    shown = render("""\
        3) three
        4) four
           - inner
             * deepest

           more of four
        """)
    assert shown == "3. three\n4. four\n   - inner\n     - deepest\n   more of four"


def test_task_lists_have_boxes() -> None:
    assert render("- [ ] open\n- [x] done\n- [link](https://e.org)") == (
        "- ☐ open\n- ☑ done\n- [link](<https://e.org>)"
    )


def test_quotes_have_one_level() -> None:
    assert render("> a\n> > b\n>\n> - c\n\nafter") == "> a\n> b\n> \n> - c\n\nafter"


def test_a_thematic_break_is_a_line() -> None:
    assert render("a\n\n***\n\nb") == "a\n\n──────────\nb"


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("```python title=x\na_b\n```", "```python\na_b\n```"),
        ("~~~\n<@1> **x**\n~~~", "```\n<@1> **x**\n```"),
        ("```c#\nx\n```", "```c#\nx\n```"),
        ("```{!odd}\nx\n```", "```\nx\n```"),
        ("    indented", "```\nindented\n```"),
        ("````\na ``` b\n````", "`a ``` b`"),
        ("````py\nx\na ``` b\ny\n````", "```py\nx\n```\n`a ``` b`\n```py\ny\n```"),
        ("````md\n```sh\nls\n```\n````", "```md\n~~~sh\nls\n~~~\n```"),
        ("```\n```", "```\n \n```"),
        ("```py\nhalf", "```py\nhalf\n```"),
        ("- a\n\n  ```\n  x\n  ```\n- b", "- a\n```\nx\n```\n- b"),
        ("> ```\n> x\n> ```", "> ```\n> x\n> ```"),
    ],
)
def test_code_blocks_in_lists_are_not_indented(markdown: str, shown: str) -> None:
    """Discord would show the indentation."""
    assert RENDERER.render(markdown) == shown


def test_tables_become_aligned_code_blocks() -> None:
    shown = render("""\
        | Name | Price | Link |
        |:-----|------:|:----:|
        | Äpfel | **3** | [a](https://e.org) |
        | 日本 | `12` | |
        """)
    assert shown.splitlines() == [
        "```",
        "Name  | Price |       Link",
        "------+-------+------------------",
        "Äpfel |     3 | a (https://e.org)",
        "日本  |    12 |",
        "```",
    ]


def test_emoji_of_several_characters_keep_the_columns_aligned() -> None:
    emoji = ("✅", "⚠️", "1️⃣", "👍🏽", "🏳️\u200d🌈", "👩\u200d👩\u200d👧", "🇯🇵")
    table = "| a | b |\n|---|---|\n" + "".join(f"| {each} | x |\n" for each in emoji)
    rows = render(table).splitlines()[3:-1]
    assert rows == [f"{each} | x" for each in emoji]


# ── mentions ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "markdown",
    [
        "<@123> <@!123> <@&123> <#123> @everyone @here",
        "&lt;@123&gt; and @every&#111;ne",
        "#### @**every**one",
        "[<@123>](https://e.org)",
        r"<\@123> \@everyone",
        "- <@123>\n\n> @here",
        "<@123",
        "**<@**123>",
        "*a*<@123>`x`@everyone",
    ],
)
def test_mentions_by_the_model_are_text(markdown: str) -> None:
    assert not pings(RENDERER.render(markdown))


def test_a_mention_stays_readable() -> None:
    shown = RENDERER.render("ask <@123> or @everyone")
    assert shown.replace(ZW, "") == "ask <@123> or @everyone"


def test_code_is_verbatim() -> None:
    assert RENDERER.render("`<@123>` `@everyone`") == "`<@123>` `@everyone`"


def pings(shown: str) -> list[str]:
    """The mentions outside code and URLs that Discord finds; an escaped backtick opens no code."""
    code = (
        r"```.*?```|(`+).*?[^`]\1(?!`)"  # the client's own: github.com/brussell98/discord-markdown
    )
    said = re.sub(rf"\\[^0-9A-Za-z\s]|{code}", "-", shown, flags=re.DOTALL)
    said = re.sub(r"https?://[^\s<>]+", "", said)
    return re.findall(r"<@[!&]?\d+>|<#\d+>|@everyone|@here", said)


PIECES = st.sampled_from(
    [
        *("<@123>", "<@&9>", "<#7>", "@everyone", "@here", "<@", "123>", "@", "every", "one"),
        *("**", "*", "_", "__", "~~", "`", "``", "```", "```py\n", "||", "\\", "&lt;", "&#64;"),
        *("\n", "\n\n", "    ", "- ", "1. ", "> ", "# ", "#### ", "---\n", "[ ] ", "| a | b |\n"),
        *("|---|---|\n", "[", "](", ")", "https://e.org/x_y", "<https://e.org>", "![", "<br>"),
        *("word", "日本", "😀", "é", " ", "[1]: https://e.org\n", "\0", "\r\n"),
    ]
)
DOCUMENTS = st.lists(PIECES | st.text(max_size=8), max_size=40).map("".join)


@given(DOCUMENTS)
@example("`<@123>``<@123>``")
def test_no_document_pings_anyone(markdown: str) -> None:
    assert not pings(RENDERER.render(markdown))


@given(DOCUMENTS)
def test_the_measure_is_the_size_of_the_rendered_text(markdown: str) -> None:
    shown = RENDERER.render(markdown)
    assert RENDERER.measure(markdown) == len(shown.encode("utf-16-le", "surrogatepass")) // 2
    assert size(shown) >= len(shown)
    assert DiscordRenderer().render(markdown) == shown, "it must not depend on what came before"


@given(DOCUMENTS, DOCUMENTS)
def test_a_finished_block_is_rendered_the_same_whatever_follows(first: str, more: str) -> None:
    """Text added after a heading does not change the blocks before it."""
    document = f"{first.replace('```', '').replace('~~~', '')}\n\n# Heading\n\n"
    if "[1]:" in document + more:
        return  # a definition may come later than its use
    before = RENDERER.render(document)
    assert RENDERER.render(document + more.lstrip("\r\n")).startswith(before)


def test_the_limit_is_discords_limit() -> None:
    assert RENDERER.limit == LIMIT == 2_000

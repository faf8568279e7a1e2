"""No text that a model writes vanishes or is shown raw, in any language, on any surface."""

from __future__ import annotations

import re
import sys
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.console.growing import GrowingReply
from adapters.console.styles import style_emphasis
from adapters.console.surface import ConsoleRenderer
from adapters.discord.render import DiscordRenderer
from adapters.slack.mrkdwn import Mrkdwn
from adapters.slack.render import SlackRenderer
from adapters.web.growing_html import GrowingHtml
from adapters.web.render import html_of
from bot.replies.markdown.mend import mend
from bot.replies.plan import Render
from tests.support.replies import ANSWERS, BEYOND_COMMONMARK, chunked, few_examples, frames
from tests.support.surfaces import PlainRenderer
from tests.support.visible_text import Reader, missing, on_discord, on_page, on_slack, squeezed

DISCORD, SLACK, TERMINAL = DiscordRenderer(), SlackRenderer(), ConsoleRenderer()
SURFACES: dict[str, tuple[Render, Reader, str]] = {
    "discord": (DISCORD.render, on_discord, "|-+~`─"),
    "slack": (SLACK.render, on_slack, "|~`"),
    "page": (html_of, on_page, "|"),
}

# ── documents with their readable text ────────────────────────────────────────────────────────
_WORDS = st.sampled_from(
    [
        "注意",
        "请备份",
        "重要",
        "です",
        "핵심",
        "입니다",
        "ครับ",
        "สำคัญ",
        "می\u200cخوانید",
        "مهم",
        "عربي",
        "中文",
    ]
)
_PUNCTUATED = st.tuples(
    _WORDS,
    st.sampled_from(["{}", "{}：", "「{}」", '"{}"', "（{}）", "{}。", "{}:", "“{}”", "{}!"]),
).map(lambda pair: pair[1].format(pair[0]))
Part = tuple[str, str]  # the source, and the text that people read


def _marked(mark: str) -> st.SearchStrategy[Part]:
    return _PUNCTUATED.map(lambda words: (f"{mark}{words}{mark}", words))


_LITERAL = st.sampled_from(
    [
        *("2**3**4", "snake_case_word", "a * b * c", "src/**/*.ts and test/**/*.ts", "x**2 + y**2"),
        *("vector<std::string>", "List<int>", "<T>", "<your-name>", "<br>", "<details>", "H<sub>2"),
        *("$5 or $10", "US$", "$HOME", "a || b", "if (a || b)", "C:\\用户", "~5 to ~10", "5 < 6"),
        *(
            "$x_1 * y_2$",
            "\\(a\\,b_1\\)",
            "$$\\{a_1\\}$$",
            "$f(x)$",
            "\\[x_1 = 2\\]",
            "👨\u200d👩\u200d👧",
        ),
        *("10\u00a0km", "a\u3000b", "*.js", "C#", ":smile:", "[1]", "~/x"),
        *("__init__.py", "obj.__class__ is", '__name__ == "__main__":', "call __init__()"),
        *("%APPDATA%\\.config", "C:\\a\\_b\\*.txt", "\\\\srv\\c$\\x", "..\\..\\x"),
    ]
).map(lambda text: (text, text))
_CODED = st.sampled_from(["'a' | 'b'", "a", "**x**", "$HOME", "<T>", "a || b"]).map(
    lambda code: (f"`{code}`", code)
)
_LINKED = _WORDS.map(lambda words: (f"[{words}](https://example.org/a_(b))", words))
_TIGHT = st.tuples(
    _WORDS.map(lambda word: (word, word)),
    st.one_of(_marked("**"), _marked("*"), _marked("~~"), _marked("***"), _CODED),
    _WORDS.map(lambda word: (word, word)),
).map(lambda parts: ("".join(part[0] for part in parts), "".join(part[1] for part in parts)))


def _joined(by: str) -> st.SearchStrategy[Part]:
    parts = st.lists(st.one_of(_TIGHT, _TIGHT, _LITERAL, _CODED, _LINKED), min_size=1, max_size=6)
    return parts.map(lambda all: tuple(by.join(part[n] for part in all) for n in (0, 1)))


_LINE = _joined(" ").filter(lambda part: not part[0].startswith(("~", "[1]", "$$", "\\[")))
_README = "# 标题\n\n```bash\nnpm i **x**\n```\n\n```\nsrc/\n```\n\n后面\n"
_BLOCKS = st.one_of(
    _LINE,
    _LINE.map(lambda part: (f"## {part[0]}", part[1])),
    _LINE.map(lambda part: (f"- {part[0]}\n- {part[0]}", part[1] * 2)),
    _LINE.map(lambda part: (f"> {part[0]}", part[1])),
    st.tuples(_TIGHT, _CODED, _WORDS).map(
        lambda row: (
            f"| 名 | b |\n|---|---|\n| {row[0][0]} | {row[1][0]} |\n| {row[2]} | 1 | 2 |",
            f"名b{row[0][1]}{row[1][1]}{row[2]}1|2",
        )
    ),
    st.just((f"```markdown\n{_README}```", _README)),
    st.just(("$$\na_1 &= \\{b\\}\n- c_2\n$$", "$$\na_1 &= \\{b\\}\n- c_2\n$$")),
    st.just(("```py\nx = a**b  # 注**意**\n```", "x = a**b  # 注**意**")),
    st.just(("第一段。\n---\n后面", "第一段。后面")),
    _LINE.map(lambda part: (f"前\n##后 {part[0]}", f"前后 {part[1]}")),
)
_DOCUMENTS = st.lists(_BLOCKS, min_size=1, max_size=5).map(
    lambda blocks: ("\n\n".join(b[0] for b in blocks), "\n\n".join(b[1] for b in blocks))
)


def _comparable(text: str) -> str:
    """Make texts comparable: fences inside code may be written with tildes, and bars may belong to
    a table."""
    return re.sub(r"[|`~]", "", squeezed(text))


@pytest.mark.parametrize("surface", SURFACES)
@settings(few_examples, max_examples=60)
@given(_DOCUMENTS)
def test_people_read_every_letter_and_no_marks(surface: str, document: Part) -> None:
    render, reader, decoration = SURFACES[surface]
    shown = reader(render(document[0]))
    assert missing(_comparable(document[1]), _comparable(shown), decoration) is None, document[0]


@settings(few_examples, max_examples=12)
@given(_DOCUMENTS, st.lists(st.integers(1, 25), min_size=1, max_size=4))
def test_every_frame_shows_only_text_of_the_final_reply(document: Part, sizes: list[int]) -> None:
    """After every chunk, on each surface, the visible text is part of the final visible text."""
    for render, reader, decoration in SURFACES.values():
        final = _comparable(reader(render(document[0])))
        for frame in frames(chunked(document[0], sizes), PlainRenderer(100_000)):
            for page in frame.pages:
                _check_part(_comparable(reader(render(page.text))), final, decoration)


@pytest.mark.parametrize("name", sorted(BEYOND_COMMONMARK))
def test_answers_are_read_well_while_they_grow(name: str) -> None:
    text = ANSWERS[name]
    for render, reader, decoration in SURFACES.values():
        final = _comparable(reader(render(text)))
        for frame in frames(chunked(text, [7]), PlainRenderer(100_000)):
            for page in frame.pages:
                _check_part(_comparable(reader(render(page.text))), final, decoration)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_page_shows_no_half_written_marks(name: str) -> None:
    text, growing = ANSWERS[name], GrowingHtml()
    final = _comparable(on_page(html_of(text)))
    for length in range(1, len(text) + 1, 3):
        _check_part(_comparable(on_page(growing.html(text[:length]))), final, "|")


def _check_part(shown: str, final: str, decoration: str) -> None:
    rest = iter(final)
    raw = [char for char in shown if char not in decoration and char not in rest]
    assert not raw, (shown[-60:], final[:200])


@settings(few_examples, max_examples=25)
@given(_DOCUMENTS, st.lists(st.integers(1, 25), min_size=1, max_size=4))
def test_slacks_text_only_grows(document: Part, sizes: list[int]) -> None:
    """Stable text can be appended to a stream, so what was sent must not change."""
    seen = frames(chunked(document[0], sizes), SLACK)
    final = seen[-1].pages
    for frame in seen[:-1]:
        for number, page in enumerate(frame.pages):
            assert SLACK.render(final[number].text).startswith(SLACK.render(page.stable).rstrip())


@settings(few_examples, max_examples=25)
@given(_DOCUMENTS)
def test_the_page_streams_to_the_same_html_as_the_whole_text(document: Part) -> None:
    growing = GrowingHtml()
    for length in range(1, len(document[0]), 5):
        growing.html(document[0][:length])
    assert growing.html(document[0], ended=True) == html_of(document[0])


@settings(few_examples, max_examples=25)
@given(_DOCUMENTS)
def test_the_terminal_keeps_every_character(document: Part) -> None:
    assert TERMINAL.render(document[0]) == document[0]


def test_the_terminal_drops_control_sequences() -> None:
    assert TERMINAL.render("a\x1b[31m\x07\x9b\u202eb\u2066\ud800\rc") == "a[31mbc"


# ── emphasis ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "bold"),
    [
        ("**注意：**请备份", "注意："),
        ("**「重要」**です", "「重要」"),
        ('이것은 **"핵심"**입니다', '"핵심"'),
        ("**마크다운(Markdown)**의", "마크다운(Markdown)"),
        ("请看**（重点）**内容", "（重点）"),
        ('**"คำ"**ครับ', '"คำ"'),
        ("**نکته:**این", "نکته:"),
        ("**重要❗**です", "重要❗"),
        ("**é!**ñ", "é!"),
    ],
)
def test_bold_next_to_punctuation_in_every_script(text: str, bold: str) -> None:
    assert f"<strong>{bold}</strong>".replace('"', "&quot;") in html_of(text)
    assert f"**{bold}**" in DISCORD.render(text)
    for shown in (SLACK.render(text), SLACK.render(f"> {text}")):
        strong = re.search(r"\*\*([^*]+)\*\*", shown)
        assert strong is not None
        assert on_slack(shown) == squeezed(text.replace("**", ""))
    assert re.search(r"(?:^|[^\w])\*[^*]+\*(?:$|[^\w])", Mrkdwn().convert(text))


LITERAL = (
    *(
        "____是首都，最长的河是____。",
        "性______、______，常",
        "_____is red, the sky is _____.",
        "____(1)____",
    ),
    *("字_斜_字", "变量foo_bar_是整数", "a_b_é"),
    *("2**3**4", "x**2 + y**2", "snake_case_word", "a * b * c", "5*3*2", "COUNT(*), SUM(*)"),
    *("*.py and *.txt", "src/**/*.ts, a/**/*.ts", "rm *.o *.a", "dist/*, lib/*", "(*.a|*.b)"),
    *("(a)*(b)*(c)", "f(*args, **kwargs)"),
    *(
        "__init__",
        "pkg/__init__.py",
        "the __init__ method",
        "x.__dict__",
        "__new__() or __my_own__()",
    ),
    *(
        'if __name__ == "__main__":',
        "__tests__/a.js and __mocks__/b.js",
        "变量__name__的值",
        "__dirname",
    ),
    *("%appdata%\\.minecraft", "C:\\Users\\me\\.ssh\\config", "D:\\_old\\*.txt", "~\\.ssh"),
    *(
        "\\\\server\\share\\.x",
        ".\\.venv\\Scripts",
        "..\\..\\x",
        "HKLM\\SOFTWARE\\*",
        "路径：C:\\用户\\_x",
    ),
    *("Open C:\\\nthen", "D:\\_old_ and _x_y", "¯\\_(ツ)_/¯"),
)


def test_blanks_in_bold_text() -> None:
    text = "**______为百病之长，其性______、______，常导致**位"
    assert on_page(html_of(text)) == squeezed(text.replace("**", ""))
    assert on_discord(DISCORD.render(text)) == squeezed(text.replace("**", ""))
    assert on_slack(SLACK.render(text)) == squeezed(text.replace("**", ""))


@pytest.mark.parametrize("text", LITERAL)
def test_arithmetic_and_patterns_are_text(text: str) -> None:
    assert on_page(html_of(text)) == squeezed(text)
    assert on_discord(DISCORD.render(text)) == squeezed(text)
    assert on_slack(SLACK.render(text)) == squeezed(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"\*not\* 2\*3 \[1\]", "*not* 2*3 [1]"),
        (r"\(x\) and \[x^2\]", r"\(x\) and \[x^2\]"),
        (r"$\{a_1\,|\,b*c*d\}$", r"$\{a_1\,|\,b*c*d\}$"),
        ("$5 or **$10**, US$ and $HOME", "$5 or $10, US$ and $HOME"),
        ("It's $100K/yr vs *$50K*", "It's $100K/yr vs $50K"),
        (r"C:\用户\名", r"C:\用户\名"),
        (r".\*, \.\*, 2:\_x", ".*, .*, 2:_x"),
        (r"snake\_case, 1\. one, C:\\Users, a\\b", r"snake_case, 1. one, C:\Users, a\b"),
        (r"\_\_init\_\_ and __bold__ and __more words__", "__init__ and bold and more words"),
    ],
)
def test_formulas_prices_and_escapes(text: str, read: str) -> None:
    assert on_page(html_of(text)) == squeezed(read)
    assert on_discord(DISCORD.render(text)) == squeezed(read)
    assert on_slack(SLACK.render(text)) == squeezed(read)


# ── tables, fences, spoilers ──────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("`'a' | 'b'` | x", ["'a' | 'b'", "x"]),
        ("`a||b` | `c|d`", ["a||b", "c|d"]),
        ("$P(A|B)$ | x", ["$P(A|B)$", "x"]),
        ("a \\| b | x", ["a | b", "x"]),
        ("1 | 2 | 3", ["1", "2 | 3"]),
        ("`a` | `b", ["a", "`b"]),
        ("one", ["one", ""]),
    ],
)
def test_a_row_keeps_all_of_its_cells(row: str, cells: list[str]) -> None:
    table = f"| k | v |\n|---|---|\n| {row} |"
    html = re.findall(r"<td>(.*?)</td>", html_of(table))
    assert [re.sub("<.*?>", "", cell).replace("&#x27;", "'") for cell in html] == cells
    assert all(cell in DISCORD.render(table) for cell in cells)
    assert on_slack(SLACK.render(table)) == "kv" + squeezed("".join(cells))


def test_a_line_break_in_a_cell_is_none_in_code() -> None:
    table = "| a | b |\n|---|---|\n| x<br>y | use `<br>` or<BR/>not |"
    assert "x y | use <br> or not" in DISCORD.render(table)
    assert SLACK.render(table).endswith("| x y | use `<br>` or not |")
    grown = [line.rstrip() for line in GrowingReply().whole(table).splitlines()]
    assert grown[-2:] == [" x   use `<br>` or", " y   not"]
    assert html_of(table).count("<br />") == 2


LONG_FENCE = "````markdown\n# Title\n\n```bash\nnpm i\n```\n````\n\nThe text **below** it.\n"


@pytest.mark.parametrize("length", range(14, len(LONG_FENCE) + 1))
def test_slack_ends_a_long_fence_where_it_ends(length: int) -> None:
    """The inner fences have tildes there, and a longer outer fence would never end."""
    tokens = MarkdownIt().parse(SLACK.render(mend(LONG_FENCE[:length]).text))
    fences = [token.content for token in tokens if token.type == "fence"]
    assert len(fences) <= 1
    assert not any("`" in code or "below" in code for code in fences)
    assert "`" not in "".join(token.content for token in tokens if token.type == "inline")


@pytest.mark.parametrize(
    ("info", "language"),
    [
        ("{.python .x}", "python"),
        ("js{1,3}", "js"),
        ("python:app.py", "python"),
        ("c++ title=x", "c++"),
    ],
)
def test_a_language_may_have_attributes(info: str, language: str) -> None:
    code = f"```{info}\nx = 1\n```"
    assert f'data-language="{language}"' in html_of(code)
    assert DISCORD.render(code).startswith(f"```{language}\n")


@pytest.mark.parametrize("title", ["标题", "1. 标题", "**标题：**后", "Another `x`"])
def test_a_heading_needs_no_blank_behind_its_marks(title: str) -> None:
    text = f"以上。\n###{title} ##\n- 一"
    bare = re.sub("[*`]", "", title)
    heading = re.search("<h5>(.*)</h5>", html_of(text))
    assert heading is not None
    assert on_page(heading[1]) == squeezed(bare)
    assert f"### {title}" in DISCORD.render(text)
    tokens = MarkdownIt().parse(SLACK.render(text))
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h3"]
    assert "\x1b[1;36m###" in GrowingReply().whole(text)


@pytest.mark.parametrize("text", ["#话题", "#hashtag", "##", "####### x", "a ##b", "#!/bin/sh"])
def test_other_number_signs_are_text(text: str) -> None:
    assert on_page(html_of(text)) in (squeezed(text), "")
    assert "<h" not in html_of(f"a {text}").replace("<hr", "")
    assert SLACK.render(text) == text


@pytest.mark.parametrize(
    ("above", "is_title"),
    [
        ("第一段到这里结束。", False),
        ("One line\nand another", False),
        ("**A sentence.**", False),
        ("> A quote ends.\n> and has more", False),
        ("A title", True),
        ("**标题**", True),
    ],
)
def test_dashes_below_a_sentence_are_a_rule(above: str, is_title: bool) -> None:
    text = f"{above}\n{'> ' * above.startswith('>')}---\n\nThe next *section*"
    assert ("<hr" in html_of(text)) is not is_title
    assert ("<h4>" in html_of(text)) is is_title
    assert ("─" in DISCORD.render(text)) is not is_title
    strict = [token.type for token in MarkdownIt().parse(SLACK.render(text))]
    assert ("hr" in strict) is not is_title
    assert ("heading_open" in strict) is is_title


def test_a_readme_in_a_fence_is_one_block() -> None:
    source = ANSWERS["nested_fences"]
    readme = source.partition("```markdown\n")[2].partition("\n```\n\nUse")[0] + "\n"
    code = re.findall(r"<pre.*?</pre>", html_of(source), re.DOTALL)
    assert len(code) == 2
    assert on_page(code[0]) == squeezed(readme)
    shown = DISCORD.render(source)
    assert "\u200b" not in shown
    assert readme.replace("```", "~~~") in shown
    assert readme.replace("```", "~~~") in SLACK.render(source)


@pytest.mark.parametrize("limit", range(60, 200, 13))
def test_a_readme_that_is_cut_stays_one_block_on_each_page(limit: int) -> None:
    """The pages' code adds up to the whole code, and no text after it becomes part of it."""
    source = ANSWERS["nested_fences"].partition("\nUse ")[0]
    pages = frames(chunked(source, [9]), PlainRenderer(limit))[-1].pages
    blocks = [re.findall(r"<pre.*?</pre>", html_of(page.text), re.DOTALL) for page in pages]
    code = "".join(on_page(block) for found in blocks for block in found)
    assert code == squeezed(source.partition("```markdown\n")[2].rpartition("```")[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It was ||the butler||.", "It was ||the butler||."),
        ("||**Bold** one||", "||**Bold** one||"),
        ("答案是||管家||。", "答案是||管家||。"),
        ("a || b", r"a \|\| b"),
        ("if (a || b) || c", r"if (a \|\| b) \|\| c"),
        ("x||y||z", r"x\|\|y\|\|z"),
        ("|| a ||", r"\|\| a \|\|"),
        ("`||a||`", "`||a||`"),
    ],
)
def test_only_bars_that_hug_their_text_hide_it(text: str, shown: str) -> None:
    assert DISCORD.render(text) == shown


def test_hidden_text_is_not_shown_before_it_is_hidden() -> None:
    seen = frames("## It was ||the butler||, he said", PlainRenderer(1_000))
    for frame in seen:
        text = frame.pages[0].text if frame.pages else ""
        assert "butler" not in text or "||the butler||" in text


# ── links ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see https://例え.jp。", "https://例え.jp"),
        ("(https://e.org/a_(b))", "https://e.org/a_(b)"),
        ("https://e.org/a_b_c?x=1,", "https://e.org/a_b_c?x=1"),
        ("访问https://e.org/docs了解", "https://e.org/docs"),
        ("https://ja.wikipedia.org/wiki/日本", "https://ja.wikipedia.org/wiki/日本"),
        ("**https://e.org**", "https://e.org"),
        ("见https://e.org/路径，谢谢", "https://e.org/路径"),
        ("（参考 https://e.org/a)。", "https://e.org/a"),
        ("«https://e.org/y»، أو", "https://e.org/y"),
        ("هل https://e.org/x؟", "https://e.org/x"),
        ("देखें https://e.org/x।", "https://e.org/x"),
        ("https://e.org/x—or not", "https://e.org/x"),
    ],
)
def test_a_bare_address_is_a_link(text: str, address: str) -> None:
    assert f'<a href="{address}"' in html_of(text)
    assert on_page(html_of(text)) == squeezed(text.replace("**", ""))
    assert linked_on_discord(DISCORD.render(text).replace("**", "")) == address
    shown = SLACK.render(text)
    end = shown.index(address) + len(address)
    assert not shown[end : end + 1] or shown[end] in "*)\u200a\u2009 .,?!"
    assert on_slack(shown) == squeezed(text.replace("**", ""))


def linked_on_discord(shown: str) -> str:
    """The first address that Discord's client links: its rules for `<…>` and for bare addresses."""
    if found := re.search(r"<(https?://[^ >]+)>", shown):
        return found[1]
    found = re.search(r"https?://[^\s<]+[^<.,:;\"'\]\s]", shown)
    assert found is not None
    address = found[0]
    while address.endswith(")") and address.count(")") > address.count("("):
        address = address[:-1]
    return address


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/psf/black/blob/main/src/black/__init__.py",
        "https://e.org/_a_/x_._y",
        "https://e.org?a=_b_&c=_d_e",
        "http://例え.jp/_b_/__c",
    ],
)
@pytest.mark.parametrize(
    "around", ["see {}, then", "({})", "_{}_ b", "**{}**的", "| a |\n|-|\n| {} |"]
)
def test_underscores_of_an_address_are_no_emphasis(address: str, around: str) -> None:
    text = around.format(address)
    assert f'<a href="{address.replace("&", "&amp;")}"' in html_of(text)
    assert address in DISCORD.render(text)
    assert address.replace("&", "&amp;") in Mrkdwn().convert(text)
    assert address in style_emphasis(text)


@pytest.mark.parametrize("more", ["init__.py now", ".", "x_", "_", "?a=_b"])
def test_no_frame_takes_part_of_an_address_for_emphasis(more: str) -> None:
    text = f"see https://e.org/__{more}"
    for frame in frames(text, PlainRenderer(1_000)):
        assert all(text.startswith(page.text) for page in frame.pages)


def test_sources_are_shown_whether_a_link_uses_them_or_not() -> None:
    text = 'As [1] says.\n\n[1]: https://a.org/_x_y\n[2]: <https://b.org> "T"\n'
    for shown in (on_page(html_of(text)), on_discord(DISCORD.render(text)), Mrkdwn().convert(text)):
        assert "[1]:" in squeezed(shown)
        assert all(address in shown for address in ("https://a.org/_x_y", "https://b.org"))
        assert "T" in shown
    assert "[1](<https://a.org/_x_y>)" in DISCORD.render(text)


def test_a_link_that_leads_into_our_own_site_is_text_on_the_page() -> None:
    assert html_of("[a](./b.md) [c](#d) ![e](f.png) [g]()") == (
        "<p>a (./b.md) c (#d) e (f.png) g</p>\n"
    )
    assert ">https://e.org</a>" in html_of("[](https://e.org)")
    assert DISCORD.render("[g]()") == "g"


def test_an_address_in_angle_brackets_stays_a_link_on_slack() -> None:
    for text in ("[x](<https://e.org/a b>)", "[x]\n\n[x]: <https://e.org/a b>"):
        assert SLACK.render(text) == text


@pytest.mark.parametrize("text", ["`https://e.org`", "ftp://e.org", "a://b", "https://"])
def test_text_that_is_not_an_address_is_not_linked(text: str) -> None:
    assert "<a" not in html_of(text)


def test_tasks_have_boxes_on_the_page() -> None:
    assert on_page(html_of("- [ ] a\n- [x] b\n\n  [ ] c")) == "☐a☑b[]c"


def test_a_terminal_shows_emphasis_and_leaves_code_alone() -> None:
    shown = ConsoleRenderer(style_emphasis).render("**注意：**请 `**c**`\n\n```\n**x**\n```")
    assert shown == "\x1b[1m注意：\x1b[22m请 `**c**`\n\n```\n**x**\n```"


@settings(few_examples, max_examples=25)
@given(_DOCUMENTS, st.lists(st.integers(1, 25), min_size=1, max_size=4))
def test_a_terminals_text_only_grows(document: Part, sizes: list[int]) -> None:
    renderer = ConsoleRenderer(style_emphasis)
    seen = frames(chunked(document[0], sizes), renderer)
    final = renderer.render(seen[-1].pages[0].text)
    for frame in seen[:-1]:
        for page in frame.pages:
            assert final.startswith(renderer.render(page.stable).rstrip())


def test_a_line_break_in_a_cell_is_one() -> None:
    assert "<td>a<br />\nb</td>" in html_of("| x |\n|---|\n| a<br>b |")
    assert "a&lt;br&gt;b" in html_of("a<br>b")


# ── costs ─────────────────────────────────────────────────────────────────────────────────────
UNKIND = (
    *(
        "[",
        "[]",
        "[a](",
        "![",
        "](x)",
        "[^1]: ",
        "**注",
        "*",
        "~*",
        "`a`注",
        "$",
        "$a ",
        "\\(a ",
        "$$",
        "https://_a",
        "_a://",
    ),
    *("\\[\n", "$$\n", "||a ", "|", "| a ", "|-|\n", "<a ", "<http://", "https://", "a://", "<br>"),
    *(
        "[\n",
        "\n_",
        "\n~~",
        "1. ```md\n",
        "```md\n",
        "注\r",
        "~~~\n",
        "> ",
        "- ",
        "&amp;",
        "#",
        "# ",
    ),
)


@pytest.mark.parametrize("piece", UNKIND)
def test_no_text_takes_long(piece: str) -> None:
    """Twice the text costs about twice the steps, in every parser and renderer."""
    for render in (html_of.__wrapped__, DISCORD.render, SLACK.render, style_emphasis, _mended):
        short, long = (_calls(render, (piece * size)[:size]) for size in (800, 1_600))
        assert long < 2.8 * short + 2_000, render


def _mended(text: str) -> str:
    return mend(text).text


def _calls(render: Render, text: str) -> int:
    """The number of function calls, which is the same on every machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        render(text)
    finally:
        sys.setprofile(before)
    return calls

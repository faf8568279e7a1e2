"""Markdown on the page: safe for any input, compatible with a strict policy, cheap while it
grows."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.web.growing_html import GrowingHtml
from adapters.web.render import html_of, html_of_person
from tests.support.growing_documents import html_while_growing

ELEMENTS = {
    "p", "h3", "h4", "h5", "h6", "em", "strong", "s", "code", "pre", "span", "div", "table",
    "thead", "tbody", "tr", "th", "td", "ul", "ol", "li", "blockquote", "hr", "br", "a",
    "input",
}  # fmt: skip
ATTRIBUTES = {
    "class", "data-language", "data-file", "data-note", "tabindex", "href", "title", "target",
    "rel", "start", "type", "disabled", "checked", "aria-label",
}  # fmt: skip
PIECES = st.sampled_from(
    [
        "# head\n", "- item\n", "  - sub\n", "1. one\n", "> quote\n", "```python\n", "```\n",
        "def f(): pass\n", "|a|b|\n|-|:-:|\n|1|2|\n", "text ", "*em* ", "**bold** ", "`code` ",
        "\n", "\n\n", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "***\n",
        "[link](https://example.org) ", "[x](javascript:alert(1)) ", "![i](https://example.org/i)",
        "[![i](https://example.org/i)](https://example.org)", "&lt;b&gt;", "\r\n", "    code\n",
        "[a]: https://example.org\n", "[a] ", "~~~\n", "\\", "'\"", "<https://example.org> ",
        "===\n", "---\n", "\x00", "😀", "[x](data:text/html;base64,xx)",
        "- [ ] task\n", "- [x] ", "[^1] ", "[^a<b>] ", "[^1]: note\n", "$x_1$ ", "$<b>_1$ ",
        "$$\nx_1\n$$\n", "\\(a<b\\) ", "\\begin{a}", "\\end{a}", "$5 ", '```a" b<c\n',
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=60))


class Elements(HTMLParser):
    """Records every element and attribute, and checks that elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        assert not (tag == "a" and "a" in self.open), "a link in a link"
        if tag not in ("br", "hr", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@settings(deadline=None)
@given(TEXTS)
def test_html_never_runs_scripts_or_loads_resources(text: str) -> None:
    """Only known elements and attributes, closed in order; links lead to web or mail addresses."""
    for html in (html_of(text), html_of_person(text), GrowingHtml().html(text)):
        elements = Elements(html)
        assert not elements.open
        for tag, attributes in elements.found:
            assert tag in ELEMENTS
            assert set(attributes) <= ATTRIBUTES
            if tag == "a":
                href = (attributes["href"] or "").lower()
                assert not re.match(r"\s*(javascript|vbscript|file|data:text)", href)
                assert attributes["rel"] == "noopener noreferrer nofollow"


@settings(deadline=None)
@given(TEXTS, st.lists(st.integers(1, 15), min_size=1, max_size=8))
def test_a_growing_text_renders_like_the_whole_text(text: str, steps: list[int]) -> None:
    """Link definitions are the exception, since they may come after their use."""
    text = re.sub(r"(?<!\[\^1)\]:", "]", text)
    growing, at = GrowingHtml(), 0
    while at < len(text):
        at += steps[at % len(steps)]
        growing.html(text[:at])
    assert growing.html(text) == html_while_growing(text)
    assert growing.html(text, ended=True) == html_of(text)


@pytest.mark.parametrize("text", ["- item\n*em* ", "- item\n|a|\n|-|x", "> quote\n***bold***"])
def test_an_incomplete_line_may_still_belong_to_the_block_above(text: str) -> None:
    growing = GrowingHtml()
    for length in range(len(text)):
        growing.html(text[:length])
    assert growing.html(text) == html_while_growing(text)
    assert growing.html(text, ended=True) == html_of(text)


def test_a_different_text_is_rendered_from_scratch() -> None:
    growing = GrowingHtml()
    growing.html("One.\n\nTwo.\n\nThree.")
    assert growing.html("Else.\n\nTwo.") == html_of("Else.\n\nTwo.")


def test_growing_renders_only_the_open_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a long reply costs as much as its start, because blocks are rendered once."""
    growing, text = GrowingHtml(), ""
    for number in range(200):
        text += f"Paragraph {number} with some words.\n\n"
        growing.html(text)
    assert growing.parsed_length < 100


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# One", "<h3>One</h3>\n"),
        ("###### Six", "<h6>Six</h6>\n"),
        ("~~gone~~", "<p><s>gone</s></p>\n"),
        ("![a cat](http://x.example/c.png)", 'rel="noopener noreferrer nofollow">a cat</a>'),
        ("|a|\n|-:|\n|1|", '<td class="align-right">1</td>'),
        ("```nolanguage\n<b>\n```", '<code class="highlight">&lt;b&gt;\n</code>'),
        ("    <b>", '<code class="highlight">&lt;b&gt;\n</code>'),
        ('```"><script>\nx\n```', 'data-language=""'),
        ("```py\n# app.py\n```", 'data-language="py" data-file="code.py"'),
        ('```ts title="a/../b.ts"\n```', 'data-file="code.ts"'),
        ("```yaml title=ci.yaml\n```", 'data-file="ci.yaml"'),
        (
            "- [x] *all*",
            '<input type="checkbox" disabled="" checked="" aria-label="Done" /> <em>all</em></li>',
        ),
        ("- [x] a", '<li class="task"><input '),
        ("- [ ] one", '<input type="checkbox" disabled="" aria-label="To do" /> one</li>'),
        ("[ ] no item", "<p>[ ] no item</p>"),
        ("- a [ ] b", "<li>a [ ] b</li>"),
        ("so[^1].", '<p>so<span class="ref">[^1]</span>.</p>'),
        ("`[^1]` [^a b] [^] \\[^1]", "<p><code>[^1]</code> [^a b] [^] [^1]</p>"),
        (
            "[^n<]: *so*\n[^2]: b",
            '<div class="note" data-note="n&lt;">\n<p><em>so</em></p>\n</div>\n<div',
        ),
        ("[^1]: a\n\n    b\n\nc", "<p>a</p>\n<p>b</p>\n</div>\n<p>c</p>"),
        ("a\n[^1]: b", '<p>a</p>\n<div class="note"'),
    ],
)
def test_markdown_fits_the_page(text: str, html: str) -> None:
    assert html in html_of(text)


# ── formulas ──────────────────────────────────────────────────────────────────────────────────
MARKED = re.compile(r'<span class="math">(.*?)</span>', re.DOTALL)
PROSE = st.lists(
    st.sampled_from(
        ["costs ", "$5 ", "$6. ", "US$7 ", "$1,000 ", "$20k ", "and ", "$HOME ", "$PATH:$HOME ",
         "`$x_1$` ", "$ ", "a$ ", "5$ ", "price: $\n", "5\n", "(", ") ", "\\$x_1\\$ ", "$3–$4 ",
         "``` $a_1$ ``` ", "\n\n"]
    ),
    max_size=14,
).map("".join)  # fmt: skip
LATEX = st.text(alphabet="xyz12+=^_{}<>&'\"αβ ", min_size=1, max_size=30).map(
    lambda text: "x_" + text.strip()
)


@given(PROSE)
def test_prices_variables_and_code_are_no_formulas(text: str) -> None:
    assert "math" not in html_of(text)


@given(LATEX, st.sampled_from([("$", "$"), ("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]")]))
def test_a_formula_is_marked_with_its_whole_source(latex: str, marks: tuple[str, str]) -> None:
    """Between words, between prices, and as growing text, it is never marked in part or escaped
    twice."""
    source = latex.join(marks)
    text = f"For $5 you get {source} and $6 back."
    assert [unescape(each) for each in MARKED.findall(html_of(text))] == [source]
    growing = GrowingHtml()
    for length in range(len(text) - 10):
        found = [unescape(each) for each in MARKED.findall(growing.html(text[:length]))]
        assert all(source.startswith(each[:-1]) for each in found)
    assert growing.html(text) == html_of(text)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("$$\nx_1\n$$", '<p><span class="math">$$\nx_1\n$$</span></p>\n'),
        ("$$\nx_1", "<p>$$<br />\nx_1</p>\n"),
        ("\\[ x_1 \n\\],", '<p><span class="math">\\[ x_1 \n\\]</span>,</p>\n'),
        ("$$\nx_1\n$$ so", "<p>$$<br />\nx_1<br />\n$$ so</p>\n"),
        (
            "> $$\n> x_1\n> $$",
            '<blockquote>\n<p><span class="math">$$\nx_1\n$$</span></p>\n</blockquote>\n',
        ),
        (
            "\\begin{align}\na &= b\n\\end{align}",
            '<p><span class="math">\\begin{align}\na &amp;= b\n\\end{align}</span></p>\n',
        ),
    ],
)
def test_a_formula_on_separate_lines_is_marked_once_it_has_ended(text: str, html: str) -> None:
    assert html_of(text) == html


def test_lines_stay_lines() -> None:
    """A poem, an address or a list of states has one line feed after each line."""
    assert html_of("one\n*two*  \nthree") == "<p>one<br />\n<em>two</em><br />\nthree</p>\n"
    assert html_of("- one\n  two\n> three\nfour").count("<br />") == 2


def test_peoples_text_is_not_markdown() -> None:
    """Line breaks and indentation stay, Markdown is literal text, and an address becomes a link."""
    shown = html_of_person("one\n    **two**\n- [x](y) https://e.org.")
    link = '<a href="https://e.org" target="_blank" rel="noopener noreferrer nofollow">https://e.org</a>'
    assert shown == f'<p class="plain">one\n    **two**\n- [x](y) {link}.</p>\n'

"""Markdown as HTML that is safe under a strict Content-Security-Policy.

Invariant: people's and models' text becomes text, links and Markdown's few elements; it never adds
raw HTML, a script, an inline style or a request to another server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping, Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from adapters.web.footnotes import add_footnotes, opening_html, reference_html
from adapters.web.formulas import formula_block, inline_formula
from adapters.web.highlighter import MOST_HIGHLIGHTED, Highlight, plain
from adapters.web.links import REL, add_links, is_absolute, link_addresses, repair_links
from bot.replies.markdown.dialect import make_parser
from bot.replies.markdown.fences import language_of
from bot.replies.markdown.table_rows import BREAK
from bot.replies.paging.file_names import file_name

KEPT_TEXTS = 256
"""Cached messages: every tab and every reload renders the same ones."""

# Messages are part of a page that has first and second level headings already.
HEADING_OFFSET = 2

Tokens = Sequence[Token]
Env = MutableMapping[str, Any]


class _Html(RendererHTML):
    """markdown-it's renderer without inline styles and images; links open in a new tab."""

    def fence(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        token = tokens[idx]
        short = len(token.content) <= env.get("highlighted", MOST_HIGHLIGHTED)
        highlight = env.get("highlight", plain) if short else plain
        return _code(token.content, token.info, highlight)

    def code_block(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return _code(tokens[idx].content, "", plain)

    def softbreak(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        """A line break, as on all other surfaces: models write verses and addresses in lines."""
        return "<br />\n"

    def image(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        """A link in place of the image: loading it would tell another server who reads what, and
        when."""
        token = tokens[idx]
        text = escape(self.renderInlineAsText(token.children, options, env) or "image")
        if token.meta.get("link_addresses"):
            return text
        address = escape(str(token.attrs.get("src", "")))
        if not is_absolute(str(token.attrs.get("src", ""))):
            return f"{text} ({address})" if address else text
        return f'<a href="{address}" target="_blank" rel="{REL}">{text}</a>'

    def math_inline(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return inline_formula(tokens[idx].content)

    def math_block(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return formula_block(tokens[idx].content, ended=bool(tokens[idx].meta.get("ended")))

    def footnote_ref(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return reference_html(tokens[idx].content)

    def footnote_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return opening_html(tokens[idx].content)

    def footnote_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return "</div>\n"

    def task_box(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        """The box of a task, which cannot be ticked: the text is the model's."""
        done = tokens[idx].content.lower() == "x"
        ticked = 'checked="" aria-label="Done"' if done else 'aria-label="To do"'
        return f'<input type="checkbox" disabled="" {ticked} /> '

    def table_open(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return '<div class="table" tabindex="0"><table>\n'

    def table_close(self, tokens: Tokens, idx: int, options: OptionsDict, env: Env) -> str:
        return "</table></div>\n"


_BOX = re.compile(r"\[([ xX])\] ")


@lru_cache(maxsize=KEPT_TEXTS)
def html_of(markdown: str, highlight: Highlight = plain) -> str:
    """A model's text as HTML."""
    html: str = page_parser().render(markdown, {"highlight": highlight})
    return html


@lru_cache(maxsize=KEPT_TEXTS)
def html_of_person(text: str) -> str:
    """A person's text as HTML: verbatim, with line breaks and indentation, without Markdown.

    The page preserves white space in `plain` paragraphs.
    """
    return f'<p class="plain">{link_addresses(text)}</p>\n'


# ── parts ─────────────────────────────────────────────────────────────────────────────────────
@cache
def page_parser() -> MarkdownIt:
    """The parser and renderer of the page."""
    parser = make_parser(renderer=_Html)
    add_footnotes(parser)
    parser.core.ruler.push("plain_page", _fit_page)
    return parser


def _fit_page(state: Any) -> None:
    """Shift headings below the page's own, replace styles by classes, and make links open in a
    new tab."""
    in_cell, item = False, None
    for token in state.tokens:
        _fit(token)
        if token.type == "inline" and item is not None and token.children:
            _show_box(item, token.children)
        if token.type != "paragraph_open":
            item = token if token.type == "list_item_open" else None
        if token.type in ("th_open", "td_open", "th_close", "td_close"):
            in_cell = token.nesting > 0
        elif token.type == "inline" and token.children:
            token.children = _children(token.children, in_cell=in_cell)


def _show_box(item: Token, children: list[Token]) -> None:
    """Turn `[ ]` and `[x]` at the start of a task into a checkbox."""
    first = children[0]
    if first.type == "text" and (box := _BOX.match(first.content)):
        item.attrs["class"] = "task"
        first.content = first.content[box.end() :]
        children.insert(0, Token("task_box", "input", 0, content=box[1]))


def _children(children: list[Token], *, in_cell: bool) -> list[Token]:
    """Inline tokens with links for bare addresses, and line breaks for `<br>` in a cell."""
    found = add_links(repair_links(children))
    if in_cell:
        found = [part for token in found for part in _broken(token)]
    depth = 0
    for child in found:
        _fit(child)
        depth += child.nesting if child.type.startswith("link_") else 0
        if child.type == "image" and depth:
            child.meta["link_addresses"] = True  # links do not nest
    return found


def _broken(token: Token) -> Iterator[Token]:
    """A text with line breaks for `<br>`, the only line breaks that a table cell can have."""
    pieces = BREAK.split(token.content) if token.type == "text" else [""]
    if len(pieces) == 1:
        yield token
        return
    for number, piece in enumerate(pieces):
        if number:
            yield Token("hardbreak", "br", 0)
        yield Token("text", "", 0, content=piece)


def _fit(token: Token) -> None:
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(int(token.tag[1]) + HEADING_OFFSET, 6)}"
    elif token.type == "link_open":
        token.attrs |= {"target": "_blank", "rel": REL}
    style = str(token.attrs.pop("style", ""))
    if style.startswith("text-align:"):
        token.attrs["class"] = style.replace("text-align:", "align-")


@lru_cache(maxsize=KEPT_TEXTS)
def _file_name(info: str) -> str:
    return file_name(info, "")


def _code(code: str, info: str, highlight: Highlight) -> str:
    """A code block, and the name under which the page saves it.

    The name does not depend on the code, whose beginning may already be rendered.
    """
    language, name = language_of(info), _file_name(info)
    return (
        f'<pre class="code" data-language="{escape(language)}" data-file="{escape(name)}"'
        ' tabindex="0">'
        f'<code class="highlight">{highlight(code, language)}</code></pre>\n'
    )

"""Properties of a reply's frames, and documents to check them with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.domain.replies import FileRules, Frame, Page
from bot.ports.platform import Renderer
from bot.replies.paging.document import Document

ANSWERS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "fixtures" / "answers").glob("*.md"))
}

BEYOND_COMMONMARK = frozenset(("korean", "maths_heavy", "nested_fences", "persian", "thai"))
"""Answers that a strict CommonMark parser misreads; see `tests.support.visible_text` instead."""


# ── running a document ────────────────────────────────────────────────────────────────────────
def frame_of(document: Document) -> Frame:
    """The newest frame, after as many steps as it needs."""
    frame = document.frame()
    while document.behind:
        frame = document.frame()
    return frame


def frames(
    chunks: Iterable[str], renderer: Renderer, files: FileRules | None = None
) -> list[Frame]:
    """The frame after each chunk, and the final one."""
    document = Document(renderer, files)
    seen = []
    for chunk in chunks:
        document.write(chunk)
        seen.append(frame_of(document))
    document.finish()
    return [*seen, frame_of(document)]


def final_pages(text: str, renderer: Renderer, files: FileRules | None = None) -> tuple[Page, ...]:
    """The pages of a reply that arrives in one piece."""
    return frames([text], renderer, files)[-1].pages


# ── properties ────────────────────────────────────────────────────────────────────────────────
def check_final(text: str, pages: Sequence[Page], renderer: Renderer) -> None:
    """The pages tile the text, fit the platform, are sealed, and show every letter."""
    if not text.strip():
        assert pages == ()
        return
    assert pages[0].start == 0
    assert pages[-1].end == len(text)
    for page, following in pairwise(pages):
        assert page.end == following.start
    for page in pages:
        assert page.sealed
        assert page.start < page.end
        assert renderer.measure(page.text) <= renderer.limit, page
    for number, page in enumerate(pages):
        source = text[page.start : page.end]
        if begins_file(pages, number) and "```" not in page.text and "~~~" not in page.text:
            source = source.rstrip("\n").rpartition("\n")[0]  # no room for a line of the code
        assert letters(shown_source(pages, number)).endswith(letters(source)), page


def shown_source(pages: Sequence[Page], number: int) -> str:
    """The part of the reply that a page shows, without the bot's note about a file."""
    file = pages[number].file
    if file is not None:
        return file.text
    text = pages[number].text
    return text.rpartition("_That is how")[0] if begins_file(pages, number) else text


def begins_file(pages: Sequence[Page], number: int) -> bool:
    """Whether the page shows the beginning of the file on the next page."""
    return number + 1 < len(pages) and pages[number + 1].file is not None


def check_growth(seen: Sequence[Frame], renderer: Renderer) -> None:
    """Every page fits, sealed pages are final, and stable text begins the final page.

    This does not apply to a code block that may become a file: only such a file removes pages.
    """
    final = seen[-1].pages
    most = 0
    for frame in seen[:-1]:
        assert all(page.full for page in frame.pages[:-1])
        held = any(page.provisional for page in frame.pages)
        growing = any("_This is getting long" in page.text for page in frame.pages)
        assert len(frame.pages) >= most or growing or any(page.file for page in frame.pages)
        most = len(frame.pages)
        for number, page in enumerate(frame.pages):
            assert renderer.measure(page.text) <= renderer.limit, page
            if page.sealed:
                same = page == final[number] or number == len(final) - 1
                assert same and page.text == final[number].text, (page, final[number])
            elif held or begins_file(final, number):
                continue
            elif number < len(final):
                assert final[number].text.startswith(page.stable), (page, final[number])
            else:
                assert page.stable == ""


def letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))


# ── visible text, according to an independent parser ──────────────────────────────────────────
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def visible_text(markdown: str) -> str:
    """The text without markup and whitespace."""
    return "".join("".join(_texts(_PARSER.parse(markdown))).split())


def _texts(tokens: Sequence[Token]) -> Iterable[str]:
    for token in tokens:
        if token.children is not None:
            yield from _texts(token.children)
        elif token.type in ("text", "code_inline", "fence", "code_block", "text_special"):
            yield token.content


def first_raw(shown: str, final: str) -> str | None:
    """The first text in `shown` that is not in `final`, ignoring delimiters missing in `shown`."""
    at = 0
    for index, char in enumerate(shown):
        while at < len(final) and final[at] != char and final[at] in "*_~[]`!<&\\|":
            at += 1
        if at == len(final) or final[at] != char:
            return shown[max(0, index - 20) : index + 1]
        at += 1
    return None


few_examples = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking such documents takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)


# ── documents ─────────────────────────────────────────────────────────────────────────────────
_word = st.sampled_from(
    [
        "alpha",
        "beta",
        "Zürich",
        "naïve",
        "水温",
        "お茶",
        "العربية",
        "👍🏽",
        "👨\u200d👩\u200d👧",
        "e\u0301tude",
        "12",
        "x=1",
        "the",
        "of",
        "don’t",
        "a.b",
    ]
)
_words = st.lists(_word, min_size=1, max_size=12).map(" ".join)
_spans = st.one_of(
    _words,
    _words.map(lambda words: f"**{words}**"),
    _words.map(lambda words: f"*{words}*"),
    _words.map(lambda words: f"~~{words}~~"),
    _words.map(lambda words: f"`{words}`"),
    _words.map(lambda words: f"[{words}](https://example.org/x?a=1)"),
    _words.map(lambda words: f"**{words} *{words}* {words}**"),
)
_line = st.lists(_spans, min_size=1, max_size=6).map(" ".join)
_paragraph = st.lists(_line, min_size=1, max_size=4).map("\n".join)
_heading = st.tuples(st.integers(1, 4), _words).map(lambda pair: "#" * pair[0] + " " + pair[1])
_code_line = st.sampled_from(
    ["x = 1", "", "    return x", "# no *markup*", "| a | b |", "- `x`", "<tag> & co", "y" * 90]
)
_fence = st.tuples(st.sampled_from(["", "python", "sh"]), st.lists(_code_line, max_size=30)).map(
    lambda pair: f"```{pair[0]}\n" + "".join(f"{line}\n" for line in pair[1]) + "```"
)
_table = st.lists(st.tuples(_words, _spans), min_size=1, max_size=12).map(
    lambda rows: "| k | v |\n|---|:--|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)
)


def _list_of(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(
        st.booleans(), st.integers(1, 12), st.lists(blocks, min_size=1, max_size=5)
    ).map(lambda parts: _items(*parts))


def _items(ordered: bool, start: int, blocks: list[str]) -> str:
    items = []
    for number, block in enumerate(blocks, start):
        marker = f"{number}. " if ordered else "- "
        items.append(marker + block.replace("\n", "\n" + " " * len(marker)))
    return "\n".join(items)


def _quote_of(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return blocks.map(lambda block: "> " + block.replace("\n", "\n> "))


_block = st.recursive(
    st.one_of(_paragraph, _paragraph, _heading, _fence, _table, st.just("---")),
    lambda inner: st.one_of(_list_of(inner), _quote_of(inner)),
    max_leaves=6,
)
documents = st.lists(_block, min_size=1, max_size=6).map("\n\n".join)

anything = st.text(
    alphabet=st.one_of(
        st.sampled_from("ab *_`~[]()<>!|#-+=>.1\\\n\n \t"), st.characters(codec="utf-8")
    ),
    max_size=400,
)


def chunked(text: str, sizes: Sequence[int]) -> list[str]:
    """`text` in chunks of these sizes, repeated."""
    chunks, at, turn = [], 0, 0
    while at < len(text):
        size = max(1, sizes[turn % len(sizes)]) if sizes else len(text)
        chunks.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return chunks

"""Long code becomes a file: when it does, its content and its name; sealed pages never change for
it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.domain.replies import FileRules, Frame, Page
from bot.replies.paging.document import Document
from bot.replies.paging.file_names import LONGEST, file_name
from tests.support.replies import (
    ANSWERS,
    check_final,
    check_growth,
    chunked,
    documents,
    few_examples,
    final_pages,
    frame_of,
    frames,
)
from tests.support.surfaces import EscapingRenderer, PlainRenderer, utf16

RULES = FileRules(from_pages=3, most_bytes=10**6)
RENDERERS = [PlainRenderer(300), PlainRenderer(260, utf16), EscapingRenderer(340)]
CODE = "".join(f"line_{number} = {number}\n" for number in range(60))


def fenced(code: str = CODE, info: str = "python") -> str:
    return f"```{info}\n{code}```"


def pages_of(text: str, rules: FileRules = RULES) -> tuple[Page, ...]:
    renderer = PlainRenderer(300)
    pages = final_pages(text, renderer, rules)
    check_final(text, pages, renderer)
    for sizes in ([1], [50, 3]):
        seen = frames(chunked(text, sizes), renderer, rules)
        check_growth(seen, renderer)
        assert seen[-1].pages == pages
    return pages


def only_file(pages: tuple[Page, ...]) -> tuple[str, str]:
    (file,) = [page.file for page in pages if page.file is not None]
    return file.name, file.text


# ── when a block becomes a file ───────────────────────────────────────────────────────────────
def test_a_long_block_becomes_its_first_lines_and_a_file() -> None:
    """The preceding text, twelve lines and a note; the file with a caption; then the following
    text."""
    first, second, third = pages_of(f"Here:\n\n{fenced()}\n\nThat is all.")
    shown = "".join(CODE.splitlines(keepends=True)[:12])
    sentence = "_That is how it begins: all of it, 60 lines, is in the file below._"
    assert first.text == f"Here:\n\n```python\n{shown}```\n\n{sentence}"
    assert second.text == "`code.py`, 60 lines"
    assert second.file is not None
    assert (second.file.name, second.file.text) == ("code.py", CODE)
    assert third.text == "That is all."


@pytest.mark.parametrize(("lines", "files"), [(30, 0), (50, 1)])
def test_the_rules_say_from_how_many_pages_a_block_is_a_file(lines: int, files: int) -> None:
    """A block of two pages stays text; a third makes it a file."""
    code = "".join(CODE.splitlines(keepends=True)[:lines])
    pages = pages_of(f"{fenced(code)}\n\nDone.")
    assert sum(page.file is not None for page in pages) == files
    if not files:
        assert pages == final_pages(f"{fenced(code)}\n\nDone.", PlainRenderer(300))


def test_without_rules_all_code_is_text() -> None:
    assert all(page.file is None for page in final_pages(fenced(CODE * 5), PlainRenderer(300)))


def test_a_block_that_is_too_large_for_a_file_stays_text() -> None:
    """The size is known late, but the pages were not sealed yet."""
    pages = pages_of(fenced(CODE * 3), FileRules(from_pages=3, most_bytes=1_000))
    assert pages == final_pages(fenced(CODE * 3), PlainRenderer(300))


def test_prose_and_tables_never_become_files() -> None:
    rows = "\n".join(f"| {number} | some value of it |" for number in range(80))
    pages = pages_of("A sentence of words. " * 100 + f"\n\n| a | b |\n|---|---|\n{rows}")
    assert len(pages) > 8
    assert all(page.file is None for page in pages)


def test_a_reply_may_have_two_files_and_text_between_them() -> None:
    pages = pages_of(f"One:\n\n{fenced()}\n\nTwo:\n\n{fenced(CODE * 2, 'json')}\n\nEnd.")
    assert [page.file.name if page.file else "" for page in pages] == [
        *("", "code.py"),
        *("", "data.json"),
        "",
    ]
    assert (pages[2].text.partition("\n")[0], pages[4].text) == ("Two:", "End.")


def test_a_reply_may_end_in_its_code() -> None:
    """The end may be the closing fence, the code itself, or the middle of a line."""
    for text in (fenced(), fenced() + "\n", f"```python\n{CODE}"):
        assert only_file(pages_of(text)) == ("code.py", CODE)
    assert only_file(pages_of(f"```python\n{CODE}x = ")) == ("code.py", CODE + "x = ")


def test_text_directly_after_the_block_is_not_lost() -> None:
    for tail in ("1", "-", "#", "> x", "1.", "---", "```"):
        text = f"{fenced()}\n{tail}"
        pages = pages_of(text)
        assert only_file(pages)[1] == CODE
        assert pages[-1].end == len(text)
        if tail != "```":
            assert len(pages) == 3, tail


# ── content of the file ───────────────────────────────────────────────────────────────────────
INDENTED = "def f():\n    if x:\n\n        return 1\n" + CODE.replace("line", "    line")


@pytest.mark.parametrize("code", [CODE, INDENTED, "\n\n" + CODE + "\n", "~~~\n# ``\n" + CODE])
@pytest.mark.parametrize(
    "around", ["", "> ", "- ", "1. ", "> 1. ", "- > ", "   ", "- a\n\n    - b\n\n      "]
)
def test_the_file_holds_exactly_the_code(around: str, code: str) -> None:
    """The containers' markers and indentation are removed; the code's own indentation stays."""
    before, _, first = around.rpartition("\n")
    further = first if set(first) <= {">", " "} else first.replace("-", " ").replace("1.", "  ")
    lines = fenced(code).split("\n")
    block = first + lines[0] + "\n" + "\n".join(further + line for line in lines[1:])
    text = f"{before}\n{block}" if before else block
    assert only_file(pages_of(f"{text}\n\nAfter it."))[1] == code


def test_a_very_long_line_is_whole_in_the_file() -> None:
    """Every page shown before the file splits the line."""
    line = '{"a": [' + "1, " * 600 + "  0]}"
    pages = pages_of(f"Data:\n\n```json\n{line}\n```\n\nDone.")
    assert only_file(pages) == ("data.json", line + "\n")
    assert pages[0].text.startswith("Data:\n\n_That is how")


def test_half_a_surrogate_pair_is_replaced_in_the_file() -> None:
    pages = pages_of(fenced(CODE + "\ud83d\n"))
    file = next(page.file for page in pages if page.file is not None)
    assert file.data == (CODE + "?\n").encode()


# ── while it grows ────────────────────────────────────────────────────────────────────────────
def test_pages_of_code_are_provisional_until_the_block_ends() -> None:
    """When the block ends early, the same pages are sealed."""
    code = "".join(CODE.splitlines(keepends=True)[:30])
    document = Document(PlainRenderer(300), RULES)
    document.write(f"```python\n{code}")
    first, second = frame_of(document).pages
    assert (first.provisional, first.sealed) == (True, False)
    assert not second.full
    document.finish(f"```python\n{code}```")
    after = frame_of(document).pages
    assert (after[0].text, after[0].sealed) == (first.text, True)


def test_a_growing_file_shows_its_number_of_lines() -> None:
    """One page with the beginning and a count replaces the pages so far."""
    document, sizes = Document(PlainRenderer(300), RULES), []
    for line in f"Hi.\n\n```python\n{CODE}".splitlines(keepends=True):
        document.write(line)
        frame = frame_of(document)
        sizes.append(len(frame.pages))
    assert (max(sizes), sizes[-1]) == (2, 1)
    assert frame.whole
    (page,) = frame.pages
    assert page.text.endswith(
        "_This is getting long: 60 lines so far. All of it will be in a file below._"
    )
    assert page.end == len(document)
    assert not page.full


def test_refused_files_become_pages() -> None:
    """Everything is paginated again, as if the file rules did not exist."""
    text = f"Here:\n\n{fenced()}\n\nThat is all."
    document = Document(PlainRenderer(300), RULES)
    document.write(text)
    assert any(page.file for page in frame_of(document).pages)
    document.disable_files()
    document.finish()
    assert frame_of(document).pages == final_pages(text, PlainRenderer(300))


def test_another_end_is_paginated_from_where_it_differs() -> None:
    """An added notice keeps the file; a different text in the middle of the code does not."""
    text = f"Here:\n\n{fenced()}\n\nThat is all."
    for other in (f"{text}\n\n_Stopped._", text[:400] + "```\n\nSorry.", "Sorry."):
        document = Document(PlainRenderer(300), RULES)
        document.write(text)
        frame_of(document)
        document.finish(other)
        assert frame_of(document).pages == final_pages(other, PlainRenderer(300), RULES)


def test_a_longer_end_is_paginated_again() -> None:
    """The first end decided what follows the code; the second one changes it."""
    document = Document(PlainRenderer(300), RULES)
    document.write(f"{fenced()}\n1")
    document.finish()
    assert frame_of(document).pages[-1].text == "1"
    longer = f"{fenced()}\n1. one\n2. two"
    document.finish(longer)
    assert frame_of(document).pages == final_pages(longer, PlainRenderer(300), RULES)


# ── properties ────────────────────────────────────────────────────────────────────────────────
_long = st.tuples(
    st.sampled_from(["", "python", "json", "~"]),
    st.lists(
        st.sampled_from(
            ["x = 1", "", "    return `x`", "# no", "- a", "> b", "水" * 40, "y" * 400]
        ),
        min_size=20,
        max_size=60,
    ),
    st.sampled_from(["", "", "> ", "- ", "12. ", " "]),
    st.booleans(),
).map(lambda parts: _block(*parts))
with_code = st.lists(st.one_of(documents, _long, _long), min_size=1, max_size=4).map("\n\n".join)


def _block(info: str, lines: list[str], around: str, closed: bool) -> str:
    mark = "~~~" if info == "~" else "```"
    block = [mark + info.strip("~"), *lines, *([mark] if closed else [])]
    further = around if set(around) <= {">", " "} else " " * len(around)
    return "\n".join((further if n else around) + line for n, line in enumerate(block))


def codes(text: str) -> list[str]:
    """The fenced blocks of a text, according to an independent parser."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["html_block", "reference"])
    return [token.content for token in parser.parse(text) if token.type == "fence"]


def check_files(text: str, seen: list[Frame]) -> None:
    """Every file is one of the text's code blocks, in order."""
    blocks = iter(code.rstrip("\n") for code in codes(text))
    for page in seen[-1].pages:
        if page.file is not None:
            assert page.file.text.rstrip("\n") in blocks, page


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_have_the_same_pages_and_files_in_any_chunks(
    name: str, renderer: PlainRenderer
) -> None:
    """The text arrives in one piece, in tokens, or, on the smallest pages, in characters."""
    text = ANSWERS[name]
    expected = final_pages(text, renderer, RULES)
    check_final(text, expected, renderer)
    for sizes in ([1], [4, 7, 2], [61])[renderer is not RENDERERS[1] :]:
        seen = frames(chunked(text, sizes), renderer, RULES)
        check_growth(seen, renderer)
        check_files(text, seen)
        assert seen[-1].pages == expected


@few_examples
@given(
    with_code,
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
    st.sampled_from(RENDERERS),
    st.integers(2, 4),
)
def test_generated_documents_have_the_same_pages_and_files_in_any_chunks(
    text: str, sizes: list[int], renderer: PlainRenderer, from_pages: int
) -> None:
    """Every file holds its code block."""
    rules = FileRules(from_pages, 10**6)
    expected = final_pages(text, renderer, rules)
    check_final(text, expected, renderer)
    seen = frames(chunked(text, sizes), renderer, rules)
    check_growth(seen, renderer)
    check_files(text, seen)
    assert seen[-1].pages == expected


# ── names ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("info", "code", "name"),
    [
        ("python", "x", "code.py"),
        ("Python", "x", "code.py"),
        ("", "x", "code.txt"),
        ("json", "{}", "data.json"),
        ("csv", "a,b", "data.csv"),
        ("sql", "x", "code.sql"),
        ("html", "<p>", "code.html"),
        ("diff", "-a", "code.diff"),
        ("c++", "x", "code.cpp"),
        ("yml", "a: 1", "data.yaml"),
        ("brainfuck", "+", "code.txt"),
        ("Fortran", "x", "code.f90"),
        ("docker", "FROM x", "code.dockerfile"),
        ("makefile", "all:", "code.mk"),
        ("batch", "del", "code.txt"),
        ("exe", "MZ", "code.txt"),
        ("app.py", "x", "app.py"),
        ("python:app.py", "x", "app.py"),
        ('js title="server.test.js"', "x", "server.test.js"),
        ("python filename=main.py", "x", "main.py"),
        ("{.python}", "x", "code.py"),
        ("python", "# app.py\nx", "app.py"),
        ("html", "<!-- index.html -->\n", "index.html"),
        ("css", "/* style.css */\n", "style.css"),
        ("js", "// file: server.js\n", "server.js"),
        ("python", "# src/app.py\n", "code.py"),
        ("python", "# ../../etc/passwd.py\n", "code.py"),
        ("python", "# .hidden.py\n", "code.py"),
        ("python", "# see app.py\n", "code.py"),
        ("python", "# evil.exe\n", "code.py"),
        ("python", f"# {'a' * LONGEST}.py\n", "code.py"),
        ("python", "# a\u202eyp.py\n", "code.py"),
    ],
)
def test_a_file_is_named_by_its_language_or_by_the_model(info: str, code: str, name: str) -> None:
    """A name from the model must be plain, never a path."""
    assert file_name(info, code) == name


@pytest.mark.parametrize(
    "line",
    ["#" * 2_000 + " " * 2_000 + "x y", "<!--" * 9_000, "# " * 20_000, "/*" * 20_000 + " a*"],
)
def test_a_long_first_line_is_not_searched_for_a_name(line: str) -> None:
    """The search took half a minute."""
    assert file_name("", f"{line}\ncode") == "code.txt"
    assert file_name(f"title={line}", "code") == "code.txt"

"""Long code becomes a file: when, what is in it, and that nothing sealed changes for it."""

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
    frame_of,
    frames,
    quickly,
    whole,
)
from tests.support.surfaces import Escaping, Measured, utf16

RULES = FileRules(from_pages=3, most_bytes=10**6)
RENDERERS = [Measured(300), Measured(260, utf16), Escaping(340)]
CODE = "".join(f"line_{number} = {number}\n" for number in range(60))


def fenced(code: str = CODE, info: str = "python") -> str:
    return f"```{info}\n{code}```"


def pages_of(text: str, rules: FileRules = RULES) -> tuple[Page, ...]:
    renderer = Measured(300)
    pages = whole(text, renderer, rules)
    check_final(text, pages, renderer)
    for sizes in ([1], [50, 3]):
        seen = frames(chunked(text, sizes), renderer, rules)
        check_growth(seen, renderer)
        assert seen[-1].pages == pages
    return pages


def only_file(pages: tuple[Page, ...]) -> tuple[str, str]:
    (file,) = [page.file for page in pages if page.file is not None]
    return file.name, file.text


# ── when, and what people see ─────────────────────────────────────────────────────────────────
def test_the_beginning_stays_and_the_rest_is_in_the_file() -> None:
    """Before it, twelve lines, our words; the file with a caption; then what follows."""
    first, second, third = pages_of(f"Here:\n\n{fenced()}\n\nThat is all.")
    shown = "".join(CODE.splitlines(keepends=True)[:12])
    sentence = "_That is how it begins: all of it, 60 lines, is in the file below._"
    assert first.text == f"Here:\n\n```python\n{shown}```\n\n{sentence}"
    assert second.text == "`code.py`, 60 lines"
    assert second.file is not None
    assert (second.file.name, second.file.text) == ("code.py", CODE)
    assert third.text == "That is all."


@pytest.mark.parametrize(("lines", "files"), [(30, 0), (50, 1)])
def test_it_takes_as_many_messages_as_the_rules_say(lines: int, files: int) -> None:
    """A block of two pages stays text; the third makes it a file."""
    code = "".join(CODE.splitlines(keepends=True)[:lines])
    pages = pages_of(f"{fenced(code)}\n\nDone.")
    assert sum(page.file is not None for page in pages) == files
    if not files:
        assert pages == whole(f"{fenced(code)}\n\nDone.", Measured(300))


def test_without_rules_everything_is_text() -> None:
    assert all(page.file is None for page in whole(fenced(CODE * 5), Measured(300)))


def test_a_block_that_is_too_large_for_a_file_stays_text() -> None:
    """Also when it is seen late: its pages were never sealed, and are cut as ever."""
    pages = pages_of(fenced(CODE * 3), FileRules(from_pages=3, most_bytes=1_000))
    assert pages == whole(fenced(CODE * 3), Measured(300))


def test_prose_and_tables_stay_text() -> None:
    """People read them where they are."""
    rows = "\n".join(f"| {number} | some value of it |" for number in range(80))
    pages = pages_of("A sentence of words. " * 100 + f"\n\n| a | b |\n|---|---|\n{rows}")
    assert len(pages) > 8
    assert all(page.file is None for page in pages)


def test_two_files_and_text_between_them() -> None:
    pages = pages_of(f"One:\n\n{fenced()}\n\nTwo:\n\n{fenced(CODE * 2, 'json')}\n\nEnd.")
    assert [page.file.name if page.file else "" for page in pages] == [
        *("", "code.py"),
        *("", "data.json"),
        "",
    ]
    assert (pages[2].text.partition("\n")[0], pages[4].text) == ("Two:", "End.")


def test_a_reply_that_ends_in_its_code() -> None:
    """With the fence's end, without it, and where it was stopped in the middle of a line."""
    for text in (fenced(), fenced() + "\n", f"```python\n{CODE}"):
        assert only_file(pages_of(text)) == ("code.py", CODE)
    assert only_file(pages_of(f"```python\n{CODE}x = ")) == ("code.py", CODE + "x = ")


def test_what_follows_at_once_is_not_lost() -> None:
    """Not even the shortest."""
    for tail in ("1", "-", "#", "> x", "1.", "---", "```"):
        text = f"{fenced()}\n{tail}"
        pages = pages_of(text)
        assert only_file(pages)[1] == CODE
        assert pages[-1].end == len(text)
        if tail != "```":
            assert len(pages) == 3, tail


# ── what is in the file ───────────────────────────────────────────────────────────────────────
INDENTED = "def f():\n    if x:\n\n        return 1\n" + CODE.replace("line", "    line")


@pytest.mark.parametrize("code", [CODE, INDENTED, "\n\n" + CODE + "\n", "~~~\n# ``\n" + CODE])
@pytest.mark.parametrize(
    "around", ["", "> ", "- ", "1. ", "> 1. ", "- > ", "   ", "- a\n\n    - b\n\n      "]
)
def test_the_file_is_the_code_and_nothing_else(around: str, code: str) -> None:
    """No marks and no indentation of what the block stands in; its own stay."""
    before, _, first = around.rpartition("\n")
    further = first if set(first) <= {">", " "} else first.replace("-", " ").replace("1.", "  ")
    lines = fenced(code).split("\n")
    block = first + lines[0] + "\n" + "\n".join(further + line for line in lines[1:])
    text = f"{before}\n{block}" if before else block
    assert only_file(pages_of(f"{text}\n\nAfter it."))[1] == code


def test_a_line_without_end_goes_into_the_file_whole() -> None:
    """Cut in the middle on every page that was shown on the way, and not in the file."""
    line = '{"a": [' + "1, " * 600 + "  0]}"
    pages = pages_of(f"Data:\n\n```json\n{line}\n```\n\nDone.")
    assert only_file(pages) == ("data.json", line + "\n")
    assert pages[0].text.startswith("Data:\n\n_That is how")


def test_half_a_surrogate_pair_does_not_end_the_reply() -> None:
    """No file can hold it; everything else arrives."""
    pages = pages_of(fenced(CODE + "\ud83d\n"))
    file = next(page.file for page in pages if page.file is not None)
    assert file.data == (CODE + "?\n").encode()


# ── on the way ────────────────────────────────────────────────────────────────────────────────
def test_pages_of_code_are_shown_before_anybody_knows() -> None:
    """They are not sealed; when the block ends early, the same pages are."""
    code = "".join(CODE.splitlines(keepends=True)[:30])
    document = Document(Measured(300), RULES)
    document.write(f"```python\n{code}")
    first, second = frame_of(document).pages
    assert (first.provisional, first.sealed) == (True, False)
    assert not second.full
    document.finish(f"```python\n{code}```")
    after = frame_of(document).pages
    assert (after[0].text, after[0].sealed) == (first.text, True)


def test_a_growing_file_says_how_far_it_is() -> None:
    """One page with its beginning and a count takes the place of the pages so far."""
    document, sizes = Document(Measured(300), RULES), []
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


def test_files_that_are_refused_become_pages() -> None:
    """The place takes none after all: everything is cut anew, as if there had been no rules."""
    text = f"Here:\n\n{fenced()}\n\nThat is all."
    document = Document(Measured(300), RULES)
    document.write(text)
    assert any(page.file for page in frame_of(document).pages)
    document.without_files()
    document.finish()
    assert frame_of(document).pages == whole(text, Measured(300))


def test_another_end_is_cut_anew_from_where_it_differs() -> None:
    """A sentence of ours below keeps the file; another text in the middle of the code does not."""
    text = f"Here:\n\n{fenced()}\n\nThat is all."
    for other in (f"{text}\n\n_Stopped._", text[:400] + "```\n\nSorry.", "Sorry."):
        document = Document(Measured(300), RULES)
        document.write(text)
        frame_of(document)
        document.finish(other)
        assert frame_of(document).pages == whole(other, Measured(300), RULES)


def test_an_end_that_goes_on_is_cut_anew() -> None:
    """What followed the code was told by the reply's end, which was not the end."""
    document = Document(Measured(300), RULES)
    document.write(f"{fenced()}\n1")
    document.finish()
    assert frame_of(document).pages[-1].text == "1"
    longer = f"{fenced()}\n1. one\n2. two"
    document.finish(longer)
    assert frame_of(document).pages == whole(longer, Measured(300), RULES)


# ── for any text ──────────────────────────────────────────────────────────────────────────────
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
    """The fenced blocks of a text, read by a parser that is not ours."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["html_block", "reference"])
    return [token.content for token in parser.parse(text) if token.type == "fence"]


def check_files(text: str, seen: list[Frame]) -> None:
    """Every file is one of the text's code blocks, and they are in its order."""
    blocks = iter(code.rstrip("\n") for code in codes(text))
    for page in seen[-1].pages:
        if page.file is not None:
            assert page.file.text.rstrip("\n") in blocks, page


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_in_any_chunks(name: str, renderer: Measured) -> None:
    """Realistic answers end the same in one piece, in tokens and in characters."""
    text = ANSWERS[name]
    expected = whole(text, renderer, RULES)
    check_final(text, expected, renderer)
    for sizes in ([1], [4, 7, 2], [61]):
        seen = frames(chunked(text, sizes), renderer, RULES)
        check_growth(seen, renderer)
        check_files(text, seen)
        assert seen[-1].pages == expected


@quickly
@given(
    with_code,
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
    st.sampled_from(RENDERERS),
    st.integers(2, 4),
)
def test_generated_documents(
    text: str, sizes: list[int], renderer: Measured, from_pages: int
) -> None:
    """The old properties hold, and the files hold the code."""
    rules = FileRules(from_pages, 10**6)
    expected = whole(text, renderer, rules)
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
def test_names(info: str, code: str, name: str) -> None:
    """From the language, or a plain name that the model gave; never a path."""
    assert file_name(info, code) == name


@pytest.mark.parametrize(
    "line",
    ["#" * 2_000 + " " * 2_000 + "x y", "<!--" * 9_000, "# " * 20_000, "/*" * 20_000 + " a*"],
)
def test_a_long_first_line_has_no_name(line: str) -> None:
    """And is not searched for one: that took half a minute."""
    assert file_name("", f"{line}\ncode") == "code.txt"
    assert file_name(f"title={line}", "code") == "code.txt"

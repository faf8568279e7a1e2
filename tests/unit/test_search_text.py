"""The search's language and its texts, without a database."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.search import (
    SNIPPET,
    Snippet,
    parse_query,
    snippet_of,
    snippet_of_markdown,
)
from bot.domain.search_text import MOST_BYTES, Term, clean, fold, offsets, tokens_of


def at(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


def test_every_part_of_the_language() -> None:
    query = parse_query(
        'foo "Bar  baz" -qux -"a b" in:title model:gpt-5 before:2026-11-02 after:2025'
    )
    assert query.terms == (Term(("foo",), is_open=True), Term(("bar", "baz")))
    assert query.excluded == (Term(("qux",), is_open=True), Term(("a", "b")))
    assert query.models == (Term(("gpt", "5")),)
    assert query.in_title
    assert (query.before, query.after) == (at(2026, 11, 2), at(2025, 1, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("before:yesterday", ("before", "yesterday")),
        ("after:2026-13", ("after", "2026", "13")),
        ("in:body", ("in", "body")),
        ("model:!!", ("model",)),
        ('"not closed', ("not", "closed")),
        ("a-b_c.d", ("a", "b", "c", "d")),
        ("“curly quotes”", ("curly", "quotes")),
        ("http://x.org/?q=1", ("http", "x", "org", "q", "1")),
    ],
)
def test_what_is_not_understood_is_text(text: str, words: tuple[str, ...]) -> None:
    query = parse_query(text)
    assert [term.pieces for term in query.terms] == [words]


@pytest.mark.parametrize("text", ["", "  ", "-", '""', "!?", "-word", "🙂", "in:title"])
def test_what_asks_for_nothing_is_empty(text: str) -> None:
    assert parse_query(text).is_empty


def test_days_begin_where_the_person_is() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert parse_query("after:2026-11-30", tokyo).after == at(2026, 11, 29, 15)


@given(st.text(max_size=80))
def test_no_query_is_an_error(text: str) -> None:
    parse_query(text).matches(text)


@given(st.text(max_size=60), st.integers(0, 60), st.integers(1, 20))
def test_a_part_of_a_text_that_is_found_has_its_tokens(text: str, start: int, length: int) -> None:
    """The index lists every text that matches."""
    for is_open in (False, True):
        term = Term.of(text[start : start + length], is_open=is_open)
        if not term.pieces or not term.is_in(fold(clean(text))):
            continue
        known = tokens_of(text)
        for token in term.tokens():
            if token.is_prefix:
                assert any(each.startswith(token.text) for each in known)
            else:
                assert token.text in known
        if term.is_exact:
            assert snippet_of(text, [term]).marks


@given(st.text(max_size=60))
def test_offsets_lead_back_into_the_text(text: str) -> None:
    text = clean(text)
    places = offsets(text)
    assert len(places) == len(fold(text)) + 1
    assert sorted(places) == list(places)
    assert places[-1] == len(text)


def test_marks_are_the_matches_in_the_persons_own_spelling() -> None:
    text = "Das  CAFÉ\nin der Straße, cafe\u0301 42 東京都"
    snippet = snippet_of(text, parse_query("cafe strasse 京都").terms)
    assert snippet.text == "Das CAFÉ in der Straße, café 42 東京都"
    found = [snippet.text[start:end] for start, end in snippet.marks]
    assert found == ["CAFÉ", "Straße", "café", "京都"]


def test_a_snippet_of_a_long_text_is_around_the_first_match() -> None:
    text = "word " * 500 + "needle " + "more " * 500
    snippet = snippet_of(text, parse_query("needle").terms)
    assert snippet.text.startswith("…word")
    assert snippet.text.endswith("…")
    assert len(snippet.text) <= SNIPPET + 2
    assert [snippet.text[start:end] for start, end in snippet.marks] == ["needle"]
    assert snippet_of("no match", parse_query("needle").terms) == Snippet("no match")


@pytest.mark.parametrize("seed", range(20))
def test_frequent_words_are_found_as_rare_ones(seed: int) -> None:
    """If many words in a text begin with a term, the rest of the text is read in another way."""
    chance = random.Random(seed)
    words = chance.choices(["a", "aa", "ab", "京", "a-a"], k=2_000)
    text = chance.choice([" ", ""]).join([*words, "b"])
    for quoted in ('"a b"', '"a"', '"aa ab"', '"京"', '"京a"'):
        (term,) = parse_query(quoted).terms
        assert list(term.find(text)) == [each.span() for each in term._pattern.finditer(text)]


def test_a_hostile_text_takes_no_more_than_the_time_of_a_search() -> None:
    """Time may run out before it is known whether a text matches."""
    query = parse_query(" ".join(f'-"a {letter}"' for letter in "cdefgh") + " a")
    asked = count()
    assert query.matches("a " * 9)
    assert not query.matches("a " * 9, lambda: next(asked) >= 3)
    assert next(asked) == 4, "the other terms were not looked for"


@pytest.mark.parametrize(
    ("text", "words", "shown"),
    [
        ("# Title\n\nA **bold** word", "bold word", "Title A [bold] [word]"),
        ("see [the docs](https://example.org/docs)", "docs", "see the [docs]"),
        (
            "see [the docs](https://needle.org) now",
            "needle",
            "see the docs](https://[needle].org) now",
        ),
        ("- [x] done\n- [ ] open", "open", "done [open]"),
        ("a **needle** in `a * b`", '"needle in"', "a [needle in] a * b"),
        (
            "```python\ndef __init__(self): ...\n```\n\n__so__",
            "init so",
            "def __[init]__(self): ... [so]",
        ),
        ("| a | needle |\n|---|---|\n| 1 | 2 |", "needle", "a [needle] 1 2"),
        ("2 * 3 = snake_case", "snake", "2 * 3 = [snake]_case"),
        ("**京都**の*天気*", "京都 天気", "[京都]の[天気]"),
        (
            "```\n" + "x = 1 * 2\n" * 30 + "needle = *a*\n```",
            "needle",
            "…= 1 * 2 x = 1 * 2 x = 1 * 2 x = 1 * 2 x = 1 * 2 x = 1 * 2 [needle] = *a*",
        ),
        ("\\*not bold\\*", "bold", "*not [bold]*"),
        ("****", "x", ""),
    ],
)
def test_a_snippet_of_an_answer_has_no_markdown_and_its_marks_at_the_words(
    text: str, words: str, shown: str
) -> None:
    snippet = snippet_of_markdown(text, parse_query(words).terms)
    marked, at = "", 0
    for start, end in snippet.marks:
        marked += f"{snippet.text[at:start]}[{snippet.text[start:end]}]"
        at = end
    assert marked + snippet.text[at:] == shown


@given(st.text(alphabet="ab* _`[]()#>-|\n京\u00df~\\", max_size=900))
def test_marks_of_a_snippet_have_what_was_searched(text: str) -> None:
    """Whatever is left out, marks are in order, and none is empty."""
    snippet = snippet_of_markdown(text, parse_query("ab 京").terms)
    assert len(snippet.text) <= SNIPPET + 2
    ends = [end for mark in snippet.marks for end in mark]
    assert ends == sorted(ends)
    for start, end in snippet.marks:
        letters = [char for char in snippet.text[start:end] if char.isalpha()]
        assert set(letters) <= set("abAB京"), snippet
        assert letters


def test_a_snippet_does_not_mark_the_whole_of_a_long_text() -> None:
    (term,) = parse_query('"a"').terms
    snippet = snippet_of("a " * 500_000, [term])
    assert len(snippet.marks) == SNIPPET // 2


def test_a_huge_text_has_bounded_tokens() -> None:
    found = tokens_of(" ".join(f"w{number:09}" for number in range(200_000)))
    assert MOST_BYTES - 20 < sum(len(each) + 1 for each in found) < MOST_BYTES + 20
    assert max(map(len, tokens_of("x" * 100_000))) == 40

"""Pages: they tile the reply, fit the platform, are final once sealed, whatever the chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.replies import (
    ANSWERS,
    anything,
    check_final,
    check_growth,
    chunked,
    documents,
    frames,
    quickly,
    whole,
)
from tests.support.surfaces import Escaping, Measured, utf16

RENDERERS = [Measured(2_000), Measured(300), Measured(120, utf16), Escaping(260)]
names = [f"{type(renderer).__name__}-{renderer.limit}" for renderer in RENDERERS]


@pytest.mark.parametrize("renderer", RENDERERS, ids=names)
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_in_any_chunks(name: str, renderer: Measured) -> None:
    """Realistic answers end the same in one piece, in tokens and in characters."""
    text = ANSWERS[name]
    expected = whole(text, renderer)
    check_final(text, expected, renderer)
    for sizes in ([1], [4, 7, 2], [61]):
        seen = frames(chunked(text, sizes), renderer)
        check_growth(seen, renderer)
        assert seen[-1].pages == expected


@pytest.mark.parametrize("name", [name for name, text in ANSWERS.items() if len(text) < 600])
def test_every_single_split_of_the_smaller_answers(name: str) -> None:
    """Cut in two at any character, an answer ends the same."""
    text, renderer = ANSWERS[name], Measured(200)
    expected = whole(text, renderer)
    for split in range(1, len(text)):
        seen = frames([text[:split], text[split:]], renderer)
        assert seen[-1].pages == expected
        check_growth(seen, renderer)


@quickly
@given(documents, st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from(RENDERERS))
def test_generated_documents(text: str, sizes: list[int], renderer: Measured) -> None:
    """The same holds for generated Markdown."""
    expected = whole(text, renderer)
    check_final(text, expected, renderer)
    seen = frames(chunked(text, sizes), renderer)
    check_growth(seen, renderer)
    assert seen[-1].pages == expected


@quickly
@given(anything, st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 80))
def test_anything_at_all(text: str, sizes: list[int], limit: int) -> None:
    """And for text that is hardly Markdown, on pages that are far too small."""
    renderer = Measured(limit)
    expected = whole(text, renderer)
    check_final(text, expected, renderer)
    assert frames(chunked(text, sizes), renderer)[-1].pages == expected

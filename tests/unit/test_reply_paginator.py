"""Pages tile the reply, fit the platform, and are final once sealed, whatever the chunks."""

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
    few_examples,
    final_pages,
    frames,
)
from tests.support.surfaces import EscapingRenderer, PlainRenderer, utf16

RENDERERS = [
    PlainRenderer(2_000),
    PlainRenderer(300),
    PlainRenderer(120, utf16),
    EscapingRenderer(260),
]
names = [f"{type(renderer).__name__}-{renderer.limit}" for renderer in RENDERERS]

# Going character by character costs as much as all other chunk sizes together, so it is done only
# on the smallest pages, and on those whose measure and text differ from the source.
BY_CHARACTER = RENDERERS[2:]


@pytest.mark.parametrize("renderer", RENDERERS, ids=names)
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_have_the_same_pages_in_any_chunks(name: str, renderer: PlainRenderer) -> None:
    """The text arrives in one piece, in tokens, or character by character."""
    text = ANSWERS[name]
    expected = final_pages(text, renderer)
    check_final(text, expected, renderer)
    for sizes in ([1], [4, 7, 2], [61])[renderer not in BY_CHARACTER :]:
        seen = frames(chunked(text, sizes), renderer)
        check_growth(seen, renderer)
        assert seen[-1].pages == expected


@pytest.mark.parametrize("name", [name for name, text in ANSWERS.items() if len(text) < 600])
def test_short_answers_have_the_same_pages_when_split_anywhere(name: str) -> None:
    """The texts are split at each character that may be markup, and at some places inside words."""
    text, renderer = ANSWERS[name], PlainRenderer(200)
    expected = final_pages(text, renderer)
    for split in range(1, len(text)):
        if split % 5 and text[split - 1 : split + 1].isalnum():
            continue
        seen = frames([text[:split], text[split:]], renderer)
        assert seen[-1].pages == expected
        check_growth(seen, renderer)


@few_examples
@given(documents, st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from(RENDERERS))
def test_generated_documents_have_the_same_pages_in_any_chunks(
    text: str, sizes: list[int], renderer: PlainRenderer
) -> None:
    expected = final_pages(text, renderer)
    check_final(text, expected, renderer)
    seen = frames(chunked(text, sizes), renderer)
    check_growth(seen, renderer)
    assert seen[-1].pages == expected


@few_examples
@given(anything, st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 80))
def test_any_text_has_the_same_pages_in_any_chunks(text: str, sizes: list[int], limit: int) -> None:
    """Tries text that is hardly Markdown, on pages that are far too small."""
    renderer = PlainRenderer(limit)
    expected = final_pages(text, renderer)
    check_final(text, expected, renderer)
    assert frames(chunked(text, sizes), renderer)[-1].pages == expected

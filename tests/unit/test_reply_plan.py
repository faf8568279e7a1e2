"""Planning: one request at a time makes the screen match the frame."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.replies import Action, Control, Frame, Page, Request, Shown, ShownPage
from bot.replies.plan import (
    apply_request,
    cache_rendering,
    forget_text,
    page_controls,
    plan_by_appends,
    plan_by_edits,
    visible_length,
)


def scopes(action: Action, page: int) -> tuple[str, ...]:
    return (f"{action.value}:{page}",)


def frame(*texts: str, final: bool = False, controls: tuple[Control, ...] = ()) -> Frame:
    pages, start = [], 0
    for number, text in enumerate(texts):
        sealed = final or number < len(texts) - 1
        stable = text if sealed else text.rpartition(" ")[0]
        pages.append(Page(text, stable, start, start + len(text), sealed))
        start += len(text)
    return Frame(tuple(pages), final, controls)


def edits(shown: Shown, to: Frame) -> Request | None:
    return plan_by_edits(shown, to, render=str.upper, scopes=scopes)


def appends(shown: Shown, to: Frame) -> Request | None:
    return plan_by_appends(shown, to, render=str, scopes=scopes)


def until_shown(shown: Shown, to: Frame, plan=edits) -> tuple[Shown, list[Request]]:  # type: ignore[no-untyped-def]
    requests = []
    while (request := plan(shown, to)) is not None:
        requests.append(request)
        shown = apply_request(shown, request, message_id=f"m{request.page}", channel="c")
        assert len(requests) < 50, "planning does not end"
    return shown, requests


def test_a_page_is_posted_then_edited() -> None:
    """The first text is posted, a different one is an edit, and the same one needs no request."""
    request = edits(Shown(), frame("one"))
    assert request == Request(Action.POST, 0, ("post:0",), text="ONE", end=3)
    shown = apply_request(Shown(), request, message_id="m0", channel="c")
    assert shown.pages == (ShownPage(0, "m0", "c", "ONE", end=3),)
    assert edits(shown, frame("one")) is None
    changed = edits(shown, frame("one two"))
    assert changed is not None
    assert (changed.action, changed.message_id, changed.text) == (Action.EDIT, "m0", "ONE TWO")


def test_pages_are_posted_in_order() -> None:
    """Each page takes one request, and the open page is the last."""
    shown, _ = until_shown(Shown(), frame("one"))
    shown, requests = until_shown(shown, frame("one more", "two", "three"))
    assert [(request.action, request.page) for request in requests] == [
        (Action.EDIT, 0),
        (Action.POST, 1),
        (Action.POST, 2),
    ]
    assert [request.sealed for request in requests] == [True, True, False]
    assert edits(shown, frame("one more", "two", "three")) is None


def test_a_page_is_shortened_once_the_next_one_shows_the_text() -> None:
    """No text disappears while people read it, and none is shown twice in the end."""
    shown, _ = until_shown(Shown(), frame("one two three"))
    split = frame("one two ", "three four")
    assert (
        edits(shown, Frame(split.pages[:1], final=False)) is None
    )  # the next page has no text yet
    shown, requests = until_shown(shown, split)
    assert [(request.action, request.page) for request in requests] == [
        (Action.POST, 1),
        (Action.EDIT, 0),
    ]
    assert visible_length(shown) == len("one two three four")
    _, requests = until_shown(shown, frame("one", final=True))
    assert [(request.action, request.page) for request in requests] == [
        (Action.EDIT, 0),
        (Action.REMOVE, 1),
    ]


def test_controls_are_below_the_last_page() -> None:
    """A new page takes them over from the page before it."""
    stop = (Control.STOP,)
    shown, _ = until_shown(Shown(), frame("one", controls=stop))
    assert shown.pages[0].controls == stop
    shown, requests = until_shown(shown, frame("one", "two", controls=stop))
    assert [request.controls for request in requests] == [(), stop]
    shown, requests = until_shown(shown, frame("one", "two", final=True))
    assert [(request.page, request.controls) for request in requests] == [(1, ())]


def test_a_page_with_unknown_text_is_rewritten() -> None:
    """The text may turn out to be the same."""
    shown, _ = until_shown(Shown(), frame("one"))
    request = edits(forget_text(shown, 0), frame("one"))
    assert request is not None and request.action is Action.EDIT


def test_surplus_pages_are_removed_when_the_reply_is_final() -> None:
    """The growing reply may still need them; at the end, the last one is removed first."""
    shown, _ = until_shown(Shown(), frame("one", "two", "three"))
    assert edits(forget_text(shown, 2), frame("one")) == edits(shown, frame("one"))
    _, requests = until_shown(shown, frame("one", final=True))
    assert [(request.action, request.page) for request in requests] == [
        (Action.REMOVE, 2),
        (Action.REMOVE, 1),
    ]


def test_a_reply_without_text_posts_nothing() -> None:
    """Earlier pages are removed."""
    assert edits(Shown(), Frame((), final=True)) is None
    assert edits(Shown(), frame("  ")) is None
    shown, _ = until_shown(Shown(), frame("one"))
    shown, requests = until_shown(shown, Frame((), final=True))
    assert [request.action for request in requests] == [Action.REMOVE]
    assert shown.pages == ()


def test_appends_send_stable_text_once() -> None:
    """The end closes the reply."""
    shown, requests = Shown(), []
    steps = [frame("o"), frame("one tw"), frame("one two thr"), frame("one two three", final=True)]
    for step in steps:
        shown, new = until_shown(shown, step, appends)
        requests += new
    assert [(request.action, request.text) for request in requests] == [
        (Action.POST, "one"),
        (Action.APPEND, " two"),
        (Action.APPEND, " three"),
        (Action.CLOSE, ""),
    ]
    assert requests[2].sealed and requests[2].final
    assert shown.closed
    assert shown.pages[0].text == "one two three"


def test_appends_complete_a_page_before_the_next_one_begins() -> None:
    shown, _ = until_shown(Shown(), frame("one tw"), appends)
    _, requests = until_shown(shown, frame("one two", "three fo"), appends)
    assert [(request.action, request.page, request.text) for request in requests] == [
        (Action.APPEND, 0, " two"),
        (Action.POST, 1, "three"),
    ]


def test_a_final_text_that_does_not_continue_is_appended_whole() -> None:
    shown, _ = until_shown(Shown(), frame("one two x"), appends)
    _, requests = until_shown(shown, frame("something else", final=True), appends)
    assert requests[0].text == "\n\nsomething else"


def test_the_visible_length_ends_at_a_page_with_unknown_text() -> None:
    shown, _ = until_shown(Shown(), frame("one", "two", "three"))
    assert visible_length(shown) == len("onetwothree")
    assert visible_length(forget_text(shown, 1)) == len("one")
    assert visible_length(forget_text(shown, 0)) == 0


def test_renderings_are_cached() -> None:
    """The latest ones only."""
    calls: list[str] = []
    render = cache_rendering(lambda text: calls.append(text) or text, most=2)  # type: ignore[func-returns-value]
    for text in ("a", "a", "b", "a", "c", "a", "b"):
        assert render(text) == text
    assert calls == ["a", "b", "c", "b"]


def test_a_sealed_page_of_a_growing_reply_has_no_controls() -> None:
    """The page will not be the last one, and removing its button would cost an edit."""
    sealed = Page("first page", "first page", 0, 10, sealed=True)
    growing = Frame((sealed,), final=False, controls=(Control.STOP,))
    assert page_controls(growing, 0) == ()
    assert page_controls(replace(growing, final=True), 0) == (Control.STOP,)

"""Planning: from what is shown to what should be, one request at a time."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.replies import Action, Control, Frame, Page, Request, Shown, ShownPage
from bot.replies.plan import (
    carried_out,
    controls_of,
    forgotten,
    plan_by_appends,
    plan_by_edits,
    remembering,
    visible_end,
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
        shown = carried_out(shown, request, message_id=f"m{request.page}", channel="c")
        assert len(requests) < 50, "planning comes to no end"
    return shown, requests


def test_a_page_is_posted_then_edited() -> None:
    """The first text is a post, the next an edit of that message, and the same text nothing."""
    request = edits(Shown(), frame("one"))
    assert request == Request(Action.POST, 0, ("post:0",), text="ONE", end=3)
    shown = carried_out(Shown(), request, message_id="m0", channel="c")
    assert shown.pages == (ShownPage(0, "m0", "c", "ONE", end=3),)
    assert edits(shown, frame("one")) is None
    changed = edits(shown, frame("one two"))
    assert changed is not None
    assert (changed.action, changed.message_id, changed.text) == (Action.EDIT, "m0", "ONE TWO")


def test_pages_are_posted_in_their_order() -> None:
    """Earlier pages first, each in one request; the open one comes after them."""
    shown, _ = until_shown(Shown(), frame("one"))
    shown, requests = until_shown(shown, frame("one more", "two", "three"))
    assert [(request.action, request.page) for request in requests] == [
        (Action.EDIT, 0),
        (Action.POST, 1),
        (Action.POST, 2),
    ]
    assert [request.sealed for request in requests] == [True, True, False]
    assert edits(shown, frame("one more", "two", "three")) is None


def test_a_page_is_cut_back_once_the_next_one_has_its_text() -> None:
    """What was read is never taken away before it stands elsewhere; at last nothing is double."""
    shown, _ = until_shown(Shown(), frame("one two three"))
    cut = frame("one two ", "three four")
    assert edits(shown, Frame(cut.pages[:1], final=False)) is None  # the next page has no text yet
    shown, requests = until_shown(shown, cut)
    assert [(request.action, request.page) for request in requests] == [
        (Action.POST, 1),
        (Action.EDIT, 0),
    ]
    assert visible_end(shown) == len("one two three four")
    _, requests = until_shown(shown, frame("one", final=True))
    assert [(request.action, request.page) for request in requests] == [
        (Action.EDIT, 0),
        (Action.REMOVE, 1),
    ]


def test_controls_are_under_the_last_page() -> None:
    """A new page takes the controls over from the one before it."""
    stop = (Control.STOP,)
    shown, _ = until_shown(Shown(), frame("one", controls=stop))
    assert shown.pages[0].controls == stop
    shown, requests = until_shown(shown, frame("one", "two", controls=stop))
    assert [request.controls for request in requests] == [(), stop]
    shown, requests = until_shown(shown, frame("one", "two", final=True))
    assert [(request.page, request.controls) for request in requests] == [(1, ())]


def test_a_page_of_unknown_text_is_rewritten() -> None:
    """After recovery nobody knows what a page says: it is written anew, the same text included."""
    shown, _ = until_shown(Shown(), frame("one"))
    request = edits(forgotten(shown, 0), frame("one"))
    assert request is not None and request.action is Action.EDIT


def test_surplus_pages_go_when_the_reply_is_final() -> None:
    """While it grows they stay: it may still need them; at the end the last goes first."""
    shown, _ = until_shown(Shown(), frame("one", "two", "three"))
    assert edits(forgotten(shown, 2), frame("one")) == edits(shown, frame("one"))
    _, requests = until_shown(shown, frame("one", final=True))
    assert [(request.action, request.page) for request in requests] == [
        (Action.REMOVE, 2),
        (Action.REMOVE, 1),
    ]


def test_nothing_to_say() -> None:
    """A reply without text posts nothing, and takes away what was there."""
    assert edits(Shown(), Frame((), final=True)) is None
    assert edits(Shown(), frame("  ")) is None
    shown, _ = until_shown(Shown(), frame("one"))
    shown, requests = until_shown(shown, Frame((), final=True))
    assert [request.action for request in requests] == [Action.REMOVE]
    assert shown.pages == ()


def test_appending_sends_stable_text_once() -> None:
    """Only what is stable goes out, each piece once; the end closes the reply."""
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


def test_appending_over_pages() -> None:
    """A page is completed before the next one begins."""
    shown, _ = until_shown(Shown(), frame("one tw"), appends)
    _, requests = until_shown(shown, frame("one two", "three fo"), appends)
    assert [(request.action, request.page, request.text) for request in requests] == [
        (Action.APPEND, 0, " two"),
        (Action.POST, 1, "three"),
    ]


def test_appending_another_text() -> None:
    """A final text that does not continue what was sent is sent whole below it."""
    shown, _ = until_shown(Shown(), frame("one two x"), appends)
    _, requests = until_shown(shown, frame("something else", final=True), appends)
    assert requests[0].text == "\n\nsomething else"


def test_what_is_seen_has_no_gap() -> None:
    """Text counts as seen up to the first page of which nobody knows what it says."""
    shown, _ = until_shown(Shown(), frame("one", "two", "three"))
    assert visible_end(shown) == len("onetwothree")
    assert visible_end(forgotten(shown, 1)) == len("one")
    assert visible_end(forgotten(shown, 0)) == 0


def test_remembering() -> None:
    """What was rendered is not rendered again, as long as it is among the newest."""
    calls: list[str] = []
    render = remembering(lambda text: calls.append(text) or text, most=2)  # type: ignore[func-returns-value]
    for text in ("a", "a", "b", "a", "c", "a", "b"):
        assert render(text) == text
    assert calls == ["a", "b", "c", "b"]


def test_page_sealed_while_the_reply_goes_on_carries_no_controls() -> None:
    """It will not be the last one: a button there would cost an edit to take it away again."""
    sealed = Page("first page", "first page", 0, 10, sealed=True)
    growing = Frame((sealed,), final=False, controls=(Control.STOP,))
    assert controls_of(growing, 0) == ()
    assert controls_of(replace(growing, final=True), 0) == (Control.STOP,)

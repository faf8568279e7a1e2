"""The pure planning that surfaces share: from what is shown to what should be, one request.

Invariant: planning again after the planned request was carried out always comes closer to the
frame, and gives None once everything is shown; pages are posted in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from bot.domain.replies import Action, Control, Frame, Request, Shown, ShownPage

Scopes = Callable[[Action, int], tuple[str, ...]]
"""The budgets that an action on a page (counted from 0) costs."""

Render = Callable[[str], str]

AGAIN = "\n\n"
"""What separates a text that was sent, and cannot be edited, from the one that replaces it."""


def plan_by_edits(shown: Shown, frame: Frame, *, render: Render, scopes: Scopes) -> Request | None:
    """The next request for a surface whose messages can be edited, or None.

    The first page that differs comes first: what people read next. A page that shows more than its
    share is cut back once the next one has that text, so nothing that was read is taken away before
    it stands elsewhere. A sealed page differs twice at most, so the open page cannot starve. A page
    of unknown text (`ShownPage.text` is None) is rewritten. Pages that the reply does not need are
    removed once it is final, and those that this attempt has shown as soon as nothing is behind; an
    earlier attempt's stay before that: the reply may still grow into them. `render` is asked for
    every page each time: give one that remembers (`remembering`).
    """
    there = {page.number: page for page in shown.pages}
    surplus = surplus_of(shown, frame)
    for number, page in enumerate(frame.pages):
        if holds_up(there, number, frame, surplus):
            break
        if waits(there, number, frame):
            continue
        request = page_request(there.get(number), number, frame, render(page.text), scopes)
        if request is not None:
            return request
    return removal_of_last(surplus, scopes, final=frame.final)


def surplus_of(shown: Shown, frame: Frame) -> list[ShownPage]:
    """The pages that are to be removed now."""
    surplus = [page for page in shown.pages if page.number >= len(frame.pages)]
    if frame.final:
        return surplus
    return [page for page in surplus if frame.whole and page.text is not None]


def holds_up(
    there: Mapping[int, ShownPage], number: int, frame: Frame, surplus: Sequence[ShownPage]
) -> bool:
    """Whether a page changes all the time, so that what is below it would never go."""
    old = there.get(number)
    is_open = old is not None and old.text is not None and not old.sealed
    return bool(surplus) and not frame.final and number == len(frame.pages) - 1 and is_open


def waits(there: Mapping[int, ShownPage], number: int, frame: Frame) -> bool:
    """Whether a page shows what the next one is to show, and does not yet."""
    old = there.get(number)
    over = old is not None and old.text is not None and old.end > frame.pages[number].end
    more = number + 1 < len(frame.pages) or not frame.final
    return over and more and number + 1 not in there


def page_request(
    old: ShownPage | None, number: int, frame: Frame, text: str, scopes: Scopes
) -> Request | None:
    """The post or the edit that brings one page to `text`, if it needs one."""
    controls = controls_of(frame, number)
    if old is None:
        if not text.strip():
            return None
        return request_for(Action.POST, number, frame, text, scopes)
    if (old.text, old.controls, old.file) == (text, controls, frame.pages[number].file):
        return None
    return replace(request_for(Action.EDIT, number, frame, text, scopes), message_id=old.message_id)


def request_for(action: Action, number: int, frame: Frame, text: str, scopes: Scopes) -> Request:
    """A request about one page, with all that the frame says of it."""
    page = frame.pages[number]
    return Request(
        action=action,
        page=number,
        scopes=scopes(action, number),
        text=text,
        end=page.end,
        sealed=page.full,
        final=frame.final,
        controls=controls_of(frame, number),
        file=page.file,
    )


def removal_of_last(pages: Sequence[ShownPage], scopes: Scopes, *, final: bool) -> Request | None:
    """The removal of the last one of `pages`, if there are any."""
    if not pages:
        return None
    last = max(pages, key=lambda page: page.number)
    return Request(
        action=Action.REMOVE,
        page=last.number,
        scopes=scopes(Action.REMOVE, last.number),
        message_id=last.message_id,
        end=last.end,
        final=final,
    )


def plan_by_appends(
    shown: Shown, frame: Frame, *, render: Render, scopes: Scopes
) -> Request | None:
    """The next request for a surface that can only append, or None.

    Of an open page the stable text alone is sent; each append carries the new part (`Request.text`
    is what to add, not the whole page). `ShownPage.text` is all that was sent of a page. The append
    that completes a page is `sealed`; after the last text of a final frame comes one CLOSE.
    A final text that is not a continuation of what was sent is sent whole again.
    """
    there = {page.number: page for page in shown.pages}
    for number, page in enumerate(frame.pages):
        target = render(page.text if page.full else page.stable)
        old = there.get(number)
        request = _append(old, number, frame, target, scopes)
        if request is not None or not page.full:
            return request
    if frame.final and not shown.closed:
        number = max(len(frame.pages) - 1, 0)
        return Request(Action.CLOSE, number, scopes(Action.CLOSE, number), final=True)
    return None


def _append(
    old: ShownPage | None, number: int, frame: Frame, target: str, scopes: Scopes
) -> Request | None:
    page = frame.pages[number]
    if old is None:
        if not target.strip():
            return None
        request = request_for(Action.POST, number, frame, target, scopes)
    else:
        sent = old.text or ""
        shown = target == sent or sent.endswith(AGAIN + target)
        if shown and old.sealed == page.full:
            return None
        added = target[len(sent) :] if target.startswith(sent) else AGAIN + target
        if not page.full and not target.startswith(sent):
            return None
        request = replace(
            request_for(Action.APPEND, number, frame, added, scopes), message_id=old.message_id
        )
    if page.full:
        return request
    return replace(request, end=min(page.end, page.start + len(page.stable)))


def controls_of(frame: Frame, number: int) -> tuple[Control, ...]:
    """The controls under page `number`: a frame's are under its last page that is no file.

    A page that is full while the reply goes on will not be the last one: controls would cost it
    another edit. Nor has every platform buttons beside a file.
    """
    last = len(frame.pages) - 1
    if last > 0 and frame.pages[last].file is not None:
        last -= 1
    return (
        frame.controls if number == last and (frame.final or not frame.pages[number].full) else ()
    )


def visible_end(shown: Shown) -> int:
    """How much of the reply's source, from its beginning, is on the screen without a gap.

    A page is posted only when those before it show all of their share.
    """
    end = 0
    for page in sorted(shown.pages, key=lambda page: page.number):
        if page.text is None:
            return end
        end = max(end, page.end)
    return end


def carried_out(
    shown: Shown, request: Request, *, message_id: str = "", channel: str = ""
) -> Shown:
    """What is shown once `request` was carried out; for `Surface.perform`.

    `message_id` and `channel` are those that a POST brought back; for other actions they stay.
    """
    old = next((page for page in shown.pages if page.number == request.page), None)
    if request.action is Action.CLOSE and not (old and old.streaming):
        return replace(shown, closed=True)
    others = tuple(page for page in shown.pages if page.number != request.page)
    if request.action is Action.REMOVE:
        return replace(shown, pages=others)
    page = ShownPage(
        number=request.page,
        message_id=message_id or (old.message_id if old else ""),
        channel=channel or (old.channel if old else ""),
        text=_text_after(old, request),
        end=request.end,
        sealed=request.sealed,
        controls=request.controls,
        file=request.file,
        streaming=_streams_after(old, request),
    )
    return replace(shown, pages=(*others, page))


def _streams_after(old: ShownPage | None, request: Request) -> bool:
    appended = request.action is Action.APPEND and old is not None and old.streaming
    return appended or request.action is Action.START


def _text_after(old: ShownPage | None, request: Request) -> str | None:
    """What a message says; nobody knows what one says whose text was not known before."""
    if old is None or request.action not in (Action.APPEND, Action.CLOSE):
        return request.text
    return None if old.text is None else old.text + request.text


def forgotten(shown: Shown, number: int) -> Shown:
    """`shown` when nobody knows any more what page `number` says: planning rewrites it."""
    pages = tuple(
        replace(page, text=None) if page.number == number else page for page in shown.pages
    )
    return replace(shown, pages=pages)


def remembering(render: Render, *, most: int = 32) -> Render:
    """`render` with the newest `most` results kept, so that planning again costs nothing."""
    return lru_cache(maxsize=most)(render)

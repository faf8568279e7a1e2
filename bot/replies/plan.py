"""Plans the next request that brings the screen closer to a frame; pure, shared by surfaces.

In: `Shown` (the screen) and a `Frame` (the reply now), from `Surface.plan`. Out: one `Request` or
None. Next: the rate limiter grants the request, and `Delivery` sends it.

Invariant: each request that succeeds brings the screen closer to the frame, and the plan is None
once everything is shown. Pages are posted in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from bot.domain.replies import Action, Control, Frame, Page, Request, Shown, ShownPage

Scopes = Callable[[Action, int], tuple[str, ...]]
"""Returns the rate limit scopes that an action on a page (counted from 0) costs."""

Render = Callable[[str], str]

REPLACEMENT_SEPARATOR = "\n\n"
"""Stands between text that was already sent and cannot be edited, and the text that replaces it."""


def plan_by_edits(shown: Shown, frame: Frame, *, render: Render, scopes: Scopes) -> Request | None:
    """The next request for a surface that can edit its messages, or None.

    - The first page that differs is next: people read it first. A sealed page differs at
    most twice, so the open page cannot starve. - A page that shows text of the next page
    loses it once the next page shows it, so no text disappears while people read it. - A
    page with unknown text (`ShownPage.text` is None) is rewritten. - Surplus pages of this
    attempt are removed as soon as the frame is whole, an earlier attempt's when the frame is
    final: the reply may still grow into them.

    `render` is called for every page each time, so it should cache.
    """
    visible = {page.number: page for page in shown.pages}
    surplus = surplus_pages(shown, frame)
    for number, page in enumerate(frame.pages):
        if delays_removals(visible, number, frame, surplus):
            break
        if waits_for_next(visible, number, frame):
            continue
        request = page_request(visible.get(number), number, frame, render(page.text), scopes)
        if request is not None:
            return request
    return removal_request(surplus, scopes, final=frame.final)


def surplus_pages(shown: Shown, frame: Frame) -> list[ShownPage]:
    """The pages to remove now."""
    surplus = [page for page in shown.pages if page.number >= len(frame.pages)]
    if frame.final:
        return surplus
    return [page for page in surplus if frame.whole and page.text is not None]


def delays_removals(
    visible: Mapping[int, ShownPage], number: int, frame: Frame, surplus: Sequence[ShownPage]
) -> bool:
    """Whether this is the open page above surplus pages, whose edits would delay the removals."""
    old = visible.get(number)
    is_open = old is not None and old.text is not None and not old.sealed
    return bool(surplus) and not frame.final and number == len(frame.pages) - 1 and is_open


def waits_for_next(visible: Mapping[int, ShownPage], number: int, frame: Frame) -> bool:
    """Whether a page still shows text of the next page, which is not on the screen yet."""
    old = visible.get(number)
    over = old is not None and old.text is not None and old.end > frame.pages[number].end
    more = number + 1 < len(frame.pages) or not frame.final
    return over and more and number + 1 not in visible


def page_request(
    old: ShownPage | None, number: int, frame: Frame, text: str, scopes: Scopes
) -> Request | None:
    """The post or edit that makes a page show `text`; None if it does, or if `text` is blank."""
    controls = page_controls(frame, number)
    if old is None:
        if not text.strip():
            return None
        return request_for(Action.POST, number, frame, text, scopes)
    if (old.text, old.controls, old.file) == (text, controls, frame.pages[number].file):
        return None
    return replace(request_for(Action.EDIT, number, frame, text, scopes), message_id=old.message_id)


def request_for(action: Action, number: int, frame: Frame, text: str, scopes: Scopes) -> Request:
    """A request for one page of the frame."""
    page = frame.pages[number]
    return Request(
        action=action,
        page=number,
        scopes=scopes(action, number),
        text=text,
        end=page.end,
        sealed=page.full,
        final=frame.final,
        controls=page_controls(frame, number),
        file=page.file,
    )


def removal_request(pages: Sequence[ShownPage], scopes: Scopes, *, final: bool) -> Request | None:
    """A request to remove the last of `pages`; None if there are none."""
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

    Only the stable text of an open page is sent. `Request.text` is the text to append, and
    `ShownPage.text` is everything sent of a page. The append that completes a page is `sealed`; one
    CLOSE follows the last text of a final frame. If a final text does not continue the sent text,
    the whole text is sent again.
    """
    visible = {page.number: page for page in shown.pages}
    for number, page in enumerate(frame.pages):
        target = render(page.text if page.full else page.stable)
        old = visible.get(number)
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
        shown = target == sent or sent.endswith(REPLACEMENT_SEPARATOR + target)
        if shown and old.sealed == page.full:
            return None
        continues = target.startswith(sent)
        if not page.full and not continues:
            return None
        added = target[len(sent) :] if continues else REPLACEMENT_SEPARATOR + target
        request = replace(
            request_for(Action.APPEND, number, frame, added, scopes), message_id=old.message_id
        )
    if page.full:
        return request
    return replace(request, end=stable_end(page))


def page_controls(frame: Frame, number: int) -> tuple[Control, ...]:
    """The controls of page `number`: the frame's, if it is the last page without a file.

    A full page of a growing reply has none: it will not be the last page, and removing its controls
    would cost an edit. Not every platform can show buttons beside a file.
    """
    last = len(frame.pages) - 1
    if last > 0 and frame.pages[last].file is not None:
        last -= 1
    return (
        frame.controls if number == last and (frame.final or not frame.pages[number].full) else ()
    )


def visible_length(shown: Shown) -> int:
    """How much of the reply's source is on the screen, up to the first gap."""
    end = 0
    for page in sorted(shown.pages, key=lambda page: page.number):
        if page.text is None:
            return end
        end = max(end, page.end)
    return end


def apply_request(
    shown: Shown, request: Request, *, message_id: str = "", channel: str = ""
) -> Shown:
    """The screen after `request` has succeeded, for `Surface.perform`.

    `message_id` and `channel` come from the platform's response to a post; other actions keep them.
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
    """The message's text; None (unknown) after an append to unknown text."""
    if old is None or request.action not in (Action.APPEND, Action.CLOSE):
        return request.text
    return None if old.text is None else old.text + request.text


def forget_text(shown: Shown, number: int) -> Shown:
    """Mark the text of page `number` as unknown, so that planning rewrites the page."""
    pages = tuple(
        replace(page, text=None) if page.number == number else page for page in shown.pages
    )
    return replace(shown, pages=pages)


def stable_end(page: Page) -> int:
    """The source offset at which a page's stable text ends."""
    return min(page.end, page.start + len(page.stable))


def cache_rendering(render: Render, *, most: int = 32) -> Render:
    """Cache the latest `most` results of `render`: planning renders every page each time."""
    return lru_cache(maxsize=most)(render)

"""Plans requests for platforms whose messages first grow by appends (a stream), then by edits.

Invariant: appended text is never taken back. A stream is closed before any other request changes
its message; from then on, edits change the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bot.domain.replies import Action, Frame, Request, Shown, ShownPage
from bot.replies.plan import (
    Render,
    Scopes,
    delays_removals,
    page_request,
    removal_request,
    request_for,
    stable_end,
    surplus_pages,
    waits_for_next,
)

MOST_UNSTABLE = 80
"""Characters at the beginning of a reply that may wait to become stable; a longer unstable
beginning is posted and edited instead of streamed."""


def plan_by_streams(
    shown: Shown,
    frame: Frame,
    *,
    render: Render,
    scopes: Scopes,
    may_stream: bool,
    most: int,
    overdue: Callable[[int], bool],
) -> Request | None:
    """The next request, or None; like `plan_by_edits`, but a page begins as a stream.

    `may_stream` means that the platform shows a stop button for streams. A page streams while its
    stable text has at most `most` characters and `overdue(number)` is false. The rate limiter
    decides whether the budget allows a stream or an append; if not, it grants `otherwise`.
    """
    visible = {page.number: page for page in shown.pages}
    surplus = surplus_pages(shown, frame)
    if may_stream and not frame.final:  # the platform shows a stop button
        frame = replace(frame, controls=())
    for number, page in enumerate(frame.pages):
        old = visible.get(number)
        if delays_removals(visible, number, frame, surplus):
            break
        if old is not None and old.streaming:
            close = overdue(number)
            request = _append_or_close(
                old, frame, render=render, scopes=scopes, most=most, close_now=close
            )
        elif old is None:
            request = _start_or_post(number, frame, render, scopes, may_stream)
        elif waits_for_next(visible, number, frame):
            continue
        else:
            request = page_request(old, number, frame, render(page.text), scopes)
        if request is not None or (old is not None and old.streaming):
            return request
    return removal_request(surplus, scopes, final=frame.final)


def _start_or_post(
    number: int, frame: Frame, render: Render, scopes: Scopes, may_stream: bool
) -> Request | None:
    page = frame.pages[number]
    post = page_request(None, number, frame, render(page.text), scopes)
    if post is None or frame.final or page.full:
        return post
    post = _reserve_edit(post, number, scopes)
    if not may_stream or page.end <= page.start:  # a note is removed again
        return post
    stable = render(page.stable)
    if not stable.strip():
        return post if len(page.text) > MOST_UNSTABLE else None
    return replace(
        request_for(Action.START, number, frame, stable, scopes),
        end=stable_end(page),
        keeps=scopes(Action.CLOSE, number),
        grows=scopes(Action.APPEND, number)[0],
        otherwise=post,
    )


def _append_or_close(
    old: ShownPage, frame: Frame, *, render: Render, scopes: Scopes, most: int, close_now: bool
) -> Request | None:
    """The next append, or a close with the same text."""
    number = old.number
    page = frame.pages[number]
    target = render(page.text if page.full else page.stable)
    continues = old.text is not None and target.startswith(old.text) and len(target) <= most
    added = target[len(old.text or "") :] if continues else ""
    end = page.end if page.full else stable_end(page)
    close = replace(
        request_for(Action.CLOSE, number, frame, added, scopes),
        message_id=old.message_id,
        end=end if continues else old.end,
        sealed=page.full and continues,
    )
    if page.full and continues:
        return replace(close, keeps=(), grows=None)
    close = _reserve_edit(close, number, scopes)
    if not continues or close_now:
        return close
    if not added.strip():
        return None
    return replace(
        close,
        action=Action.APPEND,
        scopes=scopes(Action.APPEND, number),
        keeps=None,
        grows=None,
        otherwise=close,
    )


def _reserve_edit(request: Request, number: int, scopes: Scopes) -> Request:
    """Reserve an edit for the page's end: from now on, edits change the page."""
    edits = scopes(Action.EDIT, number)
    return replace(request, keeps=edits, grows=edits[0])

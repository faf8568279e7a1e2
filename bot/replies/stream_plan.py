"""Planning for a platform whose messages may grow by appends for a while, and by edits ever after.

Invariant: what was appended is never taken back; a stream is closed before anything else is done
to its message, and the page goes on by edits from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bot.domain.replies import Action, Frame, Page, Request, Shown, ShownPage
from bot.replies.plan import (
    Render,
    Scopes,
    holds_up,
    page_request,
    removal_of_last,
    request_for,
    surplus_of,
    waits,
)

HELD_BACK = 80
"""Characters that are not stable yet, in a reply's beginning, for which it does not wait: it is
posted and edited instead."""


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
    """The next request, or None; as `plan_by_edits`, but that a page begins as a stream.

    New pages stream where `may_stream`, which says that the platform itself has a stop for what is
    being written, as long as their stable text has at most `most` characters
    and is not `overdue` (by the page's number). Whether a stream can be had, and when its budget is
    used up, the rate limiter says (`Request.otherwise`).
    """
    there = {page.number: page for page in shown.pages}
    surplus = surplus_of(shown, frame)
    if may_stream and not frame.final:  # the platform offers by itself what they are for
        frame = replace(frame, controls=())
    for number, page in enumerate(frame.pages):
        old = there.get(number)
        if holds_up(there, number, frame, surplus):
            break
        if old is not None and old.streaming:
            ended = overdue(number)
            request = _growing(old, frame, render=render, scopes=scopes, most=most, ended=ended)
        elif old is None:
            request = _opening(number, frame, render, scopes, may_stream)
        elif waits(there, number, frame):
            continue
        else:
            request = page_request(old, number, frame, render(page.text), scopes)
        if request is not None or (old is not None and old.streaming):
            return request
    return removal_of_last(surplus, scopes, final=frame.final)


def _opening(
    number: int, frame: Frame, render: Render, scopes: Scopes, may_stream: bool
) -> Request | None:
    page = frame.pages[number]
    post = page_request(None, number, frame, render(page.text), scopes)
    if post is None or frame.final or page.full:
        return post
    post = _by_edits(post, number, scopes)
    if not may_stream or page.end <= page.start:  # a note of ours goes away again
        return post
    stable = render(page.stable)
    if not stable.strip():
        return post if len(page.text) > HELD_BACK else None
    return replace(
        request_for(Action.START, number, frame, stable, scopes),
        end=_stable_end(page),
        keeps=scopes(Action.CLOSE, number),
        grows=scopes(Action.APPEND, number)[0],
        otherwise=post,
    )


def _growing(
    old: ShownPage, frame: Frame, *, render: Render, scopes: Scopes, most: int, ended: bool
) -> Request | None:
    """The next append, or the close that says what an append would."""
    number = old.number
    page = frame.pages[number]
    target = render(page.text if page.full else page.stable)
    goes_on = old.text is not None and target.startswith(old.text) and len(target) <= most
    added = target[len(old.text or "") :] if goes_on else ""
    end = page.end if page.full else _stable_end(page)
    close = replace(
        request_for(Action.CLOSE, number, frame, added, scopes),
        message_id=old.message_id,
        end=end if goes_on else old.end,
        sealed=page.full and goes_on,
    )
    if page.full and goes_on:
        return replace(close, keeps=(), grows=None)
    close = _by_edits(close, number, scopes)
    if not goes_on or ended:
        return close
    return (
        replace(
            close,
            action=Action.APPEND,
            scopes=scopes(Action.APPEND, number),
            keeps=None,
            grows=None,
            otherwise=close,
        )
        if added.strip()
        else None
    )


def _by_edits(request: Request, number: int, scopes: Scopes) -> Request:
    """The same, after which the page goes on by edits; one is kept for its end."""
    edits = scopes(Action.EDIT, number)
    return replace(request, keeps=edits, grows=edits[0])


def _stable_end(page: Page) -> int:
    """How far in the source the stable text reaches."""
    return min(page.end, page.start + len(page.stable))

"""Keeps requests of a turn from a platform when the turn's lease no longer allows them.

`Delivery` asks the lease before it begins a request. What the request then waits for may take
longer than the lease: the rate limit, a token, an earlier step of an upload, or a process that was
stopped. So adapters ask once more, directly before they send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from bot.domain.errors import Unsettled
from bot.ports.cluster import TurnLease

T = TypeVar("T")


@dataclass(slots=True)
class _Guard:
    lease: TurnLease
    task: asyncio.Task[Any] | None = None


_GUARD: ContextVar[_Guard | None] = ContextVar("lease guard", default=None)


def create_task_under(lease: TurnLease, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that sends requests under this lease only.

    Tasks that it starts are not meant: they may live on for other turns. One that belongs to the
    turn alone is started with `create_task_under_same`.
    """
    guard, context = _Guard(lease), copy_context()
    context.run(_GUARD.set, guard)
    guard.task = task = asyncio.create_task(work, context=context)
    return task


def create_task_under_same(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that sends requests under the current task's lease only, if that has one."""
    guard = _GUARD.get()
    if guard is None or guard.task is not asyncio.current_task():
        return asyncio.create_task(work)
    return create_task_under(guard.lease, work)


def check_lease() -> None:
    """Raises Unsettled if the current task may not send a request now."""
    guard = _GUARD.get()
    if guard is None or guard.task is not asyncio.current_task():
        return
    if guard.lease.forbids_sending:
        raise Unsettled("not sent: the turn's lease is over")

"""Keeps a turn's requests from a platform when the turn's lease no longer allows them.

`Delivery` checks the lease before it begins a request. The request may then wait longer than the
lease lasts: for the rate limit, a token, an earlier step of an upload, or because the process was
suspended. So adapters check again directly before they send.
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
    """Create a task that may only send requests under this lease.

    Tasks that it starts in turn are not bound to the lease, because they may work for other turns
    later. Start a task that belongs to this turn alone with `create_task_under_same`.
    """
    guard, context = _Guard(lease), copy_context()
    context.run(_GUARD.set, guard)
    guard.task = task = asyncio.create_task(work, context=context)
    return task


def create_task_under_same(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Create a task that may only send requests under the current task's lease, if there is one."""
    guard = _GUARD.get()
    if guard is None or guard.task is not asyncio.current_task():
        return asyncio.create_task(work)
    return create_task_under(guard.lease, work)


def check_lease() -> None:
    """Raise Unsettled if the current task may not send a request now."""
    guard = _GUARD.get()
    if guard is None or guard.task is not asyncio.current_task():
        return
    if guard.lease.forbids_sending:
        raise Unsettled("not sent: the turn's lease is over")

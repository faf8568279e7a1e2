"""The HTTP port, for adapters that receive events over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from starlette.types import ASGIApp


@runtime_checkable
class HttpRoutes(Protocol):
    """An adapter with routes on the process's HTTP port."""

    @property
    def http_apps(self) -> Mapping[str, ASGIApp]:
        """ASGI apps by exact path; empty if the adapter currently needs none."""
        ...

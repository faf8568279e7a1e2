"""Learns from answers whether one model accepts images, and keeps that in memory.

Invariant: a model that has answered a request with images is never treated as blind; if its server
rejects another image, that image is at fault.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.errors import CannotSee, ImageRefused, ModelError

BLIND_SECONDS = 3_600.0
"""Seconds to believe a rejection. The operator may load another model or its projector behind the
same address; asking again costs one rejected request."""


class Vision:
    """The knowledge gained about one model. `now` returns seconds."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._has_seen = False
        self._blind_until: float | None = None

    @property
    def sees(self) -> bool | None:
        """Whether the model accepts images; None if that is unknown."""
        if self._has_seen:
            return True
        return False if self._blind_until is not None and self._now() < self._blind_until else None

    def record_answer(self) -> None:
        """Record that the model began to answer a request with images."""
        self._has_seen, self._blind_until = True, None

    def record_error(self, error: ModelError) -> ModelError:
        """Learn from the failure of a request with images; return the error to raise."""
        if not isinstance(error, CannotSee):
            return error
        if not self._has_seen:
            self._blind_until = self._now() + BLIND_SECONDS
            return error
        refused = ImageRefused(str(error), model=error.model)
        refused.provider_message = error.provider_message
        return refused

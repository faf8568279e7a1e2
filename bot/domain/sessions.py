"""Browsers that are signed in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """One browser in which a person is signed in, until `expires_at` (Unix seconds).

    `digest` identifies the cookie without being able to replace it. `proof` is what only the
    person's token makes of the cookie.
    """

    digest: str
    platform: str
    person: str
    proof: str
    expires_at: float

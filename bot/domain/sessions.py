"""Signed-in browsers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser in which a person is signed in, until `expires_at` (Unix seconds).

    `digest` identifies the cookie but cannot be used in its place. `proof` is derived from the
    cookie and can only be computed with the person's token.
    """

    digest: str
    platform: str
    person: str
    proof: str
    expires_at: float

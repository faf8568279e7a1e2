"""Installations of the bot in workspaces, for an app that serves several workspaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation without its credentials.

    `workspace` is the workspace in the keys of its conversations. `details` belong to the adapter.
    `expires_at` is when the token expires, None if it does not. `problem` is the error code with
    which the platform has refused the token since `problem_at`; "" if it has not. `revision`
    increases whenever the credentials change. Times are in Unix seconds.
    """

    platform: str
    workspace: str
    name: str
    installed_at: float
    details: Mapping[str, str] = field(default_factory=dict)
    expires_at: float | None = None
    problem: str = ""
    problem_at: float = 0.0
    revision: int = 0


@dataclass(frozen=True, slots=True)
class SealedInstallation:
    """An installation with its credentials, encrypted by the adapter."""

    installation: Installation
    sealed: str = field(repr=False)

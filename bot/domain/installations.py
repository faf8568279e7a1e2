"""An installation of the bot in a workspace, where many workspaces share one app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation without its credentials.

    `workspace` is the workspace of its conversations' keys. `details` belong to the adapter.
    `expires_at` is when its token expires, None for a token that does not. `problem` is the
    platform's error code with which it refuses the token since `problem_at`; "" if it does not.
    `revision` grows with each change of the credentials. Times are in Unix seconds.
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

"""Results of /healthz and of `doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The result of one of `doctor`'s checks."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One of `doctor`'s checks, with `advice` if it did not pass.

    `answer` is the beginning of a model's answer; `mention` shows how people mention the bot.
    """

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""
    answer: str = ""
    mention: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a component currently works, for /healthz."""

    ok: bool
    details: Mapping[str, str] = field(default_factory=dict)

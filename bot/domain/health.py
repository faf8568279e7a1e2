"""Health of the running parts, and the findings of `doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What `doctor` found of one point."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One point that `doctor` tried, and what to do about it when it is not in order."""

    subject: str
    verdict: Verdict
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a part works now, for /healthz."""

    ok: bool
    details: Mapping[str, str] = field(default_factory=dict)

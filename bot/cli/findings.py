"""Findings of `doctor` as lines for a terminal."""

from __future__ import annotations

from bot.domain.health import Finding, Verdict

LABELS = {Verdict.OK: "ok  ", Verdict.WARNING: "warn", Verdict.FAILED: "FAIL"}


def format_finding(finding: Finding) -> str:
    """One line, and a second one with the advice."""
    line = f"{LABELS[finding.verdict]}  {finding.subject}: {finding.detail}"
    return f"{line}\n      → {finding.advice}" if finding.advice else line

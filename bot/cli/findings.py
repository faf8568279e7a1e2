"""Formats the findings of `doctor` as lines for a terminal."""

from __future__ import annotations

from bot.domain.health import Finding, Verdict

LABELS = {Verdict.OK: "ok  ", Verdict.WARNING: "warn", Verdict.FAILED: "FAIL"}


def format_finding(finding: Finding) -> str:
    """Format a finding as one line, with its advice on a second one."""
    line = f"{LABELS[finding.verdict]}  {finding.subject}: {finding.detail}"
    return f"{line}\n      → {finding.advice}" if finding.advice else line

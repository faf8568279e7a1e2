"""The metrics and labels that PromQL expressions name, and Prometheus's own programs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "threadline.json"

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="the alerts were not tried: no prometheus here (apt-get install prometheus)",
)

_WORDS = re.compile(
    r'"(?:[^"\\]|\\.)*"'  # a text
    r"|\[[^\]]*\]"  # a range
    r"|(?P<number>\d[\w.]*)"
    r"|(?P<variable>\$\w+)"
    r"|(?P<name>[A-Za-z_:][\w:]*)"
    r"|(?P<sign>=~|!~|!=|[{}()=])"
)
_OPERATORS = frozenset({"or", "and", "unless", "on", "ignoring", "by", "without", "group_left"})


@dataclass(frozen=True)
class Named:
    """The names in an expression."""

    metrics: frozenset[str]
    labels: frozenset[str]


def named_in(expression: str) -> Named:
    """The metrics and labels in an expression. Names before a parenthesis or `by` are functions;
    names within braces or after `by` are labels."""
    metrics, labels = set[str](), set[str]()
    words = [found for found in _WORDS.finditer(expression) if found.lastgroup in ("name", "sign")]
    braces = listing = 0
    for number, word in enumerate(words):
        text = word[0]
        following = words[number + 1][0] if number + 1 < len(words) else ""
        if text in "{}":
            braces += 1 if text == "{" else -1
        elif text == "(" and number and words[number - 1][0] in ("by", "without", "on", "ignoring"):
            listing = 1
        elif text == ")":
            listing = 0
        elif word.lastgroup == "name":
            if braces or listing:
                labels.add(text)
            elif following not in ("(", "by", "without") and text not in _OPERATORS:
                metrics.add(text)
    return Named(frozenset(metrics), frozenset(labels))


def alerts() -> list[dict[str, Any]]:
    """The rules in the alerts file."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard file."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panel_expressions() -> Iterator[tuple[str, str]]:
    """The title and each expression of every panel, with values in place of Grafana's variables."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "1m")
            yield panel["title"], expression.replace("$instance", ".*")

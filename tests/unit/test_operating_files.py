"""The alerts, the dashboard and the documentation name metrics that exist, and the alerts fire."""

from __future__ import annotations

import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.operation.definitions import LIBRARY_METRICS, METRICS
from tests.support import operating_page
from tests.support.promql import (
    ALERTS,
    DASHBOARD,
    ROOT,
    alerts,
    dashboard,
    named_in,
    needs_prometheus,
    panel_expressions,
)

CONFIG = ALERTS.with_name("prometheus.yaml")
TESTS = ALERTS.with_name("alerts.test.yaml")
KNOWN = {name for each in METRICS for name in each.sample_names} | {*LIBRARY_METRICS, "up"}
LABELS = {label for each in METRICS for label in each.labels}
OF_PROMETHEUS = {"job", "instance", "le", "generation"}
EXPRESSIONS = [*panel_expressions(), *((rule["alert"], rule["expr"]) for rule in alerts())]


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = ["promtool", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def test_the_names_of_an_expression_are_found() -> None:
    found = named_in(
        'sum by (a, le) (rate(x_total{b=~"c{d}", e!="f"}[5m])) / on (g) y > 1e9 and time() - z == 2'
    )
    assert found.metrics == {"x_total", "y", "z"}
    assert found.labels == {"a", "le", "b", "e", "g"}


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_panels_and_alerts_name_metrics_that_exist(title: str, expression: str) -> None:
    found = named_in(expression)
    assert found.metrics and found.metrics <= KNOWN, title
    of_metrics = {
        label for each in METRICS if found.metrics & {*each.sample_names} for label in each.labels
    }
    assert found.labels <= of_metrics | OF_PROMETHEUS, title


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    """A metric that no one looks at is not worth its series."""
    shown = {name for _, expression in EXPRESSIONS for name in named_in(expression).metrics}
    unseen = {each.name for each in METRICS if not shown & {*each.sample_names}}
    assert unseen <= {
        "threadline_last_event_timestamp_seconds",  # also reported by /readyz
        "threadline_start_timestamp_seconds",
    }


# ── the dashboard ─────────────────────────────────────────────────────────────────────────────
def test_the_dashboard_is_sound() -> None:
    """It has the fields that Grafana's import needs, and its panels have unique ids and do not
    overlap."""
    board = dashboard()
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(board)
    panels = board["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    variables = {each["name"] for each in board["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in panels:
        assert {"type", "title", "gridPos"} <= set(panel)
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            references = [target["refId"] for target in panel["targets"]]
            assert references and len(set(references)) == len(references), panel["title"]
    assert not [pair for pair in combinations(panels, 2) if _overlap(*pair)]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert DASHBOARD.read_text().endswith("}\n")


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    a, b = one["gridPos"], other["gridPos"]
    return (
        a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    )


# ── the alerts ────────────────────────────────────────────────────────────────────────────────
def test_every_alert_has_a_severity_a_sentence_and_a_place_in_the_documentation() -> None:
    page = (ROOT / "docs" / "operating.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"].endswith(".")
        path, _, heading = rule["annotations"]["runbook"].partition("#")
        assert (path, heading) == ("docs/operating.md", rule["alert"].lower())
        assert f"\n### {rule['alert']}\n" in page


@needs_prometheus
def test_prometheus_accepts_the_files() -> None:
    for done in (promtool("check", "rules", ALERTS), promtool("check", "config", CONFIG)):
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_every_alert_fires_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.parametrize("expression", ["vector(1) > 2", "vector(1)"])
def test_the_tests_of_alerts_notice_a_wrong_condition(expression: str, tmp_path: Path) -> None:
    """Each alert is tried with a condition that never holds, and with one that always holds."""
    rules = yaml.safe_load(ALERTS.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = expression
    (tmp_path / ALERTS.name).write_text(yaml.safe_dump(rules))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    done = promtool("test", "rules", tmp_path / TESTS.name)
    unnoticed = {rule["alert"] for rule in alerts()}
    for line in (done.stdout + done.stderr).splitlines():
        unnoticed -= {alert for alert in unnoticed if f"alertname: {alert}," in line}
    assert done.returncode != 0 and not unnoticed


# ── the documentation ─────────────────────────────────────────────────────────────────────────
def test_the_reference_of_metrics_is_the_code() -> None:
    """`python -m tests.support.operating_page` writes it."""
    page = operating_page.PAGE.read_text()
    assert page == operating_page.with_reference(page)

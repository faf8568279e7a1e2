"""Where /metrics is served, and settings that would expose it to everyone, or to no one."""

from __future__ import annotations

import pytest

from bot.config.consistency import require_consistent
from bot.config.loader import load
from bot.domain.errors import SettingsError

TOKEN = "metrics-token-of-24-chars"
DISCORD = {"DISCORD_TOKEN": "simulated", "LLM": "echo"}


@pytest.mark.parametrize(
    "environ",
    [
        {"METRICS_PORT": "9464"},
        {"METRICS_TOKEN": TOKEN},  # the page's port
        {"METRICS_TOKEN": TOKEN, "HTTP_PORT": "8080", **DISCORD},
        {"METRICS_PORT": "9464", "METRICS_HOST": "0.0.0.0", "METRICS_TOKEN": TOKEN, **DISCORD},
        {"METRICS_PORT": "9464", "METRICS_HOST": "::1"},
    ],
)
def test_a_port_or_a_token_serves_metrics(environ: dict[str, str]) -> None:
    settings = load(environ, None)
    require_consistent(settings)
    assert settings.serves_metrics
    assert not load({}, None).serves_metrics


@pytest.mark.parametrize(
    ("environ", "setting", "advice"),
    [
        ({"METRICS_TOKEN": TOKEN, **DISCORD}, "METRICS_TOKEN", "set METRICS_PORT or HTTP_PORT"),
        (
            {"METRICS_PORT": "9464", "METRICS_HOST": "0.0.0.0"},
            "METRICS_TOKEN",
            "or METRICS_HOST=127.0.0.1",
        ),
        (
            {"METRICS_PORT": "8080", "HTTP_PORT": "8080"},
            "METRICS_PORT",
            "set another one",
        ),
        ({"METRICS_PORT": "8080"}, "METRICS_PORT", "set another one"),  # the page's default
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN", "16 characters"),
        ({"METRICS_TOKEN": "a token with blanks in it"}, "METRICS_TOKEN", "without spaces"),
        ({"METRICS_PORT": "65536"}, "METRICS_PORT", ""),
    ],
)
def test_contradictions_are_refused_with_advice(
    environ: dict[str, str], setting: str, advice: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        require_consistent(load(environ, None))
    assert caught.value.setting == setting
    assert advice in str(caught.value)
    assert "short" not in str(caught.value) and "blanks" not in str(caught.value)


def test_the_token_is_a_secret_of_the_log() -> None:
    settings = load({"METRICS_TOKEN": TOKEN}, None)
    assert settings.secrets() == [TOKEN]
    assert TOKEN not in repr(settings)

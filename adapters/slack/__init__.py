"""Slack: Socket Mode or HTTP, threads, direct messages and the agent pane."""

from __future__ import annotations

from pathlib import Path


def manifest_path(mode: str) -> Path:
    """The app manifest for `socket` or `http` mode."""
    return Path(__file__).with_name(f"manifest-{mode}.json")

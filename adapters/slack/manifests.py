"""The app's manifest, and the link with which Slack creates the app from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

PLACEHOLDER = "https://YOUR-HOST"
# docs.slack.dev/app-manifests/configuring-apps-with-app-manifests: "Sharing manifests".
NEW_APP = "https://api.slack.com/apps?new_app=1&manifest_json="


def manifest_path(mode: str) -> Path:
    """The path of the manifest for `socket` or `http` mode."""
    return Path(__file__).with_name(f"manifest-{mode}.json")


def manifest(mode: str, *, prefix: str = "", base_url: str = PLACEHOLDER) -> dict[str, Any]:
    """The manifest with the commands' `prefix`, and in HTTP mode the bot's public `base_url`."""
    text = manifest_path(mode).read_text().replace(PLACEHOLDER, base_url.rstrip("/"))
    loaded: dict[str, Any] = json.loads(text)
    for command in loaded["features"]["slash_commands"]:
        command["command"] = f"/{prefix}{command['command'].removeprefix('/')}"
    return loaded


def new_app_link(mode: str, *, prefix: str = "", base_url: str = PLACEHOLDER) -> str:
    """The link that opens Slack's "create an app" with the manifest filled in."""
    content = manifest(mode, prefix=prefix, base_url=base_url)
    return NEW_APP + quote(json.dumps(content, separators=(",", ":")), safe="")

"""Slack: Socket Mode or HTTP, threads, direct messages and the agent pane."""

from adapters.slack.manifests import manifest, manifest_path, new_app_link

__all__ = ["manifest", "manifest_path", "new_app_link"]

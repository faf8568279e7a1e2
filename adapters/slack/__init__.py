"""The Slack adapter: Socket Mode or HTTP; channels, direct messages and the agent pane."""

from adapters.slack.manifests import manifest, manifest_path, new_app_link

__all__ = ["manifest", "manifest_path", "new_app_link"]

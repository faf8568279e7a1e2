"""The tables of failing requests and the mutated payloads cover everything that adapters use.

The adapters' sources are the reference: a new request, event, command or button fails here until it
has a row in `docs/isolation-*.md` or a recorded payload.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from adapters.discord.event_schemas import SCHEMAS
from tests.fixtures.discord_payloads import DISPATCHES

ROOT = Path(__file__).parents[2]
SLACK = ROOT / "tests" / "fixtures" / "slack"
DISCORD_REQUESTS = {
    "bulk_upsert_global_commands": "PUT /applications/{app}/commands",
    "delete_channel": "DELETE /channels/{channel}",
    "delete_message": "DELETE /channels/{channel}/messages/{message}",
    "edit_channel": "PATCH /channels/{channel}",
    "edit_message": "PATCH /channels/{channel}/messages/{message}",
    "get_all_guild_channels": "GET /guilds/{guild}/channels",
    "get_channel": "GET /channels/{channel}",
    "get_global_commands": "GET /applications/{app}/commands",
    "get_guild": "GET /guilds/{guild}",
    "get_guilds": "GET /users/@me/guilds",
    "get_member": "GET /guilds/{guild}/members/{user}",
    "get_message": "GET /channels/{channel}/messages/{message}",
    "get_public_archived_threads": "GET /channels/{channel}/threads/archived/public",
    "get_thread_member": "GET /channels/{channel}/thread-members/{user}",
    "logs_from": "GET /channels/{channel}/messages",
    "open_file": "GET /attachments/{channel}/{file}/{name}",  # of adapters/discord/http.py
    "send_message": "POST /channels/{channel}/messages",
    "send_typing": "POST /channels/{channel}/typing",
    "start_private_message": "POST /users/@me/channels",
    "start_thread_with_message": "POST /channels/{channel}/messages/{message}/threads",
}
"""The requests made by methods of discord.py's HTTPClient."""
DISCORD_INTERACTIONS = {
    "edit_original_response": "PATCH /webhooks/{app}/{token}/messages/{message}",
    "followup.send": "POST /webhooks/{app}/{token}",
    "response.autocomplete": "POST /interactions/{id}/{token}/callback",
    "response.defer": "POST /interactions/{id}/{token}/callback",
    "response.send_modal": "POST /interactions/{id}/{token}/callback",
    "response.send_message": "POST /interactions/{id}/{token}/callback",
}
DISCORD_LOGIN = {"GET /users/@me", "GET /oauth2/applications/@me"}  # of Client.login
FAMILIES = (
    "agents|apps|assistant|auth|bots|chat|conversations|emoji|files|oauth|openid|pins|reactions|team"
    "|usergroups|users|views"
)


def source(platform: str) -> str:
    paths = sorted((ROOT / "adapters" / platform).glob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def rows(platform: str) -> set[str]:
    page = (ROOT / "docs" / f"isolation-{platform}.md").read_text(encoding="utf-8")
    return {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}


def recorded(*files: str) -> list[dict[str, Any]]:
    found = [json.loads((SLACK / f"{file}.json").read_text()) for file in files]
    return [payload for payloads in found for payload in payloads.values()]


# ── requests ──────────────────────────────────────────────────────────────────────────────────
def test_each_request_to_discord_has_a_row() -> None:
    text = source("discord")
    assert set(re.findall(r"\bhttp\.([a-z_]+)\(", text)) - {"request"} == set(DISCORD_REQUESTS)
    answers = r"response\.(?:autocomplete|defer|edit_\w+|launch_\w+|pong|send_\w+)"
    used = rf"\b(edit_original_response|followup\.\w+|{answers})\("
    assert set(re.findall(used, text)) == set(DISCORD_INTERACTIONS)
    raw = {f"{verb} {path}" for verb, path in re.findall(r'Route\(\s*"([A-Z]+)", "([^"]+)"', text)}
    assert len(re.findall(r"\bRoute\(", text)) == len(re.findall(r'Route\(\s*"[A-Z]+", "', text))
    everything = {*DISCORD_REQUESTS.values(), *DISCORD_INTERACTIONS.values(), *raw, *DISCORD_LOGIN}
    assert everything == rows("discord")


def test_discords_models_send_no_request_beside_these() -> None:
    """discord.py's own methods are neither paced nor translated."""
    sending = (
        r"\.(?:fetch_\w+|create_thread|add_reaction|remove_reaction|history|pins|typing|publish"
        r"|archived_threads|original_response|delete_original_response|application_info)\("
    )
    assert re.findall(sending, source("discord")) == []


def test_each_method_of_slack_has_a_row() -> None:
    """This includes methods that the simulator does not know."""
    methods = set(re.findall(rf'"((?:{FAMILIES})(?:\.[a-zA-Z0-9]+)+)"', source("slack")))
    assert methods - rows("slack") == set()


# ── events ────────────────────────────────────────────────────────────────────────────────────
def test_each_event_of_discord_is_mutated() -> None:
    """These are the events that change the cached state, and those whose parsers the adapter
    overrides."""
    parsers = set(re.findall(r"def parse_([a-z_]+)\(self", source("discord")))
    handled = SCHEMAS.keys() | {name.upper() for name in parsers} | {"RESUMED"}
    assert handled - {event for event, _ in DISPATCHES.values()} == set()


def test_each_event_of_slack_is_mutated() -> None:
    """The events to which the manifest subscribes."""
    manifest = json.loads((ROOT / "adapters/slack/manifest-socket.json").read_text())
    subscribed = set(manifest["settings"]["event_subscriptions"]["bot_events"])
    kinds = {"message.channels": "channel", "message.groups": "group"}
    payloads = recorded("messages", "no_messages", "other_events")
    events = [payload.get("event") or {} for payload in payloads]
    sent = {str(event.get("type")) for event in events}
    sent |= {f"message.{e.get('channel_type')}" for e in events if e.get("type") == "message"}
    wanted = {f"message.{kinds[one]}" if one in kinds else one for one in subscribed}
    assert wanted - sent == set()


def test_each_command_and_element_of_slack_is_mutated() -> None:
    manifest = json.loads((ROOT / "adapters/slack/manifest-socket.json").read_text())
    payloads = recorded("interactions")
    commands = {one["command"] for one in manifest["features"]["slash_commands"]}
    assert commands - {str(payload.get("command")) for payload in payloads} == set()
    shortcuts = {one["callback_id"] for one in manifest["features"]["shortcuts"]}
    assert shortcuts - {str(payload.get("callback_id")) for payload in payloads} == set()
    elements = r'"type": "(button|static_select|feedback_buttons|overflow|checkboxes)"'
    used = set(re.findall(elements, source("slack")))
    pressed = {action["type"] for payload in payloads for action in payload.get("actions", ())}
    assert used - pressed == set()

"""Slash commands, shortcuts, buttons and modals, and the app's responses to them.

The app responds in its acknowledgement, at the response_url (five times within 30 minutes) or
through the Web API. An interaction is never delivered twice.
"""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from tests.sims.slack import ids
from tests.sims.slack.blocks import FEEDBACK_BUTTONS
from tests.sims.slack.chat import Content, post_privately, read_content, resolve_thread
from tests.sims.slack.delivery import Attempt
from tests.sims.slack.platform import RESPONSE_URL_USES, Hook, Platform
from tests.sims.slack.values import ApiError, Args, Channel, Json, Message


class Interactions:
    """The controls that use the app's commands, shortcuts and blocks."""

    def __init__(self, slack: Platform) -> None:
        self.slack = slack
        self.workspace = slack.workspace

    # ── people's actions ──────────────────────────────────────────────────────────────────────
    async def slash(
        self, user: str, channel: str, command: str, text: str = "", thread_ts: str = ""
    ) -> Json:
        """Use a slash command; returns `acked`, `error`, `payload` and `hook` (for `responses`)."""
        there = self.workspace.channel(channel)
        if thread_ts:
            raise ApiError(f"{command} is not supported in threads. Sorry!")
        known = self.slack.commands is None or command in self.slack.commands
        if not known or "commands" not in self.slack.events.scopes:
            raise ApiError(f"{command} is not a valid command")
        hook = self.slack.hook(there, user)
        person = self.workspace.users[user]
        payload: Json = {"token": ids.VERIFICATION_TOKEN, "team_id": self.slack.home.team}
        payload |= {"team_domain": self.slack.home.domain, "channel_id": there.id}
        payload |= {"channel_name": there.name or "directmessage", "user_id": user}
        payload |= {"user_name": person.name, "command": command, "text": text}
        payload |= {"api_app_id": ids.APP, "is_enterprise_install": "false"}
        if self.slack.home.enterprise:
            payload |= {"enterprise_id": self.slack.home.enterprise}
        if self.slack.events.org_wide:
            payload["is_enterprise_install"] = "true"
        payload |= {"response_url": self.slack.hook_url(hook)}
        payload |= {"trigger_id": self.slack.trigger(user)}
        return self._result(await self.slack.delivery.deliver_once("slash_commands", payload), hook)

    async def shortcut(
        self, user: str, callback_id: str, channel: str = "", message_ts: str = ""
    ) -> Json:
        """Use a message shortcut, or a global one without `message_ts`."""
        if self.slack.shortcuts is not None and callback_id not in self.slack.shortcuts:
            raise ApiError(f"{callback_id} is not a shortcut of the app")
        payload = self._base_payload("message_action" if message_ts else "shortcut", user)
        payload |= {"callback_id": callback_id, "action_ts": self.workspace.new_ts()}
        hook = ""
        if message_ts:
            there = self.workspace.channel(channel)
            message = self.workspace.message(there, message_ts)
            hook = self.slack.hook(there, user)
            payload |= {"channel": _id_and_name(there), "message_ts": message_ts}
            payload |= {"message": self.workspace.serialize(message)}
            payload |= {"response_url": self.slack.hook_url(hook)}
        return self._result(await self.slack.delivery.deliver_once("interactive", payload), hook)

    async def click(
        self, user: str, channel: str, ts: str, action_id: str, value: str | None = None
    ) -> Json:
        """Press a button of a message, or choose `value` in a select."""
        there = self.workspace.channel(channel)
        message = self._clickable(there, ts, user)
        block_id, element = _element(message, action_id, value)
        hook = self.slack.hook(there, user, message.ts)
        payload = self._base_payload("block_actions", user)
        container: Json = {"type": "message", "message_ts": ts, "channel_id": there.id}
        container["is_ephemeral"] = bool(message.ephemeral_to)
        if message.is_reply:
            container["thread_ts"] = message.thread_ts
        payload |= {"container": container, "channel": _id_and_name(there), "state": {"values": {}}}
        if not message.ephemeral_to:
            payload["message"] = self.workspace.serialize(message)
        payload["response_url"] = self.slack.hook_url(hook)
        payload["actions"] = [_action(element, block_id, value, self.workspace.new_ts())]
        return self._result(await self.slack.delivery.deliver_once("interactive", payload), hook)

    def _clickable(self, channel: Channel, ts: str, user: str) -> Message:
        for message in self.workspace.ephemerals:
            if (message.channel, message.ts) == (channel.id, ts) and not message.deleted:
                if message.ephemeral_to != user:
                    raise ApiError("message_not_found")
                return message
        return self.workspace.message(channel, ts)

    async def view_submit(self, user: str, view_id: str, values: Json) -> Json:
        """Submit a modal with `values` as its `state.values`."""
        if self.slack.views[view_id]["opened_by"] != user:
            raise ApiError("only the person who sees the modal can submit it")
        view = self.slack.views[view_id] | {"state": {"values": values}}
        del view["opened_by"]
        payload = self._base_payload("view_submission", user) | {"view": view, "response_urls": []}
        result = self._result(await self.slack.delivery.deliver_once("interactive", payload), "")
        if (result["payload"] or {}).get("response_action") != "errors" and result["acked"]:
            del self.slack.views[view_id]
        return result

    def _base_payload(self, kind: str, user: str) -> Json:
        person = self.workspace.users[user]
        who = {"id": user, "username": person.name, "name": person.name, "team_id": person.team}
        payload: Json = {"type": kind, "user": who, "api_app_id": ids.APP}
        payload |= {"token": ids.VERIFICATION_TOKEN, "trigger_id": self.slack.trigger(user)}
        home, org_wide = self.slack.home, self.slack.events.org_wide
        enterprise = {"id": home.enterprise} if home.enterprise else None
        payload |= {"team": {"id": home.team, "domain": home.domain}, "enterprise": enterprise}
        return payload | {"is_enterprise_install": org_wide}

    # ── the app's responses ───────────────────────────────────────────────────────────────────
    def _result(self, attempt: Attempt, hook: str) -> Json:
        answer = attempt.answer if attempt.acked is not None else None
        if hook and isinstance(answer, dict) and (answer.get("text") or answer.get("blocks")):
            self._show(self.slack.hooks[hook], answer)
        return {
            "acked": attempt.acked is not None,
            "error": attempt.reason,
            "payload": answer,
            "hook": hook,
        }

    def responses(self, hook: str) -> list[Json]:
        """The responses to an interaction so far: in acknowledgements and at the response_url."""
        return self.slack.hooks[hook].responses

    async def respond(self, request: web.Request) -> web.Response:
        """`POST /respond/{hook}`: the response_url."""
        hook = self.slack.hooks.get(request.match_info["hook"])
        if hook is None or hook.expires < time.monotonic():
            return web.json_response({"ok": False, "error": "expired_url"}, status=404)
        posts = [answer for answer in hook.responses if answer["via"] == "response_url"]
        if len(posts) >= RESPONSE_URL_USES:
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        try:
            self._show(hook, await request.json(), via="response_url")
        except ApiError as error:
            return web.json_response({"ok": False, "error": error.code}, status=400)
        return web.Response(text="ok", content_type="text/plain")

    def _show(self, hook: Hook, body: Json, via: str = "ack") -> None:
        if body.get("delete_original"):
            self._original(hook).deleted = time.time()
        else:
            self._say(hook, body)
        hook.responses.append({**body, "via": via, "at": time.time()})

    def _say(self, hook: Hook, body: Json) -> None:
        channel = self.workspace.channel(hook.channel)
        wanted = read_content(Args(body))
        if not (wanted.text or wanted.blocks or wanted.attachments):
            raise ApiError("no_text")
        thread = resolve_thread(
            channel, str(body.get("thread_ts") or "")
        )  # Slack does not choose a thread
        if body.get("replace_original") and hook.message_ts:
            self._replace(self._original(hook), wanted)
        elif body.get("response_type") == "in_channel":
            message = self.workspace.bot_message(
                ts=self.workspace.new_ts(), channel=channel.id, thread_ts=thread
            )
            message.text, message.blocks = wanted.text or "", wanted.blocks or []
            self.workspace.post(message)
        else:
            post_privately(self.slack, channel, hook.user, wanted, thread)

    def _original(self, hook: Hook) -> Message:
        return self._clickable(self.workspace.channel(hook.channel), hook.message_ts, hook.user)

    def _replace(self, message: Message, wanted: Content) -> None:
        before = self.workspace.serialize(message)
        message.text, message.blocks = wanted.text or "", wanted.blocks or []
        if message.ephemeral_to:
            self.workspace.record_version(message, "update")
        else:
            self.workspace.publish_change(message, "update", before)


def _id_and_name(channel: Channel) -> Json:
    return {"id": channel.id, "name": channel.name or "directmessage"}


def _element(message: Message, action_id: str, value: str | None) -> tuple[str, Json]:
    """The message's element with this action_id (and value), and its block's id."""
    for block in message.blocks:
        elements = [*(block.get("elements") or []), *filter(None, [block.get("accessory")])]
        for element in elements:
            same = element.get("value") in (None, value) or value is None
            choice = bool(_options(element)) or value in _votes(element)
            same = same and element.get("type") != "feedback_buttons"
            if element.get("action_id") == action_id and (same or choice):
                return block["block_id"], element
    raise ApiError(f"the message shows no {action_id} {value or ''}")


def _action(element: Json, block_id: str, value: str | None, ts: str) -> Json:
    action: Json = {"action_id": element["action_id"], "block_id": block_id}
    action |= {"type": element.get("type", "button"), "action_ts": ts}
    if options := _options(element):
        chosen: Any = next((o for o in options if o["value"] == value), None)
        if chosen is None:
            raise ApiError(f"no option {value}")
        return action | {"selected_option": chosen}
    for key in FEEDBACK_BUTTONS if _votes(element) else ():
        if element[key]["value"] == value:  # bolt-js: FeedbackButtonsAction
            return action | {"value": value, "text": element[key]["text"]}
    return action | {"value": value or element.get("value", ""), "text": element.get("text")}


def _votes(element: Json) -> list[str]:
    """The values of the two buttons of a feedback element."""
    if element.get("type") != "feedback_buttons":
        return []
    return [element[key]["value"] for key in FEEDBACK_BUTTONS]


def _options(element: Json) -> list[Json]:
    """The options of a menu, or of all its groups."""
    groups = [element, *(element.get("option_groups") or [])]
    return [option for group in groups for option in group.get("options") or []]

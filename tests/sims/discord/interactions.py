"""Interactions: a person's command or click, and the bot's responses to it.

The bot must respond once within three seconds; the token then lives for fifteen minutes. A response
with choices for an option (autocomplete) is the only one to its interaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e
from tests.sims.discord.actions import Actions, Post
from tests.sims.discord.commands import VALUE_TYPES
from tests.sims.discord.content import Draft, check_draft
from tests.sims.discord.http import JSON, PREFIX, body, keep_attachments, reply, uploads_of
from tests.sims.discord.mentions import check_allowed
from tests.sims.discord.permissions import need_unlocked
from tests.sims.discord.rest_messages import revised
from tests.sims.discord.state import Message

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
# The valid first responses to each kind of interaction.
ANSWERS = {
    COMMAND: (MESSAGE, DEFER, MODAL),
    COMPONENT: (MESSAGE, DEFER, DEFER_UPDATE, UPDATE, MODAL),
    AUTOCOMPLETE: (CHOICES,),
    MODAL_SUBMIT: (MESSAGE, DEFER, DEFER_UPDATE, UPDATE),
}
ROW, LABEL, TEXT_INPUT = 1, 18, 4  # components of forms
MAX_CHOICES, MAX_CHOICE = 25, 100  # choices, and characters of a choice's name or value
WEBHOOK = PREFIX + r"/webhooks/{app:\d+}/{token}"


@dataclass(slots=True)
class Interaction:
    """An interaction and all responses to it."""

    id: int
    kind: int
    name: str  # the command's name or the component's custom_id
    user: int
    channel: int
    token: str
    source: Message | None = None  # the message whose component was used
    menu: bool = False
    option_type: int = 0  # of the option that is being completed
    at: float = field(default_factory=time.time)
    answered: float | None = None
    answers: list[JSON] = field(default_factory=list)
    original: Message | None = None

    def shown(self) -> JSON:
        """The interaction as controls return it."""
        return {
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "user": self.user,
            "channel": self.channel,
            "at": self.at,
            "answered": self.answered,
            "answers": self.answers,
            "message": None if self.original is None else self.original.id,
        }


class Interactions:
    """The store of interactions and their REST handlers. Times are in seconds."""

    def __init__(self, actions: Actions) -> None:
        self._actions, self._state = actions, actions.state
        self.first_within = 3.0
        self.token_lives = 900.0
        self.all: dict[int, Interaction] = {}

    def routes(self) -> list[web.RouteDef]:
        """All routes of this module."""
        return [
            web.post(PREFIX + r"/interactions/{id:\d+}/{token}/callback", self.callback),
            web.post(WEBHOOK, self.followup),
            web.get(WEBHOOK + "/messages/{message}", self.get),
            web.patch(WEBHOOK + "/messages/{message}", self.edit),
            web.delete(WEBHOOK + "/messages/{message}", self.delete),
        ]

    # ── the first response ────────────────────────────────────────────────────────────────────
    async def callback(self, request: web.Request) -> web.Response:
        """POST /interactions/{id}/{token}/callback."""
        interaction = self.all.get(int(request.match_info["id"]))
        if interaction is None or interaction.token != request.match_info["token"]:
            raise e.NotFound("Interaction")
        if interaction.answered is not None:
            raise e.ApiError(400, 40060, "Interaction has already been acknowledged.")
        if time.time() - interaction.at > self.first_within:
            raise e.NotFound("Interaction")
        sent = body(request)
        if sent.get("type") not in ANSWERS[interaction.kind]:
            raise e.not_a_choice("type", ANSWERS[interaction.kind])
        if sent["type"] == MODAL:
            check_form(sent.get("data") or {})
        if sent["type"] == CHOICES:
            check_choices(sent.get("data") or {}, interaction.option_type)
        message = self._respond(interaction, sent, request)
        interaction.answered = time.time()
        self._note(interaction, sent["type"], sent.get("data") or {})
        if request.query.get("with_response") not in ("1", "true", "True"):
            return reply()
        return reply(self._response(interaction, sent["type"], message))

    def _respond(self, it: Interaction, sent: JSON, request: web.Request) -> Message | None:
        kind, data = sent["type"], sent.get("data") or {}
        check_allowed(data.get("allowed_mentions"))
        if kind == MESSAGE:
            draft = self._draft(data, request)
            it.original = self._post(it, draft, data)
        elif kind == DEFER:
            flags = int(data.get("flags") or 0) & c.EPHEMERAL | c.LOADING
            it.original = self._post(it, Draft("", [], [], [], flags), data)
        elif kind in (UPDATE, DEFER_UPDATE):
            if it.source is None:
                raise e.not_a_choice("type", ANSWERS[COMMAND])
            it.original = it.source
            if kind == UPDATE:
                self._change(it.source, data, request)
        return it.original

    def _draft(self, data: JSON, request: web.Request) -> Draft:
        uploads = uploads_of(request)
        return check_draft(data, keep_attachments(self._state, data, uploads, []))

    def _post(self, it: Interaction, draft: Draft, data: JSON) -> Message:
        """Post a response, which needs no permission but is refused in a locked thread."""
        channel = self._state.channels[it.channel]
        need_unlocked(self._state, channel)
        kind, reference = c.MENU_REPLY if it.menu else c.COMMAND_REPLY, None
        if it.source is not None:
            kind = c.REPLY
            ids = {"channel_id": str(channel.id), "message_id": str(it.source.id)}
            reference = {"type": 0, **ids}
        post = Post(
            c.BOT,
            draft,
            type=kind,
            # A response pings the author of its message only on request.
            allowed=data.get("allowed_mentions") or {"parse": ["users", "roles", "everyone"]},
            reference=reference,
            interaction=it.id,
            for_user=it.user if draft.flags & c.EPHEMERAL else None,
        )
        return self._actions.post(channel, post)

    def _change(self, message: Message, data: JSON, request: web.Request) -> None:
        check_allowed(data.get("allowed_mentions"))
        draft = revised(self._actions, message, data, request)
        self._actions.edit(message, draft, data.get("allowed_mentions"))

    def _response(self, it: Interaction, kind: int, message: Message | None) -> JSON:
        about: JSON = {"id": str(it.id), "type": it.kind}
        answer: JSON = {"interaction": about}
        if message is not None:
            about["response_message_id"] = str(message.id)
            about["response_message_loading"] = bool(message.shown.flags & c.LOADING)
            about["response_message_ephemeral"] = bool(message.shown.flags & c.EPHEMERAL)
            shown = self._actions.payloads.message(message, content=True)
            answer["resource"] = {"type": kind, "message": shown}
        return answer

    @staticmethod
    def _note(interaction: Interaction, kind: int | str, data: JSON) -> None:
        interaction.answers.append({"at": time.time(), "type": kind, "data": data})

    # ── later responses ───────────────────────────────────────────────────────────────────────
    def _by_token(self, request: web.Request) -> Interaction:
        if int(request.match_info["app"]) != c.APPLICATION:
            raise e.NotFound("Webhook")
        token = request.match_info["token"]
        for interaction in self.all.values():
            if interaction.token == token and time.time() - interaction.at <= self.token_lives:
                if interaction.answered is None or interaction.kind == AUTOCOMPLETE:
                    raise e.NotFound("Webhook")  # choices are no message to follow up on
                return interaction
        raise e.ApiError(401, 50027, "Invalid Webhook Token")

    async def followup(self, request: web.Request) -> web.Response:
        """POST /webhooks/{app}/{token}; the first one after a deferral fills that response."""
        it, sent = self._by_token(request), body(request)
        check_allowed(sent.get("allowed_mentions"))
        self._note(it, "followup", sent)
        if it.original is not None and it.original.shown.flags & c.LOADING:
            self._change(it.original, sent, request)
            return self._answer(it.original)
        message = self._post(it, self._draft(sent, request), sent)
        return self._answer(message)

    def _answer(self, message: Message) -> web.Response:
        return reply(self._actions.payloads.message(message, content=True))

    def _message(self, request: web.Request) -> tuple[Interaction, Message]:
        it, which = self._by_token(request), request.match_info["message"]
        message = it.original
        if which != "@original":
            found = self._state.message(it.channel, int(which))
            message = found if found is not None and found.interaction == it.id else None
        if message is None or message.deleted is not None:
            raise e.NotFound("Message")
        return it, message

    async def get(self, request: web.Request) -> web.Response:
        """GET …/messages/{id or @original}."""
        return self._answer(self._message(request)[1])

    async def edit(self, request: web.Request) -> web.Response:
        """PATCH …/messages/{id or @original}."""
        it, message = self._message(request)
        need_unlocked(self._state, self._state.channels[it.channel])
        self._change(message, body(request), request)
        self._note(it, "edit", body(request))
        return self._answer(message)

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE …/messages/{id or @original}."""
        it, message = self._message(request)
        self._actions.delete(message)
        self._note(it, "delete", {"message": message.id})
        return reply()


def check_form(data: JSON) -> None:
    """Refuse a form that Discord refuses: docs.discord.com/developers/components/reference#label
    and …/interactions/receiving-and-responding#modal."""
    for key, most in (("title", 45), ("custom_id", 100)):
        if not isinstance(data.get(key), str) or not 1 <= len(data[key]) <= most:
            raise e.bad_length(f"data.{key}", 1, most)
    parts = data.get("components") or []
    if not 1 <= len(parts) <= 5:
        raise e.bad_length("data.components", 1, 5)
    for n, part in enumerate(parts):
        path = f"data.components.{n}"
        if part.get("type") not in (LABEL, ROW):
            raise e.not_a_choice(f"{path}.type", (LABEL, ROW))
        field = form_field(part)
        labelled = part if part["type"] == LABEL else field
        if not 1 <= len(labelled.get("label") or "") <= 45:
            raise e.bad_length(f"{path}.label", 1, 45)
        _check_field(field, path)


def form_field(part: JSON) -> JSON:
    """The field in a label, or in a row, the deprecated form."""
    children = [part.get("component")] if part["type"] == LABEL else part.get("components")
    return (children or [None])[0] or {}


def _check_field(field: JSON, path: str) -> None:
    if field.get("type") != TEXT_INPUT:
        raise e.not_a_choice(f"{path}.type", (TEXT_INPUT,))
    if not 1 <= len(field.get("custom_id") or "") <= 100:
        raise e.bad_length(f"{path}.custom_id", 1, 100)
    if field.get("style") not in (1, 2):
        raise e.not_a_choice(f"{path}.style", (1, 2))
    if len(field.get("placeholder") or "") > 100:
        raise e.bad_length(f"{path}.placeholder", 0, 100)
    if not 1 <= field.get("max_length", 4_000) <= 4_000:
        raise e.bad_length(f"{path}.max_length", 1, 4_000)


def check_choices(data: JSON, option_type: int) -> None:
    """Refuse choices for an option that Discord refuses; their values have the option's type."""
    choices = data.get("choices")
    if not isinstance(choices, list):
        raise e.required("data.choices")
    if len(choices) > MAX_CHOICES:
        raise e.too_long("data.choices", MAX_CHOICES)
    for n, choice in enumerate(choices):
        path = f"data.choices.{n}"
        name, value = choice.get("name"), choice.get("value")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= MAX_CHOICE:
            raise e.bad_length(f"{path}.name", 1, MAX_CHOICE)
        if not isinstance(value, VALUE_TYPES[option_type]) or isinstance(value, bool):
            raise e.InvalidForm(f"{path}.value", "BASE_TYPE_INVALID", "The value's type is wrong.")
        if isinstance(value, str) and not 1 <= len(value.strip()) <= MAX_CHOICE:
            raise e.bad_length(f"{path}.value", 1, MAX_CHOICE)


def new_token(snowflake: int) -> str:
    """A token as long as Discord's that names its interaction in the record."""
    return f"sim-interaction-{snowflake}".ljust(64, "x")


def payload_base(interaction: Interaction, kind: int, data: JSON) -> dict[str, Any]:
    """The fields that every INTERACTION_CREATE has."""
    return {
        "id": str(interaction.id),
        "application_id": str(c.APPLICATION),
        "type": kind,
        "token": interaction.token,
        "version": 1,
        "data": data,
        "locale": "en-US",
        "entitlements": [],
        "attachment_size_limit": c.MAX_FILE,
    }

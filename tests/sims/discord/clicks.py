"""People's commands, clicks and menus: each sends an INTERACTION_CREATE.

A person can run only the commands registered for the channel, and press only visible buttons.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions
from tests.sims.discord.commands import (
    CHAT_INPUT,
    MAX_STRING,
    MESSAGE_MENU,
    SUB_COMMAND,
    USER_MENU,
)
from tests.sims.discord.components import walk
from tests.sims.discord.interactions import (
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    LABEL,
    MODAL,
    MODAL_SUBMIT,
    TEXT_INPUT,
    Interaction,
    Interactions,
    form_field,
    new_token,
    payload_base,
)
from tests.sims.discord.payloads import user_json
from tests.sims.discord.people import People, refused
from tests.sims.discord.permissions import may, permissions
from tests.sims.discord.state import Channel, Message

JSON = dict[str, Any]
USER_OPTION = 6


class Clicks:
    """The controls that start interactions; each returns the interaction's id."""

    def __init__(
        self,
        actions: Actions,
        people: People,
        interactions: Interactions,
        registered: dict[int, list[JSON]],
    ) -> None:
        self._actions, self._people, self._state = actions, people, actions.state
        self._interactions, self._registered = interactions, registered

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    def slash(self, user: int, channel: int, name: str, options: JSON | None = None) -> int:
        """Run `/name` with options by name; "model set" runs a subcommand."""
        place = self._people.channel_of(channel)
        command = self._command(place, user, name.split()[0], CHAT_INPUT)
        data = self._command_data(command, name, options or {})
        interaction = self._new(COMMAND, name, user, place)
        return self._send(interaction, data)

    def autocomplete(
        self,
        user: int,
        channel: int,
        name: str,
        option: str,
        typed: str,
        others: JSON | None = None,
    ) -> int:
        """Type `typed` into an option of a command, without running it.

        `others` are the options that are already filled; required ones may be missing. `typed` is
        a string, even for a number.
        """
        place = self._people.channel_of(channel)
        command = self._command(place, user, name.split()[0], CHAT_INPUT)
        values = {**(others or {}), option: typed}
        data = self._command_data(command, name, values, partial=True)
        [focused] = [each for each in leaves(data["options"]) if each["name"] == option]
        interaction = self._new(AUTOCOMPLETE, name, user, place)
        interaction.option_type = focused["type"]
        focused["focused"] = True
        return self._send(interaction, data)

    def context_menu(
        self, user: int, name: str, message: int | None = None, target: int | None = None
    ) -> int:
        """Choose an entry in the context menu of a message, or of a person in the channel."""
        if message is not None:
            found = self._people.message_of(message)
            place = self._state.channels[found.channel]
            command = self._command(place, user, name, MESSAGE_MENU)
            shown = self._actions.payloads.message(found, content=True)
            resolved = {"messages": {str(message): shown}}
        else:
            place = self._people.channel_of(c.CHANNEL)
            command = self._command(place, user, name, USER_MENU)
            resolved = {"users": {str(target): user_json(self._state.users[target or 0])}}
        about = self._about(command) | {"target_id": str(message or target), "resolved": resolved}
        interaction = self._new(COMMAND, name, user, place)
        interaction.menu = True
        return self._send(interaction, about)

    def _command(self, place: Channel, user: int, name: str, kind: int) -> JSON:
        context = 1 if place.guild is None else 0  # a DM with the bot, or a guild
        if not may(self._state, place, "use_application_commands", user):
            raise refused("that person may not use commands there")
        for scope in (place.guild or -1, 0):
            for command in self._registered.get(scope, []):
                contexts = command["contexts"]
                here = contexts is None or context in contexts
                if command["name"] == name and command["type"] == kind and here:
                    return command
        known = {guild: [x["name"] for x in found] for guild, found in self._registered.items()}
        raise refused(f"no command {name!r} there; registered: {known}")

    @staticmethod
    def _about(command: JSON) -> JSON:
        scope = {key: command[key] for key in ("guild_id",) if key in command}
        return {"id": command["id"], "name": command["name"], "type": command["type"], **scope}

    def _command_data(
        self, command: JSON, name: str, values: JSON, *, partial: bool = False
    ) -> JSON:
        """The command's data; refused if an option is unknown or missing, or is not a choice."""
        known, path = command.get("options") or [], name.split()[1:]
        groups = []
        for step in path:
            group = next((o for o in known if o["name"] == step), None)
            if group is None:
                raise refused(f"no subcommand {step!r}")
            groups.append(group)
            known = group.get("options") or []
        if not path and any(option["type"] <= SUB_COMMAND + 1 for option in known):
            raise refused("a subcommand is needed")
        options = self._options(known, values, partial=partial)
        for group in reversed(groups):
            options = [{"name": group["name"], "type": group["type"], "options": options}]
        return self._about(command) | {"options": options, "resolved": self._resolved(options)}

    @staticmethod
    def _options(known: list[JSON], values: JSON, *, partial: bool) -> list[JSON]:
        by_name = {option["name"]: option for option in known}
        if unknown := set(values) - set(by_name):
            raise refused(f"no options {sorted(unknown)}; there are {sorted(by_name)}")
        missing = [o["name"] for o in known if o.get("required") and o["name"] not in values]
        if missing and not partial:
            raise refused(f"required options are missing: {missing}")
        for name, value in values.items():
            choices = [x["value"] for x in by_name[name].get("choices") or []]
            if choices and not partial and value not in choices:
                raise refused(f"{value!r} is none of the choices {choices}")
            if isinstance(value, str) and len(value) > MAX_STRING:
                raise refused(f"a string has at most {MAX_STRING} characters")
        if partial and not any(by_name[name].get("autocomplete") for name in values):
            raise refused(f"no autocomplete for {sorted(values)}")
        return [{"name": n, "type": by_name[n]["type"], "value": v} for n, v in values.items()]

    def _resolved(self, options: list[JSON]) -> JSON:
        users = [int(o["value"]) for o in options if o["type"] == USER_OPTION]
        return {"users": {str(u): user_json(self._state.users[u]) for u in users}}

    # ── components ────────────────────────────────────────────────────────────────────────────
    def click(
        self, user: int, message: int, custom_id: str, values: list[str] | None = None
    ) -> int:
        """Press a button, or choose `values` in a select menu, of a visible message."""
        found = self._people.message_of(message)
        if found.for_user not in (None, user):
            raise refused("only another user can see that message")
        component = self._component(found, custom_id)
        data = {"custom_id": custom_id, "component_type": component["type"]}
        if values is not None:
            data["values"] = values
        place = self._state.channels[found.channel]
        interaction = self._new(COMPONENT, custom_id, user, place)
        interaction.source = found
        shown = self._actions.payloads.message(found, content=True)
        return self._send(interaction, data, message=shown)

    @staticmethod
    def _component(message: Message, custom_id: str) -> JSON:
        shown = [x for _, x in walk(message.shown.components) if "custom_id" in x]
        for component in shown:
            if component["custom_id"] == custom_id:
                if component.get("disabled"):
                    raise refused(f"{custom_id} is disabled")
                return component
        raise refused(f"no component {custom_id!r}; shown: {[x['custom_id'] for x in shown]}")

    def submit(self, interaction: int, values: dict[str, str]) -> int:
        """Submit the form with which the bot responded, with a text for each field."""
        asked = self._interactions.all[interaction]
        forms = [x["data"] for x in asked.answers if x["type"] == MODAL]
        if not forms:
            raise refused("that interaction was not answered with a form")
        parts = forms[-1]["components"]
        fields = [form_field(part)["custom_id"] for part in parts]
        if sorted(fields) != sorted(values):
            raise refused(f"the form has the fields {fields}")
        filled = [_fill(part, values[key]) for part, key in zip(parts, fields, strict=True)]
        data = {"custom_id": forms[-1]["custom_id"], "components": filled}
        place = self._state.channels[asked.channel]
        submitted = self._new(MODAL_SUBMIT, data["custom_id"], asked.user, place)
        submitted.source = asked.source
        if asked.source is None:
            return self._send(submitted, data)
        shown = self._actions.payloads.message(asked.source, content=True)
        return self._send(submitted, data, message=shown)

    # ── sending ───────────────────────────────────────────────────────────────────────────────
    def _new(self, kind: int, name: str, user: int, place: Channel) -> Interaction:
        snowflake = self._state.snowflake()
        made = Interaction(snowflake, kind, name, user, place.id, new_token(snowflake))
        self._interactions.all[snowflake] = made
        return made

    def _send(self, interaction: Interaction, data: JSON, **more: Any) -> int:
        """Send INTERACTION_CREATE, which needs no intent."""
        payload = payload_base(interaction, interaction.kind, data) | more
        place, user = self._state.channels[interaction.channel], interaction.user
        allowed = str(permissions(self._state, user, place))
        payload["channel"] = self._actions.payloads.channel(place) | {"permissions": allowed}
        payload["channel_id"] = str(place.id)
        payload["app_permissions"] = str(permissions(self._state, c.BOT, place))
        if place.guild is None:
            payload |= {"user": user_json(self._state.users[user]), "context": 1}
            payload["authorizing_integration_owners"] = {"0": "0"}
        else:
            member = self._actions.payloads.member(place.guild, user) | {"permissions": allowed}
            guild = {"id": str(place.guild), "locale": "en-US", "features": []}
            payload |= {"guild_id": str(place.guild), "guild": guild, "guild_locale": "en-US"}
            payload |= {"member": member, "context": 0}
            payload["authorizing_integration_owners"] = {"0": str(place.guild)}
        self._actions.gateway.dispatch("INTERACTION_CREATE", payload, guild=place.guild)
        return interaction.id


def _fill(part: JSON, value: str) -> JSON:
    """Part of a form with the text that a person wrote, without anything that is only displayed."""
    field = {"type": TEXT_INPUT, "custom_id": form_field(part)["custom_id"], "value": value}
    inside = {"component": field} if part["type"] == LABEL else {"components": [field]}
    return {"type": part["type"], **inside}


def leaves(options: list[JSON]) -> list[JSON]:
    """The options with values, within subcommands."""
    return [
        leaf
        for option in options
        for leaf in (leaves(option["options"]) if "options" in option else [option])
    ]

"""The mentions in a text, limited to those that the request and the permissions allow.

A message's `mentions` contain only the allowed ones.
"""

from __future__ import annotations

import re
from typing import Any

from tests.sims.discord import errors as e
from tests.sims.discord.content import outside_code
from tests.sims.discord.permissions import may
from tests.sims.discord.state import Channel, Pings, ServerState

JSON = dict[str, Any]
KINDS = ("users", "roles", "everyone")


def check_allowed(allowed: JSON | None) -> None:
    """Refuse a contradictory `allowed_mentions`."""
    if allowed is None:
        return
    parse = allowed.get("parse") or []
    for n, kind in enumerate(parse):
        if kind not in KINDS:
            raise e.not_a_choice(f"allowed_mentions.parse.{n}", KINDS)
    for kind in ("users", "roles"):
        named = allowed.get(kind) or []
        if len(named) > 100:
            raise e.too_long(f"allowed_mentions.{kind}", 100)
        if named and kind in parse:
            message = f"parse:['{kind}'] and {kind}: [ids...] are mutually exclusive."
            raise e.InvalidForm("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_EXCLUSIVE", message)


def pings(
    state: ServerState,
    channel: Channel,
    author: int,
    content: str,
    allowed: JSON | None,
    replied: int | None = None,
) -> Pings:
    """The allowed mentions in `content` by `author`.

    `allowed` is the request's `allowed_mentions`; None allows all. `replied` is the author of the
    message that this one replies to.
    """
    said = outside_code(content)
    users = [int(u) for u in re.findall(r"<@!?(\d+)>", said) if _there(state, channel, int(u))]
    users = [user for user in users if _passes(allowed, "users", user)]
    if replied is not None and (allowed is None or allowed.get("replied_user")):
        users.append(replied)
    roles = [int(r) for r in re.findall(r"<@&(\d+)>", said)]
    loud = may(state, channel, "mention_everyone", author)
    roles = [r for r in roles if _passes(allowed, "roles", r) and _known(state, channel, r, loud)]
    shouted = re.search(r"@(everyone|here)\b", said) is not None
    everyone = shouted and loud and channel.guild is not None and _passes(allowed, "everyone", 0)
    return Pings(list(dict.fromkeys(users)), list(dict.fromkeys(roles)), everyone)


def _passes(allowed: JSON | None, kind: str, target: int) -> bool:
    if allowed is None or kind in (allowed.get("parse") or []):
        return True
    return str(target) in [str(named) for named in allowed.get(kind) or []]


def _there(state: ServerState, channel: Channel, user: int) -> bool:
    if channel.guild is None:
        return user in state.users
    return user in state.guilds[channel.guild].members


def _known(state: ServerState, channel: Channel, role: int, loud: bool) -> bool:
    if channel.guild is None or role not in state.guilds[channel.guild].roles:
        return False
    return loud or state.guilds[channel.guild].roles[role].mentionable

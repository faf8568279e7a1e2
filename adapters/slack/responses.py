"""Responses of the Web API, in which any field may be missing, null or of another type.

An unusable required field raises Unsettled, like a lost response: Slack may have carried out the
request. An unusable optional field counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.slack import payloads
from bot.domain.errors import Unsettled

_TS = re.compile(r"\d{1,12}\.\d{1,6}")


@dataclass(frozen=True, slots=True)
class Response:
    """A response's JSON object, and its headers with lower-case names."""

    data: Mapping[str, Any]
    headers: Mapping[str, str]

    def text(self, name: str) -> str:
        """A required text. Raises Unsettled."""
        value = self.data.get(name)
        if not isinstance(value, str) or not value:
            raise Unsettled(f"Slack's response has no usable {name}: {value!r:.80}")
        return value

    def ts(self, name: str = "ts") -> str:
        """The required ts of a message. Raises Unsettled."""
        value = self.text(name)
        if not is_ts(value):
            raise Unsettled(f"Slack's response has no usable {name}: {value!r:.80}")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An optional object; empty if absent."""
        return payloads.mapping(self.data, name)

    def values(self, name: str) -> list[Any]:
        """A required list. Raises Unsettled.

        A missing list is not an empty one: a channel that was not read must not count as read.
        """
        value = self.data.get(name)
        if not isinstance(value, list):
            raise Unsettled(f"Slack's response has no list of {name}: {value!r:.80}")
        return value

    def items(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The objects of a required list. Raises Unsettled."""
        return payloads.objects(self.values(name))

    def strings(self, name: str) -> Sequence[str]:
        """The texts of a required list. Raises Unsettled if anything else is in it."""
        value = self.values(name)
        if not all(isinstance(one, str) for one in value):
            raise Unsettled(f"Slack's response has no list of {name}: {value!r:.80}")
        return value

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages of a page, except those without a ts. Raises Unsettled."""
        return [message for message in self.items("messages") if is_ts(message.get("ts"))]

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""
        return self.data.get("has_more") is True

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None on the last page."""
        value = self.mapping("response_metadata").get("next_cursor")
        return value if isinstance(value, str) and value else None


def is_ts(value: Any) -> bool:
    """Whether `value` is a ts in Slack's format ("1700000000.000123")."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def latest_reply(message: Mapping[str, Any]) -> str | None:
    """The ts of a thread's last reply, if its root message has it."""
    value = message.get("latest_reply")
    return value if is_ts(value) else None

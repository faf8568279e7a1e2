"""What Slack answered, read with suspicion: any field may be missing, null or of another type.

A field that a request cannot do without raises Unsettled, as if the answer had been lost: Slack may
have carried the request out. Everything else is read as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.domain.errors import Unsettled

_TS = re.compile(r"\d{1,12}\.\d{1,6}")


@dataclass(frozen=True, slots=True)
class Response:
    """The body's JSON, and the headers in lower case."""

    data: Mapping[str, Any]
    headers: Mapping[str, str]

    def text(self, name: str) -> str:
        """A text that must be there. Raises Unsettled."""
        value = self.data.get(name)
        if not isinstance(value, str) or not value:
            raise Unsettled(f"Slack's answer has no usable {name}: {value!r:.80}")
        return value

    def ts(self, name: str = "ts") -> str:
        """A message's ts that must be there. Raises Unsettled."""
        value = self.text(name)
        if not is_ts(value):
            raise Unsettled(f"Slack's answer has no usable {name}: {value!r:.80}")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object; empty where there is none."""
        return mapping(self.data.get(name))

    def items(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The objects of a list that must be there. Raises Unsettled.

        An absent list is not an empty one: a channel that was not read must not count as read.
        """
        value = self.data.get(name)
        if not isinstance(value, list):
            raise Unsettled(f"Slack's answer has no list of {name}: {value!r:.80}")
        return [item for item in value if isinstance(item, dict)]

    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages of a page, without those that have no ts. Raises Unsettled."""
        return [message for message in self.items("messages") if is_ts(message.get("ts"))]

    @property
    def has_more(self) -> bool:
        """Whether Slack says that this is not the last page."""
        return self.data.get("has_more") is True

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None on the last one."""
        value = self.mapping("response_metadata").get("next_cursor")
        return value if isinstance(value, str) and value else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def is_ts(value: Any) -> bool:
    """Whether it is a ts as Slack writes them ("1700000000.000123")."""
    return isinstance(value, str) and _TS.fullmatch(value) is not None


def latest_reply(message: Mapping[str, Any]) -> str | None:
    """The ts of a root's last reply, if the root says so."""
    value = message.get("latest_reply")
    return value if is_ts(value) else None
